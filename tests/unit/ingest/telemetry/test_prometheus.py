"""What a scrape shows of made-up feeds; real ones are scraped in tests/integration/test_metrics.py."""

import pytest

from ingest.measures import SECONDS, SIZES, Histogram
from ingest.telemetry.bus import SinkCounts
from ingest.telemetry.metrics import FeedFigures
from ingest.telemetry.prometheus import SupervisorMetrics, WorkerMetrics
from ingest.telemetry.summary import FeedNumbers
from tests.support.connections import ManualClock
from tests.support.scrapes import Scrape


def figures(label="trades", **numbers):
    measured = [Histogram(SECONDS), Histogram(SECONDS), Histogram(SIZES), Histogram(SECONDS), Histogram(SIZES)]
    return FeedFigures(label, FeedNumbers(**numbers), *measured)


def metrics(*feeds, queues=None, clock=None, redis_up=True):
    return SupervisorMetrics(
        lambda: feeds,
        ("READY", "FAILED"),
        lambda: queues,
        lambda: {"log": SinkCounts(5, 1, 2)},
        ("1.2", "staging"),
        clock or ManualClock(),
        redis_up=lambda: queues is not None and redis_up,
    )


def scrape(*feeds, **options):
    return Scrape(metrics(*feeds, **options).render("")[1].decode())


def test_every_number_of_a_feed_is_there_under_its_label():
    seen = scrape(
        figures(
            state="READY", connected=True, frames=7, bytes=700, emitted=6, enqueued=5, messages=4, backlog=3, backlog_bytes=30,
            spooled=2, spool_bytes=20, oldest_age=1.5, lease="leads", paused=True,
        ),
        figures("books"),
    )  # fmt: skip
    names = {
        "connection_up": 1, "frames_total": 7, "received_bytes_total": 700, "emitted_payloads_total": 6,
        "enqueued_payloads_total": 5, "enqueued_messages_total": 4, "backlog_messages": 3, "backlog_bytes": 30,
        "spooled_payloads": 2, "spool_bytes": 20, "oldest_waiting_seconds": 1.5, "lease_held": 1, "paused": 1,
    }  # fmt: skip
    for name, value in names.items():
        assert seen.value(f"dramatiq_websocket_{name}", feed="trades") == value
        assert seen.value(f"dramatiq_websocket_{name}", feed="books") == 0


def test_the_state_is_1_for_the_one_that_holds_also_where_it_is_a_new_one():
    seen = scrape(figures(state="READY"), figures("books", state="PAUSED"))
    states = {(feed, state): seen.value("dramatiq_websocket_feed_state", feed=feed, state=state)
              for feed in ("trades", "books") for state in ("READY", "FAILED")}  # fmt: skip
    assert states == {("trades", "READY"): 1, ("trades", "FAILED"): 0, ("books", "READY"): 0, ("books", "FAILED"): 0}
    assert seen.value("dramatiq_websocket_feed_state", feed="books", state="PAUSED") == 1


def test_every_reason_is_there_from_the_start_and_a_new_one_too():
    seen = scrape(figures(drops={"fenced": 3}, lost=2, reconnect_reasons={"ConnectionDropped": 4}, gap_causes={"brand_new": 1}))

    def dropped(reason):
        return seen.value("dramatiq_websocket_dropped_payloads_total", reason=reason)

    assert (dropped("fenced"), dropped("drop_oldest"), dropped("lost")) == (3, 0, 2)
    assert seen.value("dramatiq_websocket_reconnects_total", reason="ConnectionDropped") == 4
    assert seen.value("dramatiq_websocket_reconnects_total", reason="IdleTimedOut") == 0
    assert seen.value("dramatiq_websocket_gaps_total", cause="brand_new") == 1


def test_histograms_are_cumulative():
    feed = figures()
    for seconds in (0.002, 0.003, 99.0):
        feed.handler_seconds.add(seconds)
    seen = scrape(feed)
    name = "dramatiq_websocket_handler_seconds"
    assert [seen.value(f"{name}_bucket", le=le) for le in ("0.001", "0.0025", "0.005", "10.0", "+Inf")] == [0, 1, 2, 2, 3]
    assert (seen.value(f"{name}_count"), seen.value(f"{name}_sum")) == (3, pytest.approx(99.005))


