"""What Redis does to a stream."""

import pytest

from tests.support.fault_feeds import feeds_toml
from tests.support.memory import MemorySampler
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.queue_content import numbers_in
from tests.support.supervisor import SupervisorProcess
from tests.support.waiting import wait_until

#: Numbers per second.
RATE = 2000


@pytest.mark.parametrize(("seconds", "told"), [(5, False), (7, True)], ids=["5 s", "beyond the time-out of a call"])
def test_redis_that_stands_still_loses_and_doubles_nothing_and_the_server_never_notices(tmp_path, valkey, fault, seconds, told):
    stream = NumberedStream(rate=RATE)
    client = valkey.client()
    with (
        numbered_server(stream) as server,
        SupervisorProcess(tmp_path, feeds_toml(server.url), valkey.url) as supervisor,
        MemorySampler(supervisor.pid) as memory,
    ):
        fault(f"Redis stalled (SIGSTOP {seconds} s)", memory)
        wait_until(lambda: client.llen("dramatiq:trades") > RATE, 30, "a loaded stream")
        with valkey.stalled():
            fault.begins()
            until = stream.last + seconds * RATE
            if told:
                fault.noticed(lambda: "broker_unavailable" in supervisor.log, seconds, "the outage in the log")
            stream.wait_for(until)
        fault.ends()
        fault.recovered(lambda: client.llen("dramatiq:trades") >= until, 20, "what was read meanwhile")
        assert supervisor.stop() == 0
    fault.compared(numbers_in(client), stream.connections)
    assert len(stream.connections) == 1
    assert not told or "broker_recovered" in supervisor.log
