"""Makes every Redis client and connection of this project, and gives the library's exceptions our own names.

The rule: nothing made here ever sends a command twice (redis-py would, by itself), every step has a time-out, and no text that
leaves this module holds a password.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

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

#: Redis 6.2 wraps what a command inside a script said: "ERR Error running script (…): @user_script: 9: -OOM command …".
_IN_SCRIPT = re.compile(r"@user_script: ?\d+: -([A-Z]+ .*)")

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
    ``ValueError`` if the URL is none; its text repeats nothing of it.
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
        raise ValueError("the Redis URL must be redis://host:port/db, rediss://… or unix:///path, percent-encoded") from None
    # Once more, because what the URL's query says has won.
    pool.connection_kwargs = {**_portable(pool.connection_kwargs), **_never_again()}
    return redis.Redis(connection_pool=pool)


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
    text = str(error)[:_LONGEST_DETAIL]
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
    said = (inner.group(1) if inner else text)[:_LONGEST_DETAIL].rstrip()
    if said.removeprefix("ERR ").startswith("ACL failure in script"):  # under the code of all and nothing
        return BrokerRefused("NOPERM", said.removeprefix("ERR "))
    code, _, detail = said.partition(" ")
    return BrokerRefused(code, detail) if code.isupper() else BrokerRefused("ERR", said)
