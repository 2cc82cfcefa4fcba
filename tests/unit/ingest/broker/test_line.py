"""A line over a scripted connection: what is sent when, what closes it, how replies are read."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import redis

from ingest.broker.keys import Keys
from ingest.broker.lending import Lender
from ingest.broker.limits import Limits
from ingest.broker.line import Joined, Line, Reply
from ingest.delivery.backlog import Entry
from ingest.errors import BrokerRefused, BrokerTimedOut, BrokerUnreachable
from ingest.events import GapFound
from tests.support.simulated_network import commands_of


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
    return Line(Lender(lambda: left.pop(0), 1).borrower(), Keys("ns"), "feed", "group", lambda _: Limits())


def entries(*queues: str) -> list[Entry]:
    return [Entry(n, n, queue, b"id%d" % n, b"data", 1) for n, queue in enumerate(queues, 8)]


def test_a_join_loads_the_script_and_attaches_under_a_fresh_nonce_each_time() -> None:
    connection = ScriptedConnection(*JOINED, *JOINED)
    line = make_line(connection)
    assert line.join("p", None) == Joined(7, epoch=0)
    assert line.join("p", 3) == Joined(7, epoch=0)
    load, first, _, second = connection.sent
    assert b"LOAD" in load
    assert b"ns:__feed__.group.feed" in first
    assert first[-80:] != second[-80:]
    assert connection.connected == 1, "a good connection is joined again, not replaced"


def test_an_unknown_producer_is_none() -> None:
    assert make_line(ScriptedConnection(b"sha", [b"unknown", b"", b"0"])).join("p", None) == Joined(None)


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
    assert line.join("p", None) == Joined(7, epoch=0)
    assert line.depth("a") == 4


def test_a_line_moves_while_the_kernel_has_less_and_less_to_send() -> None:
    near, far = socket.socketpair()
    with near, far:
        connection = ScriptedConnection(*JOINED)
        connection._sock = near  # type: ignore[attr-defined]
        line = make_line(connection)
        line.join("p", 0)
        assert not line.is_moving(), "nothing is on its way"
        near.sendall(bytes(50_000))
        near.sendall(bytes(50_000))
        line.enqueue_batch("p", 7, 8, entries("a"))
        connection.answers = [[b"ok", b"8", 5, 0, b"", 1]]
        line.reply(0)
        assert line.is_moving(), "at the first look it may be"
        assert not line.is_moving()
        receive(far, 50_000)
        assert line.is_moving()
        receive(far, 50_000)
        assert not line.is_moving()


def receive(far: socket.socket, count: int) -> None:
    while count:
        count -= len(far.recv(count))


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


def sent_lease(connection: ScriptedConnection) -> list[list[bytes]]:
    """Return what lease.lua was asked, call by call."""
    calls = [command.split(b"\r\n")[2::2] for command in connection.sent]
    return [call[call.index(b"ns:__feed__.group.feed") + 1 :] for call in calls if b"ns:__feed__.group.feed" in call]


RENEWED = [[b"ok", b"7"]]


def test_a_leader_renews_its_lease_before_it_attaches() -> None:
    connection = ScriptedConnection(b"sha", RENEWED, JOINED[1])
    assert make_line(connection).join("late", None, "me") == Joined(7, epoch=0)
    renew, attach = sent_lease(connection)
    assert renew == [b"renew", b"5000", b"me", b"", b""]
    assert attach[:2] == [b"attach", b"late"]


def test_where_redis_forgot_the_lease_it_is_taken_again_and_the_position_left_to_the_attach() -> None:
    taken = [[b"taken", b"1", b"", b"", b"", b"", b""]]
    connection = ScriptedConnection(b"sha", [[b"gone", b""]], taken, [b"unknown", b"", b"0"])
    assert make_line(connection).join("me", None, "me") == Joined(None)
    _, take, _ = sent_lease(connection)
    assert take == [b"take", b"1", b"1", b"me", b"5000", b"", b"", b"", b""]


@pytest.mark.parametrize("answers", [[[[b"fenced", b"other"]]], [[[b"gone", b""]], [[b"held", b"other", b"3"]]]])
def test_a_join_under_a_lease_that_another_has_attaches_nothing(answers: list[Any]) -> None:
    connection = ScriptedConnection(b"sha", *answers)
    assert make_line(connection).join("me", 0, "me") == Joined(None, fenced=True)
    assert b"attach" not in b"".join(connection.sent).split(b"\r\n")
    assert connection.disconnected == 0


def test_a_join_whose_lease_cannot_be_taken_again_fails_with_what_redis_has_against_it() -> None:
    connection = ScriptedConnection(b"sha", [[b"gone", b""]], [[b"error", b"OOM command not allowed"]])
    with pytest.raises(BrokerRefused, match="OOM command not allowed"):
        make_line(connection).join("me", None, "me")
    assert connection.disconnected == 1


def test_a_call_names_the_leader_that_it_is_made_under() -> None:
    connection = ScriptedConnection(*JOINED)
    line = make_line(connection)
    line.join("p", 0)
    line.enqueue_batch("p", 7, 8, entries("a"), "me")
    line.enqueue_batch("p", 7, 8, entries("a"))
    under_lease, late = sent_lease(connection)[1:]
    position = [b"p.p", b"0:nonce:", b"7", b"8"]
    assert [b"me", *position] == under_lease[3:8]
    assert [b"", *position] == late[3:8]
    connection.answers = [[b"fenced", b"", 0, 0, b"", 0]] * 2
    assert line.reply(0) == Reply("fenced")


def test_the_record_of_a_gap_needs_no_join() -> None:
    connection = ScriptedConnection(1)
    line = make_line(connection)
    line.record(
        GapFound(telemetry_id="t", feed="feed", cause="forgotten", from_us=1, to_us=2, producer="p", last_seq=0),
    )
    [sent] = connection.sent
    assert b"ns:__gaps__.group.feed" in sent
    assert connection.connected == 1


def test_a_line_that_rests_goes_on_over_another_connection_without_a_join() -> None:
    first, second = ScriptedConnection(*JOINED), ScriptedConnection()
    left = [first, second]
    lender = Lender(lambda: left.pop(0), 2)
    line, other = Line(lender.borrower(), Keys("ns"), "feed", "group", lambda _: Limits()), lender.borrower()
    line.join("p", 0)
    line.rest()
    assert other.ask(lambda: None)
    assert other.connection is first
    line.enqueue_batch("p", 7, 8, entries("a"))
    second.answers = [[b"ok", b"8", 5, 0, b"", 1]]
    assert line.reply(0) == Reply("ok", 8, "a", 5)
    assert [b"0:nonce:" in sent for sent in second.sent] == [True]


def test_a_line_that_is_owed_a_reply_does_not_rest() -> None:
    connection = ScriptedConnection(*JOINED)
    lender = Lender(lambda: connection, 1)
    line = Line(lender.borrower(), Keys("ns"), "feed", "group", lambda _: Limits())
    line.join("p", 0)
    line.enqueue_batch("p", 7, 8, entries("a"))
    line.rest()
    assert not lender.borrower().ask(lambda: None)
    connection.answers = [[b"ok", b"8", 5, 0, b"", 1]]
    assert line.reply(0) == Reply("ok", 8, "a", 5)


def test_without_a_connection_nothing_is_sent() -> None:
    connection = ScriptedConnection(*JOINED)
    lender = Lender(lambda: connection, 1)
    other = lender.borrower()
    other.ask(lambda: None)
    woken: list[bool] = []
    line = Line(lender.borrower(), Keys("ns"), "feed", "group", lambda _: Limits())
    assert not line.acquire(lambda: woken.append(True))
    with pytest.raises(BrokerTimedOut, match="in use"):
        line.join("p", 0)
    assert connection.sent == []
    assert not line.acquire(lambda: woken.append(True))
    other.give_back()
    assert woken == [True]
    assert line.join("p", 0) == Joined(7, epoch=0)
