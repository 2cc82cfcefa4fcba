"""Makes every Redis client and connection of this project, and gives the library's exceptions our own names.

The rule: nothing made here ever sends a command twice (redis-py would, by itself), every step has a time-out, and no text that
leaves this module holds a password.
"""

from __future__ import annotations

import fcntl
import re
import socket
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection
from redis.retry import Retry

from ingest.errors import BrokerAuthFailed, BrokerError, BrokerRefused, BrokerTimedOut, BrokerTooOld, BrokerUnreachable

#: Seconds until a connection must stand, and until a command must be answered.
CONNECT_TIMEOUT = 5.0
SOCKET_TIMEOUT = 5.0

OLDEST_VERSION = (6, 2)

_LONGEST_DETAIL = 200

#: Redis 6.2 wraps what a command inside a script said: "ERR Error running script (…): @user_script: 9: -OOM command …", or
#: "… @user_script:9: WRONGTYPE Operation …".
_IN_SCRIPT = re.compile(r"@user_script: ?\d+: -?([A-Z]+ .*)")

#: What a server says where an ACL keeps a script from a command or a key, under the code of all and nothing: up to Redis 7.0
#: "ERR The user executing the script can't …" (6.2 with "@user_script: 9:" before it), later "ERR ACL failure in script: …".
_KEPT_BY_ACL = re.compile(r"(?:ACL failure in script|The user executing the script can't).*")

#: What the library puts before an error of one command of a pipeline: the command itself, which may be anybody's data.
_IN_PIPELINE = re.compile(r"Command # \d+ \(.*\) of pipeline caused error: ", re.DOTALL)

#: Options of redis-py 8 for connections that may be moved to another server; with RESP 2 it refuses them.
_RESP3_ONLY = ("maint", "orig_", "oss_cluster")

#: The library drops the first word of these errors; the publisher decides by it.
_CODES: tuple[tuple[type[Exception], str], ...] = (
    (redis.exceptions.NoScriptError, "NOSCRIPT"),
    (redis.exceptions.OutOfMemoryError, "OOM"),
    (redis.exceptions.ReadOnlyError, "READONLY"),
    (redis.exceptions.BusyLoadingError, "LOADING"),
    (redis.exceptions.NoPermissionError, "NOPERM"),
    (redis.exceptions.MasterDownError, "MASTERDOWN"),
    (redis.exceptions.ClusterDownError, "CLUSTERDOWN"),
    (redis.exceptions.TryAgainError, "TRYAGAIN"),
)


@dataclass(frozen=True, slots=True)
class Server:
    """What answered: ``name`` is "Redis" or "Valkey"; ``maxmemory`` is in bytes, 0 without a limit."""

    name: str
    version: str
    maxmemory: int
    maxmemory_policy: str


class UnusableURL(ValueError):
    """A URL of Redis that no connection can be made of; the text says why, and repeats nothing secret."""


def make_client(
    url: str,
    *,
    verify: bool = True,
    ca_file: str | None = None,
    max_connections: int = 4,
    connect_timeout: float = CONNECT_TIMEOUT,
    socket_timeout: float = SOCKET_TIMEOUT,
) -> redis.Redis:
    """Return a client for a ``redis://``, ``rediss://`` or ``unix://`` URL; connects to nothing yet.

    At most ``max_connections`` are open at once; who needs one more waits for it, at most ``socket_timeout`` seconds.
    `UnusableURL` if the URL is none, or has arguments that no connection takes; its text repeats nothing of it but their names.
    """
    tls: dict[str, Any] = {}
    if url.startswith("rediss://") and not verify:
        tls = {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
    elif url.startswith("rediss://") and ca_file:
        tls = {"ssl_ca_certs": ca_file}
    try:
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=max_connections,
            timeout=socket_timeout,
            socket_connect_timeout=connect_timeout,
            socket_timeout=socket_timeout,
            **{**tls, **_never_again()},
        )
    except ValueError:
        # The library's text may quote the part of a password that it took for the port.
        raise UnusableURL(_unusable(url)) from None
    # Once more, because what the URL's query says has won.
    pool.connection_kwargs = {**_portable(pool.connection_kwargs), **_never_again()}
    _check_arguments(url, pool)
    return redis.Redis(connection_pool=pool)


def _check_arguments(url: str, pool: redis.ConnectionPool) -> None:
    """Raise `UnusableURL` where no connection can be made of the URL's query; the library would say so at the first command."""
    names = sorted(parse_qs(urlsplit(url).query))
    tls = [name for name in names if name.startswith("ssl_")]
    if tls and not url.startswith("rediss://"):
        raise UnusableURL(f"the Redis URL asks for {', '.join(tls)}, but not for TLS: write rediss://, or remove it")
    try:
        pool.connection_class(**pool.connection_kwargs)
    except (TypeError, ValueError, redis.RedisError):
        raise UnusableURL(_unusable(url)) from None


