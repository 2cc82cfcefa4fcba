"""From a target to a stream: DNS, TCP, proxy and TLS, in this order and under one deadline.

The rule: what is not returned is closed.
"""

from __future__ import annotations

from ingest.connection.opening import Opening
from ingest.connection.proxy import choose_proxy, pass_through
from ingest.connection.resolve import resolve
from ingest.connection.stream import Stream, TCPStream
from ingest.connection.target import Target
from ingest.connection.tcp import connect
from ingest.connection.tls import secure
from settings.model import FeedSettings


def dial(feed: FeedSettings, target: Target, opening: Opening) -> Stream:
    """Return a stream to the target.

    Raises `DialFailed`, `OpenTimedOut` or `Stopped`, which name the step.
    """
    proxy = choose_proxy(feed, target)
    first_hop = proxy or target
    addresses = resolve(first_hop.host, first_hop.port, feed.socket.family, opening)
    lowest: Stream = TCPStream(connect(addresses, feed.socket, opening))
    try:
        stream = lowest if proxy is None else pass_through(proxy, lowest, target, feed, opening)
        return secure(stream, feed.tls, target.host, opening) if target.secure else stream
    except BaseException:
        lowest.abort()
        raise
