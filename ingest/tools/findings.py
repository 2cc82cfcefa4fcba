"""What is wrong, in sentences: each names the place and the command that helps.

The rule: pure; one cause is one finding, the worst come first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from ingest.broker.refusal import Cause
from ingest.tools.show import duration, number, printable
from ingest.tools.views import ABSENT, FeedView, Overview, Process, QueueView

#: Seconds for which a feed may be on its way to READY, or payloads may wait, without being worth a word.
PATIENCE = 10.0
OLD_AFTER = 30.0

#: Reconnects in ten minutes above which a feed is not well although it is connected now and then; as in the alert rules.
OFTEN = 20

#: Of so many attempts at a feed's frames within a minute the failed ones are worth a word, where they are more than one in so
#: many; as in the alert rules.
FAILURES = 10
ONE_IN = 20

#: States in which a feed has, or wants, a connection.
_CONNECTS = ("IDLE", "CONNECTING", "BOOTSTRAPPING", "BACKING_OFF", "READY")

#: Messages below which a queue that grows is no news: stock workers, which tell nothing of themselves, fetch by the thousand.
FEW = 1000

_TRY_IT = "python -m ingest check --connect"

#: What helps against a Redis that takes no writes. Nobody needs to be started again: all go on by themselves.
_WRITABLE: dict[Cause, str] = {
    "full": "give it more memory, or see what fills it (redis-cli --bigkeys); leave supervisors and workers running",
    "replica": "let the URL name the primary, here and for supervisors and workers; or make this one a primary",
    "disk": "make room on its disk (its log says what failed); leave supervisors and workers running",
}

#: What helps, by what the reason says.
_ADVICE = tuple(
    (re.compile(pattern), remedy)
    for pattern, remedy in (
        (r"status (401|403)\b", f"check the token; {_TRY_IT}"),
        (r"status (404|410|3\d\d)\b", f"check the feed's url; {_TRY_IT}"),
        (r"status 429\b", "connect less often: raise retry.initial, or have fewer feeds connect to this server"),
        (r"status 5\d\d\b", f"trouble of the server's own; {_TRY_IT}"),
        (r"^dns failed", f"check the host name; {_TRY_IT}"),
        (r"^tls failed", f"check the feed's tls settings; {_TRY_IT}"),
    )
)


class Severity(IntEnum):
    """How bad it is: with errors nothing moves, with warnings something is wrong, a notice is good to know."""

    ERROR = 0
    WARNING = 1
    NOTICE = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with ``subject`` (a feed, a queue, a process), and the ``remedy``."""

    severity: Severity
    subject: str
    text: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.text}: {self.remedy}"


def find(overview: Overview) -> list[Finding]:
    """Return everything that is wrong, the worst first."""
    found = [
        *_refused(overview),
        *_nobody(overview),
        # Before the feeds that it blocks: they are well again as soon as it is.
        *(finding for queue in overview.queues if queue.full for finding in _of_queue(queue, overview)),
        *(finding for feed in overview.feeds for finding in _of_feed(feed, overview)),
        *(finding for queue in overview.queues if not queue.full for finding in _of_queue(queue, overview)),
        *(finding for process in overview.everybody if (finding := _of_process(process, overview)) is not None),
    ]
    return sorted(found, key=lambda finding: finding.severity)


def headline(overview: Overview, findings: Sequence[Finding]) -> str:
    """Return in one sentence what is wrong, or that nothing is."""
    worse = [finding for finding in findings if finding.severity is not Severity.NOTICE]
    if not worse:
        feeds, supervisors, workers = len(overview.feeds), _alive(overview.supervisors), _alive(overview.workers)
        return (
            f"all well: {_several(feeds, 'feed')}, {_several(supervisors, 'supervisor')}, {_several(workers, 'worker process')}"
        )
    more = f" (and {len(worse) - 1} more)" if len(worse) > 1 else ""
    return f"{worse[0]}{more}"


def is_well(findings: Sequence[Finding]) -> bool:
    """Tell whether there are no errors and no warnings."""
    return all(finding.severity is Severity.NOTICE for finding in findings)


def _refused(overview: Overview) -> Iterator[Finding]:
    if overview.refusal is not None and overview.refuses:
        text = f"refuses writes ({printable(overview.refusal.detail)}), so nobody can tell how it is"
        yield Finding(Severity.ERROR, "Redis", text, _WRITABLE[overview.refusal.cause])


