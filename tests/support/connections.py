"""Stand-ins for what a connection talks to: a scripted transport, a collecting sink, a clock that is set by hand."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from ingest.connection.callbacks import SessionMaker
from ingest.connection.connection import Connection
from ingest.connection.feed import AlwaysLeads, Feed, policy_of
from ingest.connection.hold import Hold
from ingest.connection.session import Session
from ingest.connection.states import Trigger
from ingest.connection.status import FeedStatus
from ingest.errors import ConnectionDropped, EndReason, PayloadRefused
from ingest.events import Event
from settings.model import FeedSettings


class ManualClock:
    """A monotonic clock that goes on only when told to."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class CollectingSink:
    """Keeps what is delivered; refuses ``object`` instances; has room while ``room`` says so; settles when told to.

    With ``wake`` it tells the feed from any thread, as the real one does.
    """

    def __init__(self) -> None:
        self.payloads: list[object] = []
        self.room: Callable[[], bool] = lambda: True
        self.wake: Callable[[], None] = lambda: None
        self.settled = 0
        self.dropped: int | None = None
        self.begun = 0
        self.notify: int | None = None
        self.flushed: list[int] = []

    @property
    def emitted(self) -> int:
        return len(self.payloads)

    def begin(self) -> None:
        self.begun += 1
        self.dropped = None

    def notify_at(self, seq: int | None) -> None:
        self.notify = seq
        self._tell()

    def flush(self) -> None:
        self.flushed.append(self.emitted)

    def settle(self, seq: int) -> None:
        """Say that every payload up to this number is safe."""
        self.settled = seq
        self._tell()

    def drop(self, seq: int) -> None:
        """Say that this payload was dropped."""
        self.dropped = seq
        self._tell()

    def _tell(self) -> None:
        seq = self.notify
        if seq is not None and (self.settled >= seq or (self.dropped is not None and self.dropped <= seq)):
            self.wake()

    def deliver(self, payloads: Sequence[object], received_us: int) -> None:
        for payload in payloads:
            if type(payload) is object:
                raise PayloadRefused("object", "not JSON")
            self.payloads.append(payload)

    def has_room(self) -> bool:
        return self.room()


#: A step after which all others are at hand: a ``receive`` that does not wait finds them too.
AT_HAND = object()


class ScriptedTransport:
    """Answers every ``receive`` with the next step: a list of frames, a reason to raise, or a call to make.

    A ``receive`` that brings nothing moves the clock on by its timeout; one that does not wait finds nothing, but for what comes
    after `AT_HAND`. At the script's end the connection is dropped.
    """

    def __init__(self, clock: ManualClock, script: Iterable[object]) -> None:
        self._clock = clock
        self._script = deque(script)
        self._at_hand = False
        self.sent: list[object] = []
        self.reads: list[bool] = []
        self.closed: tuple[int, str] | None = None
        self.aborted = False
        self.broken = False
        self.bytes_received = 0

    def receive(self, timeout: float | None, *, read: bool = True) -> list[object]:
        self.reads.append(read)
        if self._script and self._script[0] is AT_HAND:
            self._script.popleft()
            self._at_hand = True
        if timeout == 0.0 and not self.broken and not self._at_hand:
            return []
        step = self._script.popleft() if self._script else ConnectionDropped("end of script")
        if callable(step):
            step = step()
        if isinstance(step, EndReason):
            raise step
        if not step:
            self._clock.now += timeout if timeout is not None else 3600.0
        return list(step or [])  # type: ignore[call-overload]

    def send(self, frames: Sequence[object], timeout: float) -> None:
        if self.broken:
            raise ConnectionDropped("broken pipe")
        self.sent.extend(frames)

    def close(self, code: int, reason: str, timeout: float) -> None:
        self.closed = (code, reason)

    def abort(self) -> None:
        self.aborted = True


class Rig:
    """One connection over a scripted transport, with everything it does kept."""

    def __init__(self, session: type[Session] = Session, script: Iterable[object] = (), **settings: object) -> None:
        self.clock = ManualClock()
        self.feed = FeedSettings(name="trades", url="ws://127.0.0.1:1/x", actor="handle", **settings)  # type: ignore[arg-type]
        self.maker = SessionMaker(self.feed, session)
        self.sink = CollectingSink()
        self.events: list[Event] = []
        self.status = FeedStatus("trades", self.events.append, self.clock, self.wall)
        self.transport = ScriptedTransport(self.clock, script)
        self.dialled: list[tuple[str, dict[str, str]]] = []
        self.stop = False

    def run(self):
        self.status.move(Trigger.DIAL)
        return Connection(
            self.feed, self.maker, self.sink, self.status, dial=self._dial, stopping=lambda: self.stop, clock=self.clock
        ).run()

    def wall(self) -> int:
        """The wall clock, in step with the monotonic one."""
        return int(self.clock.now * 1_000_000)

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    def _dial(self, url, headers):
        self.dialled.append((url, dict(headers)))
        return self.transport


class InstantWakeup:
    """A wake-up whose every wait passes at once on the manual clock."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.waited: list[float | None] = []

    def wait(self, timeout: float | None) -> bool:
        self.waited.append(timeout)
        self._clock.now += timeout if timeout is not None else 1.0
        return False


class FeedRig(Rig):
    """A feed whose every attempt ends as the next of ``endings`` says: a reason to fail the dial, or a script."""

    def __init__(self, endings, *, function=None, session=Session, lead=None, **settings):
        super().__init__(session, **settings)
        self.endings = iter(endings)
        self.wakeup = InstantWakeup(self.clock)
        self.hold = Hold()
        self.lead = lead if lead is not None else AlwaysLeads("p1")
        policy = policy_of(self.feed, self.maker, function)
        self.feed_loop = Feed(
            self.feed, self.maker, policy, self.sink, self.status,
            dial=self._dial, wakeup=self.wakeup, stopping=lambda: self.stop, lead=self.lead, hold=self.hold, clock=self.clock,
        )  # fmt: skip

    def _dial(self, url, headers):
        ending = next(self.endings, None)
        if ending is None:
            self.stop = True
            ending = []
        if isinstance(ending, Exception):
            raise ending
        self.transport = ScriptedTransport(self.clock, ending)
        return self.transport


__all__ = ["AT_HAND", "CollectingSink", "FeedRig", "InstantWakeup", "ManualClock", "Rig", "ScriptedTransport"]
