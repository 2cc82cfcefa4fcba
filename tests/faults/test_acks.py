"""A server that goes on after what was acknowledged, and a supervisor that is killed: what was acknowledged is in the queue."""

from collections import Counter

from ingest.testing import ScriptedServer
from tests.support.fleet import Fleet, spooling
from tests.support.queue_content import Consumer, messages_in
from tests.support.waiting import wait_until

#: Numbers in a block, and seconds between two of them.
BLOCK, PAUSE = 25, 0.005

#: Acknowledged numbers, how many more of them each process is given time for.
MORE = 2000

FULL = "[queues.trades]\nhigh_watermark = 1000\n"
SMALL = "backlog = { messages = 1000 }\n"


class CumulativeSource:
    """The script of a server: on each connection it begins after the last number that was acknowledged on any."""

    def __init__(self) -> None:
        self.acked = 0

    def __call__(self, client):
        client.accept()
        number = self.acked
        while not client.recording.left:
            client.send(*(str(each) for each in range(number + 1, number + BLOCK + 1)))
            number += BLOCK
            client.listen(PAUSE)
            if client.recording.texts:
                self.acked = max(self.acked, int(client.recording.texts[-1]))


def test_every_number_that_was_acknowledged_is_in_the_queue_in_the_end_though_the_process_is_killed_five_times(
    tmp_path, shared_valkey, fault
):
    """With a queue that is full, so that most is acknowledged because it is on disk."""
    source = CumulativeSource()
    extra = 'session = "noting:Acking"\ndurability = "disk"\n' + SMALL + spooling(tmp_path / "spool", ', fsync = "always"')
    fault("SIGKILL with cumulative acks and a spill, 5 times")
    with (
        ScriptedServer(source, timeout=120.0) as server,
        Fleet(tmp_path, shared_valkey, server.url, extra=extra, top=FULL) as fleet,
    ):
        for _ in range(5):
            member, before = fleet.start(), source.acked
            fault.recovers(lambda before=before: source.acked > before, 60, "an ack of the new process")
            wait_until(lambda before=before: source.acked > before + MORE, 60, "more acks")
            fault.begins()
            member.kill()
        assert source.acked > 5 * MORE
        with Consumer(shared_valkey.url) as consumer:
            last, before = fleet.start(), source.acked
            wait_until(lambda: source.acked > before, 60, "an ack of the last process")
            wait_until(lambda: consumer.newest > before, 60, "what was acknowledged")
            assert last.stop() == 0
            consumer.until_empty()
        assert not messages_in(fleet.client)
    missing = set(range(1, source.acked + 1)).difference(consumer.numbers)
    fault.lost = len(missing)
    assert not missing
    # A number that was read and not yet acknowledged is sent again: at most once by each connection after the first.
    assert max(Counter(consumer.numbers).values()) <= len(server.recordings)
    firsts = list(dict.fromkeys(consumer.numbers))
    assert firsts == sorted(firsts), "out of order"
