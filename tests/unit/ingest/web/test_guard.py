"""Who is let in: by ASGI alone, without a server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ingest.web.access import MOST_FAILURES, Access
from ingest.web.guard import COOKIE, Guard, Message, Receive, Scope, Send, Visitor, answer

TOKEN = "a-token-of-the-tests"


class Inside:
    """What is behind the guard: it notes who came in."""

    def __init__(self) -> None:
        self.visitors: list[Visitor] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.visitors.append(scope["visitor"])
        await answer(send, 200, "in", [("Cache-Control", "no-cache")])


def ask(
    guard: Guard, path: str = "/", *, method: str = "GET", client: str = "127.0.0.1", **headers: str
) -> tuple[int, dict[str, str]]:
    """Send a request; return status and headers of the answer."""
    sent: list[Message] = []
    told = {"host": "127.0.0.1:8080"} | {name.replace("_", "-"): value for name, value in headers.items()}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in told.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": raw, "client": (client, 1234)}

    async def receive() -> Message:
        raise AssertionError("nobody reads the body")

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    answered = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], answered


def made(*, token: str | None = TOKEN, loopback: bool) -> tuple[Guard, Inside, Access]:
    inside, access = Inside(), Access(token)
    return Guard(inside, access, loopback=loopback), inside, access


def test_on_this_machine_everybody_reads_and_has_no_session() -> None:
    guard, inside, _ = made(token=None, loopback=True)
    assert ask(guard)[0] == 200
    assert inside.visitors == [Visitor("127.0.0.1", True, None)]


def test_a_foreign_name_that_leads_here_is_refused() -> None:
    guard, inside, _ = made(token=None, loopback=True)
    for host in ("evil.example.com", "evil.example.com:8080", "", "[::1"):
        assert ask(guard, host=host)[0] == 421
    assert inside.visitors == []


@pytest.mark.parametrize("header", ["x_forwarded_for", "forwarded", "x_real_ip", "via", "x_forwarded_host"])
def test_whom_a_proxy_brings_is_not_of_this_machine(header: str) -> None:
    guard, inside, access = made(loopback=True)
    assert ask(guard, **{header: "x"})[0] == 303
    assert inside.visitors == []
    assert ask(guard, **{header: "x", "cookie": f"{COOKIE}={access.open_session()}", "host": "page.example.com"})[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 303),
        ("HEAD", "/feed", 303),
        ("GET", "/nonsense", 303),
        ("GET", "/api/overview", 401),
        ("GET", "/events", 401),
        ("POST", "/feed/pause", 401),
        ("DELETE", "/", 401),
        ("GET", "/loginx/../", 303),
    ],
)
def test_strangers_get_no_further_than_the_form(method: str, path: str, status: int) -> None:
    guard, inside, _ = made(loopback=False)
    answered, headers = ask(guard, path, method=method)
    assert answered == status
    assert inside.visitors == []
    assert headers.get("location", "/login") == "/login"


@pytest.mark.parametrize("path", ["/login", "/static/page.css"])
def test_what_is_needed_to_log_in_is_open_to_strangers(path: str) -> None:
    guard, inside, _ = made(loopback=False)
    assert ask(guard, path)[0] == 200
    assert inside.visitors == [Visitor("127.0.0.1", False, None)]


def test_a_session_reads_and_may_act_a_token_only_reads() -> None:
    guard, inside, access = made(loopback=False)
    cookie = access.open_session()
    assert ask(guard, cookie=f"other=1; {COOKIE}={cookie}")[0] == 200
    assert ask(guard, "/api/overview", authorization=f"Bearer {TOKEN}")[0] == 200
    assert [visitor.session is not None for visitor in inside.visitors] == [True, False]
    assert [visitor.reads for visitor in inside.visitors] == [True, True]


@pytest.mark.parametrize("authorization", ["Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer \xe9"])
def test_what_is_not_the_token_reads_nothing(authorization: str) -> None:
    guard, inside, _ = made(loopback=False)
    assert ask(guard, "/api/overview", authorization=authorization)[0] == 401
    assert inside.visitors == []


def test_guessing_at_the_token_by_the_header_has_an_end() -> None:
    guard, _, _ = made(loopback=False)
    for _ in range(MOST_FAILURES):
        assert ask(guard, "/api/overview", authorization="Bearer guess", client="198.51.100.7")[0] == 401
    status, headers = ask(guard, "/api/overview", authorization=f"Bearer {TOKEN}", client="198.51.100.7")
    assert (status, headers["retry-after"]) == (429, "60")


@pytest.mark.parametrize("host", ["127.0.0.1", "evil.example.com"])
def test_every_answer_says_what_a_browser_may_do_with_it(host: str) -> None:
    guard, _, _ = made(loopback=True)
    _, headers = ask(guard, host=host)
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == ("no-cache" if host == "127.0.0.1" else "no-store")  # what an answer says itself stays


def test_what_is_no_request_goes_through() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    asyncio.run(Guard(app, Access(None), loopback=True)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert seen == ["lifespan"]
