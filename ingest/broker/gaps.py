"""What supervisors leave in Redis about gaps: when frames of a feed may have been missed, why, and after which message.

The rule: the same gap is the same bytes and the same message id, whoever writes it and however often; gaps.lua relies on that.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, cast

import dramatiq
import redis

from ingest.broker.clients import translated
from ingest.broker.keys import Keys
from ingest.broker.scripts import GAPS
from ingest.errors import EnqueueVetoed, PayloadRefused
from ingest.events import GapFound

#: Version of the record; a reader understands its own and older ones.
FORMAT = 1

#: Records kept for each feed.
MOST_RECORDS = 1000

#: Characters of JSON that a position may have: a thousand records are kept, and nobody asked Redis whether it has room for them.
LONGEST_POSITION = 16_384

_LONGEST_DETAIL = 500

#: What must be in a record, and of which type.
_FIELDS: dict[str, type[Any]] = {"feed": str, "cause": str, "from_us": int, "to_us": int, "producer": str, "last_seq": int}

#: The namespace of the ids of messages about gaps (RFC 9562, 5.5).
_IDS = uuid.UUID("4c0f8a9e-6f0e-5a35-9d7a-0f6f9a0d5b11")


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRecord:
    """One gap (see `ingest.events.GapFound`); ``position`` is a JSON value."""

    feed: str
    cause: str
    from_us: int
    to_us: int
    producer: str
    last_seq: int
    position: Any = None
    count: int | None = None
    detail: str = ""

    @classmethod
    def of(cls, gap: GapFound) -> GapRecord:
        """Return the record of a gap; a position that is no JSON, or too long, becomes a text that says so."""
        return cls(
            feed=gap.feed,
            cause=gap.cause,
            from_us=gap.from_us,
            to_us=gap.to_us,
            producer=gap.producer,
            last_seq=gap.last_seq,
            position=_json_value(gap.position),
            count=gap.count,
            detail=gap.detail[:_LONGEST_DETAIL],
        )

    def encode(self) -> bytes:
        """Return the record as it is kept."""
        return json.dumps({"v": FORMAT, **asdict(self)}, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes | str) -> GapRecord | None:
        """Return the record in ``data``, or None where it is of a newer version, or none."""
        try:
            value = json.loads(data)
        except ValueError:
            return None
        if not isinstance(value, dict) or not isinstance(value.get("v"), int) or value["v"] > FORMAT:
            return None
        if not all(type(value.get(name)) is kind for name, kind in _FIELDS.items()):
            return None
        count, detail = value.get("count"), value.get("detail")
        return cls(
            **{name: value[name] for name in _FIELDS},
            position=value.get("position"),
            count=count if isinstance(count, int) else None,
            detail=detail if isinstance(detail, str) else "",
        )

    def content(self) -> dict[str, Any]:
        """Return what a ``gap_actor`` is called with: ``count`` and ``detail`` only where there is any."""
        told = asdict(self)
        if self.count is None:
            del told["count"]
        if not self.detail:
            del told["detail"]
        return told


class GapActor(NamedTuple):
    """Who is told of a feed's gaps: a Dramatiq actor and the queue to which it is sent."""

    actor: str
    queue: str


class GapMessage(NamedTuple):
    """The encoded message about a gap."""

    queue: str
    id: bytes
    data: bytes


def gap_message(record: GapRecord, to: GapActor, before: Callable[[bytes], bytes] | None = None) -> GapMessage:
    """Return the message about a gap, as the process's Dramatiq encoder writes it.

    ``before`` is what the broker's `EnqueueHooks` have to do with it. Raises `PayloadRefused` if it cannot be encoded, and
    `EnqueueVetoed` if a middleware does not let it pass.
    """
    name = str(uuid.uuid5(_IDS, f"{to.queue} {to.actor} {record.encode().decode()}"))
    message: dramatiq.Message[Any] = dramatiq.Message(
        queue_name=to.queue,
        actor_name=to.actor,
        args=(record.content(),),
        kwargs={},
        options={"redis_message_id": name},
        message_id=name,
        message_timestamp=record.to_us // 1000,
    )
    try:
        data = message.encode()
        if before is not None:
            data = before(data)
    except EnqueueVetoed:
        raise
    except Exception as error:  # of whatever kind: the encoder may be anybody's
        raise PayloadRefused("dict", f"{type(error).__name__}: {error}"[:200]) from error
    return GapMessage(to.queue, name.encode(), data)


def gap_command(keys: Keys, group: str, record: GapRecord, message: GapMessage | None = None) -> tuple[bytes, ...]:
    """Return the arguments of the EVAL that keeps a gap and enqueues the message about it; it may be sent again and again.

    The reply is 1 if the gap was new, 0 if it was known.
    """
    names = [keys.gaps(group, record.feed)]
    rest = [b"%d" % record.from_us, record.encode(), b"%d" % MOST_RECORDS]
    if message is not None:
        names += [keys.messages(message.queue), keys.message_data(message.queue)]
        rest += [message.id, message.data]
    return (GAPS.source.encode(), b"%d" % len(names), *(name.encode() for name in names), *rest)


def record_arguments(keys: Keys, group: str, gap: GapFound) -> tuple[bytes, ...]:
    """Return the arguments of the EVAL that keeps a gap of a feed that names no ``gap_actor``."""
    return gap_command(keys, group, GapRecord.of(gap))


def write_gap(client: redis.Redis, keys: Keys, group: str, record: GapRecord, message: GapMessage | None = None) -> bool:
    """Keep a gap; tell whether it was new. Raises `ingest.errors.BrokerError`."""
    with translated():
        return bool(client.execute_command("EVAL", *gap_command(keys, group, record, message)) == 1)


def read_gaps(client: redis.Redis, keys: Keys, group: str, feeds: Sequence[str], *, since_us: int = 0) -> list[GapRecord]:
    """Return the gaps of feeds that ended at ``since_us`` or later, in the order in which they began; one round trip.

    What a reader does not understand is skipped. Raises `ingest.errors.BrokerError`.
    """
    with translated(), client.pipeline(transaction=False) as pipe:
        for feed in feeds:
            pipe.zrange(keys.gaps(group, feed), 0, -1)
        answers = cast("list[list[bytes]]", pipe.execute())
    records = [record for answer in answers for data in answer if (record := GapRecord.decode(data)) is not None]
    return sorted((record for record in records if record.to_us >= since_us), key=lambda record: record.from_us)


def _json_value(value: Any) -> Any:
    """Return a session's position as JSON can keep it."""
    try:
        text = json.dumps(value, allow_nan=False)
        plain = json.loads(text)
    except Exception:  # noqa: BLE001 - a session may have returned anything
        return f"left out: a {type(value).__name__} that is no JSON"
    return (
        plain
        if len(text) <= LONGEST_POSITION
        else f"left out: {len(text)} characters of JSON, at most {LONGEST_POSITION} are kept"
    )
