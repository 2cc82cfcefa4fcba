"""Random walks: whatever the network does, exactly once and in order; and each protection, removed, is missed.

``WALKS=5000`` walks further than the suite does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random

import pytest

from ingest.broker import line
from ingest.broker.broker import RateLimitedBroker
from ingest.broker.scripts import ENQUEUE, Script
from ingest.delivery.core import PublisherCore
from ingest.delivery.steps import Action, Join
from tests.support.delivery import made_broker
from tests.support.redis_server import Valkey
from tests.support.walk import Walk

WALKS = int(os.environ.get("WALKS", "60"))
STEPS = 80


@pytest.fixture
def broker(shared_valkey: Valkey) -> Iterator[RateLimitedBroker]:
    with made_broker(shared_valkey.url) as made:
        yield made


def walk(broker: RateLimitedBroker, valkey: Valkey, seed: int, *, flush: bool = False) -> Walk:
    client = valkey.client()
    client.flushall()
    walk = Walk(broker, client, Random(seed))
    try:
        walk.run(STEPS, flush=flush)
    finally:
        walk.network.close()
        valkey.close_clients()
    return walk


def walk_without_flushes(broker: RateLimitedBroker, valkey: Valkey) -> int:
    """Walk, and return how often something had to be tried again."""
    retries = 0
    for seed in range(WALKS):
        done = walk(broker, valkey, seed)
        done.assert_exactly_once_in_order()
        retries += done.publisher.retries
    return retries


def walk_with_flushes(broker: RateLimitedBroker, valkey: Valkey) -> int:
    """Walk, and return how many messages were flushed away."""
    flushed = 0
    for seed in range(WALKS):
        done = walk(broker, valkey, 1_000_000 + seed, flush=True)
        done.assert_honest_about_what_was_forgotten()
        flushed += len(done.flushed)
    return flushed


def test_every_message_arrives_exactly_once_and_in_order(broker: RateLimitedBroker, shared_valkey: Valkey) -> None:
    assert walk_without_flushes(broker, shared_valkey) > WALKS, "the network was too kind to prove anything"


def test_what_a_redis_forgets_is_told_and_nothing_else_is_lost(broker: RateLimitedBroker, shared_valkey: Valkey) -> None:
    assert walk_with_flushes(broker, shared_valkey) > 0, "no flush ever met a message"


MUTATIONS = {
    "the position is not compared": ("if held[2] ~= prefix .. prev then", "if false then"),
    "a call cut short counts as complete": ('if status ~= "ok" then\n  position = prev', "if false then\n  position = prev"),
    "the position stays": ('redis.call("HSET", feed, field, prefix .. position)', ""),
    "room is not asked for": ("if high > 0 then", "if false then"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_protection_that_is_removed_is_missed(
    broker: RateLimitedBroker, shared_valkey: Valkey, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    original, mutant = MUTATIONS[name]
    assert original in ENQUEUE.source
    monkeypatch.setattr(line, "ENQUEUE", Script.of(ENQUEUE.source.replace(original, mutant)))
    with pytest.raises(AssertionError):
        walk_without_flushes(broker, shared_valkey)


def test_a_rewind_that_is_left_out_is_missed(
    broker: RateLimitedBroker, shared_valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined = PublisherCore.joined
    monkeypatch.setattr(PublisherCore, "joined", lambda self, position, now: joined(self, position, now)._replace(rewind=False))
    with pytest.raises(AssertionError):
        walk_without_flushes(broker, shared_valkey)


def test_a_join_that_always_begins_anew_hides_what_was_forgotten(
    broker: RateLimitedBroker, shared_valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = PublisherCore.next

    def begin_anew(self: PublisherCore, now: float, has_messages: bool) -> Action:
        action = ask(self, now, has_messages)
        return Join(self._confirmed) if action == Join(None) else action

    monkeypatch.setattr(PublisherCore, "next", begin_anew)
    with pytest.raises(AssertionError):
        walk_with_flushes(broker, shared_valkey)
