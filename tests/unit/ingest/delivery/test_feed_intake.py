"""What a feed's settings ask for: where its messages go, how its payloads are written, and how many a message carries."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ingest.broker.hooks import message_encoder
from ingest.connection.session import To
from ingest.delivery.backlog import Backlog, Bounds
from ingest.delivery.batch_intake import BatchIntake
from ingest.delivery.entry import Entry
from ingest.delivery.feed_intake import envelope_of, intake_of
from ingest.delivery.intake import Intake
from ingest.delivery.losses import Losses
from settings.model import FeedSettings
from settings.wire import new_producer


def feed_with(**settings: Any) -> FeedSettings:
    return FeedSettings(name="trades", url="ws://127.0.0.1:1/", actor="handle", **settings)


def written(feed: FeedSettings, payload: object) -> dict[str, Any]:
    entries: list[Entry] = []
    envelope_of(feed, new_producer(), message_encoder(), To).seal([payload], 7, 1000, entries)
    (entry,) = entries
    message: dict[str, Any] = json.loads(entry.data)
    return message


def test_messages_go_where_the_settings_say_with_their_options() -> None:
    message = written(feed_with(queue="fast", options={"max_retries": 3}), "x")
    assert (message["queue_name"], message["actor_name"], message["args"]) == ("fast", "handle", ["x"])
    assert message["options"]["max_retries"] == 3
    assert message["options"]["frame"] == {"feed": "trades", "seq": 7, "received_us": 1000}


@pytest.mark.parametrize(
    ("settings", "payload", "argument"),
    [
        ({}, '{"a": 1}', '{"a": 1}'),
        ({"payload": "json"}, '{"a": 1}', {"a": 1}),
        ({}, b"\x00\xff", "AP8="),
        ({"binary": "latin-1"}, b"\x00\xff", "\x00\xff"),
    ],
)
def test_payloads_are_written_as_the_settings_say(settings: dict[str, Any], payload: object, argument: object) -> None:
    assert written(feed_with(**settings), payload)["args"] == [argument]


def test_a_payload_may_go_elsewhere() -> None:
    message = written(feed_with(), To("x", actor="other", queue="slow"))
    assert (message["queue_name"], message["actor_name"]) == ("slow", "other")


@pytest.mark.parametrize(("size", "kind", "lengths"), [(1, Intake, [None, None, None]), (2, BatchIntake, [2, 1])])
def test_a_message_carries_as_many_payloads_as_the_settings_say(size: int, kind: type, lengths: list[int | None]) -> None:
    events: list[object] = []
    feed = feed_with(batch={"size": size})
    backlog = Backlog(Bounds(100, 1 << 20, "block", False), Losses(feed.name, feed.label, events.append))
    intake = intake_of(feed, backlog, encoder=message_encoder(), routed=To, publish=events.append, before=None)
    chain = backlog.open(new_producer(), 0)
    intake.enter(chain)
    intake.deliver(["1", "2", "3"], 1000)
    intake.flush()
    assert type(intake) is kind
    taken = backlog.take(chain, 100, 1 << 20)
    assert [json.loads(entry.data)["options"]["frame"].get("count") for entry in taken] == lengths
    assert events == []
