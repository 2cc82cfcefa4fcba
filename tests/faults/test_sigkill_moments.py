"""The supervisor is killed (SIGKILL) between what Redis did for it and what it writes down of that, or amid what it drops."""

from datetime import datetime

from tests.support.dying import GRANTED, LEFT
from tests.support.fleet import NOTING, Fleet, spooling
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.queue_content import Consumer
from tests.support.waiting import wait_until

#: Numbers per second.
RATE = 5000

DYING = 'session = "tests.support.dying:Dying"\ndurability = "disk"\n'
FULL = "[queues.trades]\nhigh_watermark = 1000\nlow_watermark = 500\n"


def ended(member):
    wait_until(lambda: not member.running, 30, "the kill")


def test_killed_when_redis_has_just_forgotten_an_earlier_producer_nothing_of_it_comes_twice(tmp_path, shared_valkey, fault):
    """What it had confirmed is deleted on disk some time later; by then Redis must still know how far it came."""
    stream = NumberedStream(rate=RATE)
    extra = DYING + spooling(tmp_path / "spool")
    fault("SIGKILL as a replay takes leave of Redis")
    with numbered_server(stream) as server, Fleet(tmp_path, shared_valkey, server.url, extra=extra) as fleet:
        first = fleet.start()
        fleet.flows(beyond=RATE)
        first.kill()
        ended(fleet.start(DIES_AT=LEFT))
        last, before = fleet.start(), stream.last
        fleet.flows(beyond=before)
        assert last.stop() == 0
        arrived = fleet.numbers()
        assert not fleet.gaps("forgotten")
    fault.compared(arrived, stream.connections)


def test_killed_at_the_end_of_an_orderly_stop_nothing_comes_twice(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=RATE)
    extra = DYING + spooling(tmp_path / "spool")
    fault("SIGKILL at the end of a stop")
    with numbered_server(stream) as server, Fleet(tmp_path, shared_valkey, server.url, extra=extra) as fleet:
        first = fleet.start(DIES_AT=LEFT)
        fleet.flows(beyond=RATE)
        assert first.stop() != 0
        last, before = fleet.start(), stream.last
        fleet.flows(beyond=before)
        assert last.stop() == 0
        arrived = fleet.numbers()
        assert not fleet.gaps("forgotten")
    fault.compared(arrived, stream.connections)


def test_killed_when_the_lead_has_just_been_granted_what_is_in_the_spool_is_not_overtaken_by_that(tmp_path, shared_valkey, fault):
    """Also twice in a row: no lead that its process never knew of comes between what waits and who sends it."""
    stream = NumberedStream(rate=RATE)
    extra = DYING + spooling(tmp_path / "spool")
    fault("SIGKILL twice as the lead is granted, much in the spool")
    with numbered_server(stream) as server, Fleet(tmp_path, shared_valkey, server.url, extra=extra, top=FULL) as fleet:
        first = fleet.start()
        wait_until(lambda: fleet.depth() == 1000, 20, "a full queue")
        stream.wait_for(2 * RATE)
        first.kill()
        for _ in range(2):
            ended(fleet.start(DIES_AT=GRANTED))
        with Consumer(shared_valkey.url) as consumer:
            last, before = fleet.start(), stream.last
            wait_until(lambda: consumer.newest > before, 30, "a number of the new process")
            assert last.stop() == 0
            consumer.until_empty()
        (gap,) = fleet.gaps()
    fault.compared(consumer.numbers, stream.connections)
    came = set(consumer.numbers).intersection(stream.connections[0])
    assert len(came) > 1000, "nothing was in the spool"
    assert (gap.cause, gap.last_seq) == ("restart", len(came))


def test_what_was_dropped_before_a_sigkill_is_within_a_gap_record(tmp_path, shared_valkey):
    """An episode of drops is recorded at its end, which never comes: then the record of the kill has to reach back to it."""
    stream = NumberedStream(rate=RATE)
    extra = NOTING + 'backlog = { messages = 1000 }\noverflow = "drop_oldest"\n'
    top = "[supervisor]\nlease = 1\n" + FULL
    with numbered_server(stream) as server, Fleet(tmp_path, shared_valkey, server.url, extra=extra, top=top) as fleet:
        member = fleet.start()
        member.wait_for_log(" drops_began ")
        stream.wait_for(stream.last + 3 * RATE)
        member.kill()
        fleet.start()
        (gap,) = wait_until(fleet.gaps, 20, "the record")
    assert member.told(" frames_dropped ") == 0, "the episode went on"
    line = next(line for line in member.log.splitlines() if " drops_began " in line)
    began_us = datetime.fromisoformat(line.split()[0]).timestamp() * 1e6
    assert gap.last_seq == 1000
    assert gap.from_us < began_us + 1000, "what was dropped first was read before that; the log has milliseconds"
