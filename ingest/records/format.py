"""The bytes of a record: a mark, a header, then one entry after the other. Pure; what compresses them is `ingest.records.stream`.

An entry is a head (``length: u32, crc32: u32, kind: u8, at_us: u64``, big-endian) and ``length`` bytes. ``at_us`` is microseconds
since the record began, on the monotonic clock; the checksum is over kind, time and content. Kinds: the opcodes of RFC 6455 (with
0x80 for what we sent), and 0x20 header, 0x30 event, 0x31 emitted payloads, 0x3f end, each with a JSON object.

The rule: whatever the bytes are, reading them gives a prefix of what was written, or says that they are damaged; an entry is
never believed before its checksum is right.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import orjson

from ingest.errors import NotARecord, RecordDamaged, RecordTooNew

#: Version of the format; a reader takes every version up to its own.
VERSION = 1

#: The first bytes, of every version.
MARK = b"dramatiq-websocket record\n"

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
OPCODES = frozenset({TEXT, BINARY, CLOSE, PING, PONG})

#: The most bytes of one entry's content.
LONGEST = 256 * 1024 * 1024

_OUTBOUND = 0x80
_HEADER, _EVENT, _EMITTED, _END = 0x20, 0x30, 0x31, 0x3F

_HEAD = struct.Struct("!IIBQ")
_CHECKED = struct.Struct("!BQ")


@dataclass(frozen=True, slots=True)
class Header:
    """What a record says of itself.

    ``started_us`` is wall-clock microseconds at its beginning. ``about`` is for readers: what recorded it, the feed's masked URL,
    its actor, its queue, and how payloads become JSON.
    """

    feed: str
    started_us: int
    version: int = VERSION
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FrameEntry:
    """One message or control frame; a text is its UTF-8, a close its code and reason as on the wire."""

    at_us: int
    opcode: int
    payload: bytes
    outbound: bool = False

    @property
    def is_data(self) -> bool:
        return self.opcode in (TEXT, BINARY)

    @property
    def message(self) -> str | bytes:
        """The content as a session gets or gives it."""
        return self.payload.decode() if self.opcode == TEXT else self.payload


@dataclass(frozen=True, slots=True)
class EventEntry:
    """Something that happened: ``connecting``, ``upgraded``, ``ready``, ``lost``, …"""

    at_us: int
    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EmittedEntry:
    """Payloads that the session emitted, as an actor gets them."""

    at_us: int
    payloads: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class EndEntry:
    """The record was ended in order; ``fields`` are its counts."""

    at_us: int
    fields: Mapping[str, Any] = field(default_factory=dict)


Entry = FrameEntry | EventEntry | EmittedEntry | EndEntry


def encode_header(header: Header) -> bytes:
    """Return the beginning of a record."""
    content = {"feed": header.feed, "started_us": header.started_us, "version": header.version, "about": dict(header.about)}
    return MARK + _pack(_HEADER, 0, _json(content))


def encode(entry: Entry) -> bytes:
    """Return an entry's bytes; `RecordDamaged` where it is longer than a record can hold."""
    match entry:
        case FrameEntry(at_us, opcode, payload, outbound):
            return _pack(opcode | (_OUTBOUND if outbound else 0), at_us, payload)
        case EventEntry(at_us, name, fields):
            return _pack(_EVENT, at_us, _json({"event": name, **fields}))
        case EmittedEntry(at_us, payloads):
            return _pack(_EMITTED, at_us, _json({"payloads": payloads}))
        case EndEntry(at_us, fields):
            return _pack(_END, at_us, _json(dict(fields)))


class Decoder:
    """Takes the bytes of a record in pieces of any size; `header` is there once enough of them came.

    `feed` raises `NotARecord`, `RecordTooNew` or `RecordDamaged`; what it returned before stands.
    """

    def __init__(self) -> None:
        self.header: Header | None = None
        self.ended = False
        self._held = bytearray()
        self._marked = False

    @property
    def pending(self) -> int:
        """Bytes of an entry that is not whole."""
        return len(self._held)

    def feed(self, data: bytes) -> list[Entry]:
        """Return every entry that ``data`` completes."""
        self._held += data
        if not self._marked and not self._take_mark():
            return []
        entries: list[Entry] = []
        at = 0
        try:
            while (found := self._entry(at)) is not None:
                at, entry = found
                if entry is not None:
                    entries.append(entry)
        except RecordDamaged as damaged:
            if not entries:
                raise
            damaged.before = tuple(entries)
            raise
        finally:
            del self._held[:at]
        return entries

    def _take_mark(self) -> bool:
        if not MARK.startswith(self._held[: len(MARK)]):
            raise NotARecord("it does not begin as one")
        if len(self._held) < len(MARK):
            return False
        del self._held[: len(MARK)]
        self._marked = True
        return True

    def _entry(self, at: int) -> tuple[int, Entry | None] | None:
        """Return where the next entry begins, and the one at ``at`` (None for what only a newer writer knows)."""
        held = self._held
        if len(held) - at < _HEAD.size:
            return None
        if self.ended:
            raise RecordDamaged("something follows its end")
        length, checksum, kind, at_us = _HEAD.unpack_from(held, at)
        if length > LONGEST:
            raise RecordDamaged(f"an entry of {length} bytes")
        start = at + _HEAD.size
        if len(held) < start + length:
            return None
        content = bytes(held[start : start + length])
        if crc32(content, crc32(_CHECKED.pack(kind, at_us))) != checksum:
            raise RecordDamaged("a checksum is wrong")
        return start + length, self._understand(kind, at_us, content)

    def _understand(self, kind: int, at_us: int, content: bytes) -> Entry | None:
        if self.header is None:
            self.header = _header(kind, content)
            return None
        opcode = kind & ~_OUTBOUND
        if opcode in OPCODES:
            if opcode == TEXT:
                _check_text(content)
            return FrameEntry(at_us, opcode, content, bool(kind & _OUTBOUND))
        if kind not in (_EVENT, _EMITTED, _END):
            return None
        fields = _object(content)
        if kind == _EVENT:
            return EventEntry(at_us, str(fields.pop("event", "")), fields)
        if kind == _EMITTED:
            payloads = fields.get("payloads")
            return EmittedEntry(at_us, tuple(payloads) if isinstance(payloads, list) else ())
        self.ended = True
        return EndEntry(at_us, fields)


def _pack(kind: int, at_us: int, content: bytes) -> bytes:
    if len(content) > LONGEST:
        raise RecordDamaged(f"an entry of {len(content)} bytes; at most {LONGEST} fit")
    return _HEAD.pack(len(content), crc32(content, crc32(_CHECKED.pack(kind, at_us))), kind, at_us) + content


def _json(value: object) -> bytes:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)


def _object(content: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise RecordDamaged("an entry that should be a JSON object is none")
    return value


def _header(kind: int, content: bytes) -> Header:
    if kind != _HEADER:
        raise RecordDamaged("it has no header")
    fields = _object(content)
    version, feed, started_us, about = (fields.get(name) for name in ("version", "feed", "started_us", "about"))
    if not isinstance(version, int):
        raise RecordDamaged("its header has no version")
    if version > VERSION:
        raise RecordTooNew(f"its format is version {version}, and this version of dramatiq-websocket reads up to {VERSION}")
    if not isinstance(feed, str) or not isinstance(started_us, int) or not isinstance(about, dict):
        raise RecordDamaged("its header is not complete")
    return Header(feed, started_us, version, about)


def _check_text(content: bytes) -> None:
    try:
        content.decode()
    except UnicodeDecodeError:
        raise RecordDamaged("a text that is not UTF-8") from None