def _unusable(url: str) -> str:
    """Say what may be wrong with a URL that redis-py refuses, repeating nothing of it but the names of its arguments."""
    names = sorted(parse_qs(url.partition("?")[2], keep_blank_values=True))
    if names:
        return f"the Redis URL has an argument that redis-py does not take, of: {', '.join(names)}"
    return "the Redis URL must be redis://host:6379/0, rediss:// or unix:///path, percent-encoded"


def dedicated_connection(client: redis.Redis) -> AbstractConnection:
    """Return a connection of its own, outside the client's pool, to where the client connects; not yet connected."""
    pool = client.connection_pool
    options = _portable(pool.connection_kwargs)
    options.setdefault("socket_connect_timeout", CONNECT_TIMEOUT)
    options["socket_timeout"] = options.get("socket_timeout") or SOCKET_TIMEOUT
    options["decode_responses"] = False
    options["health_check_interval"] = 0
    return cast(AbstractConnection, pool.connection_class(**{**options, **_never_again()}))


def descriptor(connection: AbstractConnection) -> int:
    """Return the file descriptor of a connection that stands, to wait on it together with others."""
    sock = cast("socket.socket | None", vars(connection).get("_sock"))  # redis-py has no public name for it
    if sock is None:
        raise redis.ConnectionError("there is no socket to wait on")
    return sock.fileno()


def unsent(connection: object) -> int:
    """Return how many bytes of what was sent the other end has not yet got; 0 where the system does not tell."""
    sock = cast("socket.socket | None", vars(connection).get("_sock"))
    if sock is None:
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0


def _portable(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if not name.startswith(_RESP3_ONLY)}


def _never_again() -> dict[str, Any]:
    # RESP 2 because its replies are the same on every server that we support.
    return {"retry": Retry(NoBackoff(), 0), "retry_on_timeout": False, "retry_on_error": [], "protocol": 2}


def check_server(client: redis.Redis) -> Server:
    """Connect, and return what answered; a `BrokerError` says what is wrong in words for the user."""
    with translated():
        info = client.info("server") | client.info("memory")
    version = str(info.get("redis_version", "0"))
    server = Server(
        name="Valkey" if "valkey_version" in info else "Redis",
        version=str(info.get("valkey_version", version)),
        maxmemory=int(info.get("maxmemory", 0)),
        maxmemory_policy=str(info.get("maxmemory_policy", "noeviction")),
    )
    if _numbers(version) < OLDEST_VERSION:  # Valkey tells here which Redis it equals
        raise BrokerTooOld(version, ".".join(map(str, OLDEST_VERSION)))
    return server


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def public_url(url: str) -> str:
    """Return a Redis URL without user, password and query, for logs and errors."""
    try:
        parts = urlsplit(url)
        where = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "redis://…"
    return f"{parts.scheme}://{where}{port}{parts.path}"


@contextmanager
def translated() -> Iterator[None]:
    """Raise our `BrokerError` in place of whatever the library raises inside."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise translate(error) from error


def translate(error: Exception) -> BrokerError:
    """Return the `BrokerError` that says the same."""
    text = _IN_PIPELINE.sub("", str(error), count=1)[:_LONGEST_DETAIL]
    if isinstance(error, redis.TimeoutError):
        return BrokerTimedOut(text)
    if isinstance(error, redis.AuthenticationError):
        # The library drops the first word here too; "Authentication required." is all that is left of NOAUTH.
        return BrokerAuthFailed("NOAUTH" if "required" in text.lower() or text.startswith("NOAUTH") else "WRONGPASS", "")
    for kind, code in _CODES:
        if isinstance(error, kind):
            return BrokerRefused(code, text)
    if isinstance(error, redis.ResponseError):
        return refusal(text)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        text += " (give the CA that signed it as tls.ca_file, or set tls.verify = false)"
    return BrokerUnreachable(text)


def library_error(detail: str) -> redis.ResponseError:
    """Return what the library would raise for an error that a script told as text: the way back of `translate`."""
    refused = refusal(detail)
    for kind, code in _CODES:
        if code == refused.code:
            return cast(redis.ResponseError, kind(refused.detail))
    return redis.ResponseError(f"{refused.code} {refused.detail}".rstrip())


def refusal(text: str) -> BrokerRefused:
    """Return the error that Redis sent as ``text``, its first word being the code."""
    inner = _IN_SCRIPT.search(text)
    said = (inner.group(1) if inner else text).strip()[:_LONGEST_DETAIL]
    if kept := _KEPT_BY_ACL.search(said):
        return BrokerRefused("NOPERM", kept.group())
    code, _, detail = said.partition(" ")
    return BrokerRefused(code, detail) if code.isupper() else BrokerRefused("ERR", said)
