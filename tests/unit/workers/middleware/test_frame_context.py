"""The frame behind a message, as an actor sees it in Dramatiq's own worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import AsyncIO, SkipMessage

from settings.wire import Frame, message_id, new_producer
from workers import current_frame
from workers.middleware.frame_context import FrameContext

PRODUCER = new_producer()
OPTION = {"feed": "trades", "seq": 7, "received_us": 1_790_000_000_000_000}
FRAME = Frame("trades", 7, 1_790_000_000_000_000, PRODUCER)


class Skipping(dramatiq.Middleware):
    """Skips what says so, after our middleware has seen it."""

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        if message.args == ("skip",):
            raise SkipMessage


@pytest.fixture
def broker() -> Iterator[StubBroker]:
    made = StubBroker(middleware=[AsyncIO(), FrameContext(), Skipping()])
    made.emit_after("process_boot")
    yield made
    made.flush_all()
    made.close()


def process(broker: StubBroker, actor: Any, messages: list[tuple[str, dict[str, Any]]]) -> None:
    """Send messages to a worker with a single thread, and wait until they are done."""
    worker = dramatiq.Worker(broker, worker_timeout=20, worker_threads=1)
    worker.start()
    try:
        for number, (payload, options) in enumerate(messages, start=7):
            message = actor.message_with_options(args=(payload,), **options)
            broker.enqueue(message.copy(message_id=message_id(PRODUCER, number)))
        broker.join(actor.queue_name, timeout=10_000, fail_fast=False)
        worker.join()
    finally:
        worker.stop()


def test_an_actor_reads_its_frame_and_the_next_message_has_its_own_or_none(broker: StubBroker) -> None:
    seen: list[tuple[str, Frame | None]] = []

    @dramatiq.actor(broker=broker)
    def handle(payload: str) -> None:
        seen.append((payload, current_frame()))
        if payload == "fail":
            raise ValueError(payload)

    process(
        broker,
        handle,
        [("first", {"frame": OPTION}), ("foreign", {}), ("fail", {"frame": {**OPTION, "seq": 9, "count": 3}}), ("last", {})],
    )

    assert seen == [
        ("first", FRAME),
        ("foreign", None),
        ("fail", Frame("trades", 9, OPTION["received_us"], PRODUCER, 3)),
        ("last", None),
    ]
    assert current_frame() is None


def test_an_asynchronous_actor_reads_it_too(broker: StubBroker) -> None:
    seen: list[Frame | None] = []

    @dramatiq.actor(broker=broker)
    async def handle(payload: str) -> None:
        seen.append(current_frame())

    process(broker, handle, [("first", {"frame": OPTION})])

    assert seen == [FRAME]


def test_a_skipped_message_leaves_nothing_behind(broker: StubBroker) -> None:
    seen: list[Frame | None] = []

    class Looking(dramatiq.Middleware):
        """Looks when the worker is done with a message, after ours."""

        def after_skip_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
            seen.append(current_frame())

    broker.add_middleware(Looking(), before=FrameContext)

    @dramatiq.actor(broker=broker)
    def handle(payload: str) -> None:
        """Never called."""

    process(broker, handle, [("skip", {"frame": OPTION})])

    assert seen == [None]


@pytest.mark.parametrize("option", ["text", {}, {"feed": "trades"}, {**OPTION, "seq": "7"}, {**OPTION, "received_us": None}])
def test_somebody_else_s_option_of_that_name_is_no_frame(broker: StubBroker, option: Any) -> None:
    seen: list[Frame | None] = []

    @dramatiq.actor(broker=broker)
    def handle(payload: str) -> None:
        seen.append(current_frame())

    process(broker, handle, [("first", {"frame": option})])

    assert seen == [None]