def _nobody(overview: Overview) -> Iterator[Finding]:
    if _alive(overview.supervisors):
        return
    if overview.refuses and not (overview.supervisors and all(process.final for process in overview.supervisors)):
        return  # whether any runs, nobody can know
    ended = [process for process in overview.supervisors if process.final]
    lost = [process for process in overview.supervisors if not process.final]
    if lost:
        last = min(lost, key=lambda process: process.age)
        text = f"none runs; {last.name} was last heard of {duration(last.age)} ago and said no last word (killed, or cut off)"
    elif ended:
        last = min(ended, key=lambda process: process.age)
        text = f"none runs; {last.name} was stopped {duration(last.age)} ago"
    else:
        text = "none runs, or none on this Redis and in this namespace"
    remedy = "start it with python -m ingest run"
    if overview.refusal is not None and not overview.refuses:
        text += "; or Redis is full, a replica or without disk and takes no snapshots, which this user of it may not ask"
        remedy += ", if it does not run; to know more ask with a user that has +info"
    yield Finding(Severity.ERROR, "supervisor", text, remedy)


def _of_feed(feed: FeedView, overview: Overview) -> Iterator[Finding]:
    for where, trouble in feed.spool_troubles.items():
        yield _spool_trouble(feed, where, trouble)
    if feed.name_taken_on:
        yield _name_taken(feed)
    if feed.alive and (feed.paused or feed.state == "PAUSED"):
        lasting = f" for {duration(feed.for_seconds)}" if feed.state == "PAUSED" and feed.for_seconds is not None else ""
        yield Finding(Severity.WARNING, _name(feed), f"paused by an operator{lasting}", f"python -m ingest resume {feed.name}")
    elif not feed.alive:
        if _alive(overview.supervisors):  # that none at all runs is one finding, and told already
            yield _unattended(feed)
    elif feed.name_taken_on and not feed.lead:
        pass  # whoever leads does not tell; the state is that of who cannot
    elif (finding := _of_state(feed)) is not None:
        yield finding
    elif (feed.oldest_age or 0) > OLD_AFTER:
        text = f"what was read {duration(feed.oldest_age)} ago is not in the queue yet ({number(feed.backlog)} messages wait)"
        yield Finding(Severity.WARNING, _name(feed), text, "see whether the queue is full; python -m ingest doctor")
    if feed.failed_lately >= FAILURES and feed.failed_lately * ONE_IN > feed.failed_lately + feed.processed_lately:
        yield _actor_fails(feed)
    if feed.lead and feed.failed_on:
        text = f"given up on {', '.join(feed.failed_on)}, which cannot take over any more"
        yield Finding(Severity.NOTICE, _name(feed), text, "see the log there, then start that supervisor again")
    if feed.lost or feed.dropped:
        text = f"{number(feed.dropped)} payloads dropped and {number(feed.lost)} lost since its supervisors began"
        yield Finding(Severity.NOTICE, _name(feed), text, f"python -m ingest gaps --feed {feed.name}")
    if feed.spooled:
        text = f"{number(feed.spooled)} payloads wait on the disk"
        yield Finding(Severity.NOTICE, _name(feed), text, "they are sent as soon as the queue has room and Redis answers")


def _actor_fails(feed: FeedView) -> Finding:
    """Frames that fail are tried again, for days by Dramatiq's defaults: nothing but this tells of it before they are dead."""
    attempts = feed.failed_lately + feed.processed_lately
    actor = f"its actor {printable(feed.actor)}" if feed.actor else "its actor"
    text = f"{actor} fails: {number(feed.failed_lately)} of {number(attempts)} attempts in the last minute"
    return Finding(Severity.WARNING, _name(feed), text, "the exception is in the workers' log, or in Sentry")


def _name_taken(feed: FeedView) -> Finding:
    """Two feeds that differ in url, actor or queue have one name: the second is never read."""
    where = f" on {printable(feed.lead)}" if feed.lead else ""
    text = f"another feed of that name leads{where}, so {printable(', '.join(feed.name_taken_on))} reads nothing"
    remedy = (
        "give one another name, or keep the supervisors apart with [supervisor] group; or url, actor or queue differ by mistake"
    )
    return Finding(Severity.WARNING, _name(feed), text, remedy)


def _spool_trouble(feed: FeedView, where: str, trouble: str) -> Finding:
    """Nothing more comes on the disk, and what is there may go with the process."""
    if "was removed" in trouble:
        remedy = "create the folder again, for the same user, before that process ends"
    else:
        remedy = "make room on that disk, or repair it: it is tried again by itself"
    return Finding(Severity.WARNING, _name(feed), f"its spool takes nothing on {printable(where)} ({printable(trouble)})", remedy)


def _unattended(feed: FeedView) -> Finding:
    if feed.state == ABSENT:
        text, remedy = "no supervisor runs it", "start or reload one with the feeds file that names it: python -m ingest run"
    elif feed.state == "STOPPED":
        text, remedy = f"stopped with {feed.told_by}, and nobody took over", "python -m ingest run"
    else:
        text, remedy = (
            f"{feed.told_by} has fallen silent",
            "see whether that process hangs or has lost Redis; python -m ingest run",
        )
    return Finding(Severity.ERROR, _name(feed), text, remedy)


