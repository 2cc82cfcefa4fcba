"""The intake: numbers, encodes, puts; loses nothing to a bad neighbour; says what is safe."""

from __future__ import annotations

from threading import Event, Thread

import dramatiq
import pytest

from ingest.delivery.backlog import Backlog
from ingest.delivery.intake import Intake
from ingest.errors import EnqueueVetoed, PayloadRefused
from ingest.events import MessageRejected
from tests.support.backlogs import KeptBacklog
from tests.support.delivery import make_envelope


def make_intake(kept: KeptBacklog, **options: object) -> Intake:
    """Return an intake that has entered the chain "p"."""
    intake = Intake(make_envelope, kept.backlog, label="label", publish=kept.events.append, **options)  # type: ignore[arg-type]
    intake.enter(kept.chain)
    return intake


def taken(backlog: Backlog) -> list[tuple[int, object]]:
    chain = backlog.first
    assert chain is not None
    return [(entry.seq, dramatiq.Message.decode(entry.data).args[0]) for entry in backlog.take(chain, 1000, 1_000_000)]


class TestTaking:
    def test_numbers_run_on_over_calls(self) -> None:
        kept = KeptBacklog()
        intake = make_intake(kept)
        intake.deliver(["a", "b"], 1)
        intake.deliver([], 2)
        intake.deliver(["c"], 3)
        assert taken(kept.backlog) == [(1, "a"), (2, "b"), (3, "c")]
        assert (intake.emitted, intake.total) == (3, 3)

    def test_a_tenure_numbers_anew_under_its_own_producer_and_ends_the_one_before(self) -> None:
        kept = KeptBacklog()
        intake = make_intake(kept)
        intake.deliver(["a", "b"], 1)
        second = kept.lead("q", 2)
        intake.enter(second)
        assert (intake.emitted, intake.total) == (0, 2)
        intake.deliver(["c"], 2)
        assert (intake.emitted, intake.total) == (1, 3)
        [entry] = kept.backlog.take(second, 9, 1000)
        assert (entry.seq, entry.id.startswith(b"q-")) == (1, True)
        assert (kept.chain.open, second.open) == (False, True)

    def test_entering_the_same_tenure_again_changes_nothing(self) -> None:
        kept = KeptBacklog()
        intake = make_intake(kept)
        intake.deliver(["a"], 1)
        intake.enter(kept.chain)
        intake.deliver(["b"], 1)
        assert taken(kept.backlog) == [(1, "a"), (2, "b")]
        assert kept.chain.open

    def test_a_refused_payload_keeps_its_number_is_told_and_takes_nothing_with_it(self) -> None:
        kept = KeptBacklog()
        intake = make_intake(kept)
        with pytest.raises(PayloadRefused):
            intake.deliver(["a", object(), "never"], 1)
        intake.deliver(["b"], 2)
        assert taken(kept.backlog) == [(1, "a"), (3, "b")]
        assert (intake.emitted, intake.total, kept.losses.counts["unencodable"]) == (3, 3, 1)
        [event] = [event for event in kept.events if isinstance(event, MessageRejected)]
        assert (event.seq, "object" in event.detail) == (2, True)
        assert kept.dropped() == [(2, 2, 1)]

    def test_room_is_the_backlogs(self) -> None:
        kept = KeptBacklog(messages=2)
        intake = make_intake(kept)
        intake.deliver(["a"], 1)
        assert intake.has_room()
        intake.deliver(["b", "c"], 1)
        assert not intake.has_room()

    def test_closed_it_takes_nothing_more_and_its_chain_is_complete(self) -> None:
        kept = KeptBacklog()
        intake = make_intake(kept)
        intake.deliver(["a"], 1)
        intake.close()
        intake.deliver(["late"], 2)
        assert taken(kept.backlog) == [(1, "a")]
        assert (intake.emitted, kept.chain.open) == (1, False)


