"""Dead letters on a real server: read in order with bounded batches, put back and deleted while others do the same."""

from __future__ import annotations

import threading

import pytest
import redis

from ingest.broker import dead_letters as module
from ingest.broker.dead_letters import DeadLetters, Filter
from ingest.errors import BrokerRefused
from tests.support.dead_letters import bury, dead_message, waiting
from tests.support.redis_server import Valkey
from tests.support.waiting import wait_until

NOW = 1_790_000_000.0


@pytest.fixture
def client(shared_valkey: Valkey) -> redis.Redis:
    return shared_valkey.client()


@pytest.fixture
def dead(client: redis.Redis) -> DeadLetters:
    return DeadLetters(client, "dramatiq")


def ids(numbers: range | list[int]) -> list[str]:
    return [f"dead-{number:06d}" for number in numbers]


def test_scan_yields_the_oldest_first_with_what_they_died_of(client: redis.Redis, dead: DeadLetters) -> None:
    bury(client, [(NOW + 2, dead_message(1, error="shop.Full: no room\nfor 3")), (NOW + 1, dead_message(2))])

    first, second = dead.scan()

    assert (first.id, first.at, first.queue, first.actor) == ("dead-000002", NOW + 1, "trades", "handle")
    assert (second.feed, second.seq, second.retries) == ("trades", 1, 3)
    assert second.cause == "shop.Full: no room"
    assert second.message_id == "message-1"


def test_queues_are_found_by_their_keys_and_only_in_the_namespace(client: redis.Redis, dead: DeadLetters) -> None:
    bury(client, [(NOW, dead_message(1)), (NOW, dead_message(2, "book"))])
    bury(client, [(NOW, dead_message(3, "other"))], "dramatiq2")
    bury(client, [(NOW, dead_message(4, "wild"))], "dram[a]tiq")

    assert dead.queues() == ["book", "trades"]
    assert DeadLetters(client, "dram[a]tiq").queues() == ["wild"]


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (Filter(), [5, 1, 2, 3, 4]),
        (Filter(queue="book"), [5]),
        (Filter(queue="none"), []),
        (Filter(actor="other"), [2]),
        (Filter(feed="book"), [3]),
        (Filter(exception="zerodivision"), [4]),
        (Filter(older_than=900.0), [5, 1]),
        (Filter(newer_than=900.0), [2, 3, 4]),
        (Filter(until=NOW - 600, older_than=300.0), [5, 1]),
        (Filter(until=NOW - 600), [5, 1, 2]),
        (Filter(newer_than=900.0, older_than=600.0, exception="no"), [2]),
    ],
)
def test_a_filter_takes_what_it_says(
    client: redis.Redis, dead: DeadLetters, monkeypatch: pytest.MonkeyPatch, wanted: Filter, numbers: list[int]
) -> None:
    bury(
        client,
        [
            (NOW - 1000, dead_message(1)),
            (NOW - 800, dead_message(2, actor_name="other")),
            (NOW - 500, dead_message(3, options={"frame": {"feed": "book", "seq": 3, "received_us": 1}})),
            (NOW - 100, dead_message(4, error="ZeroDivisionError: division by zero")),
            (NOW - 2000, dead_message(5, "book")),
        ],
    )
    monkeypatch.setattr(module.time, "time", lambda: NOW)

    assert [letter.id for letter in dead.scan(wanted)] == ids(numbers)
    assert [ident for _, some in dead.batches(wanted) for ident in some] == ids(numbers)


def test_a_thousand_that_died_in_one_millisecond_are_all_yielded_while_others_are_taken_away(
    client: redis.Redis, dead: DeadLetters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 10)
    monkeypatch.setattr(module, "BATCH", 10)
    bury(client, [(NOW + (number >= 500) + (number >= 520), dead_message(number)) for number in range(1000)])

    seen = []
    for letter in dead.scan():
        seen.append(letter.id)
        if len(seen) % 7 == 0:
            assert dead.delete("trades", seen[-5:-1]) == 4  # read, and gone before the next page is asked for

    assert seen == ids(range(1000))


def test_what_dies_after_the_first_was_read_is_left_out(client: redis.Redis, dead: DeadLetters) -> None:
    bury(client, [(NOW + number, dead_message(number)) for number in range(3)])
    found = dead.scan()
    first = next(found)
    bury(client, [(NOW + 100, dead_message(9))])
    assert [first.id, *(letter.id for letter in found)] == ids([0, 1, 2])


