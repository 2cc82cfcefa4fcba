"""The JSON Schema of the file: what editors complete and check by."""

from __future__ import annotations

import json

from settings.feed import FeedSettings
from settings.schema import file_schema


def test_it_is_json_and_has_every_key_of_a_feed_but_what_the_loader_puts_in():
    schema = json.loads(json.dumps(file_schema()))
    feed = schema["$defs"]["FeedSettings"]
    assert set(feed["properties"]) == set(FeedSettings.model_fields) - {"name", "secrets"}
    assert feed["required"] == ["url", "actor"]
    assert feed["additionalProperties"] is False


def test_it_refuses_unknown_keys_in_every_table():
    tables = [table for table in file_schema()["$defs"].values() if table.get("type") == "object"]
    assert len(tables) > 10
    assert all(table["additionalProperties"] is False for table in tables)


def test_it_says_what_toml_can_say():
    text = json.dumps(file_schema())
    assert '"null"' not in text
    assert ": null" not in text
    assert "****" not in text


def test_it_describes_keys_bounds_and_patterns():
    properties = file_schema()["$defs"]["FeedSettings"]["properties"]
    assert properties["open_timeout"] == {
        "default": 10.0,
        "description": "Seconds for DNS, TCP, proxy, TLS and upgrade together.",
        "exclusiveMinimum": 0,
        "title": "Open Timeout",
        "type": "number",
    }
    assert properties["idle_timeout"]["type"] == "number"
    assert "pattern" in properties["session"]
    assert properties["payload"]["enum"] == ["text", "json"]
    assert properties["tls"]["$ref"] == "#/$defs/TLSSettings"
