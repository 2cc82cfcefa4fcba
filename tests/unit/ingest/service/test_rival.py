"""Who stands in the way: what is a sign of life, when silence is long enough, and how often it is told."""

from __future__ import annotations

from ingest.broker.lease import Held
from ingest.events import FeedNameTaken, StandingBy
from ingest.service.rival import TELL_INTERVAL, Rival

LEASE = 5.0


class TestSilence:
    def test_nobody_who_was_never_seen_is_silent(self) -> None:
        rival = Rival("label")
        assert (rival.silent(1e9, LEASE), rival.seen, rival.leader) == (None, None, "")

    def test_whoever_gives_no_sign_of_life_is_silent_after_the_time_of_a_lease(self) -> None:
        rival, held = Rival("label"), Held("p", "1")
        assert rival.see(held, 100.0)
        assert not rival.see(Held("p", "1"), 104.0)  # the same beat: no sign of life
        assert rival.silent(104.9, LEASE) is None
        assert rival.silent(105.0, LEASE) == held
        assert rival.leader == "p"

    def test_another_beat_or_another_leader_is_a_sign_of_life(self) -> None:
        rival = Rival("label")
        for at, held in enumerate([Held("p", "1"), Held("p", "2"), Held("q", "2")]):
            assert rival.see(held, 4.0 * at)
            assert rival.silent(4.0 * at + LEASE - 0.1, LEASE) is None
        assert rival.leader == "q"

    def test_whoever_is_gone_is_not_silent_but_unknown(self) -> None:
        rival = Rival("label")
        rival.see(Held("p", "1"), 0.0)
        rival.gone()
        assert (rival.silent(1e9, LEASE), rival.leader) == (None, "")


class TestTelling:
    def test_a_wait_is_told_at_once_and_then_once_in_a_while_with_how_long_it_lasts(self) -> None:
        rival, held, told = Rival("label"), Held("p", "1"), []
        for now in range(0, 2 * int(TELL_INTERVAL) + 1, 10):
            event = rival.due(held, float(now))
            if event is not None:
                told.append(event)
        assert [type(event) for event in told] == [StandingBy] * 3
        assert [event.seconds for event in told if isinstance(event, StandingBy)] == [0.0, TELL_INTERVAL, 2 * TELL_INTERVAL]

    def test_another_wait_is_told_at_once_again(self) -> None:
        rival, held = Rival("label"), Held("p", "1")
        assert rival.due(held, 0.0) is not None
        rival.gone()
        again = rival.due(held, 1.0)
        assert isinstance(again, StandingBy)
        assert again.seconds == 0.0

    def test_a_name_that_is_taken_is_told_with_the_remedy(self) -> None:
        event = Rival("label").due(Held("p", "1", is_other=True), 0.0)
        assert isinstance(event, FeedNameTaken)
        assert (event.telemetry_id, event.leader) == ("label", "p")
        assert "[supervisor] group" in event.detail
