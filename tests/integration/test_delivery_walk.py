"""Random walks: whatever network, Redis and processes do, the promises hold; and each protection, removed, is missed.

``WALKS=5000`` walks further than the suite does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ingest.broker import lease, line
from ingest.broker.broker import RateLimitedBroker
from ingest.broker.scripts import ENQUEUE, LEASE, Script
from ingest.delivery.backlog import Backlog
from ingest.delivery.batch_intake import BatchIntake
from ingest.delivery.chain import Chain
from ingest.delivery.core import PublisherCore
from ingest.delivery.entry import Entry
from ingest.delivery.lineage import Lineage
from ingest.delivery.steps import Action, Join
from ingest.delivery.store import Store
from ingest.delivery.tiers import Tiers
from ingest.service.claim import Claim
from tests.support import simulated_network
from tests.support.delivery import made_broker
from tests.support.redis_server import Valkey
from tests.support.walk import Walk

WALKS = int(os.environ.get("WALKS", "40"))
STEPS = 250

#: How many walks may pass before a removed protection must have been missed.
PATIENCE = 600

#: Seconds: a walk is hundreds of round trips, and on a machine with others each of them waits for its turn.
pytestmark = pytest.mark.timeout(600 + 4 * WALKS)

Seeds = Callable[..., Walk]


@pytest.fixture
def broker(shared_valkey: Valkey) -> Iterator[RateLimitedBroker]:
    with made_broker(shared_valkey.url) as made:
        yield made


@pytest.fixture
def walked(broker: RateLimitedBroker, shared_valkey: Valkey, tmp_path: Path) -> Seeds:
    """Walks with a seed, whether Redis forgets, and whether in batches; checks the promises, and returns the walk."""
    folders = count()

    def walk(seed: int, forgets: bool, batches: bool = False) -> Walk:
        client = shared_valkey.client()
        client.flushall()
        folder = tmp_path / str(next(folders))
        folder.mkdir()
        walk = Walk(broker, client, Random(seed), folder, forgets=forgets, batches=batches)
        try:
            walk.run(STEPS)
            walk.check()
        finally:
            walk.close()
            shared_valkey.close_clients()
        return walk

    return walk


def test_every_message_arrives_once_and_in_order_or_is_given_up_by_name(walked: Seeds) -> None:
    walks = [walked(seed, False) for seed in range(WALKS)]
    assert sum(node.publisher.retries for walk in walks for node in walk.nodes) > WALKS, "the network was too kind"
    assert any(walk.dropped for walk in walks)
    assert any(late for walk in walks for got in walk.consumed.values() for _, late in got), "nothing ever came late"
    assert sum(len(got) for walk in walks for got in walk.consumed.values()) > 10 * WALKS


def test_what_a_redis_forgets_is_told_and_nothing_else_is_lost(walked: Seeds) -> None:
    walks = [walked(1_000_000 + seed, True) for seed in range(WALKS)]
    assert any(walk.flushed for walk in walks), "no flush ever met a message"


def test_payloads_that_share_messages_arrive_once_and_in_order_too_however_each_process_cuts_them(walked: Seeds) -> None:
    walks = [walked(3_000_000 + seed, False, batches=True) for seed in range(WALKS)]
    enqueued, messages = (sum(getattr(node.publisher, what) for walk in walks for node in walk.nodes) for what in _COUNTS)
    assert enqueued > 1.3 * messages > 0, "hardly anything was shared"
    assert any(walk.dropped for walk in walks)


def test_what_a_redis_forgets_of_messages_with_several_payloads_is_told_too(walked: Seeds) -> None:
    walks = [walked(4_000_000 + seed, True, batches=True) for seed in range(WALKS)]
    assert any(walk.flushed for walk in walks), "no flush ever met a message"


_COUNTS = ("enqueued", "messages")


def _missed(walked: Seeds, *, forgets: bool = False, batches: bool = False) -> None:
    """Walk until a promise is broken; fail if none is."""
    for seed in range(PATIENCE):
        try:
            walked(2_000_000 + seed, forgets, batches)
        except Exception:  # a broken promise, or the wreck of our own machinery: both are noticed
            return
    pytest.fail(f"nothing noticed within {PATIENCE} walks")


SCRIPTS = {
    "the position is not compared": (ENQUEUE, "if held[2] ~= prefix .. prev then", "if false then"),
    "a call cut short counts as complete": (
        ENQUEUE,
        'if status ~= "ok" then\n  position = prev',
        "if false then\n  position = prev",
    ),
    "the position stays": (ENQUEUE, 'redis.call("HSET", feed, field, prefix .. position)', ""),
    "room is not asked for": (ENQUEUE, "if high > 0 then", "if false then"),
    "the leader is not compared": (ENQUEUE, 'if leader ~= "" and held[1] ~= leader then', "if false then"),
    "an old call is not void": (LEASE, 'local prefix = (held[1] or "0") .. ":" .. nonce .. ":"', 'local prefix = "0::"'),
    "a feed is asked for with the arguments of another": (LEASE, "first + count * (number - 1)", "first"),
    "who led before is not told": (LEASE, '      before = last or ""', '      before = ""'),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_protection_of_a_script_that_is_removed_is_missed(walked: Seeds, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    script, original, mutant = SCRIPTS[name]
    assert original in script.source
    mutated = Script.of(script.source.replace(original, mutant))
    for module in (line, lease, simulated_network):
        attribute = "ENQUEUE" if script is ENQUEUE else "LEASE"
        if hasattr(module, attribute):
            monkeypatch.setattr(module, attribute, mutated)
    _missed(walked)


def _without_rewind(patch: pytest.MonkeyPatch) -> None:
    joined = PublisherCore.joined
    patch.setattr(PublisherCore, "joined", lambda self, found, now: joined(self, found, now)._replace(rewind=False))


def _nothing_is_late(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Lineage, "make_late", lambda self, but_for=None: None)


def _what_waited_elsewhere_is_in_time(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Store, "is_continued_by", lambda self, producer, leader: True)


def _memory_overtakes_the_disk(patch: pytest.MonkeyPatch) -> None:
    keep = Tiers._keep

    def overtake(self: Tiers, chain: Chain, entries: Sequence[Entry], store: Store) -> None:
        if chain.unread and self._memory_has_place():
            chain.waiting.extend(entries)
            self._count_in(entries)
        else:
            keep(self, chain, entries, store)

    patch.setattr(Tiers, "_keep", overtake)


def _what_was_sent_is_dropped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Chain, "sent_to", property(lambda self: self.confirmed))
    drop_oldest = Chain.drop_oldest

    def drop(self: Chain, messages: int, size: int) -> list[object]:
        self.rewind()
        return drop_oldest(self, messages, size)

    patch.setattr(Chain, "drop_oldest", drop)


def _a_stop_saves_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Tiers, "save", lambda self, chain: 0)


def _what_is_confirmed_stays_unknown_to_the_disk(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Tiers, "discard", lambda self, chain, reason: chain.waiting.clear() or chain.tail.clear() or 0)


def _the_disk_keeps_what_a_producer_that_takes_leave_has_sent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(simulated_network.Network, "deadly", 0.5)
    patch.setattr(simulated_network.Network, "deadly_at", b"$4\r\ndone\r\n")
    patch.setattr(Backlog, "clear", lambda self, chain: True)


def _drops_are_not_told(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("tests.support.simulated_node.ExactLosses.end", lambda self: None)


MACHINERY = {
    "what was under way is not sent again": _without_rewind,
    "nothing is late": _nothing_is_late,
    "what waited in another's spool counts as in time": _what_waited_elsewhere_is_in_time,
    "memory overtakes the disk": _memory_overtakes_the_disk,
    "what was sent is dropped": _what_was_sent_is_dropped,
    "a stop saves nothing": _a_stop_saves_nothing,
    "what is late is given up in silence": _what_is_confirmed_stays_unknown_to_the_disk,
    "the disk keeps what a producer that takes leave has sent": _the_disk_keeps_what_a_producer_that_takes_leave_has_sent,
    "drops are not told": _drops_are_not_told,
}


@pytest.mark.parametrize("name", MACHINERY)
def test_a_protection_of_ours_that_is_removed_is_missed(walked: Seeds, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    MACHINERY[name](monkeypatch)
    _missed(walked)


def test_a_join_that_always_begins_anew_hides_what_was_forgotten(walked: Seeds, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = PublisherCore.next

    def begin_anew(self: PublisherCore, now: float, has_messages: bool) -> Action:
        action = ask(self, now, has_messages)
        return Join(self._confirmed) if action == Join(None) else action

    monkeypatch.setattr(PublisherCore, "next", begin_anew)
    monkeypatch.setattr(Claim, "_tell_forgotten", lambda self: None)
    _missed(walked, forgets=True)


@pytest.mark.parametrize("when", ["enter", "close"])
def test_what_is_gathered_and_forgotten_is_missed(walked: Seeds, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    original = getattr(BatchIntake, when)

    def forgetful(self: BatchIntake, *arguments: Any) -> None:
        if self._cutter is not None:
            self._cutter.open = None
        original(self, *arguments)

    monkeypatch.setattr(BatchIntake, when, forgetful)
    _missed(walked, batches=True)
