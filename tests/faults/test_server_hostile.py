"""A server that breaks the protocol, dribbles, or sends without end: noticed within a deadline, in bounded memory.

Every connection begins with a few numbers, then comes the fault; all of those numbers arrive, and so does the stream that follows
on the next connection.
"""

import pytest

from ingest.telemetry.storms import BURST
from tests.support import frames
from tests.support.fault_feeds import PATIENT
from tests.support.fault_run import supervising
from tests.support.numbered import GLANCE, NumberedStream, numbered_server
from tests.support.queue_content import Consumer
from tests.support.waiting import wait_until

#: Numbers that a connection sends before its fault, and in the same write as the fault.
FEW, WITH = 100, 20

#: What a busy machine may add to a deadline, and the longest backoff of `fault_feeds`.
SLACK, BACKOFF = 1.5, 0.2

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


class After:
    """The script of a first connection: a few numbers, and the fault once the test says so.

    The fault begins with the bytes ``bad``, which come in the same write as some more numbers, and goes on with ``evil``.
    """

    def __init__(self, stream, fault, evil, bad=b""):
        self._stream = stream
        self._fault = fault
        self._evil = evil
        self._bad = bad

    def __call__(self, client):
        sent = self._stream.burst(client, FEW)
        while not self._fault.has_begun:
            client.listen(0.01)
        self._stream.burst(client, WITH, sent, then=self._bad)
        self._evil(client)
        client.listen(60)  # its close is read; without an answer it waits at most a second for ours


def nothing(client):
    pass


def close(client):
    client.close(1001)


def suffered(tmp_path, valkey, fault, name, evil=nothing, *, bad=b"", reason, within, grows, extra="", code=None, slack=SLACK):
    """Let a server do ``evil`` after a few numbers.

    ``reason`` must end the connection ``within`` seconds and close it with ``code``, the memory grow by less than ``grows`` MiB,
    and every number of both connections arrive.
    """
    stream = NumberedStream(rate=5000)
    with (
        numbered_server(stream, After(stream, fault, evil, bad)) as server,
        supervising(tmp_path, valkey, server.url, extra=extra) as run,
    ):
        fault(name, run.memory)
        wait_until(lambda: run.depth() == FEW, 60, "the numbers before the fault")
        fault.begins()
        fault.noticed(lambda: run.told(f"reason={reason}"), within + slack, f"the end by {reason}")
        fault.recovered(lambda: run.newest() > FEW + WITH + 500, within + BACKOFF + slack, "the stream on the next connection")
        wait_until(lambda: server.recordings[0].close_code is not None, 60, "the end of the first connection")
        assert code is None or server.recordings[0].close_code == code
        assert len(server.recordings) == 2
        assert run.memory.grown is None or run.memory.grown < grows, f"it grew by {run.memory.grown} MiB"
    fault.compared(run.numbers(), stream.connections, whole=[0])


#: What a server sends, and the code with which that is answered.
VIOLATIONS = {
    "masked frames": (b"\x81\x85\x01\x02\x03\x04" + bytes(byte ^ (i % 4 + 1) for i, byte in enumerate(b"hello")), 1002),
    "bad UTF-8": (frames.frame(frames.TEXT, b"7 \xff\xfe"), 1007),
    "bad UTF-8 cut between fragments": (b"".join(frames.fragments(frames.TEXT, b"7 \xe2\x82", b"(")), 1007),
    "unknown opcode": (frames.frame(0x3, b"7"), 1002),
    "compressed without an offer": (frames.frame(frames.TEXT, b"7", first=frames.FIN | frames.RSV1), 1002),
    "a continuation of nothing": (frames.frame(frames.CONTINUATION, b"7"), 1002),
    "a fragmented ping": (frames.frame(frames.PING, b"7", first=0), 1002),
    "a close frame with half a code": (frames.frame(frames.CLOSE, b"\x03"), 1002),
    "1 GB announced in a header": (frames.header(frames.TEXT, GIB) + b"x" * MIB, 1009),
    "2^63 bytes announced in a header": (bytes([0x81, 127]) + (1 << 63).to_bytes(8, "big"), 1002),
}

