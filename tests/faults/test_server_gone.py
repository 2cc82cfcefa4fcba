"""A server that goes away, or seems to: noticed within the configured deadlines, and what it sent is not torn.

Of every connection a prefix of what was sent on it arrives, in order, each number once: what was under way when a connection died
nobody can know. Where the server closed in order, all of it arrives.
"""

import time

import pytest

from tests.support.fault_feeds import PATIENT
from tests.support.fault_run import supervising
from tests.support.half_open import HalfOpenProxy
from tests.support.namespaces import FAR, Link
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.numbered_process import NumberedProcess
from tests.support.tls import Authority

#: What `fault_feeds` configures: a ping each 0.5 s, answered within 1 s; and what a busy machine may add.
PING_DEADLINE, SLACK = 1.5, 1.5

#: The longest backoff there, and what an attempt may take.
BACKOFF, OPEN_TIMEOUT = 0.2, 2.0


@pytest.mark.quick
def test_a_reset_in_the_midst_of_the_stream_leaves_a_prefix_and_is_followed_by_a_new_connection(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=20_000)
    with numbered_server(stream) as server, supervising(tmp_path, shared_valkey, server.url, extra=PATIENT) as run:
        fault("server cut (RST), 5 times under load", run.memory)
        for _ in range(5):
            run.flows(beyond=stream.last + 2000)
            lost = run.told("connection_lost ")
            fault.begins()
            stream.cut()
            before = stream.last
            fault.noticed(lambda lost=lost: run.told("connection_lost ") > lost, 60, "the reset")
            fault.recovered(lambda before=before: run.newest() > before + 1000, 60, "the next connection")
        assert run.told("reason=ConnectionDropped") == 5
    fault.compared(run.numbers(), stream.connections)
    assert len(stream.connections) == 6


@pytest.mark.parametrize("verb", ["hang_up", "close"])
def test_a_connection_that_the_server_ends_in_order_arrives_whole(tmp_path, shared_valkey, fault, verb):
    stream = NumberedStream(rate=20_000)
    with numbered_server(stream) as server, supervising(tmp_path, shared_valkey, server.url) as run:
        fault({"hang_up": "server ends without a close frame (FIN)", "close": "server closes (1001)"}[verb], run.memory)
        for _ in range(5):
            run.flows(beyond=stream.last + 2000)
            lost = run.told("connection_lost ")
            fault.begins()
            getattr(stream, verb)()
            before = stream.last
            fault.noticed(lambda lost=lost: run.told("connection_lost ") > lost, SLACK, "the end")
            fault.recovered(lambda before=before: run.newest() > before + 1000, BACKOFF + SLACK, "the next connection")
    fault.compared(run.numbers(), stream.connections, whole=range(5))


def test_over_tls_too_a_reset_leaves_a_prefix_and_what_was_closed_in_order_arrives_whole(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=20_000)
    authority = Authority(tmp_path)
    with (
        numbered_server(stream, ssl=authority.server_context("127.0.0.1")) as server,
        supervising(tmp_path, shared_valkey, server.url, extra=f'tls.ca_file = "{authority.ca_file}"') as run,
    ):
        fault("server cut (RST) and closed (1001), 3 times each, TLS", run.memory)
        for verb in (stream.close, stream.cut) * 3:
            run.flows(beyond=stream.last + 2000)
            lost = run.told("connection_lost ")
            fault.begins()
            verb()
            before = stream.last
            fault.noticed(lambda lost=lost: run.told("connection_lost ") > lost, SLACK, "the end")
            fault.recovered(lambda before=before: run.newest() > before + 1000, BACKOFF + SLACK, "the next connection")
    fault.compared(run.numbers(), stream.connections, whole=[0, 2, 4])


def test_a_server_that_is_killed_leaves_a_prefix_and_is_taken_up_when_it_is_back(tmp_path, shared_valkey, fault):
    with NumberedProcess(tmp_path, rate=5000) as server, supervising(tmp_path, shared_valkey, server.url) as run:
        fault("server killed (SIGKILL), back after 2 s", run.memory)
        run.flows(beyond=2000)
        fault.begins()
        server.kill()
        before = server.last
        fault.noticed(lambda: run.told("connection_lost "), SLACK, "the loss")
        time.sleep(2)  # how long the fault lasts
        server.start()
        fault.ends()
        fault.recovered(lambda: run.newest() > before, BACKOFF + SLACK, "the stream")
    fault.compared(run.numbers(), server.connections)


