"""Lines of a worker's log say which frame they are about."""

from __future__ import annotations

import logging
import time

import dramatiq
from dramatiq.brokers.stub import StubBroker

from ingest.telemetry.lines import CONTEXT, ConsoleFormatter, JsonFormatter
from settings.wire import message_id, new_producer
from workers.log_context import FrameLogContext
from workers.middleware.frame_context import FrameContext

BROKER = StubBroker(middleware=[])


def logged(feed: str | None, labels: dict[str, str]) -> logging.LogRecord:
    """Return a record as it is after the filter, made while a message of this feed is processed."""
    options = {} if feed is None else {"frame": {"feed": feed, "seq": 7, "received_us": time.time_ns() // 1000 - 2_000_000}}
    identity = message_id(new_producer(), 7)
    message = dramatiq.MessageProxy(dramatiq.Message("q", "a", ("payload",), {}, options, message_id=identity))
    record = logging.LogRecord("shop", logging.WARNING, "app.py", 1, "odd price", None, None)
    context = FrameContext()
    context.before_process_message(BROKER, message)
    try:
        assert FrameLogContext(labels).filter(record)
    finally:
        context.after_process_message(BROKER, message)
    return record


def test_feed_seq_and_lag_follow_the_message_in_both_formats() -> None:
    record = logged("trades", {"trades": "trades-eu"})
    context = getattr(record, CONTEXT)
    assert (context["feed"], context["seq"]) == ("trades-eu", 7)
    assert 2.0 <= context["lag"] < 60.0
    assert f"odd price [shop pid={record.process}] feed=trades-eu seq=7 lag=" in ConsoleFormatter().format(record)
    assert '"feed": "trades-eu", "seq": 7, "lag": ' in JsonFormatter().format(record)


def test_a_feed_that_settings_do_not_know_keeps_its_name_and_a_foreign_message_has_none() -> None:
    assert getattr(logged("books", {}), CONTEXT)["feed"] == "books"
    assert not hasattr(logged(None, {}), CONTEXT)
