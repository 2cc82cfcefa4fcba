"""Events reach every sink, and no sink can harm the publisher or another sink."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ingest.events import ConnectionStatus, Event, SinkFailed, SinkOverloaded
from ingest.telemetry.bus import Bus, Sink
from tests.support.waiting import wait_until

DEADLINE = 10.0


class Recorder:
    """A sink that remembers; raises on the events that ``fails_on`` names."""

    def __init__(self, name: str = "recorder", fails_on: tuple[str, ...] = ()) -> None:
        self.name = name
        self.events: list[Event] = []
        self.threads: set[str] = set()
        self.closed = 0
        self._fails_on = fails_on

    def handle(self, event: Event) -> None:
        self.threads.add(threading.current_thread().name)
        if event.telemetry_id in self._fails_on:
            raise ValueError(f"no {event.telemetry_id}, please")
        self.events.append(event)

    def close(self) -> None:
        self.closed += 1


class Gate(Recorder):
    """A sink that is stuck in its first event until it is opened."""

    def __init__(self) -> None:
        super().__init__("gate")
        self.entered = threading.Event()
        self.opened = threading.Event()

    def handle(self, event: Event) -> None:
        self.entered.set()
        assert self.opened.wait(DEADLINE)
        super().handle(event)


@contextmanager
def running(*sinks: Sink, capacity: int = 100) -> Iterator[Bus]:
    bus = Bus(sinks, capacity=capacity)
    try:
        yield bus
    finally:
        bus.close(DEADLINE)


def wait_for(sink: Recorder, count: int) -> None:
    wait_until(lambda: len(sink.events) >= count, DEADLINE, f"{count} events")


def ready(feed: str = "trades") -> Event:
    return ConnectionStatus(telemetry_id=feed, value=1)


def test_every_sink_gets_every_event_in_order_in_a_thread_of_its_own() -> None:
    first, second = Recorder("first"), Recorder("second")
    events = [ready(f"feed-{number}") for number in range(50)]

    with running(first, second) as bus:
        for event in events:
            bus.publish(event)
        assert bus.close(DEADLINE)

    assert first.events == second.events == events
    assert first.threads == {"telemetry-first"}
    assert second.threads == {"telemetry-second"}
    assert bus.counts()["first"].handled == 50


def test_a_failing_sink_is_counted_told_once_and_goes_on() -> None:
    other, failing = Recorder("other"), Recorder("failing", fails_on=("bad",))

    with running(other, failing) as bus:
        for feed in ("bad", "bad", "good"):
            bus.publish(ready(feed))
        # The report comes from the failing sink's thread, so it may still be on its way.
        wait_until(lambda: [event for event in other.events if isinstance(event, SinkFailed)], DEADLINE, "the report")
        assert bus.close(DEADLINE)

    reports = [event for event in other.events if isinstance(event, SinkFailed)]
    assert [(report.sink, str(report.cause)) for report in reports] == [("failing", "no bad, please")]
    assert [event.telemetry_id for event in other.events if event not in reports] == ["bad", "bad", "good"]
    assert bus.counts()["failing"].failed >= 2
    assert "good" in [event.telemetry_id for event in failing.events]


def test_a_stuck_sink_never_blocks_the_publisher_nor_the_other_sinks() -> None:
    gate, other = Gate(), Recorder("other")

    with running(gate, other, capacity=10) as bus:
        bus.publish(ready("first"))
        assert gate.entered.wait(DEADLINE)
        for number in range(10):
            bus.publish(ready(f"waits-{number}"))
            wait_for(other, 2 + number)
        for number in range(5):
            bus.publish(ready(f"dropped-{number}"))
            # The report of the overload, told with the first drop, is one more.
            wait_for(other, 13 + number)
        dropped = bus.counts()["gate"].dropped
        gate.opened.set()
        assert bus.close(DEADLINE)

    assert dropped == 5
    assert [event.sink for event in other.events if isinstance(event, SinkOverloaded)] == ["gate"]
    assert len(other.events) == 1 + 10 + 5 + 1
    assert [event.telemetry_id for event in gate.events] == ["first", *(f"waits-{number}" for number in range(10))]


def test_close_gives_up_on_a_stuck_sink_and_still_closes_the_others() -> None:
    gate, other = Gate(), Recorder("other")
    bus = Bus([gate, other])
    bus.publish(ready())
    assert gate.entered.wait(DEADLINE)

    complete = bus.close(0.2)
    gate.opened.set()

    assert not complete
    assert other.closed == 1
    assert [event.telemetry_id for event in other.events] == ["trades"]


def test_what_is_published_after_close_goes_nowhere() -> None:
    sink = Recorder()
    bus = Bus([sink])
    assert bus.close(DEADLINE)

    bus.publish(ready())

    assert sink.events == []
    assert bus.counts()["recorder"].dropped == 0


def test_a_sink_that_fails_to_close_harms_nobody() -> None:
    class Slammed(Recorder):
        def close(self) -> None:
            raise OSError("the disk has gone")

    bus = Bus([Slammed("slammed")])

    assert bus.close(DEADLINE)
    assert bus.counts()["slammed"].failed == 1


def test_publishing_from_many_threads_loses_nothing() -> None:
    sink = Recorder()
    with running(sink, capacity=10_000) as bus:
        threads = [threading.Thread(target=lambda: [bus.publish(ready()) for _ in range(200)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        assert bus.close(DEADLINE)

    assert len(sink.events) == 1600


class Ticking(Recorder):
    """A sink that wants to look now and then; its first look fails."""

    def __init__(self) -> None:
        super().__init__("ticking")
        self.ticks = 0

    def tick(self) -> None:
        self.ticks += 1
        if self.ticks == 1:
            raise ValueError("not yet")


def test_a_sink_may_look_now_and_then_though_nothing_happens(monkeypatch):
    monkeypatch.setattr("ingest.telemetry.bus.TICK", 0.01)
    sink, other = Ticking(), Recorder()
    with running(sink, other) as bus:
        wait_until(lambda: sink.ticks > 3, DEADLINE, "looks")
        bus.publish(ConnectionStatus(telemetry_id="trades", value=1))
        wait_for(sink, 1)
    counts = bus.counts()["ticking"]
    assert (counts.handled, counts.failed, sink.closed) == (1, 1, 1)