def test_a_server_that_is_stopped_is_noticed_by_its_pings_and_taken_up_when_it_goes_on(tmp_path, shared_valkey, fault):
    with NumberedProcess(tmp_path, rate=5000) as server, supervising(tmp_path, shared_valkey, server.url) as run:
        fault("server stopped (SIGSTOP 5 s)", run.memory)
        run.flows(beyond=2000)
        began = time.monotonic()
        with server.stopped():
            fault.begins()
            fault.noticed(lambda: run.told("reason=PingTimedOut"), PING_DEADLINE + SLACK, "the silence")
            time.sleep(max(0.0, began + 5 - time.monotonic()))  # how long the fault lasts
            before = server.last
        fault.ends()
        fault.recovered(lambda: run.newest() > before, OPEN_TIMEOUT + BACKOFF + SLACK, "the stream")
        run.flows(beyond=before + 5000)
    fault.compared(run.numbers(), server.connections)


def test_a_half_open_connection_is_noticed_by_its_pings_and_replaced_once_packets_pass(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=5000)
    with (
        numbered_server(stream) as server,
        HalfOpenProxy(server.port) as proxy,
        supervising(tmp_path, shared_valkey, proxy.url) as run,
    ):
        fault("half-open (a proxy swallows all bytes)", run.memory)
        run.flows(beyond=2000)
        proxy.swallow()
        fault.begins()
        fault.noticed(lambda: run.told("reason=PingTimedOut"), PING_DEADLINE + SLACK, "the silence")
        run.supervisor.wait_for_log("connection_failed", OPEN_TIMEOUT + SLACK)
        proxy.heal()
        before = stream.last
        fault.ends()
        fault.recovered(lambda: run.newest() > before, OPEN_TIMEOUT + BACKOFF + SLACK, "the stream")
        run.flows(beyond=before + 5000)
    fault.compared(run.numbers(), stream.connections)


def test_a_link_on_which_every_packet_vanishes_is_noticed_by_the_pings_and_the_stream_goes_on_when_it_is_back(
    tmp_path, shared_valkey, fault
):
    with (
        Link() as link,
        NumberedProcess(tmp_path, rate=5000, host=FAR, prefix=link.far) as server,
        supervising(tmp_path, shared_valkey, server.url, prefix=link.near) as run,
    ):
        fault("half-open (no packet passes any more)", run.memory)
        run.flows(beyond=2000)
        fault.begins()
        link.cut()
        fault.noticed(lambda: run.told("reason=PingTimedOut"), PING_DEADLINE + SLACK, "the silence")
        run.supervisor.wait_for_log("connection_failed", OPEN_TIMEOUT + SLACK)
        link.heal()
        before = server.last
        fault.ends()
        fault.recovered(lambda: run.newest() > before, OPEN_TIMEOUT + BACKOFF + SLACK, "the stream")
        run.flows(beyond=before + 5000)
    fault.compared(run.numbers(), server.connections)


def test_a_quiet_half_open_connection_is_noticed_by_idle_timeout_without_any_ping(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=5000)
    with (
        numbered_server(stream) as server,
        HalfOpenProxy(server.port) as proxy,
        supervising(tmp_path, shared_valkey, proxy.url, extra="ping_interval = 0\nidle_timeout = 1\nopen_timeout = 1") as run,
    ):
        fault("half-open, only idle_timeout set", run.memory)
        run.flows(beyond=2000)
        proxy.swallow()
        fault.begins()
        fault.noticed(lambda: run.told("reason=IdleTimedOut"), 1 + SLACK, "the silence")
        proxy.heal()
        before = stream.last
        fault.ends()
        fault.recovered(lambda: run.newest() > before, 1 + BACKOFF + SLACK, "the stream")
    fault.compared(run.numbers(), stream.connections)


@pytest.mark.parametrize("orderly", [True, False], ids=["SIGTERM", "SIGKILL"])
def test_a_server_that_restarts_every_second_under_load_costs_no_more_than_what_was_under_way(
    tmp_path, shared_valkey, fault, orderly
):
    with NumberedProcess(tmp_path, rate=20_000) as server, supervising(tmp_path, shared_valkey, server.url) as run:
        fault(f"server restarts every second ({'SIGTERM' if orderly else 'SIGKILL'}), 8 times", run.memory)
        run.flows()
        fault.begins()
        for _ in range(8):
            again = time.monotonic() + 1
            server.stop() if orderly else server.kill()
            before = server.last
            server.start()
            fault.ends()
            fault.recovered(lambda before=before: run.newest() > before, BACKOFF + SLACK, "the next connection")
            time.sleep(max(0.0, again - time.monotonic()))  # the period of the fault
        run.flows(beyond=server.last)
    assert len(server.connections) == 9
    fault.compared(run.numbers(), server.connections, whole=range(8) if orderly else ())
