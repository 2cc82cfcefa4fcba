"""Dead letters as Dramatiq leaves them in Redis."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import redis

TRACEBACK = """Traceback (most recent call last):
  File "/app/actors.py", line 7, in handle
    raise error
{error}
"""


def dead_message(number: int, queue: str = "trades", *, error: str = "ValueError: no", **parts: Any) -> dict[str, Any]:
    """Return a message of the feed ``trades`` that was tried three times."""
    name = f"dead-{number:06d}"
    options = {
        "redis_message_id": name,
        "frame": {"feed": "trades", "seq": number, "received_us": 1_790_000_000_000_000 + number},
        "retries": 3,
        "traceback": TRACEBACK.format(error=error),
        "requeue_timestamp": 1_790_000_000_000,
        **parts.pop("options", {}),
    }
    return {
        "queue_name": queue,
        "actor_name": "handle",
        "args": [f"payload {number}"],
        "kwargs": {},
        "options": options,
        "message_id": f"message-{number}",
        "message_timestamp": 1_790_000_000_000,
        **parts,
    }


def bury(client: redis.Redis, messages: Iterable[tuple[float, dict[str, Any]]], namespace: str = "dramatiq") -> None:
    """Put messages among the dead letters of their queues, each with its time of death (seconds)."""
    pipe = client.pipeline(transaction=False)
    for at, message in messages:
        key, name = f"{namespace}:{message['queue_name']}.XQ", message["options"]["redis_message_id"]
        pipe.zadd(key, {name: int(at * 1000)})
        pipe.hset(f"{key}.msgs", name, json.dumps(message, separators=(",", ":")))
        if len(pipe) >= 5000:
            pipe.execute()
    pipe.execute()


def waiting(client: redis.Redis, queue: str = "trades", namespace: str = "dramatiq") -> list[dict[str, Any]]:
    """Return the messages that wait in a queue, in order; each must lie under the id that it says it has."""
    ids = client.lrange(f"{namespace}:{queue}", 0, -1)
    found = [json.loads(data) for data in client.hmget(f"{namespace}:{queue}.msgs", ids)] if ids else []
    assert [message["options"]["redis_message_id"].encode() for message in found] == ids
    assert client.hlen(f"{namespace}:{queue}.msgs") == len(ids)
    return found
