"""When a message is as expected."""

from typing import Any

import pytest

from ingest.testing.messages import describe, encoded, matches


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("a", None),
        ("a", "a"),
        (b"a", b"a"),
        ('{"b": [1, 2],  "a": null}', {"a": None, "b": [1, 2]}),
        ("[1]", [1]),
        ("abc", lambda text: text.startswith("a")),
    ],
)
def test_as_expected(message: str | bytes, expected: Any):
    assert matches(message, expected)


@pytest.mark.parametrize(
    ("message", "expected"),
    [("a", "b"), ("a", b"a"), (b"a", "a"), ("no json", {}), (b"{}", {}), ('{"a":1}', {}), ("abc", lambda text: text == "")],
)
def test_otherwise(message: str | bytes, expected: Any):
    assert not matches(message, expected)


def test_names_for_assertions():
    def is_a_subscription(text: str) -> bool:
        return "subscribe" in text

    assert describe(None) == "a message"
    assert describe({"a": 1}) == "{'a': 1}"
    assert describe(is_a_subscription) == "a message that satisfies is_a_subscription"


def test_bytes_on_the_wire():
    assert [encoded(message) for message in ("é", b"\xff", {"a": 1}, [2])] == ["é".encode(), b"\xff", b'{"a": 1}', b"[2]"]
