"""What becomes of the supervisor process itself: asked to end, under load."""

import pytest

from tests.support.fault_feeds import PATIENT
from tests.support.fault_run import supervising
from tests.support.frames import TEXT, frame
from tests.support.half_open import HalfOpenProxy
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.waiting import wait_until


@pytest.mark.quick
def test_sigterm_under_load_delivers_every_frame_up_to_a_point_and_none_after_and_exits_with_0(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=20_000)
    with numbered_server(stream) as server, supervising(tmp_path, shared_valkey, server.url, extra=PATIENT) as run:
        fault("SIGTERM under load", run.memory)
        run.flows(beyond=10_000)
        fault.begins()
        assert run.supervisor.stop() == 0
        fault.noticed(lambda: server.recordings[0].left, 60, "the close of the connection")
        assert server.recordings[0].close_code == 1001
    arrived = run.numbers()
    fault.compared(arrived, stream.connections)
    assert run.told(f"feed_drained .*enqueued={len(arrived)} (.* )?lost=0")


def test_sigterm_while_the_server_is_silent_ends_in_two_seconds_and_delivers_all_that_was_read(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=5000)
    with (
        numbered_server(stream) as server,
        HalfOpenProxy(server.port) as proxy,
        supervising(tmp_path, shared_valkey, proxy.url) as run,
    ):
        fault("SIGTERM while the connection is half-open", run.memory)
        run.flows(beyond=2000)
        proxy.swallow()
        fault.begins()
        assert run.supervisor.stop(timeout=5) == 0
        fault.noticed(lambda: run.told("feed_drained "), 1, "the end")
        assert fault.noticed_after < 3, "1 s for the server's close frame, and what a busy machine adds"
    arrived = run.numbers()
    fault.compared(arrived, stream.connections)
    assert run.told(f"feed_drained .*read={len(arrived)} .*enqueued={len(arrived)} (.* )?lost=0")


def test_sigterm_while_a_handshake_dribbles_ends_at_once(tmp_path, shared_valkey, fault):
    def slow(client):
        client.send_raw(client.upgrade_response(), every=0.2)

    stream = NumberedStream()
    with (
        numbered_server(stream, slow) as server,
        supervising(tmp_path, shared_valkey, server.url, extra="open_timeout = 20") as run,
    ):
        fault("SIGTERM within a handshake that dribbles", run.memory)
        server.wait_for_connections(1)
        fault.begins()
        assert run.supervisor.stop(timeout=5) == 0
        fault.noticed(lambda: run.told("feed_drained "), 1, "the end")
        assert fault.noticed_after < 2
    assert run.numbers() == []


def test_sigterm_while_a_server_sends_without_end_and_never_reads_ends_in_two_seconds(tmp_path, shared_valkey, fault):
    stream = NumberedStream()

    def flood(client):
        client.accept()
        block = frame(TEXT, b"x" * 100) * 500
        while True:
            client.send_raw(block)

    with numbered_server(stream, flood) as server, supervising(tmp_path, shared_valkey, server.url) as run:
        fault("SIGTERM while a server floods and never reads", run.memory)
        wait_until(lambda: run.depth() > 10_000, 60, "a loaded stream")
        fault.begins()
        assert run.supervisor.stop(timeout=10) == 0
        fault.noticed(lambda: run.told("feed_drained "), 1, "the end")
        assert fault.noticed_after < 4, "1 s for the close, the queue's last batches, and what a busy machine adds"
    assert run.told(f"feed_drained .*read={run.depth()} .*enqueued={run.depth()} (.* )?lost=0")
