"""What becomes of the supervisor process itself: asked to end, under load."""

import pytest

from tests.support.fault_feeds import feeds_toml
from tests.support.memory import MemorySampler
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.queue_content import numbers_in
from tests.support.supervisor import SupervisorProcess
from tests.support.waiting import wait_until


@pytest.mark.quick
def test_sigterm_under_load_delivers_every_frame_up_to_a_point_and_none_after_and_exits_with_0(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=20_000)
    client = shared_valkey.client()
    with (
        numbered_server(stream) as server,
        SupervisorProcess(tmp_path, feeds_toml(server.url), shared_valkey.url) as supervisor,
        MemorySampler(supervisor.pid) as memory,
    ):
        fault("SIGTERM under load", memory)
        wait_until(lambda: client.llen("dramatiq:trades") > 10_000, 30, "a loaded stream")
        fault.begins()
        assert supervisor.stop() == 0
        fault.noticed(lambda: server.recordings[0].left, 5, "the close of the connection")
    assert server.recordings[0].close_code == 1001
    arrived = numbers_in(client)
    fault.compared(arrived, stream.connections)
    assert f"enqueued={len(arrived)} lost=0" in supervisor.log