def test_retry_puts_back_in_order_as_if_never_tried_and_keeps_where_it_came_from(client: redis.Redis, dead: DeadLetters) -> None:
    bury(client, [(NOW + number, dead_message(number)) for number in range(4)])
    client.hset("dramatiq:trades.msgs", "here", '{"options": {"redis_message_id": "here"}, "args": ["already here"]}')
    client.rpush("dramatiq:trades", "here")

    assert dead.retry("trades", ids([0, 2, 3])) == 3

    here, *back = waiting(client)
    assert here["args"] == ["already here"]
    assert [message["args"][0] for message in back] == ["payload 0", "payload 2", "payload 3"]
    assert [message["message_id"] for message in back] == ["message-0", "message-2", "message-3"]
    assert {tuple(sorted(message["options"])) for message in back} == {("frame", "redis_message_id")}
    assert back[1]["options"]["frame"] == {"feed": "trades", "seq": 2, "received_us": 1_790_000_000_000_002}
    assert not {message["options"]["redis_message_id"] for message in back} & set(ids(range(4)))
    assert [letter.id for letter in dead.scan()] == ids([1])
    assert client.hkeys("dramatiq:trades.XQ.msgs") == [b"dead-000001"]


def test_retry_gives_a_delayed_message_its_queue_and_a_frame_its_chance_back(client: redis.Redis, dead: DeadLetters) -> None:
    """A message may die while it is delayed; a frame of a batch that failed for good is marked."""
    message = dead_message(1, options={"eta": 5, "frame": {"feed": "trades", "seq": 1, "received_us": 1, "dead": True}})
    bury(client, [(NOW, message)])
    client.hset("dramatiq:trades.XQ.msgs", "dead-000001", module.message_encoder().encode({**message, "queue_name": "trades.DQ"}))

    assert dead.retry("trades", ids([1])) == 1

    [back] = waiting(client)
    assert back["queue_name"] == "trades"
    assert "eta" not in back["options"]
    assert back["options"]["frame"] == {"feed": "trades", "seq": 1, "received_us": 1}


def test_what_is_gone_or_cannot_be_read_is_not_retried_and_stays(client: redis.Redis, dead: DeadLetters) -> None:
    bury(client, [(NOW + number, dead_message(number)) for number in range(4)])
    client.hdel("dramatiq:trades.XQ.msgs", "dead-000000")
    client.hset("dramatiq:trades.XQ.msgs", "dead-000001", b"\x80pickled")
    client.zrem("dramatiq:trades.XQ", "dead-000002")  # expired meanwhile, and its content not yet

    assert [letter.problem.split(":")[0] for letter in dead.scan()] == [
        "its content is gone from Redis", "it is no message of the encoder in use", ""
    ]  # fmt: skip
    assert dead.retry("trades", ids(range(4))) == 1
    assert [message["args"] for message in waiting(client)] == [["payload 3"]]
    assert dead.delete("trades", ids(range(4))) == 2
    assert not client.exists("dramatiq:trades.XQ", "dramatiq:trades.XQ.msgs")


