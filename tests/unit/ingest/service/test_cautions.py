"""What is worth a warning."""

from __future__ import annotations

from ingest.broker.clients import Server
from ingest.broker.queues import queue_bytes
from ingest.service.cautions import memory_warnings, settings_warnings, spool_warnings
from tests.support.settings_files import FEED, load_text

MIB = 1024 * 1024


def warnings(tmp_path, maxmemory: int, policy: str = "noeviction", high: int = 20_000) -> list[str]:
    settings = load_text(tmp_path, FEED + f"[queues.default]\nhigh_watermark = {high}\n")
    return list(memory_warnings(settings, Server("Valkey", "9.1.0", maxmemory, policy)))


def test_a_queue_that_would_fill_more_than_half_of_redis_is_pointed_out(tmp_path):
    assert queue_bytes(20_000) == 20_000 * 1536
    assert warnings(tmp_path, 59 * MIB) == []
    assert warnings(tmp_path, 58 * MIB) == [
        "queue default: full, at 20000 messages, it would take about 29 MiB (with frames of 1 KiB), more than half of Redis's "
        "maxmemory (58 MiB): lower its high_watermark"
    ]


def test_without_a_limit_nothing_is_judged(tmp_path):
    assert warnings(tmp_path, 0, policy="allkeys-lru", high=10**9) == []


def test_eviction_is_pointed_out(tmp_path):
    [warning] = warnings(tmp_path, 10_000 * MIB, policy="allkeys-lru")
    assert "maxmemory-policy allkeys-lru" in warning


def test_a_server_that_is_not_verified_and_a_queue_that_nobody_fills_are_pointed_out(tmp_path):
    assert list(settings_warnings(load_text(tmp_path, FEED))) == []
    settings = load_text(tmp_path, FEED + "tls.verify = false\n[queues.other]\n")
    assert list(settings_warnings(settings)) == [
        "queues.other: no feed names this queue; only a session's To(queue=…) can use it",
        "feeds.trades.tls.verify is false: anyone on the way can read and change what comes",
    ]


def test_writing_ahead_to_a_disk_that_passes_is_pointed_out(tmp_path):
    feed = FEED + f'durability = "disk"\nspool = {{ directory = "{tmp_path}", persistent = %s }}\n'
    assert list(settings_warnings(load_text(tmp_path, feed % "true"))) == []
    [warning] = settings_warnings(load_text(tmp_path, feed % "false"))
    assert warning.startswith('feeds.trades.durability is "disk", but the spool\'s folder does not outlive the process')


def test_what_waits_for_a_feed_that_is_not_there_any_more_is_pointed_out_once_a_folder(tmp_path):
    spool = f'spool = {{ directory = "{tmp_path}" }}\n'
    settings = load_text(tmp_path, FEED + spool + FEED.replace("trades", "quotes") + spool)
    asked = []
    [warning] = spool_warnings(settings, lambda *asking: asked.append(asking) or {"old": 7})
    assert asked == [(tmp_path, settings.feeds)]
    assert warning.startswith(f"{tmp_path} holds 7 messages of a feed old, which these settings do not have")
