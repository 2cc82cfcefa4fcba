"""What Redis does to a stream."""

import pytest

from tests.support.fault_run import supervising
from tests.support.numbered import NumberedStream, numbered_server

#: Numbers per second.
RATE = 2000


@pytest.mark.parametrize(("seconds", "told"), [(5, False), (7, True)], ids=["5 s", "beyond the time-out of a call"])
def test_redis_that_stands_still_loses_and_doubles_nothing_and_the_server_never_notices(tmp_path, valkey, fault, seconds, told):
    stream = NumberedStream(rate=RATE)
    with numbered_server(stream) as server, supervising(tmp_path, valkey, server.url) as run:
        fault(f"Redis stalled (SIGSTOP {seconds} s)", run.memory)
        run.flows(beyond=RATE)
        with valkey.stalled():
            fault.begins()
            until = stream.last + seconds * RATE
            if told:
                fault.noticed(lambda: run.told("broker_unavailable "), seconds, "the outage in the log")
            stream.wait_for(until)
        fault.ends()
        fault.recovered(lambda: run.newest() >= until, 60, "what was read meanwhile")
    found = fault.compared(run.numbers(), stream.connections)
    assert len(found.tails) == 1
    assert not told or run.told("broker_recovered ")