def test_queues_are_there_while_redis_answers_and_are_not_made_up_while_it_does_not():
    queue = {"depth": 1, "delayed": 2, "dead": 3, "high_watermark": 4}
    seen = scrape(queues={"trades": queue})
    found = [
        seen.value(f"dramatiq_websocket_queue_{name}", queue="trades")
        for name in ("depth", "delayed", "dead_letters", "high_watermark")
    ]
    assert (found, seen.value("dramatiq_websocket_redis_up")) == ([1, 2, 3, 4], 1)
    away = scrape(queues=None)
    assert away.value("dramatiq_websocket_redis_up") == 0
    assert "dramatiq_websocket_queue_depth" not in away.names


def test_a_redis_that_refuses_writes_is_not_up_and_its_queues_are_shown():
    seen = scrape(queues={"q": {"depth": 7, "delayed": 0, "dead": 0, "high_watermark": 9}}, redis_up=False)
    assert seen.value("dramatiq_websocket_redis_up") == 0
    assert seen.value("dramatiq_websocket_queue_depth", queue="q") == 7


def test_what_became_of_events_and_which_version_runs():
    seen = scrape()
    assert seen.value("dramatiq_websocket_telemetry_events_total", sink="log", outcome="dropped") == 2
    assert seen.value("dramatiq_websocket_info", version="1.2", group="staging") == 1
    assert seen.value("process_cpu_seconds_total") > 0


def test_the_format_is_the_one_that_was_asked_for():
    content_type, text = metrics(figures()).render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")
    assert metrics(figures()).render("")[0].startswith("text/plain")


def test_who_asks_too_often_gets_the_same_again():
    clock = ManualClock()
    feeds = [figures(frames=1)]
    asked = SupervisorMetrics(lambda: feeds, (), dict, dict, ("", ""), clock, redis_up=lambda: True)
    first = asked.render("")[1]
    feeds[0] = figures(frames=2)
    assert asked.render("")[1] == first
    clock.now += 1.0
    assert Scrape(asked.render("")[1].decode()).value("dramatiq_websocket_frames_total") == 2


def test_asking_for_another_format_in_between_does_not_help():
    looks = []
    asked = SupervisorMetrics(
        lambda: looks.append(1) or [figures()], (), dict, dict, ("", ""), ManualClock(), redis_up=lambda: True
    )
    for accept in ("", "application/openmetrics-text; version=1.0.0") * 3:
        asked.render(accept)
    assert len(looks) == 2


def test_what_takes_long_to_say_is_said_more_seldom():
    clock, used = ManualClock(), iter(range(100))
    feeds = [figures(frames=1)]
    spending = {"cpu": lambda: float(next(used))}  # a second each
    asked = SupervisorMetrics(lambda: feeds, (), dict, dict, ("", ""), clock, **spending, redis_up=lambda: True)
    first = asked.render("")[1]
    feeds[0] = figures(frames=2)
    clock.now += 9.9
    assert asked.render("")[1] == first
    clock.now += 0.2
    assert asked.render("")[1] != first


def test_a_label_cannot_break_out_of_its_line():
    seen = scrape(figures('a"b\nc\\d', frames=7))
    assert seen.value("dramatiq_websocket_frames_total", feed='a"b\nc\\d') == 7


def counts_of(counter):
    samples = [sample for family in counter.collect() for sample in family.samples]
    return {sample.labels["feed"]: sample.value for sample in samples if sample.name.endswith("_total")}


def test_a_worker_shows_both_counts_from_the_beginning_so_that_they_can_be_compared():
    worker = WorkerMetrics({"trades": "trades-eu"})
    assert counts_of(worker._processed) == counts_of(worker._failed) == {"trades-eu": 0}
    worker.done("foreign", 0, 3)
    assert counts_of(worker._processed) == {"trades-eu": 0, "foreign": 0}
    assert counts_of(worker._failed) == {"trades-eu": 0, "foreign": 3}


def test_a_worker_counts_by_label_and_bounds_the_feeds_that_it_does_not_know(monkeypatch):
    monkeypatch.setattr("ingest.telemetry.prometheus.MOST_FEEDS", 3)
    worker = WorkerMetrics({"trades": "trades-eu"})
    worker.lag("trades", 0.3)
    worker.lag("trades", -5.0)
    worker.done("trades", 2, 1)
    for number in range(10):
        worker.done(f"foreign-{number}", 1, 0)
    assert counts_of(worker._processed) == {"trades-eu": 2, "foreign-0": 1, "foreign-1": 1, "other": 8}
    lags = {sample.labels.get("le"): sample.value for family in worker._lag.collect() for sample in family.samples}
    assert (lags["0.005"], lags["0.25"], lags["0.5"], lags["+Inf"]) == (1, 1, 2, 2)
