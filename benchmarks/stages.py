"""Where each microsecond goes: the stages of the supervisor's hot path, one by one, over the real classes in one thread.

``python -m benchmarks.stages [SIZE…]``. The rule: every stage gets what the one before it made, in the portions of the real run
(one read of 256 KiB, calls of at most 1000 messages), and nothing else runs. What the sum lacks to the whole of
`into_the_queue` is the two threads: handing over, waiting, and caches that the other has emptied.
"""

from __future__ import annotations

import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.flood_server import messages
from benchmarks.measuring import ROUNDS, keep, median, table
from benchmarks.sending import frame
from ingest.broker.hooks import message_encoder
from ingest.broker.keys import Keys
from ingest.broker.limits import Limits
from ingest.broker.packing import BatchPacker, Position, queues_of
from ingest.connection.callbacks import SessionMaker
from ingest.connection.connection import Connection
from ingest.connection.frames import FrameParser
from ingest.connection.session import Emit, Fail, Session, Skip, To
from ingest.connection.states import Trigger
from ingest.connection.status import FeedStatus
from ingest.connection.stream import READ_BYTES
from ingest.delivery.backlog import Backlog, Bounds, Entry
from ingest.delivery.core import Pace
from ingest.delivery.envelope import Destination, Envelope, PayloadRules
from ingest.delivery.losses import Losses
from ingest.errors import ConnectionDropped
from ingest.service.supervisor import calm_garbage_collection
from settings.model import FeedSettings
from settings.wire import new_producer

SIZES = (180, 2000, 20_000)

#: Seconds of a round of one stage.
ROUND = 0.15


def timed(work: Callable[[], object], frames: int) -> float:
    """Return microseconds of this thread's CPU per frame, the median of rounds after a warm-up."""
    work()
    found = []
    for _ in range(ROUNDS):
        calls, began, end = 0, time.thread_time(), time.monotonic() + ROUND
        while time.monotonic() < end:
            work()
            calls += 1
        found.append((time.thread_time() - began) / calls / frames * 1e6)
    return median(found)


