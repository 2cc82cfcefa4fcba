"""From a target to a stream: DNS, TCP, proxy and TLS, in this order and under one deadline.

The rule: what is not returned is closed.
"""

from __future__ import annotations

from ingest.connection.opening import Opening
from ingest.connection.proxy import Proxy, choose_proxy, pass_through
from ingest.connection.resolve import resolve
from ingest.connection.stream import Stream, TCPStream
from ingest.connection.target import Target
from ingest.connection.tcp import connect
from ingest.connection.tls import secure
from ingest.errors import DialFailed
from settings.model import FeedSettings


def dial(feed: FeedSettings, target: Target, opening: Opening) -> Stream:
    """Return a stream to the target.

    Raises `DialFailed`, `OpenTimedOut` or `Stopped`, which name the step.
    """
    proxy = choose_proxy(feed, target)
    lowest = _first_hop(feed, proxy, target, opening)
    try:
        stream = lowest if proxy is None else pass_through(proxy, lowest, target, feed, opening)
        return secure(stream, feed.tls, target.host, opening) if target.secure else stream
    except BaseException:
        lowest.abort()
        raise


def _first_hop(feed: FeedSettings, proxy: Proxy | None, target: Target, opening: Opening) -> Stream:
    """Return a stream to the server, or to the proxy that stands before it, which a failure then names."""
    hop = proxy or target
    try:
        addresses = resolve(hop.host, hop.port, feed.socket.family, opening)
        return TCPStream(connect(addresses, feed.socket, opening))
    except DialFailed as failed:
        if proxy is None:
            raise
        raise DialFailed(failed.step, f"{failed.detail} (the proxy)") from failed
