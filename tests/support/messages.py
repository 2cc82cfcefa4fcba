"""Messages as the supervisor writes them, put into a queue without the supervisor."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

import redis

from settings.wire import FRAME_OPTION, message_id, new_producer


@dataclass(slots=True)
class Producer:
    """One run of one feed that sends to one actor; numbers its messages from 1."""

    client: redis.Redis
    queue: str = "trades"
    actor: str = "handle_trade"
    namespace: str = "dramatiq"
    feed: str = "trades"
    options: dict[str, Any] = field(default_factory=dict)
    producer: str = field(default_factory=new_producer)
    seq: int = 0

    def send(self, payload: Any, *, age: float = 0.0, count: int | None = None) -> str:
        """Enqueue one message whose frame was read ``age`` seconds ago; return its id. ``count``: it is a list of frames."""
        self.seq += 1
        identity = message_id(self.producer, self.seq)
        received_us = time.time_ns() // 1000 - int(age * 1_000_000)
        frame = {"feed": self.feed, "seq": self.seq, "received_us": received_us}
        if count is not None:
            frame["count"] = count
        message = {
            "queue_name": self.queue,
            "actor_name": self.actor,
            "args": [payload],
            "kwargs": {},
            "options": {
                **self.options,
                "redis_message_id": identity,
                FRAME_OPTION: frame,
            },
            "message_id": identity,
            "message_timestamp": received_us // 1000,
        }
        with self.client.pipeline(transaction=True) as pipe:
            pipe.hset(f"{self.namespace}:{self.queue}.msgs", identity, json.dumps(message))
            pipe.rpush(f"{self.namespace}:{self.queue}", identity)
            pipe.execute()
        return identity
