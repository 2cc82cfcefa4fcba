"""A line over a scripted connection: what is sent when, what closes it, how replies are read."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from ingest.broker.keys import Keys
from ingest.broker.limits import Limits
from ingest.broker.line import Line, Reply
from ingest.delivery.backlog import Entry
from ingest.errors import BrokerRefused, BrokerTimedOut, BrokerUnreachable
from tests.support.walk import commands_of


class ScriptedConnection:
    """Answers with what it was given, in order; an exception among the answers is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.sent: list[bytes] = []
        self.connected = 0
        self.disconnected = 0

    def connect(self) -> None:
        self.connected += 1

    def disconnect(self) -> None:
        self.disconnected += 1

    def send_packed_command(self, command: list[bytes], check_health: bool = True) -> None:
        self.sent += commands_of(b"".join(command))

    def can_read(self, timeout: float = 0) -> bool:
        return bool(self.answers)

    def read_response(self) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


JOINED = (b"sha", [b"known", b"0:nonce:", b"7"])


def make_line(*connections: ScriptedConnection) -> Line:
    left = list(connections)
    return Line(lambda: left.pop(0), Keys("ns"), "feed", "group", lambda _: Limits())


def entries(*queues: str) -> list[Entry]:
    return [Entry(n, n, queue, b"id%d" % n, b"data", 1) for n, queue in enumerate(queues, 8)]


def test_a_join_loads_the_script_and_attaches_under_a_fresh_nonce_each_time() -> None:
    connection = ScriptedConnection(*JOINED, *JOINED)
    line = make_line(connection)
    assert line.join("p", None) == 7
    assert line.join("p", 3) == 7
    load, first, _, second = connection.sent
    assert b"LOAD" in load
    assert b"ns:__feed__.group.feed" in first
    assert first[-80:] != second[-80:]
    assert connection.connected == 1, "a good connection is joined again, not replaced"


def test_an_unknown_producer_is_none() -> None:
    assert make_line(ScriptedConnection(b"sha", [b"unknown", b"", b"0"])).join("p", None) is None


def test_replies_come_in_the_order_of_the_calls() -> None:
    connection = ScriptedConnection(*JOINED)
    line = make_line(connection)
    line.join("p", 0)
    assert line.reply(0) is None
    line.enqueue_batch("p", 7, 8, entries("a"))
    line.enqueue_batch("p", 8, 10, entries("b", "a"))
    assert line.reply(0) is None
    connection.answers = [[b"ok", b"8", 5, 0, b"", 1], [b"rate", b"9", 6, 250, b"", 2]]
    assert line.reply(0) == Reply("ok", 8, "a", 5)
    assert line.reply(0) == Reply("rate", 9, "b", 6, wait=0.25)


def test_an_error_of_one_call_keeps_the_line_and_says_what_redis_said() -> None:
    connection = ScriptedConnection(*JOINED)
    line = make_line(connection)
    line.join("p", 0)
    for _ in range(3):
        line.enqueue_batch("p", 7, 8, entries("a"))
    connection.answers = [
        redis.exceptions.OutOfMemoryError("no more"),
        [b"error", b"7", 3, 0, b"WRONGTYPE not a list", 1],
        [b"gap", b"", 0, 0, b"", 0],
    ]
    assert line.reply(0) == Reply("error", error=BrokerRefused("OOM", "no more"))
    assert line.reply(0) == Reply("error", 7, "a", 3, error=BrokerRefused("WRONGTYPE", "not a list"))
    assert line.reply(0) == Reply("gap")
    assert connection.disconnected == 0


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (redis.TimeoutError("slow"), BrokerTimedOut),
        (redis.ConnectionError("gone"), BrokerUnreachable),
        (redis.exceptions.BusyLoadingError("loading"), BrokerRefused),
        (redis.exceptions.InvalidResponse("nonsense"), BrokerUnreachable),
    ],
)
def test_any_other_error_closes_the_line_and_the_next_join_makes_another(error: Exception, raised: type[Exception]) -> None:
    first, second = ScriptedConnection(*JOINED), ScriptedConnection(*JOINED, 4)
    line = make_line(first, second)
    line.join("p", 0)
    line.enqueue_batch("p", 7, 8, entries("a"))
    first.answers = [error]
    with pytest.raises(raised):
        line.reply(0)
    assert first.disconnected == 1
    with pytest.raises(BrokerUnreachable, match="closed"):
        line.enqueue_batch("p", 7, 8, entries("a"))
    assert line.join("p", None) == 7
    assert line.depth("a") == 4


def test_a_fault_of_ours_closes_it_too() -> None:
    connection = ScriptedConnection(b"sha", [b"known", b"0:n:", b"no number"])
    with pytest.raises(ValueError, match="no number"):
        make_line(connection).join("p", 0)
    assert connection.disconnected == 0, "it was read completely"
    broken = ScriptedConnection(b"sha", [b"too short"])
    with pytest.raises(ValueError, match="unpack"):
        make_line(broken).join("p", 0)
    assert broken.disconnected == 1


@pytest.mark.parametrize(("answer", "known"), [(1, True), (0, False)])
def test_leaving_says_whether_redis_knew_us(answer: int, known: bool) -> None:
    line = make_line(ScriptedConnection(*JOINED, answer))
    line.join("p", 0)
    assert line.done("p") is known


def test_closing_twice_is_closing_once() -> None:
    connection = ScriptedConnection(*JOINED)
    line = make_line(connection)
    line.join("p", 0)
    line.close()
    line.close()
    assert connection.disconnected == 1
