"""Why Redis takes no writes, although it answers: full, a replica, or kept from its own disk.

The rule: asks the server alone, reads only; where it does not let us ask, that is said, and nothing else.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, cast

import redis

from ingest.broker.clients import translated

#: Bytes below its limit at which a server counts as full: what it refused, a snapshot mostly, it holds no more when we ask.
MARGIN = 128 * 1024

Cause = Literal["full", "replica", "disk", "unknown"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """What keeps Redis from taking writes: the ``cause``, and in ``detail`` what the server says of it.

    "unknown": we may not ask, so whether it takes writes is not known.
    """

    cause: Cause
    detail: str


def find_refusal(client: redis.Redis) -> Refusal | None:
    """Return why the server takes no writes, None if it seems to take them; one round trip mostly.

    Raises `ingest.errors.BrokerError` where it does not answer.
    """
    with translated():
        try:
            info = client.info()
        except redis.ResponseError:  # NOPERM: INFO is not in @read
            return Refusal("unknown", "this user may not ask (INFO)")
    if info.get("role") == "slave":
        return Refusal("replica", _link(info))
    if _is_full(info):
        policy = info.get("maxmemory_policy", "noeviction")
        detail = f"{_mib(info['used_memory'])} used of maxmemory {_mib(info['maxmemory'])}, maxmemory-policy {policy}"
        return Refusal("full", detail)
    if info.get("aof_enabled") == 1 and info.get("aof_last_write_status", "ok") != "ok":
        return Refusal("disk", "the last write of its append-only file failed")
    if info.get("rdb_last_bgsave_status", "ok") != "ok" and _stops_writes(client):
        return Refusal("disk", "its last snapshot (bgsave) failed")
    return None


def _is_full(info: dict[str, Any]) -> bool:
    """Tell whether the limit is reached, and nothing is given up for what comes."""
    limit = int(info.get("maxmemory", 0))
    if not limit or str(info.get("maxmemory_policy", "noeviction")).startswith("allkeys"):
        return False
    counted = int(info.get("used_memory", 0)) - int(info.get("mem_not_counted_for_evict", 0))
    return counted >= limit - min(MARGIN, limit // 10)


def _stops_writes(client: redis.Redis) -> bool:
    """Tell whether a snapshot that failed stops writes: the default, and only where snapshots are configured."""
    for option, value in (("stop-writes-on-bgsave-error", "no"), ("save", "")):
        with translated(), suppress(redis.ResponseError):  # NOPERM, or CONFIG is renamed: then by the default
            if cast("dict[str, str]", client.config_get(option)).get(option) == value:
                return False
    return True


def _link(info: dict[str, Any]) -> str:
    primary = f"{info.get('master_host', '?')}:{info.get('master_port', '?')}"
    state = "" if info.get("master_link_status") == "up" else ", which it does not reach"
    return f"it is a replica of {primary}{state}"


def _mib(size: object) -> str:
    return f"{int(str(size)) / (1 << 20):,.1f} MiB"