def _of_state(feed: FeedView) -> Finding | None:
    """Return what the state of a feed says that some supervisor runs."""
    reason = f" ({printable(feed.last_reason)})" if feed.last_reason else ""
    lasting = f" for {duration(feed.for_seconds)}" if feed.for_seconds is not None else ""
    down = feed.for_seconds if feed.down_seconds is None else feed.down_seconds
    without = f" for {duration(down)}" if down is not None else ""
    where = f" on {feed.told_by}"
    if feed.state in _CONNECTS and feed.reconnects_lately > OFTEN and (feed.down_seconds or 0.0) <= PATIENCE:
        text = f"reconnected {number(feed.reconnects_lately)} times in ten minutes{reason}{where}"
        return Finding(Severity.WARNING, _name(feed), text, advice(feed.last_reason))
    match feed.state:
        case "FAILED":
            remedy = f"{advice(feed.last_reason)}; then start it again"
            return Finding(Severity.ERROR, _name(feed), f"FAILED{reason}{where}", remedy)
        case "STANDBY":
            text = f"nobody leads; {', '.join(feed.standbys) or feed.told_by} takes over within the lease"
            return Finding(Severity.WARNING, _name(feed), text, "look again in some seconds")
        case "BACKING_OFF":
            text = f"not connected{without}{reason}{where}, trying again"
            return Finding(Severity.WARNING, _name(feed), text, advice(feed.last_reason))
        case "IDLE" | "CONNECTING" | "BOOTSTRAPPING" if (down or 0) > PATIENCE:
            text = f"{feed.state}, not connected{without}{reason}{where}"
            return Finding(Severity.WARNING, _name(feed), text, advice(feed.last_reason))
        case "BLOCKED":
            text = f"reads nothing{lasting}{where}, because what it has read does not leave"
            return Finding(Severity.WARNING, _name(feed), text, "see whether its queue is full; if not: python -m ingest doctor")
        case "SLOW_CALLBACK":
            text = f"its session's code does not return{lasting}{where}"
            return Finding(Severity.WARNING, _name(feed), text, "the log (callback_slow) says which callback")
    return None


def advice(reason: str) -> str:
    """Return what helps against a reason (the sentence of an `ingest.errors.EndReason`)."""
    for pattern, remedy in _ADVICE:
        if pattern.search(reason):
            return remedy
    return f"see its log; {_TRY_IT}"


def _of_queue(queue: QueueView, overview: Overview) -> Iterator[Finding]:
    name, workers = f"queue {printable(queue.name)}", _alive(overview.workers)
    stalled = f", and nobody has taken any for {duration(queue.stalled_seconds)}" if queue.stalled_seconds else ""
    if not workers:
        remedy = "no worker process tells of itself: start dramatiq workers"
    elif stalled:
        remedy = "its actors hang, or no worker has an actor on this queue: see the workers' log; python -m ingest doctor"
    else:
        remedy = "start more workers (dramatiq workers), or see what its actors wait for"
    if queue.full:
        text = f"full: {number(queue.depth)} messages wait (high_watermark {number(queue.high_watermark or 0)}){stalled}"
        yield Finding(Severity.WARNING, name, text, remedy)
    elif queue.depth > FEW and not workers and (queue.growth or 0) > 0:
        text = f"grows by {queue.growth:,.0f}/s, {number(queue.depth)} messages wait{stalled}"
        yield Finding(Severity.WARNING, name, text, remedy)
    elif stalled:
        yield Finding(Severity.WARNING, name, f"{number(queue.depth)} messages wait{stalled}", remedy)
    look = f"python -m ingest dead-letters list --queue {printable(queue.name)}"
    if queue.died_lately:
        text = f"{number(queue.died_lately)} messages became dead letters in the last minute"
        yield Finding(Severity.WARNING, name, text, f"{look} --newer-than 2m")
    elif queue.dead:
        yield Finding(Severity.NOTICE, name, f"{number(queue.dead)} dead letter{'s' * (queue.dead > 1)}", look)


def _of_process(process: Process, overview: Overview) -> Finding | None:
    if process.alive or process.final or overview.refuses:  # then silence says nothing
        return None
    subject = f"{process.kind} {process.name}"
    if process.gone:
        text = f"last heard of {duration(process.age)} ago, without a last word (killed, or cut off)"
        return Finding(Severity.NOTICE, subject, text, "see its log, and that its platform starts it again")
    text = f"silent for {duration(process.age)}"
    return Finding(Severity.WARNING, subject, text, "see whether it hangs, or has lost Redis; python -m ingest doctor there")


def _name(feed: FeedView) -> str:
    return printable(feed.label)


def _alive(processes: Sequence[Process]) -> int:
    return sum(process.alive for process in processes)


def _several(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{'es' if noun.endswith('s') else 's'}"