class TestMiddleware:
    def test_that_hangs_at_the_end_has_lost_what_it_holds_and_what_it_returns_later_has_no_place(self) -> None:
        kept, reached, returns = KeptBacklog(), Event(), Event()

        def before(data: bytes) -> bytes:
            if b'"c"' in data:
                reached.set()
                assert returns.wait(10)
            return data

        intake = make_intake(kept, before=before)
        intake.deliver(["a"], 1)
        feed = Thread(target=intake.deliver, args=(["b", "c", "d"], 2))
        feed.start()
        assert reached.wait(10)
        intake.close()
        returns.set()
        feed.join(10)
        assert taken(kept.backlog) == [(1, "a")]
        assert (intake.total, kept.losses.counts["lost"]) == (4, 3)
        assert kept.dropped() == [(2, 4, 3)]

    def test_sees_every_message_once_and_its_changes_are_kept(self) -> None:
        kept, seen = KeptBacklog(), list[bytes]()

        def before(data: bytes) -> bytes:
            seen.append(data)
            return dramatiq.Message.decode(data).copy(options={"trace": len(seen)}).encode()

        make_intake(kept, before=before).deliver(["a", "b"], 1)
        entries = kept.backlog.take(kept.chain, 9, 100_000)
        assert [dramatiq.Message.decode(entry.data).options["trace"] for entry in entries] == [1, 2]
        assert len(seen) == 2

    def test_a_veto_is_counted_told_and_leaves_a_hole(self) -> None:
        kept = KeptBacklog()
        intake = make_intake(kept, before=without_no)
        intake.deliver(["a", "no", "b"], 1)
        assert taken(kept.backlog) == [(1, "a"), (3, "b")]
        assert kept.losses.counts["vetoed"] == 1
        [event] = [event for event in kept.events if isinstance(event, MessageRejected)]
        assert (event.seq, event.telemetry_id, "quota" in event.detail) == (2, "label", True)

    def test_a_veto_is_the_users_own_word_and_counts_as_settled(self) -> None:
        kept = KeptBacklog()
        intake = make_intake(kept, before=without_no)
        intake.begin()
        intake.deliver(["no"], 1)
        assert (intake.settled, intake.dropped) == (1, None)
        intake.deliver(["a", "no"], 1)
        assert intake.settled == 0, "nothing is settled before what came before it"
        kept.take()
        kept.commit(2)
        assert (intake.settled, intake.dropped) == (3, None)


def without_no(data: bytes) -> bytes:
    if b'"no"' in data:
        raise EnqueueVetoed("quota")
    return data


class TestSettled:
    def test_is_what_redis_confirmed_and_nothing_was_given_up_of(self) -> None:
        kept = KeptBacklog()
        intake = make_intake(kept)
        intake.begin()
        assert intake.settled == 0
        intake.deliver(["a", "b", "c"], 1)
        assert intake.settled == 0
        kept.take(2)
        kept.commit(2)
        assert intake.settled == 2
        assert kept.backlog.reject(kept.chain, 3, "no")
        assert (intake.settled, intake.dropped) == (2, 3)
        intake.deliver(["d"], 2)
        kept.take()
        kept.commit(4)
        assert intake.settled == 2
        intake.begin()
        assert (intake.settled, intake.dropped) == (4, None)

    def test_what_cannot_be_encoded_is_never_settled(self) -> None:
        kept = KeptBacklog()
        intake = make_intake(kept)
        intake.begin()
        with pytest.raises(PayloadRefused):
            intake.deliver(["a", object()], 1)
        kept.take()
        kept.commit(1)
        assert (intake.settled, intake.dropped) == (1, 2)

    def test_what_was_taken_before_the_connection_may_be_given_up_after_it_began(self) -> None:
        kept = KeptBacklog()
        intake = make_intake(kept)
        intake.deliver(["old"], 1)
        intake.begin()
        intake.deliver(["new"], 2)
        kept.backlog.reject(kept.chain, 1, "no")
        kept.take()
        kept.commit(2)
        assert (intake.settled, intake.dropped) == (2, None)

    def test_of_a_drop_over_the_beginning_only_what_came_after_it_counts(self) -> None:
        kept = KeptBacklog(messages=4, overflow="drop_oldest")
        intake = make_intake(kept)
        intake.deliver(["old 1", "old 2"], 1)
        intake.begin()
        intake.deliver(["new 3", "new 4"], 2)
        intake.deliver(["5"], 3)
        assert intake.dropped is None
        intake.deliver(["6", "7"], 3)
        assert intake.dropped == 3

    def test_the_feed_is_woken_when_what_it_waits_for_is_settled_or_never_will_be(self) -> None:
        kept = KeptBacklog()
        intake = make_intake(kept)
        intake.begin()
        intake.deliver(["a", "b", "c", "d"], 1)
        intake.notify_at(2)
        kept.take(3)
        kept.commit(1)
        assert kept.rooms == 0
        kept.commit(2)
        assert kept.rooms == 1
        intake.notify_at(1)
        assert kept.rooms == 2, "it is settled already"
        intake.notify_at(4)
        kept.commit(3)
        assert kept.rooms == 2
        kept.backlog.reject(kept.chain, 4, "no")
        assert kept.rooms == 3

    def test_whoever_waits_no_more_is_not_woken(self) -> None:
        kept = KeptBacklog()
        intake = make_intake(kept)
        intake.deliver(["a", "b"], 1)
        intake.notify_at(1)
        intake.notify_at(None)
        kept.take()
        kept.commit(1)
        intake.notify_at(2)
        intake.begin()
        kept.commit(2)
        assert kept.rooms == 0
