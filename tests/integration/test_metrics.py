"""Metrics of a real supervisor and of real workers, and that alerts and dashboard speak of no others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from textwrap import dedent

import pytest

from ingest.telemetry.metrics import SUPERVISOR, WORKERS
from ingest.testing import ScriptedServer
from tests.support.messages import Producer
from tests.support.ports import unused_port
from tests.support.redis_server import Valkey
from tests.support.scrapes import Scrape, get
from tests.support.supervisor import SupervisorProcess
from tests.support.waiting import wait_until
from tests.support.workers_process import Project

MONITORING = Path(__file__).parents[2] / "docs" / "monitoring"

FEEDS = """
    [supervisor]
    health_port = 0

    [queues.trades]
    high_watermark = 1000

    [feeds.trades]
    url = "{url}"
    actor = "handle_trade"
    queue = "trades"
    telemetry_id = "trades-eu"
    session = "counting:Session"
    ping_interval = 0.1
    retry = {{ initial = 0.05, max = 0.1 }}
"""

SESSION = """
    import ingest

    class Session(ingest.Session):
        def on_frame(self, payload):
            return ingest.Emit(payload)
"""

WORKERS_FEEDS = """
    [workers]
    actors = ["shop.actors"]
    prometheus = true

    [feeds.trades]
    url = "ws://127.0.0.1:1/"
    actor = "handle_trade"
    telemetry_id = "trades-eu"
"""

ACTORS = """
    import dramatiq

    @dramatiq.actor(queue_name="trades")
    def handle_trade(payload):
        pass

    @dramatiq.actor(queue_name="trades", max_retries=0)
    def fail(payload):
        raise ValueError("no " + payload)
