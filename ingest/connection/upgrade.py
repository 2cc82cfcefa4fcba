"""The WebSocket upgrade over a stream: websocket-client asks, and the server's answer is judged here (RFC 6455, 4.1).

The rule: the only importer of `websocket`. Of the answer the library sees only a 101 that has passed, in its shortest form:
it would follow redirects, keep cookies for the whole process, and take any extension and a wrong-case accept key.
"""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO

import websocket
from websocket._handshake import CookieJar  # the library has no other way to be rid of its cookies

from ingest.clock import Deadline, wall_us
from ingest.connection.deflate import Inflater, accept, offer
from ingest.connection.http1 import Head, body_complete, body_content, parse_head, retry_after, tokens
from ingest.connection.opening import Opening, OpeningSocket
from ingest.connection.stream import Stream
from ingest.connection.target import Target
from ingest.errors import HandshakeInvalid, HandshakeRejected, OpenTimedOut
from settings.model import FeedSettings

#: Bounds of the answer.
HEAD_BYTES = 64 * 1024
BODY_BYTES = 4 * 1024
#: Seconds that the text of a refusal may take: the refusal itself is known.
BODY_SECONDS = 1.0

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What the upgrade brought; ``early`` is what the server sent right behind its answer."""

    headers: Mapping[str, str] = field(repr=False)
    subprotocol: str | None
    inflater: Inflater | None
    early: bytes = field(repr=False)


def upgrade(stream: Stream, feed: FeedSettings, target: Target, headers: Mapping[str, str], opening: Opening) -> Upgraded:
    """Upgrade the connection; ``headers`` have been checked.

    Raises `HandshakeRejected` (any status but 101, redirects too), `HandshakeInvalid`, or an error of the opening.
    """
    opening.step = "upgrade"
    key = b64encode(os.urandom(16)).decode("ascii")
    sock = _LibrarySocket(OpeningSocket(stream, opening), target.resource, feed, key)
    CookieJar.jar.clear()  # nothing of ours gets in there, but other users of the library in this process may put something
    try:
        websocket.WebSocket().connect(  # type: ignore[no-untyped-call]  # the library is typed in part
            f"{'wss' if target.secure else 'ws'}://{target.address}/",
            socket=sock,
            redirect_limit=0,
            host=target.host_header,
            header=_header(feed, target, headers, key),
            origin=feed.origin,
            suppress_origin=feed.origin is None,
        )
    except websocket.WebSocketException as error:
        raise HandshakeInvalid("not an answer to what was asked") from error
    return sock.upgraded()


def _header(feed: FeedSettings, target: Target, headers: Mapping[str, str], key: str) -> dict[str, str]:
    """Return what goes into the request beside the library's own lines."""
    header = {"Sec-WebSocket-Key": key}
    if feed.subprotocols:  # not as the library's option, which insists that one be chosen
        header["Sec-WebSocket-Protocol"] = ", ".join(feed.subprotocols)
    if feed.compression == "deflate":
        header["Sec-WebSocket-Extensions"] = offer()
    if target.authorization is not None and "authorization" not in {name.lower() for name in headers}:
        header["Authorization"] = target.authorization
    return header | dict(headers)


class _LibrarySocket:
    """The socket that websocket-client sees: it sends the request, and its first `recv` awaits and judges the answer."""

    def __init__(self, sock: OpeningSocket, resource: str, feed: FeedSettings, key: str) -> None:
        self._sock = sock
        self._resource = resource
        self._feed = feed
        self._accept = b64encode(hashlib.sha1(f"{key}{_GUID}".encode(), usedforsecurity=False).digest()).decode("ascii")
        self._upgraded: Upgraded | None = None
        self._for_library = BytesIO()

    def send(self, data: bytes) -> int:
        # The library's URL parser loses ";parameters" of a path, hence our own request line; and it encodes headers as UTF-8.
        _, _, rest = data.decode("utf-8").partition("\r\n")
        self._sock.sendall(f"GET {self._resource} HTTP/1.1\r\n{rest}".encode("latin-1"))
        return len(data)

    def recv(self, count: int) -> bytes:
        if self._upgraded is None:
            self._upgraded = self._judged(self._final_head())
        return self._for_library.read(count)

    def gettimeout(self) -> float:
        return self._sock.gettimeout()

    def close(self) -> None:
        """Leave it open: who made the stream closes it."""

    def upgraded(self) -> Upgraded:
        """Return what the answer brought."""
        assert self._upgraded is not None, "the library returned without having read the answer"
        return self._upgraded

    def _final_head(self) -> Head:
        left = HEAD_BYTES
        while True:
            try:
                data = self._sock.read_head(left)
                head = parse_head(data)
            except ValueError as error:
                raise HandshakeInvalid(f"the server sent {error}") from error
            if head.status == 101 or head.status >= 200:
                return head
            left -= len(data)  # 100 and 103 announce the answer (RFC 9110, 15.2)

    def _judged(self, head: Head) -> Upgraded:
        if head.status != 101:
            raise self._rejection(head)
        headers = head.headers
        if "websocket" not in tokens(headers.get("upgrade", "")) or "upgrade" not in tokens(headers.get("connection", "")):
            raise HandshakeInvalid("101 without Upgrade: websocket and Connection: Upgrade")
        if headers.get("sec-websocket-accept") != self._accept:
            raise HandshakeInvalid("Sec-WebSocket-Accept is missing or wrong")
        subprotocol, inflater = self._subprotocol(headers), self._inflater(headers)
        lines = ("HTTP/1.1 101 -", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {self._accept}", "", "")
        self._for_library = BytesIO("\r\n".join(lines).encode("ascii"))
        return Upgraded(headers, subprotocol, inflater, self._sock.leftover())

    def _subprotocol(self, headers: Mapping[str, str]) -> str | None:
        """Return the server's choice, or None: a server need not choose (RFC 6455, 4.2.2), but only among what was offered."""
        chosen = headers.get("sec-websocket-protocol")
        if chosen is not None and chosen not in self._feed.subprotocols:
            raise HandshakeInvalid(f"subprotocol {chosen[:80]!r} was not offered")
        return chosen

    def _inflater(self, headers: Mapping[str, str]) -> Inflater | None:
        chosen = headers.get("sec-websocket-extensions")
        if not chosen:
            return None
        if self._feed.compression != "deflate":
            raise HandshakeInvalid(f"extension {chosen[:80]!r} was not offered")
        try:
            return accept(chosen)
        except ValueError as error:
            raise HandshakeInvalid(str(error)) from error

    def _rejection(self, head: Head) -> HandshakeRejected:
        body = body_content(head.headers, self._body(head))
        return HandshakeRejected(head.status, head.headers, body, retry_after(head.headers, wall_us() / 1e6))

    def _body(self, head: Head) -> bytes:
        body = bytearray()
        deadline = Deadline(BODY_SECONDS)
        try:
            while len(body) < BODY_BYTES and not body_complete(head.headers, body):
                more = self._sock.read_some(deadline.remaining())
                if not more:
                    break
                body += more
        except OpenTimedOut:
            pass  # the refusal is the better reason
        return bytes(body[:BODY_BYTES])
