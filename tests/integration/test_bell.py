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
    """A bell behind a proxy. Redis holds its calls back for longer than any test takes, but where a test wants silence."""

    def __init__(self, valkey: Valkey, context: ssl.SSLContext | None, seconds: float = 60.0, grace: float = 30.0) -> None:
        self.redis = valkey.client()
        self.proxy = RedisProxy(valkey.path, context)
        self.wakeup = Wakeup()
        self.seconds = seconds
        self.grace = grace
        #: Seconds by which the bell's clock is ahead.
        self.ahead = 0.0
        self._timers: list[threading.Timer] = []

    def __enter__(self) -> Rig:
        self.proxy.__enter__()
        client = make_client(self.proxy.url, verify=False)
        clock = lambda: time.monotonic() + self.ahead  # noqa: E731
        self.bell = Bell(partial(dedicated_connection, client), KEY, self.seconds, self.grace, clock)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for timer in self._timers:
            timer.join(30)  # its client is closed with the test
        self.bell.close()
        self.wakeup.close()
        self.proxy.__exit__(*exc_info)

    def later(self, act: object) -> None:
        self._timers.append(threading.Timer(0.1, act))  # type: ignore[arg-type]
        self._timers[-1].start()

    def listening(self) -> list[dict[str, str]]:
        """Return the connections whose call Redis holds back."""
        return [each for each in self.redis.client_list() if each["cmd"] == "blmove"]

    def asked(self) -> int:
        return int(self.redis.info("commandstats").get("cmdstat_blmove", {"calls": 0})["calls"])


@pytest.fixture(params=["plain", "tls"])
def context(request: pytest.FixtureRequest, tmp_path: Path) -> ssl.SSLContext | None:
    return Authority(tmp_path).server_context("127.0.0.1") if request.param == "tls" else None


@pytest.fixture
def rig(valkey: Valkey, context: ssl.SSLContext | None) -> Iterator[Rig]:
    with Rig(valkey, context) as made:
        yield made


@pytest.fixture
def quiet_rig(valkey: Valkey, context: ssl.SSLContext | None) -> Iterator[Rig]:
    """Redis answers by itself within this test."""
    with Rig(valkey, context, seconds=1.5) as made:
        yield made


def test_a_push_is_heard_at_once_and_what_is_there_already_too(rig: Rig) -> None:
    assert rig.bell.wait(0.01, rig.wakeup) == "nothing"
    rig.later(lambda: rig.redis.rpush(KEY, "a"))
    assert rig.bell.wait(30, rig.wakeup) == "push"
    assert rig.bell.wait(30, rig.wakeup) == "push"
    assert rig.redis.lrange(KEY, 0, -1) == [b"a"]


def test_silence_is_told_when_redis_says_so(quiet_rig: Rig) -> None:
    assert quiet_rig.bell.wait(30, quiet_rig.wakeup) == "quiet"
    assert quiet_rig.asked() == 1


def test_a_wait_ends_early_while_its_call_stays_out(rig: Rig) -> None:
    assert rig.bell.wait(0.05, rig.wakeup) == "nothing"
    rig.later(rig.wakeup.set)
    assert rig.bell.wait(30, rig.wakeup) == "nothing"
    rig.redis.rpush(KEY, "a")
    assert rig.bell.wait(30, rig.wakeup) == "push"
    assert rig.asked() == 1


def test_a_wakeup_that_is_set_before_ends_the_next_wait(rig: Rig) -> None:
    rig.wakeup.set()
    assert rig.bell.wait(30, rig.wakeup) == "nothing"


def test_a_cut_is_an_error_and_the_next_wait_connects_again(rig: Rig) -> None:
    assert rig.bell.wait(0.01, rig.wakeup) == "nothing"
    [listener] = wait_until(rig.listening, 20, "its call at Redis")
    rig.later(lambda: rig.redis.client_kill_filter(_id=listener["id"]))
    with pytest.raises(redis.ConnectionError):
        rig.bell.wait(30, rig.wakeup)
    rig.redis.rpush(KEY, "a")
    assert rig.bell.wait(30, rig.wakeup) == "push"


def test_no_answer_is_an_error_in_time(rig: Rig, valkey: Valkey) -> None:
    assert rig.bell.wait(0.01, rig.wakeup) == "nothing"
    with valkey.stalled():
        rig.ahead = rig.seconds
        assert rig.bell.wait(0.05, rig.wakeup) == "nothing", "there is still the grace"
        rig.ahead += rig.grace - 0.5
        began = time.monotonic()
        with pytest.raises(redis.TimeoutError):
            rig.bell.wait(60, rig.wakeup)
        assert time.monotonic() - began < 50, "not when the wait was over"


def test_what_is_closed_waits_for_nothing_in_redis(rig: Rig) -> None:
    assert rig.bell.wait(0.01, rig.wakeup) == "nothing"
    wait_until(rig.listening, 20, "its call at Redis")
    rig.bell.close()
    wait_until(lambda: rig.redis.info("clients")["blocked_clients"] == 0, 30, "the call to be forgotten")


def test_a_refusal_is_told(rig: Rig) -> None:
    rig.redis.set(KEY, "no list")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        rig.bell.wait(30, rig.wakeup)


def test_a_served_call_is_a_write_and_a_quiet_one_is_none(quiet_rig: Rig) -> None:
    rig = quiet_rig
    before = rig.redis.info("persistence")["rdb_changes_since_last_save"]
    assert rig.bell.wait(30, rig.wakeup) == "quiet"
    assert rig.redis.info("persistence")["rdb_changes_since_last_save"] == before
    rig.redis.rpush(KEY, "a")
    assert rig.bell.wait(30, rig.wakeup) == "push"
    assert rig.redis.info("persistence")["rdb_changes_since_last_save"] > before + 1
