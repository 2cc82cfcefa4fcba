"""The page's addresses: what is asked for and what is answered. The only importer of starlette.

The rule: nothing here waits for Redis in the event loop; who may not act is refused before anything is looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ingest.broker.dead_letters import Filter
from ingest.errors import BrokerError
from ingest.telemetry.log import log_event
from ingest.tools.status import json_text
from ingest.tools.views import FeedView
from ingest.web.access import Access, Session, Verdict
from ingest.web.acting import admit, check_origin
from ingest.web.backend import Backend, LetterId
from ingest.web.content import Content, in_thread
from ingest.web.forms import Form, Refused, read_form
from ingest.web.guard import COOKIE, App, Guard, Visitor
from ingest.web.live import Live
from ingest.web.pages import Pages, letter_fields, seen
from ingest.web.poller import Poller

#: Dead letters on a page.
LETTERS = 100

#: By what dead letters are picked.
FILTERS = ("queue", "actor", "feed", "exception")


class Site:
    """The handlers of one server.

    Parameters:
      loopback: whether it listens for this machine only.
    """

    def __init__(self, access: Access, poller: Poller, backend: Backend, pages: Pages, *, loopback: bool) -> None:
        self._access = access
        self._poller = poller
        self._backend = backend
        self._pages = pages
        self._loopback = loopback
        self._content = Content(poller, backend, pages)
        self._live = Live(self._content.sections)

    def app(self) -> App:
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
            Route("/events", self._live),
            Route("/api/overview", self._api),
            Mount("/static", _Static(packages=[("ingest.web", "static")])),
        ]
        handlers: Any = {Refused: self._refused, BrokerError: self._no_redis, 404: self._not_found, 405: self._not_allowed}
        app = Starlette(routes=routes, exception_handlers=handlers, lifespan=self._lifespan)
        return Guard(app, self._access, loopback=self._loopback)

    def end(self) -> None:
        """Let every live page's stream end, so that the server can."""
        self._live.end()

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()

        def changed() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is over
                loop.call_soon_threadsafe(self._live.changed)

        self._poller.changed = changed
        self._poller.start()
        try:
            yield
        finally:
            self._poller.close()

    # Pages.

    async def _index(self, request: Request) -> Response:
        return self._page(request, "index", live="/events", here="index", **seen(self._poller.latest))

    async def _feed(self, request: Request) -> Response:
        feed = self._content.feed_of(request.query_params)
        values = await self._content.feed_values(feed)
        live = f"/events?{urlencode({'group': feed.group, 'name': feed.name})}"
        return self._page(request, "feed", live=live, here="feed", **values)

    async def _letters(self, request: Request) -> Response:
        asked = _filters(request.query_params)
        queue, actor, feed, exception = (value or None for value in asked.values())
        wanted = Filter(queue=queue, actor=actor, feed=feed, exception=exception)
        found = await in_thread(self._backend.letters, wanted, LETTERS)
        return self._page(request, "letters", here="letters", wanted=asked, found=found)

    async def _letter(self, request: Request) -> Response:
        queue, ident = request.query_params.get("queue", ""), request.query_params.get("id", "")
        letter = await in_thread(self._backend.letter, queue, ident)
        if letter is None:
            raise Refused(404, "Not there", "There is no such dead letter: it was retried, deleted or has expired meanwhile.")
        return self._page(request, "letter", here="letter", **letter_fields(letter))

    async def _api(self, request: Request) -> Response:
        reading = self._poller.latest
        if reading.overview is None or reading.trouble:
            told = {"ok": False, "headline": reading.trouble or "looking for the first time"}
            return Response(json.dumps(told), 503, media_type="application/json")
        return Response(json_text(reading.overview), media_type="application/json")

    def _page(self, request: Request, template: str, *, status: int = 200, live: str = "", **values: Any) -> Response:
        visitor = _visitor(request)
        session, query = visitor.session, request.query_params
        notice = query.get("done", "")
        sealed = session is not None and bool(notice) and self._access.is_sealed(session, notice, query.get("seal", ""))
        shared = {
            "reads": visitor.reads,
            "session": session is not None,
            "csrf": self._access.csrf_token(session) if session is not None else "",
            "can_act": self._access.can_act,
            "notice": notice if sealed else "",
            "live": live,
        }
        return HTMLResponse(self._pages.whole(template, **shared, **values), status)

    # Acting.

    async def _acting(self, request: Request) -> tuple[Session, Form]:
        return await admit(self._access, _visitor(request).session, request.headers, request.body)

    async def _pause(self, request: Request) -> Response:
        done = "paused: what was read is delivered, then it has no connection"
        return await self._hold(request, self._backend.pause, done, "was paused before")

    async def _resume(self, request: Request) -> Response:
        return await self._hold(request, self._backend.resume, "resumed: it connects within seconds", "was not paused")

    async def _hold(self, request: Request, act: Callable[[FeedView], bool], done: str, undone: str) -> Response:
        session, form = await self._acting(request)
        feed = self._content.feed_of(form.first)
        did = await in_thread(act, feed)
        self._log(request, act.__name__, feed=feed.label, count=int(did))
        return self._done(session, "/feed", f"{feed.label} {done if did else undone}", {"group": feed.group, "name": feed.name})

    async def _retry(self, request: Request) -> Response:
        session, form = await self._acting(request)
        return await self._dispose(request, session, form, self._backend.retry, "put back into their queues")

    async def _delete(self, request: Request) -> Response:
        session, form = await self._acting(request)
        chosen = _chosen(form)
        if chosen and form.get("sure", "") != "yes":
            return self._page(request, "sure", here="letters", chosen=chosen, wanted=_filters(form.first))
        return await self._dispose(request, session, form, self._backend.delete, "deleted")

    async def _dispose(
        self, request: Request, session: Session, form: Form, act: Callable[[Sequence[LetterId]], int], done: str
    ) -> Response:
        chosen = _chosen(form)
        count = await in_thread(act, chosen) if chosen else 0
        missed = f"; {len(chosen) - count} were none any more, or cannot be read" if count < len(chosen) else ""
        told = f"{count} dead letter{'' if count == 1 else 's'} {done}{missed}" if chosen else "No dead letter was chosen."
        if chosen:
            self._log(request, act.__name__, feed="", count=count)
        return self._done(session, "/dead-letters", told, {name: value for name, value in _filters(form.first).items() if value})

    def _done(self, session: Session, path: str, told: str, query: Mapping[str, str]) -> Response:
        seal = self._access.seal(session, told)
        return RedirectResponse(f"{path}?{urlencode({**query, 'done': told, 'seal': seal})}", status_code=303)

    @staticmethod
    def _log(request: Request, act: str, *, feed: str, count: int) -> None:
        log_event(logging.WARNING, "web_acted", {"act": act, "feed": feed, "count": count, "address": _visitor(request).address})

    async def _login(self, request: Request) -> Response:
        if not self._access.can_act:
            raise Refused(404, "No token", "This page was started without WEB_TOKEN, so nobody can log in.")
        if request.method != "POST":
            return self._page(request, "login", here="login", problem="")
        check_origin(request.headers)
        form = await read_form(request.headers, request.body)
        address = _visitor(request).address
        verdict = self._access.check(form.get("token", "").strip(), address)
        if verdict is not Verdict.RIGHT:
            throttled = verdict is Verdict.THROTTLED
            if not throttled:  # of those there may be any number
                log_event(logging.WARNING, "web_login_refused", {"address": address})
            problem = "Too many wrong tokens; wait a minute." if throttled else "That is not the token."
            return self._page(request, "login", here="login", problem=problem, status=429 if throttled else 403)
        log_event(logging.INFO, "web_login", {"address": address})
        response = RedirectResponse("/", status_code=303)
        secure = _is_https(request)
        # Lax, so that a link in a chat leads to the page and not to the form; what acts is POSTed and has its own guards.
        response.set_cookie(COOKIE, self._access.open_session(), httponly=True, samesite="lax", secure=secure, path="/")
        return response

    async def _logout(self, request: Request) -> Response:
        session, _ = await self._acting(request)
        self._access.end_session(session)
        response = RedirectResponse("/login", status_code=303)
        response.delete_cookie(COOKIE, path="/")
        return response

    # What else is answered.

    async def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return self._problem(request, error.status, error.title, error.detail)

    async def _no_redis(self, request: Request, error: Exception) -> Response:
        return self._problem(request, 503, "Redis does not do it", f"{error} Try again when the headline says that all is well.")

    async def _not_found(self, request: Request, error: Exception) -> Response:
        return self._problem(request, 404, "Not there", "There is no such page.")

    async def _not_allowed(self, request: Request, error: Exception) -> Response:
        return self._problem(request, 405, "Not like that", "This address takes other requests than this.")

    def _problem(self, request: Request, status: int, title: str, detail: str) -> Response:
        return self._page(request, "problem", here="", title=title, detail=detail, status=status)


class _Static(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"  # kept, but asked for by its ETag each time
        return response


def _visitor(request: Request) -> Visitor:
    visitor: Visitor = request.scope["visitor"]
    return visitor


def _filters(query: Mapping[str, str] | QueryParams) -> dict[str, str]:
    return {name: query.get(name, "").strip() for name in FILTERS}


def _chosen(form: Form) -> list[LetterId]:
    parts = [each.partition("/") for each in form.all("letter")]
    return [(queue, ident) for queue, _, ident in parts if queue and ident]


def _is_https(request: Request) -> bool:
    """Tell whether the browser came by https, also through a platform's router."""
    return request.headers.get("x-forwarded-proto", request.url.scheme).rpartition(",")[2].strip() == "https"
