"""Stands before the whole page: who is it, and may they come in? And the headers that every answer carries.

The rule: plain ASGI, because an answer may be a stream that never ends; whoever is refused costs nothing but the refusal.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

from ingest.web.access import Access, Session, Verdict, address_of, is_local_name

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Cookies do not tell ports apart: the name must be no other program's.
COOKIE = "dramatiq_websocket_session"

#: What is open to everybody, to log in with.
_LOGIN, _STATIC = "/login", "/static/"

#: Only something between the client and us says these.
_BY_PROXIES = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")

_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who sends a request: ``reads`` tells whether they may see what the system does, ``session`` that they have logged in."""

    address: str
    reads: bool
    session: Session | None


@dataclass(frozen=True, slots=True)
class _Refusal:
    status: int
    text: str
    headers: tuple[tuple[str, str], ...] = ()


class Guard:
    """Lets requests through to ``app``, which finds the `Visitor` in ``scope["visitor"]``.

    Parameters:
      loopback: whether the page listens for this machine only: then whoever is on it may read, but nobody whom a proxy brings.
    """

    def __init__(self, app: App, access: Access, *, loopback: bool) -> None:
        self._app = app
        self._access = access
        self._loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_missing(message.get("headers", ()))]
            await send(message)

        refusal = self._admit(scope)
        if refusal is None:
            await self._app(scope, receive, guarded)
        else:
            await answer(guarded, refusal.status, refusal.text, refusal.headers)

    def _admit(self, scope: Scope) -> _Refusal | None:
        """Put the visitor into the scope; return why they may not go on, or None."""
        headers = headers_of(scope)
        proxied = any(name in headers for name in _BY_PROXIES)
        at_home = self._loopback and not proxied
        if at_home and not is_local_name(headers.get("host", "")):
            return _Refusal(421, "this page answers to names of this machine only: open it as http://127.0.0.1 or localhost")
        peer = (scope.get("client") or ("",))[0]
        address = address_of(peer, headers.get("x-forwarded-for", ""))
        session = self._access.session(_cookie(headers.get("cookie", "")))
        reads = at_home or session is not None
        if not reads and "authorization" in headers:
            scheme, _, token = headers["authorization"].partition(" ")
            verdict = self._access.check(token.strip(), address) if scheme.lower() == "bearer" else Verdict.WRONG
            if verdict is Verdict.THROTTLED:
                return _Refusal(429, "too many wrong tokens; wait a minute", (("retry-after", "60"),))
            reads = verdict is Verdict.RIGHT
        scope["visitor"] = Visitor(address, reads, session)
        is_public = scope["path"] == _LOGIN or scope["path"].startswith(_STATIC)
        return None if reads or is_public else _stranger(scope)


def _stranger(scope: Scope) -> _Refusal:
    path = scope["path"]
    if scope["method"] in ("GET", "HEAD") and not path.startswith(("/api/", "/events")):
        return _Refusal(303, "log in first", (("location", _LOGIN),))
    return _Refusal(401, "log in first, or send the token (Authorization: Bearer)", (("www-authenticate", "Bearer"),))


async def answer(send: Send, status: int, text: str, headers: Iterable[tuple[str, str]] = ()) -> None:
    """Answer with a line of text."""
    body = f"{text}\n".encode()
    told = [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(body))), *headers]
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in told]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


def headers_of(scope: Scope) -> dict[str, str]:
    """Return a request's headers by their names in lower case; of several with one name all values, as if in one."""
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        joint = "; " if name == "cookie" else ", "
        found[name] = f"{found[name]}{joint}{value}" if name in found else value
    return found


def _cookie(header: str) -> str | None:
    for each in header.split(";"):
        name, _, value = each.strip().partition("=")
        if name == COOKIE:
            return value
    return None


def _missing(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    there = {name.lower() for name, _ in headers}
    return [(name.encode(), value.encode()) for name, value in _HEADERS.items() if name.encode() not in there]
