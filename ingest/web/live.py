"""Keeps open pages live: server-sent events with the sections of a page that have changed.

The rule: plain ASGI; a page is rendered once for all who look at it, and whoever does not read what we send is let go.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from ingest.broker.history import FeedId
from ingest.web.guard import Receive, Scope, Send, answer

#: Pages that may be live at once.
MOST = 100

#: Seconds without news after which a word is sent, so that nobody between us thinks the connection dead.
HEARTBEAT = 15.0

#: Seconds in which a client must take what it is sent.
SLOWEST = 20.0

#: Seconds after which a page has to ask anew: the session may be over.
LONGEST = 3600.0

#: Milliseconds after which a browser asks anew.
RETRY = 2000

_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]

Sections = Mapping[str, str]
Render = Callable[[FeedId | None], Awaitable[Sections]]


class Live:
    """Streams to everybody who asks.

    Parameters:
      render: makes the sections of a feed's page, or of the first page (None), as HTML by their ids.
    """

    def __init__(self, render: Render) -> None:
        self._render = render
        self._news = asyncio.Event()
        self._rendered: dict[FeedId | None, asyncio.Task[Sections]] = {}
        self._ending = False
        self.open = 0

    def changed(self) -> None:
        """Let everybody look again; in the event loop."""
        self._rendered.clear()
        news, self._news = self._news, asyncio.Event()
        news.set()

    def end(self) -> None:
        """Let every stream end, so that the server can."""
        self._ending = True
        self.changed()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await answer(send, 405, "GET only", [("allow", "GET, HEAD")])
        elif scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await send({"type": "http.response.body", "body": b""})
        elif self.open >= MOST:
            await answer(send, 503, "too many pages are live", [("retry-after", "30")])
        else:
            self.open += 1
            try:
                await self._serve(_page_of(scope), receive, send)
            finally:
                self.open -= 1

    async def _serve(self, page: FeedId | None, receive: Receive, send: Send) -> None:
        """Stream until the client is gone, whichever of the two is noticed first."""
        stream = asyncio.ensure_future(self._stream(page, send))
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            await asyncio.wait({stream, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (stream, gone):
                task.cancel()
            results = await asyncio.gather(stream, gone, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, TimeoutError):  # that is a client who does not read
                raise result

    async def _stream(self, page: FeedId | None, send: Send) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + LONGEST
        sent: dict[str, str] = {}
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await _write(send, f"retry: {RETRY}\n\n")
        while not self._ending and loop.time() < until:
            news = self._news
            sections = await self._sections(page)
            changed = {name: html for name, html in sections.items() if sent.get(name) != html}
            sent.update(changed)
            await _write(send, f"event: sections\ndata: {json.dumps(changed)}\n\n" if changed else ": still here\n\n")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), HEARTBEAT)
        await send({"type": "http.response.body", "body": b""})

    async def _sections(self, page: FeedId | None) -> Sections:
        task = self._rendered.get(page)
        if task is None:
            task = self._rendered[page] = asyncio.ensure_future(self._render(page))
        return await asyncio.shield(task)  # others wait for it too


async def _write(send: Send, text: str) -> None:
    async with asyncio.timeout(SLOWEST):
        await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _page_of(scope: Scope) -> FeedId | None:
    query: dict[str, Any] = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
    return (query.get("group", ""), query["name"]) if "name" in query else None
