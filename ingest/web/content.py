"""What the pages show: gathered from the last look at the system and, for a feed, from Redis.

The rule: knows nothing of requests; what waits for Redis, or renders, is not done in the event loop.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from anyio import to_thread

from ingest.broker.history import FeedId
from ingest.errors import BrokerError
from ingest.tools.views import FeedView
from ingest.web.backend import Backend
from ingest.web.forms import Refused
from ingest.web.live import Sections
from ingest.web.pages import Pages, seen, seen_feed
from ingest.web.poller import Poller

T = TypeVar("T")


class Content:
    """Gathers for all who have a page open."""

    def __init__(self, poller: Poller, backend: Backend, pages: Pages) -> None:
        self._poller = poller
        self._backend = backend
        self._pages = pages

    def feed_of(self, query: Mapping[str, str]) -> FeedView:
        """Return the feed that a query names; `Refused` where nobody tells of it."""
        feed = self.known((query.get("group", ""), query.get("name", "")))
        if feed is None:
            raise Refused(404, "No such feed", "No supervisor tells of a feed of that name.")
        return feed

    def known(self, ident: FeedId) -> FeedView | None:
        """Return a feed as it was last seen; None where nobody tells of it."""
        overview = self._poller.latest.overview
        return next((feed for feed in overview.feeds if feed.id == ident), None) if overview is not None else None

    async def feed_values(self, feed: FeedView) -> dict[str, Any]:
        """Return what a feed's page shows; without its gaps while Redis does not answer."""
        reading = self._poller.latest
        try:
            gaps = await in_thread(self._backend.gaps, feed) if not reading.trouble else None
        except BrokerError:
            gaps = None
        return seen_feed(reading, feed, gaps)

    async def sections(self, ident: FeedId | None) -> Sections:
        """Render the sections of a feed's page, or of the first page."""
        if ident is None:
            return await in_thread(self._pages.sections, "index", **seen(self._poller.latest))
        feed = self.known(ident)
        if feed is None:
            return self._pages.sections("gone", **seen(self._poller.latest))
        return await in_thread(self._pages.sections, "feed", **await self.feed_values(feed))


async def in_thread(act: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call what waits for Redis; a stop of the server does not wait for it."""
    return await to_thread.run_sync(functools.partial(act, *args, **kwargs), abandon_on_cancel=True)