def test_two_who_retry_and_one_who_deletes_at_once_share_them(shared_valkey: Valkey, client: redis.Redis) -> None:
    bury(client, [(NOW + number, dead_message(number)) for number in range(3000)])
    retried: list[int] = []
    deleted: list[int] = []

    def retry() -> None:
        mine = DeadLetters(shared_valkey.client(), "dramatiq")
        retried.extend(mine.retry(queue, some) for queue, some in mine.batches())

    def delete() -> None:
        mine = DeadLetters(shared_valkey.client(), "dramatiq")
        deleted.extend(mine.delete(queue, some) for queue, some in mine.batches(Filter(exception="no")))

    threads = [threading.Thread(target=each) for each in (retry, retry, delete)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()

    payloads = [message["args"][0] for message in waiting(client)]
    assert len(payloads) == len(set(payloads)) == sum(retried)
    assert sum(retried) + sum(deleted) == 3000
    assert not client.exists("dramatiq:trades.XQ", "dramatiq:trades.XQ.msgs")


def test_a_redis_that_refuses_half_way_loses_nothing(make_valkey) -> None:
    server = make_valkey()
    client = server.client()
    bury(client, [(NOW + number, dead_message(number)) for number in range(3)])
    client.execute_command("ACL", "SETUSER", "weak", "on", "nopass", "~*", "&*", "+@all", "-zrem")
    weak = redis.Redis.from_url(server.url, username="weak", password="x")
    try:
        with pytest.raises(BrokerRefused, match="NOPERM"):
            DeadLetters(weak, "dramatiq").retry("trades", ids(range(3)))
    finally:
        weak.close()
    assert waiting(client) == []
    assert [letter.id for letter in DeadLetters(client, "dramatiq").scan()] == ids(range(3))

    client.rename("dramatiq:trades.XQ.msgs", "aside")
    client.set("dramatiq:trades.XQ.msgs", "a string")
    with pytest.raises(BrokerRefused, match="WRONGTYPE"):
        DeadLetters(client, "dramatiq").retry("trades", ids(range(3)))


def test_get_finds_by_either_id(client: redis.Redis, dead: DeadLetters) -> None:
    bury(client, [(NOW + number, dead_message(number)) for number in range(3)])
    by_redis, by_message = dead.get("trades", "dead-000001"), dead.get("trades", "message-1")
    assert by_redis == by_message
    assert by_redis is not None
    assert by_redis.content is not None
    assert (by_redis.at, by_redis.content["args"]) == (NOW + 1, ["payload 1"])
    assert dead.get("trades", "nobody") is None


def test_large_messages_are_read_a_few_at_a_time(client: redis.Redis, dead: DeadLetters, monkeypatch: pytest.MonkeyPatch) -> None:
    bury(client, [(NOW + number, dead_message(number, args=["x" * 1000])) for number in range(20)])
    monkeypatch.setattr(module, "BATCH_BYTES", 3500)
    sizes = [len(batch) for batch in dead._batches("trades", ids(range(20)))]
    assert set(sizes) == {2}
    monkeypatch.setattr(module, "BATCH_BYTES", 10)
    assert [letter.id for letter in dead.scan()] == ids(range(20))


@pytest.mark.parametrize(
    ("broker", "retries", "cause"),
    [
        ("dramatiq.brokers.redis.RedisBroker", 1, "LookupError: try 0"),  # Dramatiq keeps what was enqueued, before the last try
        ("ingest.broker.RateLimitedBroker", 1, "LookupError: try 1"),
        ("ingest.broker.RateLimitedBroker", 0, "LookupError: try 0"),
    ],
)
def test_what_a_real_worker_gives_up_is_processed_after_a_retry(
    project, shared_valkey: Valkey, broker: str, retries: int, cause: str
) -> None:
    """It fails while ``broken`` is there: it dies, is retried, and done."""
    module, _, name = broker.rpartition(".")
    project.write(
        "app.py",
        f"""
        import os, pathlib, dramatiq
        from dramatiq.middleware import CurrentMessage
        from {module} import {name}
        broker = {name}(url=os.environ["REDIS_URL"])
        broker.add_middleware(CurrentMessage())
        dramatiq.set_broker(broker)

        @dramatiq.actor(queue_name="trades", max_retries={retries}, min_backoff=1, max_backoff=2)
        def handle(payload):
            if pathlib.Path("broken").exists():
                raise LookupError(f"try {{CurrentMessage.get_current_message().options.get('retries', 0)}}")
            with open("results", "a") as out:
                out.write(f'"{{payload}}"\\n')
        """,
    )
    project.write("send.py", "import app\nfor n in range(3):\n    app.handle.send(f'p{n}')\n")
    project.write("broken", "")
    environ = {"REDIS_URL": shared_valkey.url}
    project.python("send.py", **environ)
    project.run("app", **environ).ready()
    client = shared_valkey.client()
    dead = DeadLetters(client, "dramatiq")
    wait_until(lambda: client.zcard("dramatiq:trades.XQ") == 3, 60, "dead letters")
    letters = list(dead.scan())
    assert {letter.cause for letter in letters} == {cause}
    wait_until(lambda: not client.exists("dramatiq:trades", "dramatiq:trades.msgs"), 20, "the end of what was tried before")

    (project.folder / "broken").unlink()
    assert dead.retry("trades", [letter.id for letter in letters]) == 3

    assert sorted(project.wait_for_results(3)) == ["p0", "p1", "p2"]
    assert list(dead.scan()) == []
