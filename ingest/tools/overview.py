"""The whole system at one moment: feeds with their rates, leaders and standbys, queues, workers, and who is gone.

The rule: pure; snapshots go in, one tree of values comes out. Other versions write them: what is missing has a default, what is
not understood is passed over. Ages come from Redis's clock, rates from a process's own, so clocks of machines may differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ingest.broker.history import FeedHistory, FeedId
from ingest.broker.status import Reading, slowest_lags
from ingest.tools.snapshots import Snapshot, Told, count, counts, maybe, number, short_name, text
from ingest.tools.views import ABSENT, FeedView, Overview, Process, QueueView

__all__ = ["ABSENT", "FeedView", "Observer", "Overview", "Process", "QueueView", "make_overview"]


class Observer:
    """Takes one reading after another, so that each gives rates; ``expected`` feeds are shown although nobody tells of them."""

    def __init__(self, expected: Iterable[FeedId] = ()) -> None:
        self._expected = tuple(expected)
        self._last: dict[str, Snapshot] = {}
        self._before: dict[str, Snapshot] = {}

    def take(self, reading: Reading, histories: Mapping[FeedId, FeedHistory] | None = None) -> Overview:
        """Return the overview of a reading, with rates since the snapshot before of each process."""
        newest = {str(status["id"]): status for status in reading.statuses}
        for id_, status in newest.items():
            known = self._last.get(id_)
            if known is not None and number(status, "at") > number(known, "at"):
                self._before[id_] = known
        self._before = {id_: status for id_, status in self._before.items() if id_ in newest}
        self._last = newest
        return make_overview(reading, self._before, histories, self._expected)

    @property
    def settled(self) -> bool:
        """Whether every process that has not said its last word has told of itself twice: all rates are known."""
        return all(id_ in self._before for id_, status in self._last.items() if not status["final"])


def make_overview(
    reading: Reading,
    before: Mapping[str, Snapshot] | None = None,
    histories: Mapping[FeedId, FeedHistory] | None = None,
    expected: Iterable[FeedId] = (),
) -> Overview:
    """Return the overview of a reading; ``before`` holds an earlier snapshot of each process by its id."""
    earlier = before or {}
    told = [Told(status, reading.ages.get(status["id"], 0.0), earlier.get(status["id"])) for status in reading.statuses]
    supervisors = [each for each in told if each.kind == "supervisor"]
    workers = [each for each in told if each.kind == "worker"]
    lags = slowest_lags(each.status for each in workers if each.alive)
    queues = _queues(supervisors)
    feeds = []
    for id_ in sorted({*expected, *((each.group, feed) for each in supervisors for feed in each.feeds)}):
        tellers = [each for each in supervisors if each.group == id_[0] and id_[1] in each.feeds]
        history = (histories or {}).get(id_, FeedHistory())
        feeds.append(_feed(id_, tellers, workers, queues, lags.get(id_[1]), history))
    gone = [
        Process(kind=each.kind, id=each.id, name=short_name(each.id), age=max(0.0, reading.at - each.seen), gone=True)
        for each in reading.gone
    ]
    return Overview(
        at=reading.at,
        refusal=reading.refusal,
        feeds=feeds,
        queues=[queues[name] for name in sorted(queues)],
        supervisors=[*map(_process, supervisors), *(each for each in gone if each.kind == "supervisor")],
        workers=[*map(_process, workers), *(each for each in gone if each.kind == "worker")],
    )


def _process(told: Told) -> Process:
    return Process(
        kind=told.kind,
        id=told.id,
        name=told.name,
        age=told.age,
        final=told.final,
        version=text(told.status, "version"),
        started_at=number(told.status, "started_at"),
        feeds=sorted(told.feeds),
    )


def _queues(supervisors: Sequence[Told]) -> dict[str, QueueView]:
    """Return every queue as the supervisor saw it that spoke last; what died lately, as the one that has watched longest."""
    found: dict[str, QueueView] = {}
    watching = [each for each in supervisors if each.alive] or supervisors
    for told in sorted(supervisors, key=lambda each: -each.age):
        for name, values in told.queues.items():
            high = maybe(values, "high_watermark")
            found[name] = QueueView(
                name=name,
                depth=count(values, "depth"),
                delayed=count(values, "delayed"),
                dead=count(values, "dead"),
                died_lately=max(count(each.queues.get(name, {}), "died_lately") for each in watching),
                stalled_seconds=count(values, "stalled_seconds"),
                high_watermark=None if high is None else int(high),
                growth=told.growth(name),
            )
    return found


def _feed(
    id_: FeedId,
    supervisors: Sequence[Told],
    workers: Sequence[Told],
    queues: Mapping[str, QueueView],
    lag: tuple[float, float] | None,
    history: FeedHistory,
) -> FeedView:
    group, name = id_
    working = [each for each in workers if name in each.feeds]
    lead = next((each for each in supervisors if each.leads(name)), None)
    teller = lead or max(supervisors, key=lambda each: _says_most(each, name), default=None)
    said = teller.feed(name) if teller is not None else {}
    since, down_since = maybe(said, "since"), maybe(said, "down_since")
    queue = text(said, "queue")
    return FeedView(
        group=group,
        name=name,
        state=(text(said, "state") or "UNKNOWN") if teller is not None else ABSENT,
        for_seconds=max(0.0, teller.at - since + teller.age) if teller is not None and since else None,
        down_seconds=max(0.0, teller.at - down_since + teller.age) if teller is not None and down_since else None,
        reconnects_lately=count(said, "reconnects_lately"),
        lead=lead.name if lead is not None else "",
        standbys=sorted(each.name for each in supervisors if each is not lead and each.stands_by(name)),
        failed_on=sorted(each.name for each in supervisors if each.alive and text(each.feed(name), "state") == "FAILED"),
        name_taken_on=sorted(each.name for each in supervisors if each.has_name_taken(name)),
        spool_troubles={each.name: trouble for each in supervisors if each.alive and (trouble := _spool_trouble(each, name))},
        told_by=teller.name if teller is not None else "",
        alive=any(each.alive for each in supervisors),
        paused=any(each.feed(name).get("paused") is True for each in supervisors if each.alive),
        url=text(said, "url"),
        actor=text(said, "actor"),
        queue=queue,
        last_reason=text(said, "last_reason"),
        frames_rate=_rate(supervisors, name, "frames"),
        bytes_rate=_rate(supervisors, name, "bytes"),
        enqueued_rate=_rate(supervisors, name, "enqueued"),
        processed_rate=_rate(working, name, "processed"),
        **{key: sum(count(each.feed(name), key) for each in supervisors) for key in _OF_SUPERVISORS},
        **{key: sum(count(each.feed(name), key) for each in working) for key in ("processed", "failed")},
        **{key: sum(count(each.feed(name), key) for each in working if each.alive) for key in _OF_THE_LAST_MINUTE},
        drops=_sums(supervisors, name, "drops"),
        reconnect_reasons=_sums(supervisors, name, "reconnect_reasons"),
        oldest_age=max((age for each in supervisors if (age := maybe(each.feed(name), "oldest_age")) is not None), default=None),
        ping_rtt=maybe(said, "ping_rtt"),
        depth=queues[queue].depth if queue in queues else 0,
        lag_p50=lag[0] if lag is not None else None,
        lag_p99=lag[1] if lag is not None else None,
        points=history.points,
        happenings=history.happenings,
    )


def _spool_trouble(told: Told, feed: str) -> str:
    return text(told.feed(feed), "spool_trouble")


#: What a feed's supervisors count.
_OF_SUPERVISORS = (
    "frames",
    "bytes",
    "emitted",
    "enqueued",
    "messages",
    "dropped",
    "lost",
    "reconnects",
    "gaps",
    "backlog",
    "backlog_bytes",
    "spooled",
    "spool_bytes",
)

#: What workers count of the last minute: who has ended says nothing of now.
_OF_THE_LAST_MINUTE = ("processed_lately", "failed_lately")


def _says_most(told: Told, feed: str) -> tuple[bool, bool, bool, float]:
    """Return by what the one is chosen who speaks for a feed that nobody leads: it runs, and does not only stand by."""
    return told.alive, not told.final, not (told.stands_by(feed) or told.has_name_taken(feed)), -told.age


def _rate(processes: Sequence[Told], feed: str, key: str) -> float | None:
    """Return the sum of the rates that are known; None if none is."""
    rates = [rate for each in processes if (rate := each.rate(feed, key)) is not None]
    return round(sum(rates), 2) if rates else None


def _sums(supervisors: Sequence[Told], feed: str, key: str) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in supervisors:
        total.update(counts(each.feed(feed), key))
    return dict(total)
