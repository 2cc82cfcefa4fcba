"""Where frames, payloads and events are overheard: around the transport, in place of the queue, and among the feed's events.

The rule: the connection never knows; what it gets and gives is what it would be without us.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ingest.connection.frames import Close, Ping, Pong, Received, Violation
from ingest.connection.ports import Dial
from ingest.connection.session import Outgoing
from ingest.connection.transport import Transport
from ingest.errors import ClosedByServer, EndReason, HandshakeRejected
from ingest.events import ConnectionFailed, ConnectionLost, ConnectionReady, Event, HandlerFailed, RetryScheduled
from ingest.records import connections as names
from ingest.records.delivered import Delivered
from ingest.records.format import BINARY, CLOSE, PING, PONG, TEXT, EmittedEntry, EventEntry, FrameEntry
from ingest.records.scrub import Scrubber
from ingest.records.writing import RecordWriter
from ingest.telemetry.facts import event_fields, event_name, safe_text


class Tap:
    """Writes what is overheard, scrubbed; counts it, and says when there is enough.

    Parameters:
      most: data frames after which the recording is to end; None: no limit.
      enough: called (in the feed's thread) once they have come, or when the record cannot be written any more.
    """

    def __init__(self, writer: RecordWriter, scrubber: Scrubber, *, most: int | None, enough: Callable[[], None]) -> None:
        self.frames = 0
        self.sent = 0
        self.emitted = 0
        self.connections = 0
        self._writer = writer
        self._scrub = scrubber
        self._most = most
        self._enough = enough

    def tell(self, event: Event) -> None:
        """Keep an event of the feed, if it is about its connections."""
        match event:
            case ConnectionReady():
                self._note(names.READY)
            case ConnectionLost(reason=reason, lasted=lasted):
                self._note(names.LOST, {**self._reason(reason), "lasted": round(lasted, 3), "emitted": self.emitted})
            case ConnectionFailed(reason=reason):
                self._note(names.FAILED, self._reason(reason))
            case RetryScheduled() | HandlerFailed():
                fields = {name: value for name, value in event_fields(event).items() if name != "feed"}
                self._note(event_name(type(event)), self._said(fields))
            case _:
                pass

    def connecting(self, url: str, headers: Mapping[str, str]) -> None:
        """An attempt begins; of its request only the number is kept."""
        self._scrub.hide_request(url, headers)
        self.connections += 1
        self._note(names.CONNECTING, {"number": self.connections})

    def upgraded(self, subprotocol: str | None) -> None:
        """The server took the upgrade."""
        self._note(names.UPGRADED, {} if subprotocol is None else {"subprotocol": self._scrub.said(subprotocol)})

    def subscribed(self) -> None:
        """What was sent so far is the bootstrap; from now on frames are read."""
        self._note(names.SUBSCRIBED)

    def took(self, received: Sequence[Received]) -> list[Received]:
        """Keep what came, and return it; no more than is wanted."""
        at_us = self._writer.now_us()
        entries: list[FrameEntry | EventEntry] = []
        taken: list[Received] = []
        for item in received:
            if self._most is not None and self.frames >= self._most:
                break
            self.frames += isinstance(item, str | bytes)
            taken.append(item)
            entries.append(self._received(at_us, item))
        self._write(*entries)
        if self._most is not None and self.frames >= self._most:
            self._enough()
        return taken

    def gave(self, frames: Sequence[Outgoing | Ping | Pong]) -> None:
        """Keep what was sent."""
        at_us = self._writer.now_us()
        self.sent += sum(isinstance(frame, str | bytes) for frame in frames)
        self._write(*[self._sent(at_us, frame) for frame in frames])

    def closed(self, code: int, reason: str) -> None:
        """Keep our close."""
        payload = code.to_bytes(2, "big") + self._scrub.said(reason).encode()[:123]
        self._write(FrameEntry(self._writer.now_us(), CLOSE, payload, outbound=True))

    def delivered(self, payloads: Sequence[Any]) -> None:
        """Keep what the session emitted, as an actor would get it."""
        self.emitted += len(payloads)
        self._write(EmittedEntry(self._writer.now_us(), tuple(self._scrub.payload(value) for value in payloads)))

    def flush(self) -> bool:
        """Bring everything to the file; tell whether it is there."""
        return self._writer.flush()

    def _received(self, at_us: int, item: Received) -> FrameEntry | EventEntry:
        match item:
            case str():
                return FrameEntry(at_us, TEXT, self._scrub.received(item.encode()))
            case bytes():
                return FrameEntry(at_us, BINARY, self._scrub.received(item))
            case Ping(payload):
                return FrameEntry(at_us, PING, payload)
            case Pong(payload):
                return FrameEntry(at_us, PONG, payload)
            case Close(code, reason):
                head = b"" if code == names.NO_CODE else code.to_bytes(2, "big")
                return FrameEntry(at_us, CLOSE, head + self._scrub.received(reason.encode()))
            case Violation(code, detail):
                return EventEntry(at_us, "violation", {"code": code, "detail": detail})

    def _sent(self, at_us: int, frame: Outgoing | Ping | Pong) -> FrameEntry:
        match frame:
            case str():
                return FrameEntry(at_us, TEXT, self._scrub.sent(frame.encode(), text=True), outbound=True)
            case Ping(payload):
                return FrameEntry(at_us, PING, payload, outbound=True)
            case Pong(payload):
                return FrameEntry(at_us, PONG, payload, outbound=True)
            case _:
                return FrameEntry(at_us, BINARY, self._scrub.sent(frame, text=False), outbound=True)

    def _reason(self, reason: EndReason) -> dict[str, Any]:
        fields: dict[str, Any] = {"reason": reason.kind, "detail": safe_text(str(reason))}
        if isinstance(reason, HandshakeRejected):
            fields |= {"status": reason.status, "retry_after": reason.retry_after}
        if isinstance(reason, ClosedByServer):
            fields["code"] = reason.code
        return self._said(fields)

    def _said(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._scrub.said(value) if isinstance(value, str) else value for name, value in fields.items()}

    def _note(self, name: str, fields: Mapping[str, Any] | None = None) -> None:
        self._write(EventEntry(self._writer.now_us(), name, fields or {}))

    def _write(self, *entries: FrameEntry | EventEntry | EmittedEntry) -> None:
        self._writer.write(*entries)
        if self._writer.failure is not None:
            self._enough()


class TappedTransport:
    """A transport whose frames are kept."""

    def __init__(self, transport: Transport, tap: Tap) -> None:
        self._transport = transport
        self._tap = tap
        self._reads = False

    @property
    def bytes_received(self) -> int:
        return self._transport.bytes_received

    def receive(self, timeout: float | None, *, read: bool = True) -> list[Received]:
        if not self._reads:
            self._reads = True
            self._tap.subscribed()
        received = self._transport.receive(timeout, read=read)
        return self._tap.took(received) if received else received

    def send(self, frames: Sequence[Outgoing | Ping | Pong], timeout: float) -> None:
        self._transport.send(frames, timeout)
        self._tap.gave(frames)

    def close(self, code: int, reason: str, timeout: float) -> object:
        self._tap.closed(code, reason)
        return self._transport.close(code, reason, timeout)

    def abort(self) -> None:
        self._transport.abort()


def tapped(connect: Callable[[str, Mapping[str, str]], Transport], tap: Tap) -> Dial:
    """Return a dial whose connections are kept."""

    def dial(url: str, headers: Mapping[str, str]) -> TappedTransport:
        tap.connecting(url, headers)
        transport = connect(url, headers)
        tap.upgraded(transport.subprotocol)
        return TappedTransport(transport, tap)

    return dial


class FileSink:
    """Takes payloads in place of a queue; they are safe once they are in the file.

    So acks leave as they would, and a server believes that we have what it sent: the record does.
    """

    def __init__(self, tap: Tap, delivered: Delivered, wake: Callable[[], object]) -> None:
        self._tap = tap
        self._delivered = delivered
        self._wake = wake
        self._emitted = 0
        self._settled = 0

    @property
    def emitted(self) -> int:
        return self._emitted

    @property
    def settled(self) -> int:
        return self._settled

    @property
    def dropped(self) -> int | None:
        return None

    def begin(self) -> None:
        """A connection begins."""

    def notify_at(self, seq: int | None) -> None:
        if seq is not None:
            self.flush()
            self._wake()

    def deliver(self, payloads: Sequence[object], received_us: int) -> None:
        taken: list[Any] = []
        try:
            self._delivered.take(payloads, taken)
        finally:
            self._emitted += len(taken)
            if taken:
                self._tap.delivered(taken)

    def flush(self) -> None:
        if self._settled < self._emitted and self._tap.flush():
            self._settled = self._emitted

    def has_room(self) -> bool:
        return True