"""

#: What no process of ours has: it is Prometheus's own, or made by whoever scrapes.
_FOREIGN = {"process_cpu_seconds_total", "process_resident_memory_bytes"}


def url_of(supervisor: SupervisorProcess) -> str:
    supervisor.wait_for_log("health_listening")
    return next(line.partition("url=")[2].strip() for line in supervisor.log.splitlines() if "health_listening" in line)


def names_of(metrics: tuple) -> set[str]:
    """Return the names of the samples that these metrics come as."""
    endings = {"histogram": ("_bucket", "_sum", "_count")}
    return {f"{metric.full_name}{ending}" for metric in metrics for ending in endings.get(metric.kind, ("",))}


def test_a_supervisor_s_scrape_has_every_metric_and_says_what_happened(tmp_path: Path, shared_valkey: Valkey) -> None:
    dropped: list[bool] = []

    def drop_once(client):
        if not dropped:
            dropped.append(True)
            client.send("first")
            client.hang_up()
            return
        client.send("second", "third")

    client = shared_valkey.client()
    client.zadd("dramatiq:trades.XQ", {"dead": 1.0})
    (tmp_path / "counting.py").write_text(dedent(SESSION))
    with ScriptedServer(drop_once) as server:
        text = dedent(FEEDS).format(url=f"{server.url}?token=hunter2")
        with SupervisorProcess(tmp_path, text, shared_valkey.url) as supervisor:
            url = url_of(supervisor)

            def settled():
                """What is counted by another thread than the one that enqueues is waited for too."""
                scrape = Scrape.of(url)
                done = (
                    scrape.total("dramatiq_websocket_enqueued_payloads_total") == 3
                    and scrape.total("dramatiq_websocket_ping_round_trip_seconds_count") > 0
                    and scrape.total("dramatiq_websocket_redis_up") == 1
                    and scrape.total("dramatiq_websocket_backlog_messages") == 0
                    and scrape.total("dramatiq_websocket_enqueue_messages_sum") == 3
                    and scrape.total("dramatiq_websocket_gaps_total", cause="disconnected") == 1
                )
                return scrape if done else None

            scrape = wait_until(settled, 60, "the frames, a pong, a gap, and a look at the queue")
            openmetrics = get(f"{url}/metrics", accept="application/openmetrics-text; version=1.0.0")
            supervisor.stop()

    assert names_of(SUPERVISOR) <= scrape.names
    assert {name for name in scrape.names if name.startswith("dramatiq_websocket_")} <= names_of(SUPERVISOR)

    def value(name: str, **labels: str) -> float:
        return scrape.value(f"dramatiq_websocket_{name}", feed="trades-eu", **labels)

    assert [value(name) for name in ("connection_up", "frames_total", "lease_held", "backlog_messages")] == [1, 3, 1, 0]
    assert value("received_bytes_total") >= 3 * 7
    assert (value("feed_state", state="READY"), value("feed_state", state="BLOCKED")) == (1, 0)
    assert value("reconnects_total", reason="ConnectionDropped") == 1
    assert value("gaps_total", cause="disconnected") == 1
    assert value("dropped_payloads_total", reason="drop_oldest") == 0
    assert value("handler_seconds_count") == value("read_frames_count") >= 2
    assert value("enqueue_messages_sum") == 3
    assert value("enqueue_seconds_count") == value("enqueue_messages_count") > 0
    assert scrape.value("dramatiq_websocket_queue_dead_letters", queue="trades") == 1
    assert scrape.value("dramatiq_websocket_queue_high_watermark", queue="trades") == 1000
    assert scrape.value("dramatiq_websocket_telemetry_events_total", sink="log", outcome="handled") > 0
    assert openmetrics.content_type.startswith("application/openmetrics-text")
    assert "hunter2" not in scrape.text


@pytest.fixture
def shop(project: Project) -> Project:
    project.write("feeds.toml", WORKERS_FEEDS)
    project.write("shop/__init__.py", "")
    project.write("shop/actors.py", ACTORS)
    return project


def test_workers_metrics_are_in_the_exposition_of_dramatiq_s_own(shop: Project, valkey: Valkey, tmp_path: Path) -> None:
    port = unused_port()
    producer = Producer(valkey.client())
    producer.send("one")
    producer.send("two")
    Producer(valkey.client(), actor="fail").send("three")
    shop.run(
        "workers",
        REDIS_URL=valkey.url,
        dramatiq_prom_port=str(port),
        dramatiq_prom_host="127.0.0.1",
        dramatiq_prom_db=str(tmp_path / "metrics"),
    ).ready()
    name = "dramatiq_websocket_processed_frames_total"

    def scraped() -> Scrape | None:
        try:
            scrape = Scrape.of(f"http://127.0.0.1:{port}")
        except OSError:
            return None
        return scrape if name in scrape.names and "dramatiq_websocket_failed_frames_total" in scrape.names else None

    def settled() -> Scrape | None:
        """Each count is written by itself, at another moment of a message's end."""
        scrape = scraped()
        done = (
            scrape is not None
            and scrape.total(name) == 2
            and scrape.total("dramatiq_websocket_frame_lag_seconds_count") == 3
            and scrape.total("dramatiq_messages_total") == 3
        )
        return scrape if done else None

    scrape = wait_until(settled, 60, "the counts")
    assert names_of(WORKERS) <= scrape.names
    assert scrape.value("dramatiq_websocket_failed_frames_total", feed="trades-eu") == 1
    assert scrape.value("dramatiq_websocket_frame_lag_seconds_count", feed="trades-eu") == 3
    assert scrape.value("dramatiq_messages_total", actor_name="handle_trade") == 2


def named_in(text: str) -> set[str]:
    return set(re.findall(r"\b(?:dramatiq|process)_[a-z_]+\b", text)) - {"dramatiq_websocket"}


@pytest.mark.parametrize("file", ["alerts.yml", "dashboard.json"])
def test_alerts_and_dashboard_name_only_metrics_that_there_are(file: str) -> None:
    """Which names there are, the two scrapes above have shown."""
    text = (MONITORING / file).read_text()
    if file == "dashboard.json":
        panels = json.loads(text)["panels"]
        text = "\n".join(target["expr"] for panel in panels for target in panel["targets"])
        assert len({panel["id"] for panel in panels}) == len(panels)
    named = named_in(text)
    assert len(named) > 10
    assert named <= names_of(SUPERVISOR) | names_of(WORKERS) | _FOREIGN


def test_the_dashboard_shows_every_metric_of_ours() -> None:
    text = (MONITORING / "dashboard.json").read_text()
    missing = {metric.name for metric in (*SUPERVISOR, *WORKERS) if metric.full_name not in text}
    assert missing == {"paused"}
