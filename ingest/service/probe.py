"""Tries what the settings name: Redis, and the handshake of every feed.

The rule: one attempt each, within the time-outs of the settings; what went wrong comes back as a value.
"""

from __future__ import annotations

from ingest.broker.clients import Server, check_server, make_client
from ingest.clock import monotonic
from ingest.connection.callbacks import Callbacks, SessionMaker
from ingest.connection.status import FeedStatus
from ingest.connection.transport import connect
from ingest.connection.wakeup import Wakeup
from ingest.errors import BrokerError
from ingest.events import Event
from ingest.service.references import FeedCode
from settings.model import BrokerSettings, FeedSettings

#: Seconds that the server has to answer our close.
CLOSING = 1.0

NORMAL_CLOSURE = 1000


def probe_redis(broker: BrokerSettings) -> Server:
    """Return what answers at ``[broker] url``; `BrokerError` where nothing of use does."""
    try:
        client = make_client(**broker.endpoint(), max_connections=1)
    except ValueError as error:
        raise BrokerError(str(error)) from None
    try:
        return check_server(client)
    finally:
        client.close()


def probe_feed(feed: FeedSettings, code: FeedCode) -> float:
    """Make the feed's connection and close it again; return the seconds it took. `EndReason` says why there is none."""
    maker = SessionMaker(feed, code.session_class, code.headers_function, code.subscribe_function)
    callbacks = Callbacks(maker, FeedStatus(feed.label, _ignore))
    started = monotonic()
    url, headers = callbacks.prepare()
    wakeup = Wakeup()
    try:
        transport = connect(feed, url, headers, wakeup=wakeup, stopping=_never)
        seconds = monotonic() - started
        transport.close(NORMAL_CLOSURE, "", CLOSING)
        return seconds
    finally:
        wakeup.close()


def _ignore(event: Event) -> None:
    """Tell nobody: what happened is returned or raised."""


def _never() -> bool:
    return False
