"""What the feeds did over the last hour, and the last of what happened to their connections, kept in Redis.

Keys, all below the broker's namespace; each is a sorted set of JSON texts by wall-clock seconds, so that a write whose answer was
lost may be made again:

* ``<ns>:__history__.<group>.<feed>``: a `Point` every `INTERVAL` seconds from whoever does not stand by; those older than
  `KEPT` go, and of more than `MOST_POINTS` (several writers) the oldest. Expires `KEPT` seconds after the last one.
* ``<ns>:__connections__.<group>.<feed>``: the last `MOST_HAPPENINGS` of each `Happening` of any supervisor. Expires
  `HAPPENINGS_KEPT` seconds after the last one.

The rule: history is for people who look; whoever writes it counts what Redis does not take, and goes on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import redis

from ingest.broker.clients import translated
from ingest.broker.keys import Keys

#: Version of points and happenings; a reader understands its own and older ones.
FORMAT = 1

#: Seconds between two points of a feed, and for how long they are kept.
INTERVAL = 10.0
KEPT = 3600

#: Points kept of one feed: an hour of four supervisors that do not stand by (paused ones, say).
MOST_POINTS = 4 * int(KEPT / INTERVAL)

MOST_HAPPENINGS = 200
HAPPENINGS_KEPT = 7 * 24 * 3600

LONGEST_DETAIL = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A feed at one moment: payloads per second since the point before, and messages that waited in its queue.

    ``at`` is in wall-clock seconds of the writer; lags (wire to actor, of the slowest worker) are in milliseconds, None where no
    worker told any.
    """

    at: float
    state: str
    frames: float = 0.0
    enqueued: float = 0.0
    depth: int = 0
    lag_p50: float | None = None
    lag_p99: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that happened to a feed's connection: ``what`` is a word (``ready``, ``lost``, …), ``where`` a ``host:pid``."""

    at: float
    what: str
    detail: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class FeedHistory:
    """What is remembered of one feed, the oldest first."""

    points: Sequence[Point] = ()
    happenings: Sequence[Happening] = ()


#: A feed as supervisors name it: its group and its name.
FeedId = tuple[str, str]


def write_history(
    client: redis.Redis,
    keys: Keys,
    group: str,
    points: Mapping[str, Point],
    happenings: Mapping[str, Sequence[Happening]],
) -> None:
    """Keep a point and happenings by feed, in one round trip; may be called again with the same. Raises `BrokerError`."""
    if not points and not any(happenings.values()):
        return
    with translated(), client.pipeline(transaction=False) as pipe:
        for feed, point in points.items():
            key = keys.history(group, feed)
            pipe.zadd(key, {_encode(point): point.at})
            pipe.zremrangebyscore(key, "-inf", point.at - KEPT)
            pipe.zremrangebyrank(key, 0, -1 - MOST_POINTS)
            pipe.expire(key, KEPT)
        for feed, news in happenings.items():
            if news:
                key = keys.connections(group, feed)
                pipe.zadd(key, {_encode(each): each.at for each in news})
                pipe.zremrangebyrank(key, 0, -1 - MOST_HAPPENINGS)
                pipe.expire(key, HAPPENINGS_KEPT)
        pipe.execute()


def read_history(
    client: redis.Redis, keys: Keys, feeds: Iterable[FeedId], *, since: float = 0.0, happenings: bool = True
) -> dict[FeedId, FeedHistory]:
    """Return what is remembered of feeds: points since a moment (wall-clock seconds), and all happenings, or none.

    One round trip, reads only. Points of several supervisors within one interval are one. What a reader does not understand is
    skipped. Raises `ingest.errors.BrokerError`.
    """
    wanted = list(dict.fromkeys(feeds))
    if not wanted:
        return {}
    with translated(), client.pipeline(transaction=False) as pipe:
        for group, feed in wanted:
            pipe.zrangebyscore(keys.history(group, feed), since, "+inf")
            if happenings:
                pipe.zrange(keys.connections(group, feed), 0, -1)
        answers = iter(pipe.execute())
    found: dict[FeedId, FeedHistory] = {}
    for each in wanted:
        points = merged(point for text in next(answers) if (point := _point(text)) is not None)
        told = next(answers) if happenings else ()
        found[each] = FeedHistory(points, [one for text in told if (one := _happening(text)) is not None])
    return found


def merged(points: Iterable[Point]) -> list[Point]:
    """Return one point an interval, in order: of several supervisors' that of the one that read most, or else the newest."""
    slots: dict[int, Point] = {}
    for point in sorted(points, key=lambda point: point.at):
        slot = math.floor(point.at / INTERVAL)
        known = slots.get(slot)
        if known is None or point.frames >= known.frames:
            slots[slot] = point
    return list(slots.values())


def _encode(record: Point | Happening) -> str:
    return json.dumps({"v": FORMAT, **asdict(record)}, separators=(",", ":"))


def _value(text: bytes | str) -> dict[str, Any]:
    """Return a record's content; an empty one where it is of a newer version, or none."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    known = isinstance(value, dict) and isinstance(value.get("v"), int) and value["v"] <= FORMAT
    return value if known else {}


def _number(value: object) -> float | None:
    """Return a number as one that can be shown, None where it is none."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        return None
    return float(value)


def _point(text: bytes | str) -> Point | None:
    value = _value(text)
    at, state, depth = _number(value.get("at")), value.get("state"), _number(value.get("depth"))
    frames, enqueued = _number(value.get("frames")), _number(value.get("enqueued"))
    if at is None or frames is None or enqueued is None or depth is None or not isinstance(state, str):
        return None
    return Point(
        at=at,
        state=state,
        frames=frames,
        enqueued=enqueued,
        depth=int(depth),
        lag_p50=_number(value.get("lag_p50")),
        lag_p99=_number(value.get("lag_p99")),
    )


def _happening(text: bytes | str) -> Happening | None:
    value = _value(text)
    at, what = _number(value.get("at")), value.get("what")
    texts = {name: value[name] for name in ("detail", "where") if isinstance(value.get(name), str)}
    return Happening(at=at, what=what, **texts) if at is not None and isinstance(what, str) else None
