"""The types of URLs: a feed's, a proxy's and that of Redis.

The rule: no refusal shows more of a URL than its scheme, as any part of it may be a secret.
"""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from settings.fields import refuse

PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")


def _check_authority(url: str, what: str) -> None:
    """Refuse what no host and port can be read from; never shows the URL, as it may hold a secret."""
    if re.search(r"[\x00-\x1f\x7f]", url) or url != url.strip():
        raise refuse(f"{what} contains a control character, or begins or ends with a space")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError as error:
        raise refuse(f"{what} has no valid host and port") from error
    if not host or " " in host:
        raise refuse(f"{what} has no host" if not host else f"{what} has a space in its host")
    if port == 0:
        raise refuse(f"{what} has port 0")


def _scheme(url: str) -> str:
    """Return what may be shown of a URL's beginning: its scheme, if it has one."""
    found = re.match(r"\s*([A-Za-z][A-Za-z0-9+.-]{0,20})://", url)
    return found.group(1).lower() if found else ""


def websocket_url(value: str) -> str:
    """Check a feed's URL: ``ws`` or ``wss``, a host, no fragment."""
    scheme = _scheme(value)
    if scheme in {"http", "https"}:
        secure = "wss" if scheme == "https" else "ws"
        raise refuse(f"a WebSocket URL starts with ws:// or wss://, not {scheme}://; did you mean {secure}://?")
    if scheme not in {"ws", "wss"}:
        raise refuse("must start with ws:// or wss://")
    _check_authority(value, "the URL")
    if "#" in value:
        raise refuse("a WebSocket URL has no fragment (RFC 6455, 3): write %23 for a '#' that belongs to it")
    return value


def _proxy(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    if url == "environment":
        return value
    if _scheme(url) not in PROXY_SCHEMES:
        raise refuse(f'must be "environment" or start with {", ".join(f"{scheme}://" for scheme in PROXY_SCHEMES)}')
    _check_authority(url, "the proxy's URL")
    return value


def _redis_url(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    scheme = _scheme(url)
    if scheme == "unix":
        return value
    if scheme not in {"redis", "rediss"}:
        raise refuse("must start with redis://, rediss:// or unix://")
    _check_authority(url, "the URL")
    if not re.fullmatch(r"/?|/\d+", urlsplit(url).path):
        raise refuse("the URL's path must be the number of a database (redis://host:6379/0)")
    return value


WebSocketURL = Annotated[str, Field(json_schema_extra={"pattern": "^wss?://"}), AfterValidator(websocket_url)]
ProxyURL = Annotated[SecretStr, AfterValidator(_proxy)]
RedisURL = Annotated[SecretStr, AfterValidator(_redis_url)]
