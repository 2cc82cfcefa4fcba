"""The tables of a feed: defaults, what is refused, and at which key."""

from __future__ import annotations

import pytest
from pydantic import SecretStr, ValidationError

from settings.feed import FeedSettings


def a_feed(**keys) -> FeedSettings:
    return FeedSettings.model_validate({"name": "trades", "url": "wss://stream.test/v1", "actor": "handle", **keys})


def refusals(**keys) -> dict[str, str]:
    """Return key -> sentence for a feed with these keys."""
    with pytest.raises(ValidationError) as caught:
        a_feed(**keys)
    return {".".join(map(str, error["loc"])): error["msg"] for error in caught.value.errors()}


def test_the_defaults_are_those_of_the_design():
    feed = a_feed()
    assert (feed.open_timeout, feed.ready_timeout, feed.ping_interval, feed.ping_timeout) == (10, 10, 20, 20)
    assert (feed.idle_timeout, feed.data_timeout, feed.heartbeat, feed.proxy, feed.origin) == (None,) * 5
    retry = feed.retry
    assert (retry.initial, retry.max, retry.multiplier, retry.jitter, retry.max_attempts, retry.stable_after) == (
        0.5,
        30,
        2,
        "full",
        0,
        10,
    )
    assert (feed.queue, feed.payload, feed.binary, feed.overflow) == ("default", "text", "base64", "block")
    assert (feed.backlog.messages, feed.backlog.bytes, feed.max_message_bytes) == (20_000, 64 << 20, 16 << 20)
    assert (feed.batch.size, feed.batch.timeout) == (1, 0.05)
    assert (feed.spool, feed.durability, feed.gap_actor, feed.on_fenced) == (None, "memory", None, "drop")
    spool = a_feed(spool={"directory": "/var/spool/feeds"}).spool
    assert spool is not None
    assert (spool.max_bytes, spool.fsync, spool.persistent) == (1 << 30, "batch", True)
    assert feed.tls.verify
    assert feed.tls.min_version == "1.2"


def test_the_label_is_the_name_unless_there_is_a_telemetry_id():
    assert a_feed().label == "trades"
    assert a_feed(telemetry_id="venue:trades").label == "venue:trades"


def test_neither_url_nor_frames_nor_arguments_appear_in_the_representation():
    feed = a_feed(
        url="wss://user:hunter2@stream.test/?t=hunter2", subscribe=["hunter2"], session="a:B", session_args={"key": "hunter2"},
        headers={"Authorization": "hunter2"}, proxy="http://u:hunter2@proxy.test", secrets=(SecretStr("hunter2"),),
    )  # fmt: skip
    assert "hunter2" not in repr(feed)


@pytest.mark.parametrize(
    ("keys", "at", "says"),
    [
        ({"session_args": {"a": 1}}, "session_args", "the feed has no session"),
        ({"subscribe": ["x"], "subscribe_function": "a:b"}, "subscribe_function", "replaces subscribe"),
        ({"headers": {"A": "x"}, "headers_function": "a:b"}, "headers_function", "replaces headers"),
        ({"heartbeat": {"interval": 5}}, "heartbeat", "nothing to send"),
        ({"ping_interval": 0, "ping_timeout": 5}, "ping_timeout", "no meaning without pings"),
        ({"tls": {"client_key": "key.pem"}}, "tls.client_key", "without client_cert"),
        ({"tls": {"client_key_password": "x"}}, "tls.client_key_password", "without client_cert"),
        ({"socket": {"source_address": "eth0"}}, "socket.source_address", "'eth0' is no IP address"),
        ({"retry": {"initial": 5, "max": 1}}, "retry.max", "max (1) is below initial (5)"),
        ({"retry": {"initial": 0}}, "retry.initial", "greater than 0"),
        ({"retry": {"multiplier": 0.5}}, "retry.multiplier", "greater than or equal to 1"),
        ({"retry": {"max_attempts": -1}}, "retry.max_attempts", "greater than or equal to 0"),
        ({"options": {"frame": {}}}, "options", "frame is set by the feed itself"),
        ({"options": {"redis_message_id": "x"}}, "options", "redis_message_id is set by the feed itself"),
        ({"options": {"max_retries": "3"}}, "options", "max_retries must be a number, 0 or more"),
        ({"options": {"time_limit": -1, "anything": "x"}}, "options", "time_limit must be a number, 0 or more"),
        ({"batch": {"size": 0}}, "batch.size", "greater than or equal to 1"),
        ({"batch": {"size": 10_001}}, "batch.size", "less than or equal to 10000"),
        ({"batch": {"timeout": -1}}, "batch.timeout", "greater than or equal to 0"),
        ({"batch": {"timeout": 50}}, "batch.timeout", "more than 30 seconds; durations are seconds, did you mean 0.05?"),
        ({"overflow": "drop"}, "overflow", "'drop_newest'"),
        ({"durability": "disk"}, "durability", '"disk" needs a spool: set spool.directory'),
        ({"durability": "paper"}, "durability", "'memory' or 'disk'"),
        ({"spool": {}}, "spool.directory", "Field required"),
        ({"spool": {"directory": "x", "max_bytes": 1000}}, "spool.max_bytes", "greater than or equal to 1024"),
        ({"spool": {"directory": "x", "max_bytes": 64 << 20, "fsync": "never"}}, "spool.fsync", "'batch' or 'always'"),
        ({"spool": {"directory": "x", "max_bytes": (64 << 20) - 1}}, "spool", "max_bytes (67108863) is below backlog.bytes (671"),
        ({"gap_actor": "a b"}, "gap_actor", "is no actor name"),
        ({"on_fenced": "keep"}, "on_fenced", "'drop' or 'deliver'"),
        ({"queue": "trades.DQ"}, "queue", "end in .DQ and .XQ"),
    ],
)
def test_what_contradicts_is_refused_at_the_later_key(keys, at, says):
    found = refusals(**keys)
    assert list(found) == [at]
    assert says in found[at]


