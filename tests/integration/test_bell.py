"""The bell by itself, against a real server, plain and over TLS."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import redis

from ingest.broker.bell import Bell
from ingest.broker.clients import dedicated_connection, make_client
from ingest.wakeup import Wakeup
from tests.support.redis_proxy import RedisProxy
from tests.support.redis_server import Valkey
from tests.support.tls import Authority
from tests.support.waiting import wait_until

KEY = "ns:q"


class Rig:
    """A bell behind a proxy."""

    def __init__(self, valkey: Valkey, context: ssl.SSLContext | None, seconds: float = 1.5, grace: float = 1.0) -> None:
        self.redis = valkey.client()
        self.proxy = RedisProxy(valkey.path, context)
        self.wakeup = Wakeup()
        self._arguments = (KEY, seconds, grace)
        self._timers: list[threading.Timer] = []

    def __enter__(self) -> Rig:
        self.proxy.__enter__()
        client = make_client(self.proxy.url, verify=False)
        self.bell = Bell(partial(dedicated_connection, client), *self._arguments)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for timer in self._timers:
            timer.join(10)  # its client is closed with the test
        self.bell.close()
        self.wakeup.close()
        self.proxy.__exit__(*exc_info)

    def later(self, act: object) -> None:
        self._timers.append(threading.Timer(0.1, act))  # type: ignore[arg-type]
        self._timers[-1].start()

    def asked(self) -> int:
        return int(self.redis.info("commandstats").get("cmdstat_blmove", {"calls": 0})["calls"])


@pytest.fixture(params=["plain", "tls"])
def rig(request: pytest.FixtureRequest, valkey: Valkey, tmp_path: Path) -> Iterator[Rig]:
    context = Authority(tmp_path).server_context("127.0.0.1") if request.param == "tls" else None
    with Rig(valkey, context) as made:
        yield made


def test_a_push_is_heard_at_once_and_what_is_there_already_too(rig: Rig) -> None:
    assert rig.bell.wait(0.01, rig.wakeup) == "nothing"
    rig.later(lambda: rig.redis.rpush(KEY, "a"))
    began = time.monotonic()
    assert rig.bell.wait(5, rig.wakeup) == "push"
    assert 0.05 < time.monotonic() - began < 1.4, "Redis would have answered by itself"
    assert rig.bell.wait(5, rig.wakeup) == "push"
    assert rig.redis.lrange(KEY, 0, -1) == [b"a"]


def test_silence_is_told_when_redis_says_so(rig: Rig) -> None:
    assert rig.bell.wait(5, rig.wakeup) == "quiet"
    assert rig.asked() == 1


def test_a_wait_ends_early_while_its_call_stays_out(rig: Rig) -> None:
    assert rig.bell.wait(0.05, rig.wakeup) == "nothing"
    rig.later(rig.wakeup.set)
    assert rig.bell.wait(5, rig.wakeup) == "nothing"
    rig.redis.rpush(KEY, "a")
    assert rig.bell.wait(5, rig.wakeup) == "push"
    assert rig.asked() == 1


def test_a_wakeup_that_is_set_before_ends_the_next_wait(rig: Rig) -> None:
    rig.wakeup.set()
    assert rig.bell.wait(5, rig.wakeup) == "nothing"


def test_a_cut_is_an_error_and_the_next_wait_connects_again(rig: Rig) -> None:
    assert rig.bell.wait(0.01, rig.wakeup) == "nothing"
    [listener] = [each for each in rig.redis.client_list() if each["cmd"] == "blmove"]
    rig.later(lambda: rig.redis.client_kill_filter(_id=listener["id"]))
    with pytest.raises(redis.ConnectionError):
        rig.bell.wait(5, rig.wakeup)
    rig.redis.rpush(KEY, "a")
    assert rig.bell.wait(5, rig.wakeup) == "push"


def test_no_answer_is_an_error_in_time(rig: Rig, valkey: Valkey) -> None:
    assert rig.bell.wait(0.01, rig.wakeup) == "nothing"
    with valkey.stalled():
        assert rig.bell.wait(0.05, rig.wakeup) == "nothing"
        began = time.monotonic()
        with pytest.raises(redis.TimeoutError):
            rig.bell.wait(5, rig.wakeup)
        assert time.monotonic() - began < 4.5


def test_what_is_closed_waits_for_nothing_in_redis(rig: Rig) -> None:
    assert rig.bell.wait(0.01, rig.wakeup) == "nothing"
    rig.bell.close()
    wait_until(lambda: rig.redis.info("clients")["blocked_clients"] == 0, 1.0, "the call to be forgotten")


def test_a_refusal_is_told(rig: Rig) -> None:
    rig.redis.set(KEY, "no list")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        rig.bell.wait(5, rig.wakeup)


def test_a_served_call_is_a_write_and_a_quiet_one_is_none(rig: Rig) -> None:
    before = rig.redis.info("persistence")["rdb_changes_since_last_save"]
    assert rig.bell.wait(5, rig.wakeup) == "quiet"
    assert rig.redis.info("persistence")["rdb_changes_since_last_save"] == before
    rig.redis.rpush(KEY, "a")
    assert rig.bell.wait(5, rig.wakeup) == "push"
    assert rig.redis.info("persistence")["rdb_changes_since_last_save"] > before + 1
