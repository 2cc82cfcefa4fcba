"""The supervisor process: from a server's frames to Redis, what it survives, and how it ends."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from textwrap import dedent

from ingest.broker.status import read_statuses
from ingest.testing import ScriptedServer
from tests.support.redis_proxy import RedisProxy
from tests.support.redis_server import Valkey
from tests.support.supervisor import SupervisorProcess, payloads_in
from tests.support.waiting import wait_until


def feeds(url, name="trades", extra=""):
    keys = f'url = "{url}"\nactor = "handle"\nqueue = "trades"\nretry = {{ initial = 0.05, max = 0.1 }}'
    return f"[feeds.{name}]\n{keys}\n{dedent(extra)}\n"


def numbers(count, start=0):
    return [str(number) for number in range(start, start + count)]


def state_of(client, name):
    """Return what the newest status says of a feed; "" while there is none."""
    return next((status["feeds"][name]["state"] for status in read_statuses(client, "dramatiq")), "")


def counting_for_ever(client):
    """Send 0, 1, 2, … until the client leaves."""
    number = 0
    while True:
        client.send(*numbers(100, number))
        client.listen(0)
        number += 100


def test_every_frame_arrives_once_and_in_order_and_sigterm_is_clean(tmp_path, shared_valkey):
    with ScriptedServer(lambda client: client.send(*numbers(1000))) as server:
        with SupervisorProcess(tmp_path, feeds(server.url), shared_valkey.url) as supervisor:
            client = shared_valkey.client()
            wait_until(lambda: client.llen("dramatiq:trades") == 1000, 60, "all messages")
            assert supervisor.stop() == 0
        wait_until(lambda: server.recordings[0].close_code is not None, 60, "the close of the connection")
        assert server.recordings[0].close_code == 1001
    assert payloads_in(client) == numbers(1000)
    assert "read=1000 emitted=1000 enqueued=1000 spooled=0 lost=0" in supervisor.log
    (status,) = read_statuses(client, "dramatiq")
    assert status["final"]
    assert status["feeds"]["trades"]["state"] == "STOPPED"
    assert status["feeds"]["trades"]["enqueued"] == 1000


def test_the_snapshot_tells_all_that_is_known_of_a_feed_and_its_queue(tmp_path, shared_valkey):
    def drop_once(client):
        if not dropped:
            dropped.append(True)
            client.send("first")
            client.hang_up()
            return
        client.send("second")

    dropped, client = [], shared_valkey.client()
    client.rpush("dramatiq:trades", "a foreign one")
    with ScriptedServer(drop_once) as server:
        extra = 'ping_interval = 0.1\n[queues.trades]\nhigh_watermark = 7\n[supervisor]\ngroup = "staging"\n'
        url = f"{server.url}?token=top-secret"
        with SupervisorProcess(tmp_path, feeds(url, extra=extra), shared_valkey.url) as supervisor:

            def status():
                found = read_statuses(client, "dramatiq")
                return found[0] if found else None

            def settled():
                """What is counted by another thread than the one that enqueues is waited for too."""
                seen = status()
                feed = seen["feeds"]["trades"] if seen else {}
                done = (
                    feed.get("enqueued") == 2
                    and feed["ping_rtt"] is not None
                    and feed["gaps"] == 1
                    and feed["backlog"] == 0
                    and seen["queues"]["trades"]["depth"] == 3
                )
                return seen if done else None

            seen = wait_until(settled, 60, "both frames, a gap, and a ping that came back")
            assert supervisor.stop() == 0
    feed = seen["feeds"]["trades"]
    assert {"state": "READY", "lease": "leads", "paused": False, "actor": "handle", "queue": "trades"}.items() <= feed.items()
    assert (feed["reconnects"], feed["reconnect_reasons"]) == (1, {"ConnectionDropped": 1})
    assert (feed["gaps"], feed["gap_causes"]) == (1, {"disconnected": 1})
    assert (feed["backlog"], feed["backlog_bytes"], feed["spooled"], feed["spool_bytes"], feed["oldest_age"]) == (
        0,
        0,
        0,
        0,
        None,
    )
    assert (feed["drops"], feed["lost"], feed["leader"] != "") == ({}, 0, True)
    assert feed["bytes"] >= len("first") + len("second") + 2 * 2
    assert seen["started_at"] - 1 <= feed["since"] <= seen["at"]
    assert feed["url"] == f"{server.url}?token=***"
    lately = {"died_lately": 0, "stalled_seconds": 0}
    assert seen["queues"] == {"trades": {"depth": 3, "delayed": 0, "dead": 0, **lately, "high_watermark": 7}}
    assert (seen["group"], seen["pid"]) == ("staging", supervisor.pid)


def test_sigterm_under_load_keeps_a_prefix(tmp_path, shared_valkey):
    with ScriptedServer(counting_for_ever) as server:
        queue = "[queues.trades]\nhigh_watermark = 10_000_000\n"
        with SupervisorProcess(tmp_path, queue + feeds(server.url), shared_valkey.url) as supervisor:
            client = shared_valkey.client()
            wait_until(lambda: client.llen("dramatiq:trades") > 2000, 60, "some messages")
            assert supervisor.stop() == 0
    arrived = payloads_in(client)
    assert arrived == numbers(len(arrived))
    assert f"read={len(arrived)} emitted={len(arrived)} enqueued={len(arrived)} spooled=0 lost=0" in supervisor.log


def test_sigterm_under_load_while_redis_stops_and_goes_and_loses_replies_keeps_a_prefix(tmp_path, valkey):
    with ScriptedServer(counting_for_ever) as server, RedisProxy(valkey.path) as proxy:
        queue = "[queues.trades]\nhigh_watermark = 10_000_000\n"
        with SupervisorProcess(tmp_path, queue + feeds(server.url), proxy.url) as supervisor:
            client = valkey.client()
            wait_until(lambda: client.llen("dramatiq:trades") > 2000, 60, "some messages")
            with valkey.stalled():
                supervisor.wait_for_log("feed_blocked")  # frames wait for Redis
                supervisor.signal(signal.SIGTERM)
                server.wait_until(lambda: server.recordings[0].left, "the close of the connection", timeout=60)
                proxy.losing.set()
            wait_until(lambda: proxy.lost > 0, 60, "a lost reply")
            proxy.losing.clear()
            assert supervisor.wait() == 0
    arrived = payloads_in(client)
    assert arrived == numbers(len(arrived))
    assert f"read={len(arrived)} emitted={len(arrived)} enqueued={len(arrived)} spooled=0 lost=0" in supervisor.log


def test_a_feed_that_gave_up_leaves_the_others_alone(tmp_path, shared_valkey):
    with ScriptedServer(lambda client: client.refuse(404)) as closed, ScriptedServer(lambda client: client.send("x")) as open_:
        both = feeds(closed.url, "gone") + feeds(open_.url)
        with SupervisorProcess(tmp_path, both, shared_valkey.url) as supervisor:
            supervisor.wait_for_log("feed_gave_up feed=gone")
            client = shared_valkey.client()
            wait_until(lambda: payloads_in(client) == ["x"], 60, "the other feed's frame")
            wait_until(lambda: state_of(client, "gone") == "FAILED", 60, "the state")
            assert supervisor.stop() == 1
    assert "status 404" in supervisor.log


def test_a_feed_whose_publisher_is_beyond_repair_gives_up_and_gives_its_lead_back(tmp_path, shared_valkey):
    """Somebody else writes as its producer: nothing of it can be handed over any more, while the other feed goes on."""
    client, key = shared_valkey.client(), "dramatiq:__feed__..trades"
    with ScriptedServer(counting_for_ever) as server:
        both = feeds(server.url) + feeds(server.url, "other").replace('queue = "trades"', 'queue = "other"')
        with SupervisorProcess(tmp_path, both, shared_valkey.url) as supervisor:
            wait_until(lambda: client.llen("dramatiq:trades") > 100, 60, "messages")
            producer = client.hget(key, "leader").decode()
            client.hset(key, f"p.{producer}", f"1:foreign:{10**9}")
            supervisor.wait_for_log("feed_gave_up feed=trades reason=FeedCrashed")
            wait_until(lambda: client.hget(key, "leader") == b"", 60, "the end of its lead")
            assert client.hget("dramatiq:__feed__..other", "leader") != b""
            assert supervisor.stop() == 1


def test_with_no_feed_left_the_process_ends_with_1(tmp_path, shared_valkey):
    with (
        ScriptedServer(lambda client: client.refuse(410)) as server,
        SupervisorProcess(tmp_path, feeds(server.url), shared_valkey.url) as supervisor,
    ):
        assert supervisor.wait() == 1
    assert "feed_gave_up" in supervisor.log


@contextmanager
def held_up(folder: Path, valkey: Valkey, *, shutdown_timeout: int) -> Iterator[tuple[SupervisorProcess, ScriptedServer]]:
    """A supervisor that reads without end, while Redis stands still and frames wait for it."""
    settings = f"[supervisor]\nshutdown_timeout = {shutdown_timeout}\n"
    with (
        ScriptedServer(counting_for_ever) as server,
        SupervisorProcess(folder, settings + feeds(server.url), valkey.url) as supervisor,
    ):
        client = valkey.client()
        wait_until(lambda: client.llen("dramatiq:trades") > 100, 60, "some messages")
        with valkey.stalled():
            supervisor.wait_for_log("feed_blocked")
            yield supervisor, server


def test_redis_that_stands_still_at_the_end_costs_what_is_left_and_says_so(tmp_path, valkey):
    with held_up(tmp_path, valkey, shutdown_timeout=3) as (supervisor, _):
        assert supervisor.stop() == 1
    assert "feed_drained" in supervisor.log
    assert "lost=0" not in supervisor.log.split("feed_drained")[1].split("\n")[0]


def test_a_second_signal_ends_at_once(tmp_path, valkey):
    with held_up(tmp_path, valkey, shutdown_timeout=600) as (supervisor, server):
        supervisor.signal(signal.SIGTERM)
        server.wait_until(lambda: server.recordings[0].left, "the close of the connection", timeout=60)
        supervisor.signal(signal.SIGTERM)
        assert supervisor.wait() == 1


def test_redis_that_is_restarted_loses_and_doubles_nothing(tmp_path, make_valkey):
    redis = make_valkey(appendonly="yes", appendfsync="always")

    def script(client):
        for start in range(0, 3000, 100):
            client.send(*numbers(100, start))
            client.listen(0.05)

    with ScriptedServer(script) as server:
        with SupervisorProcess(tmp_path, feeds(server.url), redis.url) as supervisor:
            client = redis.client()
            wait_until(lambda: client.llen("dramatiq:trades") > 500, 60, "some messages")
            redis.kill()
            redis.start()
            client = redis.client()
            wait_until(lambda: client.llen("dramatiq:trades") >= 3000, 60, "all messages")
            assert supervisor.stop() == 0
        assert payloads_in(client) == numbers(3000)


USER_CODE = """
    import json, time
    from ingest import Emit, Session

    events = open("events.txt", "a", buffering=1)

    def told(event):
        events.write(type(event).__name__ + " " + event.telemetry_id + chr(10))

    class Hanging(Session):
        def on_frame(self, payload):
            if payload == "hang":
                time.sleep(600)
            return Emit(payload)

    class Crashing(Session):
        def on_frame(self, payload):
            raise ZeroDivisionError("in the user's code")
