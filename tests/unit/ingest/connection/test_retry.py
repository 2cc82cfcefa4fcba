"""What follows an end: backoff, budget, fatality, and the user's own function."""

from dataclasses import replace

import pytest

from ingest.connection.retry import FATAL_STATUSES, ConnectionEnd, Outage, Policy, RetryFunctionFailed, decide, is_fatal, matches
from ingest.errors import ClosedByServer, ConnectionDropped, HandshakeRejected, SessionFailed

DROPPED = ConnectionDropped("reset")
POLICY = Policy(0.5, 30.0, 2.0, "none", 0, 10.0, FATAL_STATUSES, ())


def failed(reason=DROPPED):
    return ConnectionEnd(reason, False, 0.0)


def lost(lasted, reason=DROPPED):
    return ConnectionEnd(reason, True, lasted)


def delays(policy, ends):
    outage, found = Outage(), []
    for now, end in enumerate(ends):
        decision = decide(policy, end, outage, float(now))
        outage = decision.outage
        found.append(decision.delay)
    return found


def test_backoff_doubles_up_to_its_maximum():
    assert delays(POLICY, [failed()] * 9) == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_full_jitter_stays_below_the_backoff_and_survives_the_maximum():
    policy = replace(POLICY, jitter="full")
    at_cap = [decide(policy, failed(), Outage(number=20), 0.0).delay for _ in range(200)]
    assert all(0 <= delay <= 30 for delay in at_cap)
    assert max(at_cap) - min(at_cap) > 5


def test_the_seeds_fixed_ten_seconds_and_five_attempts():
    policy = replace(POLICY, initial=10.0, max=10.0, max_attempts=5)
    assert delays(policy, [lost(3600.0)] + [failed()] * 5) == [10, 10, 10, 10, 10, None]


def test_the_budget_is_renewed_only_by_a_stable_connection():
    ends = [failed(), failed(), lost(9.9), lost(10.0), failed()]
    assert delays(POLICY, ends) == [0.5, 1, 2, 0.5, 1]


def test_an_attempt_tells_the_whole_outage():
    seen = []

    def function(attempt):
        seen.append(attempt)
        return 1.5

    policy = replace(POLICY, function=function)
    first = decide(policy, lost(60.0), Outage(), 100.0)
    decide(policy, failed(HandshakeRejected(503, {}, b"", 7.0)), first.outage, 130.0)
    assert (seen[0].number, seen[0].was_ready, seen[0].outage, seen[0].previous_delay) == (1, True, 0.0, None)
    assert (seen[1].number, seen[1].status, seen[1].retry_after, seen[1].outage, seen[1].previous_delay) == (
        2,
        503,
        7.0,
        30.0,
        1.5,
    )


def test_the_function_replaces_everything_also_what_is_fatal():
    policy = replace(POLICY, max_attempts=1, function=lambda attempt: 0.25)
    assert delays(policy, [failed(HandshakeRejected(404))] * 3) == [0.25] * 3
    assert delays(replace(policy, function=lambda attempt: None), [failed()]) == [None]


@pytest.mark.parametrize("answer", [-1, float("nan"), float("inf"), "2", True])
def test_a_function_that_returns_no_delay_is_named(answer):
    policy = replace(POLICY, function=lambda attempt: answer)
    with pytest.raises(RetryFunctionFailed, match=r"retry\.function returned"):
        decide(policy, failed(), Outage(), 0.0)
    assert decide(policy, failed(), Outage(), 0.0, default=True).delay == 0.5


def test_a_function_that_raises_is_named():
    def broken(attempt):
        raise KeyError("x")

    with pytest.raises(RetryFunctionFailed, match="KeyError"):
        decide(replace(POLICY, function=broken), failed(), Outage(), 0.0)


def test_retry_after_is_the_least_that_a_server_allows():
    assert delays(POLICY, [failed(HandshakeRejected(503, {}, b"", 60.0))]) == [60.0]
    assert decide(POLICY, failed(HandshakeRejected(503, {}, b"", 1.0)), Outage(number=4), 0.0).delay == 8.0


def test_a_session_names_its_own_moment():
    assert delays(POLICY, [failed(SessionFailed("later", after=2.5))]) == [2.5]


def test_an_announced_restart_is_followed_at_once_and_is_no_failure():
    planned = SessionFailed("restart", after=0)
    decision = decide(POLICY, lost(3600.0, planned), Outage(), 0.0)
    assert decision.delay == 0.0
    assert decision.outage.number == 0


def test_a_session_that_restarts_for_ever_backs_off():
    planned = SessionFailed("restart", after=0)
    assert delays(POLICY, [lost(1.0, planned)] * 4) == [0.0, 0.5, 1, 2]


@pytest.mark.parametrize("status", [301, 308, 400, 404, 405, 410, 426])
def test_fatal_statuses_stop(status):
    assert delays(POLICY, [failed(HandshakeRejected(status))]) == [None]


@pytest.mark.parametrize("status", [200, 408, 429, 500, 503])
def test_other_statuses_are_tried_again(status):
    assert delays(POLICY, [failed(HandshakeRejected(status))]) == [0.5]


def test_close_codes_and_sessions_can_be_fatal():
    policy = replace(POLICY, fatal_close_codes=(4004, "3xxx"))
    assert is_fatal(policy, ClosedByServer(4004))
    assert is_fatal(policy, ClosedByServer(3999))
    assert not is_fatal(policy, ClosedByServer(4005))
    assert is_fatal(policy, SessionFailed("revoked", fatal=True))


def test_classes_match_by_length_and_first_digit():
    assert matches(404, ("4xx",))
    assert not matches(4004, ("4xx",))
    assert matches(4004, ("4xxx",))
    assert not matches(404, ())
