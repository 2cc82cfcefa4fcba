"""The whole file as a value: queues, broker, and what only all feeds together show."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from settings.model import BrokerSettings, QueueSettings, Settings


def test_a_queue_without_a_table_has_the_defaults():
    queue = Settings().queue("anything")
    assert (queue.high_watermark, queue.low_watermark, queue.rate_limit, queue.burst_messages) == (20_000, 10_000, None, 1.0)


def test_a_queue_with_a_table_has_its_own():
    settings = Settings.model_validate({"queues": {"trades": {"high_watermark": 100, "rate_limit": 5000}}})
    queue = settings.queue("trades")
    assert (queue.high_watermark, queue.rate_limit, queue.burst_messages) == (100, 5000, 250)


@pytest.mark.parametrize(("high", "low"), [(20_000, 10_000), (5, 2), (1, 0)])
def test_the_low_watermark_follows_the_high_one(high, low):
    assert QueueSettings(high_watermark=high).low_watermark == low


@pytest.mark.parametrize(
    ("keys", "at", "says"),
    [
        ({"low_watermark": 20_000}, "low_watermark", "low_watermark (20000) must be below high_watermark (20000)"),
        ({"low_watermark": 5, "high_watermark": 4}, "low_watermark", "low_watermark (5) must be below high_watermark (4)"),
        ({"burst": 5.0}, "burst", "burst without rate_limit has no meaning"),
        ({"high_watermark": 0, "low_watermark": 0}, "high_watermark", "Input should be greater than or equal to 1"),
        ({"rate_limit": 0}, "rate_limit", "Input should be greater than 0"),
        ({"rate_limit": True}, "rate_limit", "Input should be a valid number"),
    ],
)
def test_what_a_queue_cannot_be(keys, at, says):
    with pytest.raises(ValidationError) as caught:
        QueueSettings(**keys)
    assert [(error["loc"], error["msg"]) for error in caught.value.errors()] == [((at,), says)]


@pytest.mark.parametrize(("rate", "burst", "messages"), [(10, None, 1.0), (5000, None, 250.0), (10, 40, 40.0)])
def test_a_burst_is_a_twentieth_of_a_second_or_what_the_file_says_and_at_least_one(rate, burst, messages):
    assert QueueSettings(rate_limit=rate, burst=burst).burst_messages == messages


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("supervisor", "metrics_port"),
        ("broker", "dead_letters"),
    ],
)
def test_a_key_that_is_not_built_is_unknown(table, key):
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({table: {key: 1}})
    assert [(error["type"], error["loc"]) for error in caught.value.errors()] == [("extra_forbidden", (table, key))]


def test_the_lease_and_the_group_have_the_defaults_of_the_design():
    supervisor = Settings().supervisor
    assert (supervisor.group, supervisor.lease) == ("", 5)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"lease": 0.5}, "Input should be greater than or equal to 1"),
        ({"lease": 5000}, "5000 s is more than 10 minutes; durations are seconds, did you mean 5?"),
        ({"lease": "5"}, "Input should be a valid number"),
        ({"group": "a.b"}, "'a.b' is no group: at most 100 letters, digits, dashes and underscores"),
    ],
)
def test_what_the_supervisor_cannot_have(keys, says):
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"supervisor": keys})
    assert [(error["loc"][1], error["msg"]) for error in caught.value.errors()] == [(next(iter(keys)), says)]


def test_two_feeds_cannot_share_a_label():
    feed = {"url": "ws://h", "actor": "a"}
    feeds = {"one": {**feed, "name": "one"}, "two": {**feed, "name": "two", "telemetry_id": "one"}}
    with pytest.raises(ValidationError, match="feeds one and two have one telemetry_id"):
        Settings.model_validate({"feeds": feeds})


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().broker.namespace = "other"  # type: ignore[misc] # what is tested


def test_the_url_of_redis_is_a_secret():
    settings = Settings.model_validate({"broker": {"url": "redis://:hunter2@h/0"}})
    assert "hunter2" not in repr(settings)


def test_how_redis_is_reached_is_told_with_the_secrets_and_shown_without(tmp_path):
    authority = tmp_path / "ca.pem"
    authority.write_text("")
    url = "rediss://:hunter2@redis.test:6380/1"
    broker = BrokerSettings.model_validate({"url": url, "tls": {"ca_file": str(authority)}})
    assert broker.endpoint() == {"url": url, "verify": True, "ca_file": str(authority)}
    assert BrokerSettings.model_validate({"tls": {"verify": False}}).endpoint()["verify"] is False
    assert "hunter2" not in repr(broker)
