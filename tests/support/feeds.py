"""A feed at work in a thread, over real sockets, with everything it delivers and tells kept."""

from __future__ import annotations

from functools import partial
from threading import Event as Flag
from threading import Thread

from ingest.clock import monotonic
from ingest.connection.callbacks import SessionMaker
from ingest.connection.feed import AlwaysLeads, Feed, policy_of
from ingest.connection.session import Session
from ingest.connection.status import FeedStatus
from ingest.connection.transport import connect
from ingest.connection.wakeup import Wakeup
from ingest.events import Event
from settings.model import FeedSettings
from tests.support.connections import CollectingSink
from tests.support.waiting import wait_until

#: Reconnects at once: for tests that are not about the backoff.
AT_ONCE = {"initial": 0.01, "max": 0.02}


class RunningFeed:
    """Use as a context manager; the feed is stopped at its end, and must end."""

    def __init__(
        self, url, session=Session, *, retry_function=None, headers_function=None, subscribe_function=None, sink=None, **settings
    ):
        settings = {"retry": AT_ONCE, **settings}
        self.settings = FeedSettings.model_validate({"name": "trades", "url": url, "actor": "handle", **settings})
        self.sink = sink if sink is not None else CollectingSink()
        self.events: list[Event] = []
        self.status = FeedStatus(self.settings.label, self.events.append)
        self._wakeup = Wakeup()
        self._stop = Flag()
        #: Seconds by which the feed's clock is ahead of the real one: deadlines pass without waiting for them.
        self.ahead = 0.0
        self.sink.wake = self._wakeup.set
        maker = SessionMaker(self.settings, session, headers_function, subscribe_function)
        self.feed = Feed(
            self.settings, maker, policy_of(self.settings, maker, retry_function), self.sink, self.status,
            dial=partial(connect, self.settings, wakeup=self._wakeup, stopping=self._stop.is_set),
            wakeup=self._wakeup, stopping=self._stop.is_set, lead=AlwaysLeads("p"), clock=lambda: monotonic() + self.ahead,
        )  # fmt: skip
        self.thread = Thread(target=self.feed.run, name="feed-trades")

    @property
    def payloads(self):
        return self.sink.payloads

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def wait_for(self, condition, what, timeout=30.0):
        wait_until(condition, timeout=timeout, what=what)

    def wake(self):
        self._wakeup.set()

    def pass_time(self, seconds):
        """Let so much time pass for the feed."""
        self.ahead += seconds
        self.wake()

    def stop(self, timeout=30.0):
        self._stop.set()
        self._wakeup.set()
        self.thread.join(timeout)
        assert not self.thread.is_alive(), "the feed did not stop"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc_info):
        self.stop()
        self._wakeup.close()
