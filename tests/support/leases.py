"""The lease of one feed, as Redis holds it and as a test takes it."""

from __future__ import annotations

import redis

from ingest.broker.keys import Keys
from ingest.broker.lease import Answer, Bid, Held, Leases, Terms

KEYS = Keys("dramatiq")
KEY = KEYS.feed("", "trades")
TERMS = Terms(60.0, "url")


def held(client: redis.Redis) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in client.hgetall(KEY).items()}


def take(leases: Leases, producer: str, seen: Held | None = None, terms: Terms = TERMS) -> Answer:
    [answer] = leases.take([Bid("trades", producer, terms, seen)])
    return answer


def let_the_lease_end(client: redis.Redis) -> None:
    client.hset(KEY, "until", "1")