#: One of each code: `make test` tries these too.
QUICK = ("masked frames", "bad UTF-8", "1 GB announced in a header")


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.quick) if name in QUICK else name for name in VIOLATIONS])
def test_a_violation_ends_the_connection_with_its_code_at_once_and_costs_no_number_before_it(
    tmp_path, shared_valkey, fault, name
):
    bad, code = VIOLATIONS[name]
    slack, extra = (20, PATIENT) if name in QUICK else (SLACK, "")
    suffered(
        tmp_path, shared_valkey, fault, name, bad=bad,
        reason="ProtocolViolated", within=0.5, grows=8, code=code, slack=slack, extra=extra,
    )  # fmt: skip


def endless(payload, *, opcode=frames.TEXT):
    """Send one message in fragments of ``payload`` without end, as fast as the client takes them; answer its pings."""

    def evil(client):
        client.send_raw(frames.frame(opcode, payload, first=0))
        block = frames.frame(frames.CONTINUATION, payload, first=0) * max(1, 64 * KIB // (len(payload) + 4))
        while not client.recording.left:
            client.send_raw(block)
            client.listen(GLANCE)

    return evil


@pytest.mark.parametrize("size", [64 * KIB, 1], ids=["64 KiB", "1 byte"])
def test_endless_fragments_end_at_max_message_bytes_and_hold_no_more_memory_than_that(tmp_path, shared_valkey, fault, size):
    suffered(
        tmp_path, shared_valkey, fault, f"endless fragments of {size} B", endless(b"x" * size),
        reason="ProtocolViolated", within=1, grows=8, code=1009, extra=f"max_message_bytes = {256 * KIB}",
    )  # fmt: skip


def test_endless_empty_fragments_are_no_data(tmp_path, shared_valkey, fault):
    suffered(
        tmp_path, shared_valkey, fault, "endless empty fragments", endless(b""),
        reason="DataTimedOut", within=1, grows=8, extra="data_timeout = 1",
    )  # fmt: skip


def dribble(client):
    """Announce a message, and send a byte of it now and then: no pong fits in between."""
    client.send_raw(frames.header(frames.TEXT, 1000))
    client.send_raw(b"x" * 1000, every=0.1)


@pytest.mark.parametrize(
    ("reason", "extra"),
    [
        ("PingTimedOut", ""),
        ("IdleTimedOut", "ping_interval = 0\nidle_timeout = 1"),
        ("DataTimedOut", "ping_interval = 0\ndata_timeout = 1"),
    ],
    ids=["pings", "idle_timeout", "data_timeout"],
)
def test_a_frame_that_comes_byte_by_byte_is_no_sign_of_life(tmp_path, shared_valkey, fault, reason, extra):
    name = f"slow-loris in a frame ({reason})"
    suffered(tmp_path, shared_valkey, fault, name, dribble, reason=reason, within=1.5, grows=8, extra=extra)


def flood_of_pings(client):
    """Ask and ask, and never read an answer."""
    block = frames.frame(frames.PING, b"x" * 125) * 500
    while not client.recording.left:
        client.send_raw(block)


def test_a_server_that_asks_and_never_reads_ends_at_a_deadline_and_fills_no_memory(tmp_path, shared_valkey, fault):
    suffered(
        tmp_path, shared_valkey, fault, "flood of pings whose answers are not read", flood_of_pings,
        reason="(Ping|Send)TimedOut", within=4, grows=12,
    )  # fmt: skip


def slow(client):
    client.send_raw(client.upgrade_response(), every=0.2)


def endless_header(client):
    client.send_raw(b"HTTP/1.1 101 Switching Protocols\r\nX: ")
    while not client.recording.left:
        client.send_raw(b"x" * 64 * KIB)


def endless_body(client):
    client.send_raw(b"HTTP/1.1 503 Busy\r\nContent-Length: 1000000000\r\n\r\n")
    while not client.recording.left:
        client.send_raw(b"x" * 64 * KIB)


def accepting(**headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda client: client.accept(headers=named)


#: What a server does in place of the upgrade, after how many seconds it must be noticed, and as what.
HANDSHAKES = {
    "slow-loris in the handshake": (slow, 1.0, "OpenTimedOut"),
    "nothing in the handshake": (lambda client: client.stall(60), 1.0, "OpenTimedOut"),
    "no HTTP in the handshake": (lambda client: client.send_raw(b"\x16\x03\x01" * 100), 1.0, "OpenTimedOut"),
    "an endless header in the handshake": (endless_header, 0.5, "HandshakeInvalid"),
    "an endless body of a 503": (endless_body, 1.0, "HandshakeRejected"),
    "a wrong accept key": (accepting(Sec_WebSocket_Accept="no"), 0.5, "HandshakeInvalid"),
    "an extension not asked for": (accepting(Sec_WebSocket_Extensions="permessage-deflate"), 0.5, "HandshakeInvalid"),
}


@pytest.mark.parametrize("name", HANDSHAKES)
def test_a_handshake_that_is_none_ends_within_open_timeout_and_fills_no_memory(tmp_path, shared_valkey, fault, name):
    evil, within, reason = HANDSHAKES[name]
    stream = NumberedStream(rate=5000)

    def evil_then_listening(client):
        evil(client)
        client.listen(60)

    with (
        numbered_server(stream, After(stream, fault, close), evil_then_listening) as server,
        supervising(tmp_path, shared_valkey, server.url, extra="open_timeout = 1") as run,
    ):
        fault(name, run.memory)
        wait_until(lambda: run.depth() == FEW, 60, "the numbers before the fault")
        fault.begins()
        fault.noticed(lambda: run.told(f"connection_failed .*reason={reason} "), within + SLACK, "the failed handshake")
        fault.recovered(lambda: run.newest() > FEW + WITH + 500, within + BACKOFF + SLACK, "the stream on the next connection")
        assert len(server.recordings) == 3
        assert run.memory.grown is None or run.memory.grown < 8, f"it grew by {run.memory.grown} MiB"
    fault.compared(run.numbers(), stream.connections, whole=[0])


def test_messages_of_10_mb_arrive_whole_and_wait_for_a_full_queue_in_bounded_memory(tmp_path, shared_valkey, fault):
    count = 24
    stream = NumberedStream(rate=None, size=10_000_000, block=1, limit=count)
    queue = "[queues.trades]\nhigh_watermark = 4\nlow_watermark = 2\n"
    backlog = f"backlog = {{ bytes = {32 * MIB} }}"
    with (
        numbered_server(stream) as server,
        supervising(tmp_path, shared_valkey, server.url, extra=backlog, top=queue) as run,
        Consumer(shared_valkey.url, rate=0) as consumer,
    ):
        fault("10 MB messages into a full queue", run.memory)
        fault.begins()
        fault.noticed(lambda: run.told("feed_blocked "), 60, "the full backlog")
        assert run.depth() == 4
        assert stream.last < count
        consumer.rate = None
        fault.ends()
        fault.recovered(lambda: len(consumer.numbers) == count, 60, "all of them")
        assert len(stream.connections) == 1
        assert run.memory.grown is None or run.memory.grown < 192, f"it grew by {run.memory.grown} MiB"
    fault.compared(consumer.numbers, stream.connections, whole=[0])


def give_and_close(stream):
    def flap(client):
        stream.burst(client, 5)
        client.close(1001)

    return flap


def leave_without_an_answer(stream):
    return lambda client: client.hang_up()


@pytest.mark.parametrize(
    ("name", "make", "given"),
    [("upgraded, then closed", give_and_close, 5), ("accepted, then closed", leave_without_an_answer, 0)],
    ids=["after some numbers", "without an answer"],
)
def test_200_connections_that_end_at_once_stay_within_the_backoff_and_cost_no_number(
    tmp_path, shared_valkey, fault, name, make, given
):
    flaps, pause = 200, 0.02
    stream = NumberedStream(rate=5000)
    scripts = [After(stream, fault, close), *[make(stream)] * flaps]
    retry = f'retry = {{ initial = 0.01, max = {pause}, jitter = "none" }}'
    with numbered_server(stream, *scripts) as server, supervising(tmp_path, shared_valkey, server.url, extra=retry) as run:
        fault(f"flapping ({name}), {flaps} times", run.memory)
        wait_until(lambda: run.depth() == FEW, 60, "the numbers before the fault")
        fault.begins()
        run.flows(beyond=FEW + WITH + flaps * given, timeout=60)
        assert len(server.recordings) - 1 == flaps + 1
        assert run.memory.grown is None or run.memory.grown < 8, f"it grew by {run.memory.grown} MiB"
    # The first are told one by one; the summary of the others has the time of the last of them.
    assert run.told("retry_scheduled ") == BURST
    assert run.told(rf"retry_scheduled_repeated .*times={flaps + 1 - BURST} ") == 1
    assert run.seconds_between("retry_scheduled", 0, BURST) >= (flaps - 1) * pause, "sooner than the backoff allows"
    fault.compared(run.numbers(), stream.connections, whole=range(len(stream.connections) - 1))