"""


def test_a_callback_that_hangs_is_told_and_does_not_hold_up_the_end(tmp_path, shared_valkey):
    (tmp_path / "user_code.py").write_text(dedent(USER_CODE))
    with ScriptedServer(lambda client: client.send("before", "hang", "after")) as server:
        settings = feeds(server.url, extra='session = "user_code:Hanging"\nopen_timeout = 0.5')
        with SupervisorProcess(tmp_path, settings, shared_valkey.url) as supervisor:
            supervisor.wait_for_log("callback_slow feed=trades where=on_frame")
            client = shared_valkey.client()
            wait_until(lambda: state_of(client, "trades") == "SLOW_CALLBACK", 60, "the state")
            assert supervisor.stop() == 1, "what it has read is in no queue"


def test_the_users_faults_and_subscribers_touch_no_other_feed(tmp_path, shared_valkey):
    (tmp_path / "user_code.py").write_text(dedent(USER_CODE))
    telemetry = '[telemetry]\nsubscribers = ["user_code:told"]\n'
    with (
        ScriptedServer(lambda client: client.send("boom")) as bad,
        ScriptedServer(lambda client: client.send(*numbers(10))) as good,
    ):
        both = telemetry + feeds(bad.url, "bad", 'session = "user_code:Crashing"') + feeds(good.url)
        with SupervisorProcess(tmp_path, both, shared_valkey.url) as supervisor:
            bad.wait_for_connections(3, timeout=60)
            client = shared_valkey.client()
            wait_until(lambda: payloads_in(client) == numbers(10), 60, "the good feed's frames")
            assert supervisor.stop() == 0
    assert len(good.recordings) == 1
    events = (tmp_path / "events.txt").read_text().splitlines()
    assert "HandlerFailed bad" in events
    assert "ConnectionReady trades" in events
    assert "ZeroDivisionError: in the user's code" in supervisor.log


def is_filled(client, messages):
    return client.llen("dramatiq:trades") >= messages


def test_a_full_queue_stops_at_its_watermark_and_goes_on_below_the_low_one(tmp_path, shared_valkey):
    queue = "[queues.trades]\nhigh_watermark = 100\nlow_watermark = 10\n"
    backlog = "backlog = { messages = 50 }"
    with (
        ScriptedServer(lambda client: client.send(*numbers(1000))) as server,
        SupervisorProcess(tmp_path, queue + feeds(server.url, extra=backlog), shared_valkey.url) as supervisor,
    ):
        client = shared_valkey.client()
        taken = []
        while len(taken) < 1000:
            wait_until(partial(is_filled, client, min(100, 1000 - len(taken))), 60, "a full queue")
            assert client.llen("dramatiq:trades") <= 100
            taken += payloads_in(client)
            client.delete("dramatiq:trades", "dramatiq:trades.msgs")
        assert supervisor.stop() == 0
    assert taken == numbers(1000)


def test_dead_letters_that_grow_are_told(tmp_path, shared_valkey):
    with (
        ScriptedServer(lambda client: client.send("x")) as server,
        SupervisorProcess(tmp_path, feeds(server.url), shared_valkey.url) as supervisor,
    ):
        client = shared_valkey.client()
        wait_until(lambda: read_statuses(client, "dramatiq"), 60, "a first look at the queue")
        client.zadd("dramatiq:trades.XQ", {"some-id": 1})
        supervisor.wait_for_log("dead_letters_grew feed=trades queue=trades added=1 total=1")
        assert supervisor.stop() == 0