class Discarding:
    """The far end of a pair of sockets, which takes all there is or sends without end."""

    def __init__(self, chunk: bytes | None = None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.near = socket.create_connection(listener.getsockname())
            self._far, _ = listener.accept()
        self._chunk = chunk
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            while True:
                if self._chunk is None:
                    if not self._far.recv(1 << 20):
                        return
                else:
                    self._far.sendall(self._chunk)
        except OSError:
            return

    def close(self) -> None:
        self._far.close()
        self.near.close()


class Nothing:
    """A sink that takes everything and does nothing with it; a connection's own part is what is left."""

    emitted = settled = 0
    dropped = None

    def deliver(self, payloads: object, received_us: int) -> None: ...
    def has_room(self) -> bool:
        return True

    def begin(self) -> None: ...
    def flush(self) -> None: ...
    def notify_at(self, seq: int | None) -> None: ...


class Asked(Session):
    """A session that looks at every frame."""

    def on_frame(self, frame: str | bytes) -> Emit | Skip | Fail:
        return Emit(frame)


class Repeating:
    """A transport that brings the same frames again and again, and measures what happens to them in between."""

    bytes_received = 0

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._reads = 0
        self._began = 0.0
        self._end = 0.0
        self.cost = 0.0

    def receive(self, timeout: float | None, *, read: bool = True) -> list[str]:
        self._reads += 1
        if self._reads == 3:
            self._began, self._end = time.thread_time(), time.monotonic() + ROUND * ROUNDS
        elif self._reads > 3 and time.monotonic() > self._end:
            self.cost = (time.thread_time() - self._began) / (self._reads - 3) / len(self._texts) * 1e6
            raise ConnectionDropped("measured")
        return list(self._texts)

    def send(self, frames: object, timeout: float) -> None: ...
    def close(self, code: int, reason: str, timeout: float) -> list[object]:
        return []

    def abort(self) -> None: ...


def session_stage(session: type[Session], texts: Sequence[str]) -> float:
    """Return what the connection's loop does with a read: stop, lead, deadlines, the session, up to the sink."""
    feed = FeedSettings.model_validate({"name": "trades", "url": "ws://x/", "actor": "handle"})
    status = FeedStatus("trades", lambda event: None)
    transport = Repeating(texts)
    status.move(Trigger.DIAL)
    dial: Any = lambda url, headers: transport  # noqa: E731
    sink: Any = Nothing()
    Connection(feed, SessionMaker(feed, session), sink, status, dial=dial, stopping=lambda: False).run()
    return transport.cost


def stages(size: int) -> dict[str, float]:
    """Return microseconds per frame by stage."""
    frames = [frame(each) for each in messages(size)]
    per_read = max(1, READ_BYTES // len(frames[0]))
    stream = (b"".join(frames) * (READ_BYTES // 1_000_000 + 2))[: per_read * len(frames[0])]
    found: dict[str, float] = {"socket: poll, recv": receiving(stream, per_read)}
    parser = FrameParser(1 << 24, None)
    found["parser: frames, UTF-8"] = timed(lambda: parser.feed(stream), per_read)
    texts = [each for each in FrameParser(1 << 24, None).feed(stream) if isinstance(each, str)]
    found["session: loop, deadlines, emit"] = session_stage(Session, texts)
    found["(a session with `on_frame`)"] = session_stage(Asked, texts)
    envelope = make_envelope()
    entries: list[Entry] = []
    envelope.seal(texts, 1, 1, entries)
    found["envelope: JSON, id"] = timed(lambda: envelope.seal(texts, 1, 1_790_000_000_000_000, []), per_read)
    found["backlog: put, take, commit"] = backlogging(entries)
    call = entries[: min(Pace().messages, max(1, Pace().size // len(entries[0].data)))]
    packer = BatchPacker("0" * 40, "feed", Keys("dramatiq"), lambda queue: Limits())
    at = Position("p", "p.p", "1:nonce:", 1, 2)
    found["packing: one EVALSHA"] = timed(lambda: packer.pack(at, queues_of(call), call), len(call))
    found["socket: send, reply"] = sending(packer.pack(at, queues_of(call), call), len(call))
    return found


def make_envelope() -> Envelope:
    return Envelope(
        feed="trades",
        producer=new_producer(),
        destination=Destination("trades", "handle"),
        rules=PayloadRules(),
        encoder=message_encoder(),
        routed=To,
    )


def receiving(stream: bytes, frames: int) -> float:
    far = Discarding(stream)
    poller = select.poll()
    poller.register(far.near.fileno(), select.POLLIN)
    taken = [0]

    def read() -> None:
        poller.poll(None)
        taken[0] += len(far.near.recv(READ_BYTES))

    read()
    taken[0], began, end = 0, time.thread_time(), time.monotonic() + ROUND * ROUNDS
    while time.monotonic() < end:
        read()
    spent = time.thread_time() - began
    far.close()
    return spent / (taken[0] / (len(stream) / frames)) * 1e6


def sending(call: bytes, frames: int) -> float:
    far = Discarding()
    try:
        return timed(lambda: far.near.sendall(call), frames)
    finally:
        far.close()


def backlogging(entries: list[Entry]) -> float:
    backlog = Backlog(Bounds(1_000_000, 1 << 30), Losses("trades", "trades", lambda event: None))
    chain = backlog.open(new_producer(), 1)
    number = [0]

    def work() -> None:
        first = number[0]
        numbered = [entry._replace(seq=first + n, last=first + n) for n, entry in enumerate(entries, 1)]
        number[0] += len(entries)
        began[0] -= time.thread_time()
        backlog.put(chain, numbered)
        while taken := backlog.take(chain, Pace().messages, Pace().size):
            backlog.commit(chain, taken[-1].last)
        began[0] += time.thread_time()

    began = [0.0]
    work()
    began[0], before = 0.0, number[0]
    end = time.monotonic() + ROUND * ROUNDS
    while time.monotonic() < end:
        work()
    return began[0] / (number[0] - before) * 1e6


def main(*sizes: str) -> None:
    calm_garbage_collection()  # as the supervisor does
    found = {size: stages(size) for size in map(int, sizes or map(str, SIZES))}
    for size, costs in found.items():
        keep("stages", {"size": size, **costs})
    names = list(next(iter(found.values())))
    rows = [[name, *(f"{costs[name]:.2f}" for costs in found.values())] for name in names]
    counted = [name for name in names if not name.startswith("(")]
    rows.append(["sum", *(f"{sum(costs[name] for name in counted):.2f}" for costs in found.values())])
    print(table(("µs CPU a frame", *(f"{size} B" for size in found)), rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
