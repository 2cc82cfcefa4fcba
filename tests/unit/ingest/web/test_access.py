"""Who may look and who may act: sessions, CSRF tokens, wrong tokens, and where a request comes from."""

from __future__ import annotations

import pytest

from ingest.web.access import (
    FAILURE_SECONDS,
    MOST_FAILURES,
    MOST_FAILURES_OF_ALL,
    SESSION_SECONDS,
    Access,
    Session,
    Verdict,
    address_of,
    is_local_name,
    is_loopback,
    is_same_origin,
)

TOKEN = "a-token-of-the-tests"


class Wall:
    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def access(wall: Wall) -> Access:
    return Access(TOKEN, wall=wall)


def opened(access: Access) -> Session:
    session = access.session(access.open_session())
    assert session is not None
    return session


def test_a_session_holds_for_its_time_and_outlives_a_restart(access: Access, wall: Wall) -> None:
    cookie = access.open_session()
    assert access.session(cookie) == Access(TOKEN, wall=wall).session(cookie) is not None
    wall.now += SESSION_SECONDS
    assert access.session(cookie) is None


def test_a_session_is_of_the_token_that_it_was_opened_with(access: Access) -> None:
    assert Access("another-token-of-the-tests").session(access.open_session()) is None


def test_what_is_changed_in_a_cookie_makes_it_worthless(access: Access) -> None:
    ident, until, signature = access.open_session().split(".")
    forged = [
        f"{ident}.{int(until) + 1}.{signature}",
        f"x{ident}.{until}.{signature}",
        f"{ident}.{until}.{'0' * len(signature)}",
        f"{ident}.{until}.",
        f"{ident}.{until}",
        f"{ident}.²²²²²²²²²².{signature}",
        f"{ident}.{'9' * 5000}.{signature}",
        f"{ident}.{until}.é",
        "..",
        "",
        None,
    ]
    assert [access.session(cookie) for cookie in forged] == [None] * len(forged)


def test_a_session_that_has_logged_out_is_over_wherever_its_cookie_is(access: Access) -> None:
    cookie = access.open_session()
    session = access.session(cookie)
    assert session is not None
    access.end_session(session)
    assert access.session(cookie) is None
    assert access.session(access.open_session()) is not None


def test_a_csrf_token_and_a_seal_are_of_one_session_and_one_purpose(access: Access) -> None:
    mine, other = opened(access), opened(access)
    assert access.is_csrf_token(mine, access.csrf_token(mine))
    assert not access.is_csrf_token(mine, access.csrf_token(other))
    assert not access.is_csrf_token(mine, access.open_session().rpartition(".")[2])
    assert not access.is_csrf_token(mine, "é")
    assert access.is_sealed(mine, "done", access.seal(mine, "done"))
    assert not access.is_sealed(mine, "done", access.seal(other, "done"))
    assert not access.is_sealed(mine, "something else", access.seal(mine, "done"))
    assert not access.is_sealed(mine, "done", access.csrf_token(mine))


def test_many_wrong_tokens_of_one_address_lock_that_address_out_for_a_while(access: Access, wall: Wall) -> None:
    wrong = [access.check("wrong", "198.51.100.7") for _ in range(MOST_FAILURES)]
    assert wrong == [Verdict.WRONG] * MOST_FAILURES
    assert access.check(TOKEN, "198.51.100.7") is Verdict.THROTTLED
    assert access.check(TOKEN, "198.51.100.8") is Verdict.RIGHT  # whoever guesses does not lock out the others
    wall.now += FAILURE_SECONDS
    assert access.check(TOKEN, "198.51.100.7") is Verdict.RIGHT


def test_guesses_from_everywhere_have_an_end_too(access: Access) -> None:
    for number in range(MOST_FAILURES_OF_ALL):
        assert access.check("wrong", f"198.51.100.{number}") is Verdict.WRONG
    assert access.check(TOKEN, "203.0.113.1") is Verdict.THROTTLED


def test_without_a_token_nothing_is_one_and_no_cookie_counts() -> None:
    access = Access(None)
    assert not access.can_act
    assert access.check("", "a") is access.check("None", "a") is Verdict.WRONG
    assert access.session(access.open_session()) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_what_is_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.com", "localhost.example.com", ""])
def test_what_is_not(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("header", "local"),
    [
        ("127.0.0.1:8080", True),
        ("localhost", True),
        ("[::1]:8080", True),
        ("evil.example.com:8080", False),
        ("127.0.0.1.evil.example.com", False),
        ("localhost@evil.example.com", False),
        ("[::1", False),
        ("", False),
    ],
)
def test_names_of_this_machine(header: str, local: bool) -> None:
    assert is_local_name(header) is local


@pytest.mark.parametrize(
    ("origin", "fetch_site", "same"),
    [
        ("http://page:8080", None, True),
        ("https://page:8080", "same-origin", True),
        (None, "same-origin", True),
        (None, None, False),
        (None, "none", False),
        ("null", "same-origin", False),
        ("http://page:8080", "cross-site", False),
        ("http://page:8080", "same-site", False),
        ("http://page", "same-origin", False),
        ("http://evil.example.com", None, False),
        ("http://[::1", None, False),
        ("ftp://page:8080", None, False),
    ],
)
def test_forms_of_our_own_page(origin: str | None, fetch_site: str | None, same: bool) -> None:
    assert is_same_origin(origin, fetch_site, "page:8080") is same


def test_an_empty_host_is_nobodys_origin() -> None:
    assert not is_same_origin("http://", None, "")


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("198.51.100.7", "", "198.51.100.7"),
        ("8.8.8.8", "1.2.3.4", "8.8.8.8"),  # no router of ours: it may say what it likes
        ("10.1.2.3", "9.9.9.9, 8.8.4.4", "8.8.4.4"),
        ("10.1.2.3", "nonsense", "10.1.2.3"),
        ("10.1.2.3", "", "10.1.2.3"),
        ("", "1.2.3.4", ""),
    ],
)
def test_who_sent_a_request(peer: str, forwarded: str, address: str) -> None:
    assert address_of(peer, forwarded) == address
