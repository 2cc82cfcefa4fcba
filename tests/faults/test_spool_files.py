"""What becomes of a spool's files: damaged, of a newer version, in a folder that is of no use."""

import os
import sqlite3
import time

import pytest

from tests.support.fleet import NOTING, Fleet, spooling
from tests.support.numbered import NumberedStream, numbered_server
from tests.support.queue_content import Consumer
from tests.support.spools import read_only_folder
from tests.support.waiting import wait_until

#: Numbers per second.
RATE = 5000

BRIEF = "[supervisor]\nshutdown_timeout = 2\n"
FULL = "[queues.trades]\nhigh_watermark = 1000\n"
SMALL = "backlog = { messages = 1000 }\n"


def damage(path):
    """Overwrite what lies in the middle of a file, and behind it."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        for at in range(4096, size, 4096):
            file.seek(at)
            file.write(os.urandom(2048))


def test_a_spool_that_was_damaged_while_stopped_is_set_aside_and_told_and_the_rest_goes_on(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=RATE)
    extra = NOTING + SMALL + spooling(tmp_path / "spool")
    fault("spool damaged while stopped")
    with (
        numbered_server(stream) as server,
        Fleet(tmp_path, shared_valkey, server.url, extra=extra, top=BRIEF + FULL) as fleet,
    ):
        first = fleet.start()
        first.wait_for_log("spooling_began ")
        spooling_us = time.time_ns() // 1000
        stream.wait_for(stream.last + RATE)
        assert first.stop() == 0
        (spool,) = fleet.spool.glob("*.spool")
        damage(spool)
        fault.begins()
        with Consumer(shared_valkey.url) as consumer:
            last, before = fleet.start(), stream.last
            fault.noticed(lambda: last.told(r"spool_trouble .*damaged; it is set aside as"), 60, "the damage in the log")
            fault.recovered(lambda: consumer.newest > before, 60, "a number of the new process")
            assert last.stop() == 0
            consumer.until_empty()
        gaps = fleet.gaps()
    assert len(list(fleet.spool.glob("*.damaged-*"))) >= 1
    lost = sorted(set(range(1, first.kept + 1)).difference(consumer.numbers))
    assert lost[-1] == first.kept, "the file was not damaged"
    fault.compared(consumer.numbers, stream.connections, given_up=lost)
    damaged, stopped = gaps
    assert (damaged.cause, damaged.count) == ("damaged", None)
    assert damaged.from_us <= spooling_us, "what was read then is lost"
    assert stopped.last_seq == lost[0] - 1, "what Redis confirmed is all that is known"


def test_a_spool_that_is_damaged_while_running_is_set_aside_and_told_and_the_rest_goes_on(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=RATE)
    extra = NOTING + SMALL + spooling(tmp_path / "spool")
    fault("spool damaged while running")
    with (
        numbered_server(stream) as server,
        Fleet(tmp_path, shared_valkey, server.url, extra=extra, top=BRIEF + FULL) as fleet,
        Consumer(shared_valkey.url, rate=0) as consumer,
    ):
        member = fleet.start()
        member.wait_for_log("spooling_began ")
        stream.wait_for(stream.last + 3 * RATE)
        (spool,) = fleet.spool.glob("*.spool")
        for path in (spool, spool.with_name(spool.name + "-wal")):
            damage(path)
        fault.begins()
        consumer.rate = None
        fault.noticed(lambda: member.told(r"spool_trouble .*damaged; it is set aside as"), 60, "the damage in the log")
        before = stream.last
        fault.recovered(lambda: consumer.newest > before, 60, "what came after")
        (gap,) = wait_until(lambda: fleet.gaps("damaged"), 60, "the gap record")
        assert member.running
        assert member.stop() == 0
        consumer.until_empty()
    lost = sorted(set(range(1, member.kept + 1)).difference(consumer.numbers))
    fault.compared(consumer.numbers, stream.connections, given_up=lost)
    assert lost == list(range(lost[0], lost[-1] + 1)), "one hole"
    assert len(stream.connections) == 1
    assert (gap.last_seq, gap.count) == (lost[0] - 1, len(lost))
    assert len(list(fleet.spool.glob("*.damaged-*"))) >= 1


@pytest.mark.quick
def test_a_spool_of_a_newer_version_is_left_alone_and_the_start_is_refused_with_a_clear_problem(tmp_path, shared_valkey):
    with Fleet(tmp_path, shared_valkey, "ws://127.0.0.1:9/", extra=spooling(tmp_path / "spool")) as fleet:
        with sqlite3.connect(fleet.spool / "trades.0.spool") as made:
            made.execute("CREATE TABLE future (value)")
            made.execute("PRAGMA user_version = 99")
        made.close()
        before = (fleet.spool / "trades.0.spool").read_bytes()
        member = fleet.start()
        assert member.wait() == 2
        assert "feeds.trades.spool.directory: the spool was written by a newer version: " in member.log
        assert "its format is 99, this version knows 1; update, or move it away" in member.log
        assert (fleet.spool / "trades.0.spool").read_bytes() == before


def test_a_spool_that_is_removed_while_running_is_written_anew_and_told_and_nothing_is_lost(tmp_path, shared_valkey, fault):
    stream = NumberedStream(rate=RATE)
    extra = NOTING + SMALL + spooling(tmp_path / "spool")
    fault("spool folder emptied while running")
    with (
        numbered_server(stream) as server,
        Fleet(tmp_path, shared_valkey, server.url, extra=extra, top=BRIEF + FULL) as fleet,
    ):
        member = fleet.start()
        member.wait_for_log("spooling_began ")
        stream.wait_for(stream.last + RATE)
        fault.begins()
        for path in fleet.spool.iterdir():
            path.unlink()
        fault.noticed(
            lambda: member.told(r"spool_trouble .*was removed while it was in use; all that waits"), 10, "it in the log"
        )
        stream.wait_for(stream.last + RATE)
        assert member.stop() == 0
        fault.ends()
        with Consumer(shared_valkey.url) as consumer:
            last, before = fleet.start(), stream.last
            fault.recovered(lambda: consumer.newest > before, 60, "a number of the new process")
            assert last.stop() == 0
            consumer.until_empty()
        assert not fleet.gaps("damaged", "lost", "dropped", "forgotten")
    fault.compared(consumer.numbers, stream.connections)
    assert set(range(1, member.kept + 1)).issubset(consumer.numbers)


@pytest.mark.quick
def test_a_spool_that_holds_what_another_group_has_to_send_refuses_the_start_and_is_left_alone(tmp_path, shared_valkey):
    stream = NumberedStream(rate=RATE)
    extra = SMALL + spooling(tmp_path / "spool")
    blue = "[supervisor]\ngroup = 'blue'\nshutdown_timeout = 1\n"
    with numbered_server(stream) as server, Fleet(tmp_path, shared_valkey, server.url, extra=extra, top=blue + FULL) as fleet:
        member = fleet.start()
        member.wait_for_log("spooling_began ")
        assert member.stop() == 0
        before = (fleet.spool / "trades.0.spool").read_bytes()
        stranger = fleet.start(top=BRIEF + FULL)
        assert stranger.wait() == 2
        assert "feeds.trades.spool.directory: the spool belongs to others: " in stranger.log
        assert "it holds messages of namespace dramatiq, group blue, and this is namespace dramatiq; give each" in stranger.log
        assert (fleet.spool / "trades.0.spool").read_bytes() == before


@pytest.mark.quick
def test_a_spool_folder_that_is_missing_refuses_the_start_with_a_clear_problem(tmp_path, shared_valkey):
    with Fleet(tmp_path, shared_valkey, "ws://127.0.0.1:9/", extra=spooling(tmp_path / "nowhere")) as fleet:
        member = fleet.start()
        assert member.wait() == 2
        assert f"feeds.trades.spool.directory: there is no folder '{tmp_path / 'nowhere'}': create it" in member.log
        assert not (tmp_path / "nowhere").exists()


@pytest.mark.quick
def test_a_spool_folder_that_cannot_be_written_refuses_the_start_with_a_clear_problem(tmp_path, shared_valkey):
    with (
        read_only_folder(tmp_path) as folder,
        Fleet(tmp_path, shared_valkey, "ws://127.0.0.1:9/", extra=spooling(folder)) as fleet,
    ):
        member = fleet.start()
        assert member.wait() == 2
        assert f"feeds.trades.spool.directory: the folder '{folder}' is not writable for the user" in member.log
