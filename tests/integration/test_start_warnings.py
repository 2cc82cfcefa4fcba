"""The supervisor warns at every start of what is allowed and dangerous."""

from __future__ import annotations

from tests.support.supervisor import SupervisorProcess

FEEDS = '[feeds.trades]\nurl = "wss://127.0.0.1:1/"\nactor = "handle_trade"\ntls.verify = false\n'


def test_the_start_names_an_unverified_server_and_an_eviction_policy(tmp_path, make_valkey):
    valkey = make_valkey(maxmemory="100mb", maxmemory_policy="allkeys-lru")
    with SupervisorProcess(tmp_path, FEEDS, valkey.url) as supervisor:
        supervisor.wait_for_log("connection_failed")
        assert supervisor.stop() == 0
    warnings = [line for line in supervisor.log.splitlines() if "WARNING  settings_warning" in line]
    assert len(warnings) == 2, supervisor.log
    assert "feeds.trades.tls.verify is false" in warnings[0]
    assert "maxmemory-policy allkeys-lru" in warnings[1]
