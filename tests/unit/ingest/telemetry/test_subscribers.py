"""The user's own callables."""

from __future__ import annotations

import threading

from ingest.events import ConnectionStatus, Event
from ingest.telemetry.bus import Bus
from ingest.telemetry.subscribers import subscriber_sinks


def test_each_subscriber_is_called_with_every_event_and_a_stuck_one_delays_nobody() -> None:
    received: list[Event] = []
    arrived, release = threading.Event(), threading.Event()

    def quick(event: Event) -> None:
        received.append(event)
        arrived.set()

    def stuck(event: Event) -> None:
        release.wait(10)

    bus = Bus(subscriber_sinks({"app:stuck": stuck, "app:quick": quick}))
    event = ConnectionStatus(telemetry_id="trades", value=1)
    bus.publish(event)

    try:
        assert arrived.wait(10)
        assert received == [event]
    finally:
        release.set()
        assert bus.close(10)
    assert set(bus.counts()) == {"app:stuck", "app:quick"}
