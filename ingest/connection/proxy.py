"""Which proxy a connection goes through, and the way through it: CONNECT or SOCKS.

The rule: the proxy's credentials are shown to the proxy and to nobody else; `Proxy.shown` is its name in every text.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Protocol, cast
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from python_socks import ProxyError, ProxyType
from python_socks.sync import Proxy as SocksClient

from ingest.connection.http1 import parse_head
from ingest.connection.opening import Opening, OpeningSocket
from ingest.connection.resolve import Family, resolve
from ingest.connection.stream import Stream
from ingest.connection.target import Target, ascii_host, basic
from ingest.connection.tls import secure
from ingest.errors import DialFailed, UrlFailed
from settings.model import FeedSettings, TLSSettings

#: Bound of the answer to CONNECT.
HEAD_BYTES = 64 * 1024

_PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}

#: Per scheme the protocol, and whether the proxy resolves the server's name (as curl has it).
_SOCKS = {
    "socks4": (ProxyType.SOCKS4, False),
    "socks4a": (ProxyType.SOCKS4, True),
    "socks5": (ProxyType.SOCKS5, False),
    "socks5h": (ProxyType.SOCKS5, True),
}


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy's URL, taken apart."""

    scheme: str
    host: str
    port: int
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """The proxy without its credentials."""
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def choose_proxy(feed: FeedSettings, target: Target) -> Proxy | None:
    """Return the feed's proxy: none unless it names one, or says ``"environment"``."""
    setting = feed.proxy.get_secret_value() if feed.proxy is not None else ""
    return _from_environment(target) if setting == "environment" else parse_proxy(setting) if setting else None


def _from_environment(target: Target) -> Proxy | None:
    """Return what ``https_proxy``, ``http_proxy``, ``all_proxy`` and ``no_proxy`` say, upper or lower case."""
    proxies = getproxies_environment()
    url = proxies.get("https" if target.secure else "http") or proxies.get("all")
    if not url or proxy_bypass(target.address):
        return None
    return parse_proxy(url if "://" in url else f"http://{url}")


def parse_proxy(url: str) -> Proxy:
    """Take a proxy's URL apart; raise `DialFailed` where it is none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        if parts.scheme not in _PORTS:
            raise DialFailed("proxy", f"a proxy URL must begin with one of {', '.join(f'{scheme}://' for scheme in _PORTS)}")
        if not host:
            raise DialFailed("proxy", "the proxy URL has no host")
        username = None if parts.username is None else unquote(parts.username)
        password = None if parts.password is None else unquote(parts.password)
        proxy = Proxy(parts.scheme, ascii_host(host), port or _PORTS[parts.scheme], username, password)
    except (ValueError, UrlFailed):
        raise DialFailed("proxy", "the proxy URL has an invalid host or port") from None
    if proxy.scheme in _SOCKS and not all(_fits_socks(part) for part in (username, password) if part is not None):
        raise DialFailed("proxy", f"{proxy.shown}: SOCKS takes a user and password of at most 255 ASCII characters")
    return proxy


def _fits_socks(credential: str) -> bool:
    return credential.isascii() and len(credential) <= 255 and "\0" not in credential


def pass_through(proxy: Proxy, stream: Stream, target: Target, feed: FeedSettings, opening: Opening) -> Stream:
    """Return a stream to the target, by way of the proxy at the other end of ``stream``."""
    if proxy.scheme == "https":
        stream = secure(stream, _for_proxy(feed.tls), proxy.host, opening)
    if proxy.scheme in _SOCKS:
        _socks(proxy, stream, target, feed.socket.family, opening)
    else:
        opening.step = "proxy"
        _tunnel(proxy, OpeningSocket(stream, opening), target)
    return stream


def _for_proxy(settings: TLSSettings) -> TLSSettings:
    """Return the same trust, without what is meant for the server: our certificate, and its name."""
    server_only = {"client_cert": None, "client_key": None, "client_key_password": None, "server_hostname": None}
    return settings.model_copy(update=server_only)


def _tunnel(proxy: Proxy, sock: OpeningSocket, target: Target) -> None:
    """Ask an HTTP proxy for a tunnel (RFC 9110, 9.3.6)."""
    lines = [f"CONNECT {target.address} HTTP/1.1", f"Host: {target.address}"]
    if proxy.username is not None:
        lines.append(f"Proxy-Authorization: {basic(proxy.username, proxy.password or '')}")
    sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
    try:
        status = parse_head(sock.read_head(HEAD_BYTES)).status
    except ValueError as error:
        raise DialFailed("proxy", f"{proxy.shown} sent {error}") from error
    if not 200 <= status < 300:
        raise DialFailed("proxy", f"{proxy.shown} answered CONNECT with status {status}")
    if sock.leftover():  # the server speaks only when spoken to, so this is not the server
        raise DialFailed("proxy", f"{proxy.shown} sent more than its answer to CONNECT")


class _Connects(Protocol):
    def connect(self, dest_host: str, dest_port: int, timeout: float) -> socket.socket: ...


class _Connected:
    """What python-socks calls the proxy before the proxy: it has our connected socket already."""

    def __init__(self, sock: OpeningSocket) -> None:
        self._sock = sock

    def connect(self, dest_host: str, dest_port: int, timeout: float) -> socket.socket:
        return cast(socket.socket, self._sock)  # of a socket python-socks uses recv, sendall and close


def _socks(proxy: Proxy, stream: Stream, target: Target, family: Family, opening: Opening) -> None:
    """Have a SOCKS proxy connect to the target; names that it does not resolve are resolved under our own deadline."""
    protocol, resolves = _SOCKS[proxy.scheme]
    host = target.host
    if not resolves:
        _, (address, *_) = resolve(host, target.port, "ipv4" if protocol is ProxyType.SOCKS4 else family, opening)[0]
        host = str(address)
    opening.step = "proxy"
    before: _Connects = _Connected(OpeningSocket(stream, opening))
    client = SocksClient(
        protocol, proxy.host, proxy.port, proxy.username, proxy.password, rdns=True, forward=cast(SocksClient, before)
    )
    try:
        client.connect(host, target.port)
    except ProxyError as error:
        raise DialFailed("proxy", f"{proxy.shown}: {error}") from error
    except ValueError as error:  # an answer that cannot be decoded, or a name that cannot be encoded
        raise DialFailed("proxy", f"{proxy.shown}: not a valid SOCKS exchange") from error
