"""Headers of the upgrade: names, values, and what is ours to set."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from settings.headers import INSTEAD, RESERVED, Headers, name_problem, value_problem


@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key", "x_1", "Cookie", "User-Agent"])
def test_legal_names(name):
    assert name_problem(name) is None


@pytest.mark.parametrize("name", ["", "X Key", "X:Key", "X\r\nY", "Ä", "X\n"])
def test_names_that_are_no_tokens(name):
    assert name_problem(name) == "has a name that is no HTTP token"


@pytest.mark.parametrize(
    "name", [*sorted(RESERVED), "Host", "UPGRADE", "Sec-WebSocket-Key", "sec-websocket-version", "Proxy-Authorization"]
)
def test_reserved_names(name):
    assert name_problem(name) == "is reserved"


@pytest.mark.parametrize(
    ("name", "setting"),
    [("Origin", "origin"), ("Sec-WebSocket-Protocol", "subprotocols"), ("sec-websocket-extensions", "compression")],
)
def test_reserved_names_with_a_setting_of_their_own(name, setting):
    assert name_problem(name) == f"is reserved; use the setting {setting}"
    assert name.lower() in INSTEAD


@pytest.mark.parametrize("value", ["", "Bearer abc", "tab\there", "caf\xe9"])
def test_legal_values(value):
    assert value_problem(value) is None


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\rb", "nul\0", "del\x7f", "\u20ac"])
def test_values_that_would_be_more_than_a_value(value):
    assert value_problem(value) is not None


def test_a_table_is_judged_as_a_whole_and_no_value_is_shown():
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Headers).validate_python({"A": "hunter2\r\n", "Host": "hunter2", "B C": "hunter2", "Fine": "x"})
    errors = caught.value.errors(include_input=False)
    assert [error["loc"][0] for error in errors] == ["A", "Host", "B C"]
    assert "hunter2" not in str([error["msg"] for error in errors])


def test_names_that_differ_by_case_alone_are_one():
    with pytest.raises(ValidationError, match="the header X-Key is there twice"):
        TypeAdapter(Headers).validate_python({"X-Key": "a", "x-key": "b"})
