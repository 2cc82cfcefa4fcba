"""The page's addresses: what is asked for, by whom, and what is answered. The only importer of starlette.

The rule: nothing here waits for Redis in the event loop; whoever may not act is refused before anything is looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ingest.broker.dead_letters import Filter
from ingest.errors import BrokerError
from ingest.tools.findings import find, headline, is_well
from ingest.tools.views import FeedView
from ingest.web.access import Access, Session, is_own_host, is_same_origin
from ingest.web.desk import Desk
from ingest.web.eye import Eye
from ingest.web.pages import Pages, letter_fields, seen, seen_feed

#: Pages that may be open and live at once.
MOST_LIVE = 100

#: Seconds without news after which a live page is told that we are still here.
HEARTBEAT = 15.0

#: Bytes of a form: a hundred chosen dead letters, and their word.
LARGEST_FORM = 64_000

#: Dead letters on a page.
LETTERS = 100

COOKIE = "session"

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Refused(Exception):
    """The request is answered with ``status`` and a sentence."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail


class Site:
    """The handlers of one server.

    Parameters:
      loopback: whether it listens for this machine only.
    """

    def __init__(self, access: Access, eye: Eye, desk: Desk, pages: Pages, *, loopback: bool) -> None:
        self._access = access
        self._eye = eye
        self._desk = desk
        self._pages = pages
        self._loopback = loopback
        self._live = 0
        self._news = asyncio.Event()
        self._ending = False

    def app(self) -> Starlette:
        """Return the application."""
        routes = [
            Route("/", self._index),
            Route("/feed", self._feed),
            Route("/feed/pause", self._pause, methods=["POST"]),
            Route("/feed/resume", self._resume, methods=["POST"]),
            Route("/dead-letters", self._letters),
            Route("/dead-letter", self._letter),
            Route("/dead-letters/retry", self._retry, methods=["POST"]),
            Route("/dead-letters/delete", self._delete, methods=["POST"]),
            Route("/login", self._login, methods=["GET", "POST"]),
            Route("/logout", self._logout, methods=["POST"]),
            Route("/events", self._events),
            Route("/api/overview", self._api),
            Mount("/static", StaticFiles(packages=[("ingest.web", "static")])),
        ]
        handlers: Any = {
            Refused: self._refused,
            BrokerError: self._no_redis,
            404: self._not_found,
            405: self._not_allowed,
        }
        guard = Middleware(BaseHTTPMiddleware, dispatch=self._guard)
        return Starlette(routes=routes, middleware=[guard], exception_handlers=handlers, lifespan=self._lifespan)

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()

        def changed() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is over
                loop.call_soon_threadsafe(self._wake)

        self._eye.changed = changed
        self._eye.start()
        try:
            yield
        finally:
            self._eye.close()

    def end(self) -> None:
        """Let every live page's stream end, so that the server can."""
        self._ending = True
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    # Who may.

    async def _guard(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        if not is_own_host(request.headers.get("host", ""), loopback=self._loopback):
            return PlainTextResponse("this page does not answer to that name\n", status_code=421)
        public = request.url.path == "/login" or request.url.path.startswith("/static/")
        if not public and not self._may_read(request):
            if request.url.path.startswith(("/api/", "/events")):
                return PlainTextResponse("log in first, or send the token (Authorization: Bearer)\n", status_code=401)
            return RedirectResponse("/login", status_code=303)
        response = await call_next(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    def _may_read(self, request: Request) -> bool:
        if self._access.open_reading or self._session(request) is not None:
            return True
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self._access.is_token(token)

    def _session(self, request: Request) -> Session | None:
        return self._access.session(request.cookies.get(COOKIE))

    async def _acting(self, request: Request) -> FormData:
        """Return the form of somebody who may act; `Refused`."""
        session = self._session(request)
        if session is None:
            raise Refused(
                403, "Log in first", "Acting needs the token: the value of WEB_TOKEN of the process that serves this page."
            )
        form = await self._form(request)
        if not self._from_us(request) or not self._access.is_word(session, str(form.get("word", ""))):
            raise Refused(403, "Not from this page", "The form did not come from a page of this session. Open the page anew.")
        return form

    def _from_us(self, request: Request) -> bool:
        headers = request.headers
        return is_same_origin(headers.get("origin"), headers.get("sec-fetch-site"), headers.get("host", ""))

    async def _form(self, request: Request) -> FormData:
        size = request.headers.get("content-length", "")
        if not size.isascii() or not size.isdigit() or int(size) > LARGEST_FORM:
            raise Refused(413, "Too much", "The form is too large, or does not say how large it is.")
        try:
            return await request.form(max_files=0, max_fields=LETTERS + 10)
        except ClientDisconnect:
            raise
        except Exception as error:
            raise Refused(400, "Not a form", "What was sent is no form.") from error

    # Pages.

    async def _index(self, request: Request) -> Response:
        return self._page(request, "index", live="page=index", here="index", **seen(self._eye.sight))

    async def _feed(self, request: Request) -> Response:
        feed = self._feed_of(request.query_params)
        values = await run_in_threadpool(self._feed_values, feed)
        live = urlencode({"page": "feed", "group": feed.group, "name": feed.name})
        return self._page(request, "feed", live=live, here="feed", **values)

    async def _letters(self, request: Request) -> Response:
        asked = {name: request.query_params.get(name, "").strip() for name in ("queue", "actor", "feed", "exception")}
        queue, actor, feed, exception = (value or None for value in asked.values())
        wanted = Filter(queue=queue, actor=actor, feed=feed, exception=exception)
        found = await run_in_threadpool(self._desk.letters, wanted, LETTERS + 1)
        return self._page(request, "letters", here="letters", wanted=asked, letters=found[:LETTERS], more=len(found) > LETTERS)

    async def _letter(self, request: Request) -> Response:
        queue, ident = request.query_params.get("queue", ""), request.query_params.get("id", "")
        letter = await run_in_threadpool(self._desk.letter, queue, ident)
        if letter is None:
            raise Refused(404, "Not there", "There is no such dead letter: it was retried, deleted or has expired meanwhile.")
        return self._page(request, "letter", here="letters", **letter_fields(letter))

    def _page(self, request: Request, template: str, *, status: int = 200, live: str | None = None, **values: Any) -> Response:
        session = self._session(request)
        shared = {
            "session": session is not None,
            "word": self._access.word(session) if session is not None else "",
            "can_act": self._access.can_act,
            "notice": request.query_params.get("done", "")[:200],
            **({"live_query": live} if live is not None else {}),
        }
        return HTMLResponse(self._pages.whole(template, **shared, **values), status)

    def _feed_of(self, query: Mapping[str, str]) -> FeedView:
        overview = self._eye.sight.overview
        for feed in overview.feeds if overview is not None else ():
            if feed.id == (query.get("group", ""), query.get("name", "")):
                return feed
        raise Refused(404, "No such feed", "No supervisor tells of a feed of that name.")

    def _feed_values(self, feed: FeedView) -> dict[str, Any]:
        try:
            gaps = self._desk.gaps(feed)
        except BrokerError:
            gaps = []  # the headline tells that Redis does not answer
        return seen_feed(self._eye.sight, feed, gaps)

    # Live.

    async def _events(self, request: Request) -> Response:
        if self._live >= MOST_LIVE:
            return PlainTextResponse("too many pages are live\n", status_code=503, headers={"Retry-After": "30"})
        return StreamingResponse(self._stream(request), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    async def _stream(self, request: Request) -> AsyncIterator[str]:
        self._live += 1
        try:
            sent: dict[str, str] = {}
            yield "retry: 2000\n\n"
            while not self._ending:
                news = self._news
                sections = await run_in_threadpool(self._sections, dict(request.query_params))
                changed = {name: html for name, html in sections.items() if sent.get(name) != html}
                sent |= changed
                if changed:
                    yield f"event: sections\ndata: {json.dumps(changed)}\n\n"
                try:
                    await asyncio.wait_for(news.wait(), HEARTBEAT)
                except TimeoutError:
                    yield ": still here\n\n"
        finally:
            self._live -= 1

    def _sections(self, query: Mapping[str, str]) -> dict[str, str]:
        if query.get("page") != "feed":
            return self._pages.sections("index", **seen(self._eye.sight))
        try:
            feed = self._feed_of(query)
        except Refused:
            return self._pages.sections("base", **seen(self._eye.sight))
        return self._pages.sections("feed", **self._feed_values(feed))

    async def _api(self, request: Request) -> Response:
        sight = self._eye.sight
        overview = sight.overview
        findings = find(overview) if overview is not None else []
        told = sight.trouble or (headline(overview, findings) if overview is not None else "looking for the first time")
        body = {
            "ok": overview is not None and not sight.trouble and is_well(findings),
            "headline": told,
            "findings": [{**asdict(finding), "severity": finding.severity.name.lower()} for finding in findings],
            "overview": asdict(overview) if overview is not None else None,
        }
        return JSONResponse(body, 503 if sight.trouble or overview is None else 200)

    # Acting.

    async def _pause(self, request: Request) -> Response:
        return await self._hold(request, self._desk.pause, "paused", "was paused before")

    async def _resume(self, request: Request) -> Response:
        return await self._hold(request, self._desk.resume, "resumed", "was not paused")

    async def _hold(self, request: Request, act: Callable[[FeedView], bool], done: str, undone: str) -> Response:
        form = await self._acting(request)
        feed = self._feed_of({"group": str(form.get("group", "")), "name": str(form.get("name", ""))})
        did = await run_in_threadpool(act, feed)
        query = {"group": feed.group, "name": feed.name, "done": f"{feed.label} {done if did else undone}"}
        return RedirectResponse(f"/feed?{urlencode(query)}", status_code=303)

    async def _retry(self, request: Request) -> Response:
        return await self._dispose(request, self._desk.retry, "put back into their queues")

    async def _delete(self, request: Request) -> Response:
        return await self._dispose(request, self._desk.delete, "deleted")

    async def _dispose(self, request: Request, act: Callable[[list[tuple[str, str]]], int], done: str) -> Response:
        form = await self._acting(request)
        chosen = [(queue, ident) for each in form.getlist("letter") for queue, _, ident in (str(each).partition("/"),) if ident]
        count = await run_in_threadpool(act, chosen) if chosen else 0
        missed = f"; {len(chosen) - count} were none any more" if count < len(chosen) else ""
        said = f"{count} dead letters {done}{missed}" if chosen else "none was chosen"
        return RedirectResponse(f"/dead-letters?{urlencode({'done': said})}", status_code=303)

    async def _login(self, request: Request) -> Response:
        if not self._access.can_act:
            raise Refused(404, "No token", "This page was started without WEB_TOKEN: nobody can act on it.")
        if request.method == "GET":
            return self._page(request, "login", here="login", problem="")
        form = await self._form(request)
        if not self._from_us(request):
            raise Refused(403, "Not from this page", "The form did not come from this page.")
        if not self._access.is_token(str(form.get("token", ""))):
            throttled = self._access.is_throttled
            problem = "Too many wrong tokens; wait a minute." if throttled else "That is not the token."
            return self._page(request, "login", here="login", problem=problem, status=429 if throttled else 403)
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(
            COOKIE, self._access.open_session(), httponly=True, samesite="strict", secure=_is_https(request), path="/"
        )
        return response

    async def _logout(self, request: Request) -> Response:
        await self._acting(request)
        response = RedirectResponse("/", status_code=303)
        response.delete_cookie(COOKIE, path="/")
        return response

    # What else is answered.

    async def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return self._page(request, "problem", here="", title=error.title, detail=error.detail, status=error.status)

    async def _no_redis(self, request: Request, error: Exception) -> Response:
        detail = f"{error}. Nothing was done; try again when it answers."
        return self._page(request, "problem", here="", title="Redis does not answer", detail=detail, status=503)

    async def _not_found(self, request: Request, error: Exception) -> Response:
        return self._page(request, "problem", here="", title="Not there", detail="There is no such page.", status=404)

    async def _not_allowed(self, request: Request, error: Exception) -> Response:
        detail = "This address takes forms of its page only."
        return self._page(request, "problem", here="", title="Not like that", detail=detail, status=405)


def _is_https(request: Request) -> bool:
    """Tell whether the browser came by https, also through a platform's router."""
    return request.headers.get("x-forwarded-proto", request.url.scheme).split(",")[0].strip() == "https"
