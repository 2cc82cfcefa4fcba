"""One connection: dial, bootstrap, read until it ends; the reason why it ended is the result.

The rule: every way to end is one `EndReason`, raised anywhere below `Connection.run` and handled only there.

It is long because it is one loop over one socket: what was read, what is to be sent and what is due wait for each other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NoReturn

from ingest.clock import Monotonic, monotonic
from ingest.connection.acks import Acks
from ingest.connection.callbacks import Callbacks, SessionMaker
from ingest.connection.farewell import say_farewell
from ingest.connection.frames import Close, Ping, Pong, Received, Violation
from ingest.connection.liveness import Liveness, deadlines_of
from ingest.connection.outcome import session_failed
from ingest.connection.outgoing import pongs
from ingest.connection.ports import Dial, Sink, Transport
from ingest.connection.retry import ConnectionEnd
from ingest.connection.session import Emit, Fail, Outgoing, Skip
from ingest.connection.states import Trigger
from ingest.connection.status import FeedStatus
from ingest.errors import (
    BootstrapFailed,
    ClosedByServer,
    ConnectionDropped,
    EndReason,
    FeedCrashed,
    Fenced,
    FrameHandlerFailed,
    Paused,
    PayloadDropped,
    PayloadRefused,
    ProtocolViolated,
    SendTimedOut,
    Stopped,
)
from ingest.events import BootstrapSent, ConnectionOpened
from settings.masking import mask_url
from settings.model import FeedSettings

_DATA = frozenset({str, bytes})
_PINGS = frozenset({Ping, Pong})


class Connection:
    """One attempt, from the dial to the end."""

    def __init__(
        self,
        feed: FeedSettings,
        maker: SessionMaker,
        sink: Sink,
        status: FeedStatus,
        *,
        dial: Dial,
        stopping: Callable[[], bool],
        leads: Callable[[], bool] = lambda: True,
        held: Callable[[], bool] = lambda: False,
        on_ready: Callable[[], None] = lambda: None,
        clock: Monotonic = monotonic,
    ) -> None:
        self._feed = feed
        self._sink = sink
        self._status = status
        self._dial = dial
        self._stopping = stopping
        self._leads = leads
        self._held = held
        self._on_ready = on_ready
        self._clock = clock
        self.behind = False  # reading had stopped, and has not caught up with the server since
        self._acks = Acks()
        self._awaited: int | None = None  # the number at which the sink wakes us
        self._callbacks = Callbacks(maker, status)
        self._passes_through = maker.passes_through
        self._tells_position = maker.tells_position
        self._ready = False
        self._url = ""
        self._acks_added = False
        self._bytes_before = 0  # of all connections before this one
        self._unsent: ConnectionDropped | SendTimedOut | None = None  # sending failed; what was read is handled first

    def run(self) -> ConnectionEnd:
        """Dial, bootstrap and read until the end; never raises an `EndReason`."""
        try:
            self._url, headers = self._callbacks.prepare()
            began = self._clock()
            transport = self._dial(self._url, headers)
        except EndReason as reason:
            return self._status.end_of(reason)
        self._bytes_before = self._status.bytes
        try:
            self._status.move(Trigger.UPGRADED)
            self._tell_opened(self._clock() - began)
            self._serve(transport)
        except EndReason as reason:
            say_farewell(transport, reason)
            return self._status.end_of(reason)
        except Exception as fault:
            self._status.end_of(FeedCrashed(fault))
            raise
        finally:
            self._sink.flush()
            self._sink.notify_at(None)
            transport.abort()  # a no-op once closed; frees the socket also when our own loop crashed
            self._status.bytes = self._bytes_before + transport.bytes_received
            self._status.unblock()

    def _serve(self, transport: Transport) -> NoReturn:
        """Bootstrap, then read; ends by raising an `EndReason`."""
        self._transport = transport
        self._liveness = Liveness(deadlines_of(self._feed), self._clock())
        self._status.unread_since = None
        self._sink.begin()
        self._obey()
        self._bootstrap()
        pulse = self._status.pulse
        while True:
            self._acknowledge()
            self._obey()
            self._keep_alive()
            reading = self._may_read()
            if not self.behind:
                self._status.unread_since = None  # from here on, what comes is read as it comes
            pulse.rest()
            received = transport.receive(self._patience(reading), read=reading)
            pulse.beat()
            self._status.note_unread()
            self._status.bytes = self._bytes_before + transport.bytes_received
            if received:
                self._take(received)
            elif reading:
                # A wake-up may have come first: what the socket holds is read before any deadline is judged.
                received = transport.receive(0.0)
                self._take(received)
                self.behind = self.behind and bool(received)
            self._judge(drained=reading and not received)

    def _obey(self) -> None:
        """End the connection where this process was asked to stop or to pause, or does not lead the feed any more."""
        if self._stopping():
            raise Stopped
        if not self._leads():
            raise Fenced
        if self._held():
            raise Paused

    def _tell_opened(self, seconds: float) -> None:
        url = mask_url(self._url, self._feed.secrets)
        self._status.publish(ConnectionOpened(telemetry_id=self._feed.label, url=url, seconds=seconds))

    def _bootstrap(self) -> None:
        frames = self._callbacks.bootstrap()
        try:
            self._send(frames)
        except (ConnectionDropped, SendTimedOut, FrameHandlerFailed) as error:
            raise BootstrapFailed(error, f"sending: {error}") from error
        self._status.publish(BootstrapSent(telemetry_id=self._feed.label, frames=len(frames)))
        if not self._callbacks.session.awaits_ready:
            self._readied()

    def _readied(self) -> None:
        if not self._ready:
            self._ready = True
            self._liveness.readied()
            self._status.readied(mask_url(self._url, self._feed.secrets))
            self._on_ready()

    def _send(self, frames: Sequence[Outgoing | Ping | Pong]) -> None:
        if not frames:
            return
        try:
            self._transport.send(frames, self._feed.open_timeout)
        except (ValueError, TypeError) as error:  # a text that UTF-8 cannot say: nothing of it has left
            raise FrameHandlerFailed(error, f"a frame cannot be sent: {error}") from error

    def _send_or_note(self, frames: Sequence[Outgoing | Ping | Pong]) -> None:
        """Send; where that fails, end the connection only after all that was read has been handled."""
        if self._unsent is None:
            try:
                self._send(frames)
            except (ConnectionDropped, SendTimedOut) as error:
                self._unsent = error

    def _acknowledge(self) -> None:
        """Send the acks whose payloads are safe, and ask to be woken for the next."""
        acks = self._acks
        if not acks:
            return
        if self._acks_added:  # what they wait for must not wait for more to come
            self._acks_added = False
            self._sink.flush()
        self._send_or_note(acks.take(self._sink.settled))
        if acks.next_seq != self._awaited:
            self._awaited = acks.next_seq
            self._sink.notify_at(self._awaited)
        dropped = self._sink.dropped
        if dropped is not None and self._awaited is not None and self._awaited >= dropped:
            raise PayloadDropped(len(acks))  # the next connection gets it again; on this one nothing would be acknowledged ever

    def _keep_alive(self) -> None:
        """Send the heartbeat and the ping that are due."""
        now = self._clock()
        if self._liveness.heartbeat_due(now):
            self._send_or_note(self._callbacks.heartbeat())
            self._liveness.heartbeat_sent(now)
        if self._liveness.ping_due(now):
            payload = os.urandom(4)
            self._send_or_note([Ping(payload)])
            self._liveness.ping_sent(payload, now)

    def _may_read(self) -> bool:
        """Stop reading while the backlog, or what waits to be acknowledged, is full, and deadlines that need reading with it."""
        if self._sink.has_room() and self._acks.has_room:
            if self._status.blocked:
                self._liveness.resume(self._clock())
                self._status.unblock()
            return True
        self._liveness.suspend()
        self._status.note_unread()
        self.behind = True
        return False

    def _patience(self, reading: bool) -> float | None:
        """Return the seconds until something is due, None if nothing ever is."""
        if reading and (self.behind or self._unsent is not None):  # until nothing is left of what came meanwhile
            return 0.0
        moment = self._liveness.next_at() - self._clock()
        until_told = None if reading else self._status.block()
        patience = moment if until_told is None else min(moment, until_told)
        return None if patience == float("inf") else max(0.0, patience)

    def _judge(self, *, drained: bool) -> None:
        """End the connection if a deadline has passed, or if it takes nothing any more and all that came is read.

        While unread data remains, the pong that we wait for may be behind it: then only after twice the time.
        """
        if self._unsent is not None and (drained or isinstance(self._unsent, SendTimedOut)):
            raise self._unsent
        now = self._clock()
        reason = self._liveness.expired(now if drained else now - self._feed.ping_timeout)
        if reason is not None:
            raise reason

    def _take(self, received: list[Received]) -> None:
        """Handle all that one read brought."""
        if not received:
            return
        received_us = self._status.heard_us = self._status.wall()
        self._status.read_frames.add(len(received))
        kinds = set(map(type, received))
        self._liveness.heard(self._clock(), data=not kinds.isdisjoint(_DATA))
        if not kinds.isdisjoint(_PINGS):
            self._answer_pings(received)
        if self._passes_through and kinds <= _DATA:
            self._status.frames += len(received)
            self._deliver(received, received_us)
        else:
            self._each(received, received_us)

    def _answer_pings(self, received: list[Received]) -> None:
        """Answer pings and take pongs, before the session may need its time for the rest."""
        for item in received:
            if isinstance(item, Pong):
                round_trip = self._liveness.pong(item.payload, self._clock())
                if round_trip is not None:
                    self._status.note_round_trip(round_trip)
        self._send_or_note(pongs(received))

    def _each(self, received: list[Received], received_us: int) -> None:
        """Ask the session frame by frame; what was emitted before an end is delivered all the same."""
        pending: list[object] = []
        began = self._clock()
        try:
            for item in received:
                if isinstance(item, str | bytes):
                    self._status.frames += 1
                    if self._passes_through:
                        pending.append(item)
                    else:
                        self._ask(item, pending, received_us)
                elif isinstance(item, Close):
                    raise ClosedByServer(item.code, item.reason)
                elif isinstance(item, Violation):
                    raise ProtocolViolated(item.code, item.detail)
        except FrameHandlerFailed:
            self._tells_position = False  # the session may have gone past what it emitted
            raise
        finally:
            if not self._passes_through:
                self._status.handler_seconds.add(self._clock() - began)
            self._deliver(pending, received_us)

    def _ask(self, item: str | bytes, pending: list[object], received_us: int) -> None:
        result = self._callbacks.on_frame(item)
        if isinstance(result, Fail):
            raise session_failed(result)
        if isinstance(result, Emit):
            pending.extend(result.payloads)
            if result.ack:
                self._acks.add(self._sink.emitted + len(pending), result.ack)
                self._acks_added = True
        if result.reply or result.ready:
            self._follow(result, pending, received_us)

    def _follow(self, result: Emit | Skip, pending: list[object], received_us: int) -> None:
        """Send the reply, after what was emitted is in the backlog: a reply may tell the server that we have it."""
        emitted = pending.copy()
        pending.clear()  # also where one of them is refused: those before it are taken, and must not be so twice
        self._deliver(emitted, received_us)
        if result.reply:
            self._sink.flush()
        self._send_or_note(result.reply)
        if result.ready:
            self._readied()

    def _deliver(self, payloads: Sequence[object], received_us: int) -> None:
        if not payloads:
            return
        try:
            self._sink.deliver(payloads, received_us)
        except PayloadRefused as error:
            raise FrameHandlerFailed(error, str(error)) from error
        if self._tells_position:
            self._callbacks.position()
            self._status.note_place(self._sink.emitted)
