"""Single messages: sent once, whatever becomes of the reply; the errors are the library's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import redis
from dramatiq.errors import RateLimitExceeded

from ingest.broker.keys import Keys
from ingest.broker.limits import Limits
from ingest.broker.plain import PlainLine

OK = [b"ok", b"0", 1, 0, b"", 1]
FULL = [b"full", b"0", 5, 0, b"", 1]


class ScriptedRedis:
    """A client, its pool and its one connection: answers calls in turn, raises what is an exception."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.did: list[str] = []
        self.connection_pool = self

    def get_connection(self) -> ScriptedRedis:
        self.did.append("get")
        return self

    def send_packed_command(self, packed: list[bytes]) -> None:
        self.did.append("send")

    def read_response(self, disable_decoding: bool) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def disconnect(self) -> None:
        self.did.append("disconnect")

    def release(self, connection: object) -> None:
        self.did.append("release")

    def script_load(self, source: str) -> None:
        self.did.append("load")


def line(client: ScriptedRedis, timeout: float = 0.0) -> PlainLine:
    return PlainLine(cast(redis.Redis, client), Keys("ns"), lambda queue: Limits(high=5, low=1, rate=2.0), timeout)


def enqueue(client: ScriptedRedis) -> None:
    line(client).enqueue("q", b"1", b"{}")


def test_what_is_taken_is_sent_once() -> None:
    client = ScriptedRedis(OK)
    enqueue(client)
    assert client.did == ["get", "send", "release"]


@pytest.mark.parametrize(
    "error", [redis.ConnectionError("lost"), redis.TimeoutError("slow"), ConnectionResetError("reset"), KeyboardInterrupt()]
)
def test_without_a_reply_it_raises_as_it_is_and_the_connection_is_not_used_again(error: BaseException) -> None:
    client = ScriptedRedis(error)
    with pytest.raises(type(error)) as caught:
        enqueue(client)
    assert caught.value is error
    assert client.did == ["get", "send", "disconnect", "release"]


def test_a_script_that_redis_does_not_know_is_loaded_and_the_call_sent_again() -> None:
    client = ScriptedRedis(redis.exceptions.NoScriptError("which"), OK)
    enqueue(client)
    assert client.did == ["get", "send", "release", "load", "get", "send", "release"]


def test_a_script_that_is_forgotten_at_once_is_not_tried_for_ever() -> None:
    client = ScriptedRedis(*[redis.exceptions.NoScriptError("which")] * 3)
    with pytest.raises(redis.exceptions.NoScriptError):
        enqueue(client)
    assert client.did.count("send") == 2


def test_an_error_in_place_of_an_answer_leaves_the_connection_good() -> None:
    client = ScriptedRedis(redis.ResponseError("WRONGTYPE Operation"))
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        enqueue(client)
    assert client.did == ["get", "send", "release"]


@pytest.mark.parametrize(
    ("detail", "kind"),
    [
        (b"OOM command not allowed", redis.exceptions.OutOfMemoryError),
        (b"READONLY You can't write against a read only replica.", redis.exceptions.ReadOnlyError),
        (b"NOREPLICAS Not enough good replicas to write.", redis.ResponseError),
    ],
)
def test_what_redis_refused_within_the_script_raises_and_the_next_call_connects_anew(detail: bytes, kind: type) -> None:
    client = ScriptedRedis([b"error", b"0", 0, 0, detail, 1])
    with pytest.raises(kind) as caught:
        enqueue(client)
    assert type(caught.value) is kind
    assert client.did == ["get", "send", "disconnect", "release"]


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (FULL, "queue q is full: 5 messages wait, 5 is its high watermark; waited 0"),
        ([b"rate", b"0", 5, 500, b"", 1], "queue q takes 2 messages a second; waited 0"),
    ],
)
def test_without_time_to_wait_it_is_tried_once(reply: object, says: str) -> None:
    client = ScriptedRedis(reply)
    with pytest.raises(RateLimitExceeded, match=says):
        enqueue(client)
    assert client.did == ["get", "send", "release"]


def test_the_end_of_the_broker_ends_the_wait() -> None:
    client = ScriptedRedis(FULL)
    made = line(client, timeout=60.0)
    made.close()
    with pytest.raises(RateLimitExceeded):
        made.enqueue("q", b"1", b"{}")


def test_a_call_that_the_end_of_the_broker_cuts_off_is_a_lost_connection_whatever_the_library_made_of_it() -> None:
    client = ScriptedRedis(ValueError("file descriptor cannot be a negative integer (-1)"))
    made = line(client)
    made.close()
    with pytest.raises(redis.ConnectionError, match="closed meanwhile"):
        made.enqueue("q", b"1", b"{}")


def test_every_queue_asks_for_its_own_limits() -> None:
    asked: list[str] = []

    def limits(queue: str) -> Limits:
        asked.append(queue)
        return Limits()

    made = PlainLine(cast(redis.Redis, ScriptedRedis(OK, OK, OK)), Keys("ns"), cast(Callable[[str], Limits], limits), 0.0)
    for queue in ("a", "b", "a"):
        made.enqueue(queue, b"1", b"{}")
    assert asked == ["a", "b", "a"]  # anew every time: they may change
