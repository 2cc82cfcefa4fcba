"""The intake: numbers, encodes, puts; loses nothing to a bad neighbour."""

from __future__ import annotations

import dramatiq
import pytest

from ingest.delivery.backlog import Backlog
from ingest.delivery.intake import Intake
from ingest.errors import EnqueueVetoed, PayloadRefused
from ingest.events import Event, MessageRejected
from tests.support.delivery import make_envelope


def taken(backlog: Backlog) -> list[tuple[int, object]]:
    return [(entry.seq, dramatiq.Message.decode(entry.data).args[0]) for entry in backlog.take(1000, 1_000_000)]


def make_intake(backlog: Backlog, events: list[Event] | None = None, **options: object) -> Intake:
    return Intake(make_envelope(), backlog, label="t", publish=(events if events is not None else []).append, **options)  # type: ignore[arg-type]


def test_numbers_run_on_over_calls() -> None:
    backlog = Backlog(100, 100_000)
    intake = make_intake(backlog)
    intake.deliver(["a", "b"], 1)
    intake.deliver([], 2)
    intake.deliver(["c"], 3)
    assert taken(backlog) == [(1, "a"), (2, "b"), (3, "c")]
    assert intake.emitted == 3


def test_a_refused_payload_leaves_no_hole_and_takes_nothing_with_it() -> None:
    backlog = Backlog(100, 100_000)
    intake = make_intake(backlog)
    with pytest.raises(PayloadRefused):
        intake.deliver(["a", object(), "never"], 1)
    intake.deliver(["b"], 2)
    assert taken(backlog) == [(1, "a"), (2, "b")]


def test_room_is_the_backlogs() -> None:
    backlog = Backlog(2, 100_000)
    intake = make_intake(backlog)
    intake.deliver(["a"], 1)
    assert intake.has_room()
    intake.deliver(["b", "c"], 1)
    assert not intake.has_room()


def test_middleware_sees_every_message_once_and_its_changes_are_kept() -> None:
    backlog, seen = Backlog(100, 100_000), list[bytes]()

    def before(data: bytes) -> bytes:
        seen.append(data)
        return dramatiq.Message.decode(data).copy(options={"trace": len(seen)}).encode()

    make_intake(backlog, before=before).deliver(["a", "b"], 1)
    traces = [dramatiq.Message.decode(entry.data).options["trace"] for entry in backlog.take(9, 100_000)]
    assert (traces, len(seen)) == ([1, 2], 2)


def test_a_message_that_middleware_vetoes_is_counted_told_and_leaves_a_hole() -> None:
    backlog, events = Backlog(100, 100_000), list[Event]()

    def before(data: bytes) -> bytes:
        if b'"no"' in data:
            raise EnqueueVetoed("quota")
        return data

    intake = make_intake(backlog, events, before=before)
    intake.deliver(["a", "no", "b"], 1)
    assert taken(backlog) == [(1, "a"), (3, "b")]
    assert intake.vetoed == 1
    [event] = events
    assert isinstance(event, MessageRejected)
    assert (event.seq, event.telemetry_id) == (2, "t")
    assert "quota" in event.detail


def test_settled_is_what_redis_confirmed_and_nothing_was_dropped_of() -> None:
    backlog = Backlog(100, 100_000)
    intake = make_intake(backlog)
    intake.begin()
    assert intake.settled == 0
    intake.deliver(["a", "b", "c"], 1)
    assert intake.settled == 0
    backlog.take(2, 100_000)
    backlog.commit(2)
    assert intake.settled == 2
    assert backlog.drop(3) is not None
    assert (intake.settled, intake.dropped) == (2, 3)
    intake.deliver(["d"], 2)
    backlog.take(1, 100_000)
    backlog.commit(4)
    assert intake.settled == 2
    intake.begin()
    assert (intake.settled, intake.dropped) == (4, None)


def test_what_was_taken_before_the_connection_may_be_dropped_after_it_began() -> None:
    backlog = Backlog(100, 100_000)
    intake = make_intake(backlog)
    intake.deliver(["old"], 1)
    intake.begin()
    intake.deliver(["new"], 2)
    backlog.drop(1)
    backlog.take(1, 100_000)
    backlog.commit(2)
    assert (intake.settled, intake.dropped) == (2, None)


def test_the_feed_is_woken_when_what_it_waits_for_is_settled_or_never_will_be() -> None:
    backlog, woken = Backlog(100, 100_000), list[int]()
    intake = make_intake(backlog, wake=lambda: woken.append(1))
    intake.begin()
    intake.deliver(["a", "b", "c", "d"], 1)
    intake.notify_at(2)
    backlog.take(3, 100_000)
    backlog.commit(1)
    assert woken == []
    backlog.commit(2)
    assert woken == [1]
    intake.notify_at(1)
    assert woken == [1, 1]
    intake.notify_at(4)
    assert woken == [1, 1]
    backlog.drop(4)
    assert woken == [1, 1, 1]
    intake.notify_at(None)
    backlog.commit(3)
    assert woken == [1, 1, 1]


def test_what_a_middleware_vetoes_counts_as_dropped() -> None:
    def before(data: bytes) -> bytes:
        raise EnqueueVetoed("no")

    intake = make_intake(Backlog(100, 100_000), before=before)
    intake.deliver(["a"], 1)
    assert (intake.settled, intake.dropped) == (0, 1)


def test_closed_it_takes_nothing_more() -> None:
    backlog = Backlog(100, 100_000)
    intake = make_intake(backlog)
    intake.deliver(["a"], 1)
    intake.close()
    intake.deliver(["late"], 2)
    assert taken(backlog) == [(1, "a")]
    assert intake.emitted == 1