@pytest.mark.parametrize(
    "keys",
    [
        {"session": "a:B", "session_args": {"a": 1}},
        {"subscribe": ["x"], "headers_function": "a:b"},
        {"heartbeat": {"interval": 5, "text": "ping"}},
        {"heartbeat": {"interval": 5}, "session": "a:B"},
        {"ping_interval": 0},
        {"tls": {"client_cert": "cert.pem", "client_key": "key.pem", "client_key_password": "x"}},
        {"retry": {"initial": 10, "max": 10, "jitter": "none", "max_attempts": 5}},
        {"options": {"max_retries": 3, "time_limit": 60_000, "anything": {"deep": [1, 2.5, True, "x"]}}},
        {"socket": {"source_address": "2001:db8::7", "family": "ipv6"}},
        {"fatal_statuses": ["4xx", 503], "fatal_close_codes": [1008, "4xxx"]},
        {"subprotocols": ["graphql-transport-ws", "v1.json"]},
        {"spool": {"directory": "x"}, "durability": "disk", "overflow": "drop_oldest", "on_fenced": "deliver"},
        {"spool": {"directory": "x", "max_bytes": 4096}, "backlog": {"bytes": 4096}},
        {"overflow": "drop_newest", "gap_actor": "backfill"},
        {"batch": {"size": 100, "timeout": 0}},
        {"batch": {"size": 10_000, "timeout": 30}},
    ],
)
def test_what_belongs_together_is_accepted(keys):
    feed = a_feed(**keys)
    assert feed.model_fields_set >= set(keys)


def test_one_refused_key_hides_no_other():
    # `ping_interval` is wrong itself: what depends on it is then not judged, and everything else is.
    found = refusals(ping_interval="x", ping_timeout=3, url="http://stream.test", queue="a b", session=5, session_args={"a": 1})
    assert set(found) == {"ping_interval", "url", "queue", "session"}


@pytest.mark.parametrize("key", ["batches", "nonsense"])
def test_a_key_that_is_not_built_is_unknown(key):
    assert list(refusals(**{key: "x"})) == [key]


@pytest.mark.parametrize(
    "keys",
    [
        {"idle_timeout": True}, {"idle_timeout": "5"}, {"max_message_bytes": 1.0}, {"max_message_bytes": True}, {"actor": 5},
        {"compression": True}, {"tls": {"verify": 1}}, {"tls": {"verify": "false"}}, {"subscribe": "x"}, {"subscribe": [5]},
        {"headers": {"A": 5}}, {"socket": []}, {"retry": {"max_attempts": 2.0}}, {"fatal_statuses": [True]},
        {"fatal_statuses": ["404"]}, {"tls": {"min_version": 1.2}}, {"session_args": [], "session": "a:B"},
    ],
)  # fmt: skip
def test_no_type_is_taken_for_another(keys):
    [(at, _)] = refusals(**keys).items()
    assert at.partition(".")[0] == next(iter(keys))


def test_one_wrong_key_of_the_spool_is_one_problem():
    # Neither the durability that needs it, nor what the backlog has to do with it, is judged then.
    assert set(refusals(spool={"directory": 5}, durability="disk")) == {"spool.directory"}
    assert set(refusals(spool={"directory": "x"}, backlog={"bytes": "x"}, durability="disk")) == {"backlog.bytes"}
