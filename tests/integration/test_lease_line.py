"""What a line makes of lease.lua on a real server: it renews, takes again, and is fenced."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from ingest.broker.broker import RateLimitedBroker
from ingest.broker.lease import Held, Leases
from ingest.broker.line import Joined, Line
from tests.support.delivery import made_broker, payloads
from tests.support.leases import KEY, KEYS, TERMS, held, let_the_lease_end, take
from tests.support.lines import Caller
from tests.support.redis_server import Valkey, on_every_server

pytestmark = on_every_server


@pytest.fixture
def client(shared_valkey: Valkey) -> redis.Redis:
    return shared_valkey.client()


@pytest.fixture
def leases(client: redis.Redis) -> Leases:
    return Leases(client, KEYS, "", 60.0)


@pytest.fixture
def broker(shared_valkey: Valkey) -> Iterator[RateLimitedBroker]:
    with made_broker(shared_valkey.url) as made:
        yield made


class TestLine:
    def line(self, broker: RateLimitedBroker) -> Line:
        return broker.line("trades", "", TERMS)

    def test_a_join_renews_the_lease(self, broker: RateLimitedBroker, client: redis.Redis, leases: Leases) -> None:
        take(leases, "a")
        let_the_lease_end(client)
        line = self.line(broker)
        assert line.join("a", None, "a") == Joined(0, epoch=1)
        assert int(held(client)["until"]) > 1
        line.close()

    def test_after_a_flush_it_is_taken_again_and_the_forgetting_is_not_hidden(
        self, broker: RateLimitedBroker, client: redis.Redis, leases: Leases
    ) -> None:
        take(leases, "a")
        client.flushall()
        line = self.line(broker)
        assert line.join("a", None, "a") == Joined(None)
        assert line.join("a", None, "a") == Joined(None), "also when the reply was lost"
        assert (held(client)["leader"], held(client)["what"]) == ("a", "url")
        assert line.join("a", 9, "a") == Joined(9, epoch=1)
        assert client.ttl(KEY) == -1
        line.close()

    def test_where_another_leads_it_is_fenced_and_nothing_is_attached(
        self, broker: RateLimitedBroker, client: redis.Redis, leases: Leases
    ) -> None:
        take(leases, "b")
        before = held(client)
        line = self.line(broker)
        assert line.join("a", 9, "a") == Joined(None, fenced=True)
        assert held(client) == before
        assert line.join("a", 9) == Joined(9, epoch=1), "late messages need no lease"
        line.close()

    def test_a_call_is_admitted_only_while_its_leader_leads(
        self, broker: RateLimitedBroker, client: redis.Redis, leases: Leases
    ) -> None:
        caller = Caller(broker)
        take(leases, caller.producer)
        caller.line.join(caller.producer, None, caller.producer)
        statuses = []
        for first in (1, 3):
            caller.line.enqueue_batch(caller.producer, first - 1, first + 1, caller.entries(first, first + 1), caller.producer)
            statuses.append(caller.receive().status)
            take(leases, "another", Held(caller.producer, held(client)["beat"]))
        assert statuses == ["ok", "fenced"]
        assert payloads(client) == [1, 2]
        assert caller.call(2, caller.entries(3, 4)).status == "ok", "as late messages"
        assert payloads(client) == [1, 2, 3, 4]
        caller.line.close()
