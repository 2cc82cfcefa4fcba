"""What a feed's URL says: where to connect, what to ask for, and what may be shown of it.

The rule: neither the query nor the user info ever enters a text; a query may be a token.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote, urlsplit

from ingest.errors import UrlFailed

_PORTS = {"ws": 80, "wss": 443}

#: Names, addresses, and the zone of an IPv6 address; underscores are no part of host names, but of many services' names.
_HOST = re.compile(r"[A-Za-z0-9._:%~-]+")

#: Left as it is in a path or query: RFC 3986's reserved characters, and the percent sign of what is already escaped.
_SAFE = "/?:@!$&'()*+,;=[]~|%"


@dataclass(frozen=True, slots=True)
class Target:
    """A ``ws://`` or ``wss://`` URL, taken apart. ``host`` is ASCII (IDNA), an IPv6 address without its brackets."""

    secure: bool
    host: str
    port: int
    resource: str = field(repr=False)  # path and query, as the request line has them
    authorization: str | None = field(default=None, repr=False)  # from the URL's user info

    @property
    def bracketed(self) -> str:
        """The host as it stands in URLs and in ``Host``; an IPv6 zone is ours alone (RFC 6874)."""
        return f"[{self.host.partition('%')[0]}]" if ":" in self.host else self.host

    @property
    def address(self) -> str:
        """``host:port``, always with the port."""
        return f"{self.bracketed}:{self.port}"

    @property
    def host_header(self) -> str:
        """The ``Host`` header: without a port that the scheme implies (RFC 6455, 4.1)."""
        return self.bracketed if self.port == _PORTS["wss" if self.secure else "ws"] else self.address


def parse_target(url: str) -> Target:
    """Take a URL apart; raise `UrlFailed` where no connection could be made from it.

    User info becomes basic authorization, as with other HTTP clients. A fragment is refused (RFC 6455, 3).
    """
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in url):
        raise UrlFailed(None, "the URL contains a control character")  # urlsplit would drop some of them in silence
    try:
        parts = urlsplit(url.strip(" "))
        host, port, resource, authorization = parts.hostname, parts.port, _resource(parts), _authorization(parts)
    except ValueError:
        # Its texts quote what they complain about, and that may be a password.
        raise UrlFailed(None, "the URL has an invalid host, port or character") from None
    if parts.scheme not in _PORTS:
        raise UrlFailed(None, "the URL must begin with ws:// or wss://")
    if not host or port == 0:
        raise UrlFailed(None, "the URL has no host" if not host else "the URL has port 0")
    if "#" in url:
        raise UrlFailed(None, "the URL has a fragment (#), which WebSocket URLs must not have; write %23")
    return Target(
        secure=parts.scheme == "wss",
        host=ascii_host(host),
        port=port or _PORTS[parts.scheme],
        resource=resource,
        authorization=authorization,
    )


def ascii_host(host: str) -> str:
    """Return a host name in its ASCII form; raise `UrlFailed` where it has none."""
    try:
        name = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        name = ""
    if not _HOST.fullmatch(name):  # it goes into requests as it is
        raise UrlFailed(None, "the URL's host is not a valid name or address")
    return name


def basic(user: str, password: str) -> str:
    """Return the value of a basic ``Authorization`` or ``Proxy-Authorization`` header (RFC 7617, UTF-8)."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode("ascii")


def _resource(parts: SplitResult) -> str:
    path = quote(parts.path or "/", safe=_SAFE)
    return f"{path}?{quote(parts.query, safe=_SAFE)}" if parts.query else path


def _authorization(parts: SplitResult) -> str | None:
    if parts.username is None:
        return None
    return basic(unquote(parts.username), unquote(parts.password or ""))
