"""The intake with batches: who closes what is gathered, and when; what is known of it meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import dramatiq
import pytest

from ingest.broker.hooks import MessageEncoder
from ingest.delivery.batch_intake import BatchIntake
from ingest.errors import EnqueueVetoed, PayloadRefused
from ingest.events import GapFound, MessageRejected
from tests.support.backlogs import KeptBacklog
from tests.support.delivery import make_envelope


class Gathering:
    """A backlog, and an intake with batches of 3 that has entered its chain."""

    def __init__(self, folder: Path | None = None, *, timeout: float = 0.05, make: Any = make_envelope, **options: Any) -> None:
        before: Callable[[bytes], bytes] | None = options.pop("before", None)
        self.kept = KeptBacklog(folder, **options)
        self.intake = BatchIntake(
            make,
            self.kept.backlog,
            size=3,
            timeout=timeout,
            label="label",
            publish=self.kept.events.append,
            before=before,
            clock=self.kept.clock,
        )
        self.intake.enter(self.kept.chain)

    def taken(self) -> list[tuple[int, list[Any]]]:
        entries = self.kept.backlog.take(self.kept.chain, 1000, 1_000_000)
        return [(entry.seq, dramatiq.Message.decode(entry.data).args[0]) for entry in entries]


def test_full_messages_leave_at_once_and_a_rest_when_its_time_is_over() -> None:
    at = Gathering()
    at.intake.deliver(["a", "b", "c", "d"], 1)
    assert at.taken() == [(1, ["a", "b", "c"])]
    assert at.intake.flush_due() == pytest.approx(0.05)
    at.kept.clock.now += 0.03
    at.intake.deliver(["e"], 2)
    assert at.intake.flush_due() == pytest.approx(0.02), "the oldest counts, not what came last"
    at.kept.clock.now += 0.02
    assert at.intake.flush_due() == inf
    assert at.taken() == [(4, ["d", "e"])]
    assert (at.intake.emitted, at.intake.total) == (5, 5)


def test_the_time_of_the_next_begins_anew() -> None:
    at = Gathering()
    at.intake.deliver(["a"], 1)
    at.kept.clock.now += 0.04
    at.intake.deliver(["b", "c", "d"], 1)
    assert at.intake.flush_due() == pytest.approx(0.05)


def test_without_a_time_only_what_one_read_brings_shares_a_message() -> None:
    at = Gathering(timeout=0)
    at.intake.deliver(["a", "b", "c", "d", "e"], 1)
    assert at.taken() == [(1, ["a", "b", "c"]), (4, ["d", "e"])]
    assert at.intake.flush_due() == inf


def test_whoever_waits_for_messages_is_woken_to_hear_of_what_is_gathered() -> None:
    at = Gathering()
    waiting = threading.Thread(target=at.kept.backlog.wait, args=(60.0,))
    waiting.start()
    at.intake.deliver(["a"], 1)
    waiting.join(10)
    assert not waiting.is_alive()


@pytest.mark.parametrize("end", ["flush", "close", "enter"])
def test_the_end_of_a_connection_a_stop_and_another_tenure_close_it(end: str) -> None:
    at = Gathering()
    at.intake.deliver(["a"], 1)
    if end == "enter":
        second = at.kept.lead("q", 2)
        at.intake.enter(second)
        assert at.intake.emitted == 0
        at.intake.deliver(["b"], 2)
        at.intake.flush()
        [entry] = at.kept.backlog.take(second, 9, 1000)
        assert (entry.seq, entry.id[:2]) == (1, b"q-")
    else:
        getattr(at.intake, end)()
    assert at.taken() == [(1, ["a"])]
    assert at.kept.chain.open == (end == "flush")
    at.intake.close()
    at.intake.deliver(["late"], 3)
    assert at.taken() == []


def test_what_is_gathered_is_neither_settled_nor_forgotten_by_who_tells_how_far_we_are() -> None:
    at = Gathering()
    at.intake.deliver(["a", "b", "c", "d"], 17)
    assert at.taken() == [(1, ["a", "b", "c"])]
    at.kept.commit(3)
    assert at.intake.settled == 3
    assert at.kept.backlog.oldest_us == 17
    at.intake.flush()
    assert at.intake.settled == 3
    at.taken()
    at.kept.commit(4)
    assert (at.intake.settled, at.kept.backlog.oldest_us) == (4, None)


def test_a_refused_payload_is_a_hole_and_what_was_gathered_before_it_leaves() -> None:
    at = Gathering()
    at.intake.deliver(["a"], 1)
    with pytest.raises(PayloadRefused):
        at.intake.deliver(["b", object(), "never"], 1)
    at.intake.deliver(["c"], 2)
    at.intake.flush()
    assert at.taken() == [(1, ["a", "b"]), (4, ["c"])]
    assert (at.intake.emitted, at.intake.total, at.kept.losses.counts["unencodable"]) == (4, 4, 1)
    with pytest.raises(PayloadRefused):
        at.intake.deliver([object()], 2)
    assert at.intake.emitted == 5


def test_a_message_that_a_middleware_refuses_is_dropped_with_all_its_payloads() -> None:
    def before(data: bytes) -> bytes:
        if dramatiq.Message.decode(data).args[0][0] == "a":
            raise EnqueueVetoed("not this one")
        return data

    at = Gathering(before=before)
    at.intake.deliver(["a", "b", "c", "d", "e", "f"], 1)
    assert at.taken() == [(4, ["d", "e", "f"])]
    assert at.kept.losses.counts["vetoed"] == 3
    at.kept.losses.end()
    assert at.kept.dropped() == [(1, 3, 3)]
    [told] = at.kept.of(MessageRejected)
    assert isinstance(told, MessageRejected)
    assert told.seq == 1


def test_a_message_that_the_encoder_refuses_as_a_whole_is_dropped_with_all_its_payloads() -> None:
    def encode(fields: dict[str, Any]) -> bytes:
        if len(fields.get("args", ([],))[0]) > 2:
            raise ValueError("too many")
        return dramatiq.get_encoder().encode(fields)

    encoder = MessageEncoder(encode, dramatiq.get_encoder().decode, False)
    at = Gathering(make=lambda producer: make_envelope(producer, encoder=encoder))
    at.intake.deliver([["a"], ["b"], ["c"], ["d"]], 1)
    at.intake.flush()
    assert at.taken() == [(4, [["d"]])]
    assert at.kept.losses.counts["unencodable"] == 3


def test_a_thread_that_hangs_with_it_stops_neither_the_publisher_nor_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.delivery.batch_intake._HANGS", 0.01)
    going, goes = threading.Event(), threading.Event()

    def before(data: bytes) -> bytes:
        going.set()
        assert goes.wait(20)
        return data

    at = Gathering(before=before)
    at.intake.deliver(["a"], 1)
    hanging = threading.Thread(target=at.intake.deliver, args=(["b", "c", "d"], 2))
    hanging.start()
    assert going.wait(20)
    assert at.intake.flush_due() < 1
    at.intake.close()
    goes.set()
    hanging.join(20)
    assert not at.kept.chain.open
    assert at.taken() == []
    assert (at.intake.total, at.kept.losses.counts["lost"]) == (4, 4), "what hangs, and what was gathered behind it"


@pytest.mark.parametrize("behind", [0, 2], ids=["nothing gathered", "some gathered"])
def test_what_hangs_in_an_encoder_at_the_end_is_lost_by_number(monkeypatch: pytest.MonkeyPatch, behind: int) -> None:
    """It hangs where a full message is written: all its payloads have their numbers and are nowhere else."""
    monkeypatch.setattr("ingest.delivery.batch_intake._HANGS", 0.01)
    going, goes = threading.Event(), threading.Event()

    def encode(fields: dict[str, Any]) -> bytes:
        if len(fields.get("args", ([],))[0]) == 3:
            going.set()
            assert goes.wait(20)
        return dramatiq.get_encoder().encode(fields)

    encoder = MessageEncoder(encode, dramatiq.get_encoder().decode, False)
    at = Gathering(make=lambda producer: make_envelope(producer, encoder=encoder))
    at.intake.deliver(["a"], 7)
    hanging = threading.Thread(target=at.intake.deliver, args=([{"n": n} for n in range(2 + behind)], 8))
    hanging.start()
    assert going.wait(20)
    at.intake.close()
    goes.set()
    hanging.join(20)
    assert at.taken() == []
    assert (at.intake.total, at.kept.losses.counts["lost"]) == (3 + behind, 3 + behind)
    assert at.kept.dropped() == [(1, 3 + behind, 3 + behind)]
    assert [gap.from_us for gap in at.kept.of(GapFound) if isinstance(gap, GapFound)] == [7]


# What is held is counted in payloads, wherever it is given up.


def test_drops_from_memory_are_counted_in_payloads() -> None:
    at = Gathering(messages=2, overflow="drop_oldest")
    at.intake.deliver(list("abcdefghi"), 1)
    at.intake.deliver(list("jkl"), 1)
    assert at.kept.losses.total == 6
    at.kept.losses.end()
    assert at.kept.dropped() == [(1, 6, 6)]


def test_what_waits_on_disk_is_counted_in_payloads(tmp_path: Path) -> None:
    at = Gathering(tmp_path, messages=1)
    for _ in range(4):
        at.intake.deliver(list("abc"), 1)
    backlog = at.kept.backlog
    assert (len(backlog), backlog.unread, backlog.unread_payloads) == (4, 3, 9)
    saved = backlog.save(keeps=True)
    assert (saved.spooled, saved.lost) == (12, 0)
    backlog.close()
    again = KeptBacklog(tmp_path, producer="r", epoch=2)
    assert (again.backlog.unread, again.backlog.unread_payloads) == (4, 12)
    chain = again.backlog.chains[0]
    assert [(entry.seq, entry.last) for entry in again.backlog.take(chain, 100, 10**6)] == [(1, 3), (4, 6), (7, 9), (10, 12)]
    assert again.backlog.unread_payloads == 0


def test_drops_from_the_disk_are_counted_in_payloads_and_without_the_holes(tmp_path: Path) -> None:
    at = Gathering(tmp_path, messages=1, overflow="drop_oldest", most=1500)
    at.intake.deliver(list("abc"), 1)
    for _ in range(9):
        with pytest.raises(PayloadRefused):
            at.intake.deliver(["d", "e", object()], 1)
    losses = at.kept.losses
    at.kept.losses.end()
    delivered = at.kept.backlog.take(at.kept.chain, 1, 10**6)
    assert [(entry.seq, entry.last) for entry in delivered] == [(1, 3)]
    left = at.kept.backlog.unread_payloads
    assert losses.counts["drop_oldest"] > 0
    assert 3 + left + losses.counts["drop_oldest"] + losses.counts["unencodable"] == at.intake.total == 30


def test_what_could_not_be_kept_at_the_end_is_counted_in_payloads() -> None:
    at = Gathering()
    at.intake.deliver(list("abcde"), 1)
    at.intake.close()
    assert at.kept.backlog.save(keeps=True) == (0, 5)
    assert at.kept.losses.counts["lost"] == 5
