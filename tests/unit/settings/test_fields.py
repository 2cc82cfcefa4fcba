"""Single values: what is legal, what is not, and in which words."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from settings import fields


def verdict(kind: Any, value: object, context: object = None) -> str | None:
    """Return the sentence with which a type refuses a value, or None."""
    try:
        TypeAdapter(kind).validate_python(value, strict=True, context=context)
    except ValidationError as error:
        return error.errors()[0]["msg"]
    return None


@pytest.mark.parametrize("value", [0, 0.001, 3600, 7200, 86400])
def test_seconds_up_to_an_hour_and_whole_hours_up_to_a_day_are_durations(value):
    assert verdict(fields.Seconds, value) is None


@pytest.mark.parametrize(("value", "meant"), [(15_000, "15"), (3601, "3.601"), (90_000, "90"), (500_000, "500")])
def test_more_is_taken_for_milliseconds_and_said_as_such(value, meant):
    said = verdict(fields.Seconds, value)
    assert said is not None
    assert said.startswith(f"{value} s is more than an hour")
    assert said.endswith(f"durations are seconds, did you mean {meant}?")


@pytest.mark.parametrize(("value", "fits"), [(600, True), (601, False), (5000, False), (7200, False)])
def test_the_wait_for_one_answer_is_at_most_ten_minutes(value, fits):
    assert (verdict(fields.Timeout, value) is None) is fits


@pytest.mark.parametrize("value", [-1, float("inf"), float("nan"), True, "5"])
def test_no_duration(value):
    assert verdict(fields.Seconds, value) is not None


@pytest.mark.parametrize("kind", [fields.PositiveSeconds, fields.Timeout])
def test_zero_is_no_positive_duration(kind):
    assert verdict(kind, 0) == "Input should be greater than 0"


LEGAL = [
    (fields.Reference, ["app:Feed", "my_app.feeds.kraken:Session2"]),
    (fields.Module, ["app", "my_app.actors"]),
    (fields.FeedName, ["trades", "kraken.book-10_v2", "1"]),
    (fields.Label, ["trades", "venue:btc/usd@1"]),
    (fields.ActorName, ["handle_trade", "Handle.Trade-2", "über"]),
    (fields.QueueName, ["default", "_q", "a.b-c_1"]),
    (fields.Token, ["chat", "graphql-transport-ws"]),
    (fields.Namespace, ["dramatiq", "app:{1}"]),
    (fields.Group, ["", "staging", "app-1-eu_west"]),
    (fields.Origin, ["https://app.test", "null", "http://localhost:3000"]),
    (fields.StatusOrClass, [300, 404, 599, "3xx", "4xx", "5xx"]),
    (fields.CodeOrClass, [1000, 4999, "1xxx", "4xxx"]),
]
ILLEGAL = [
    (fields.Reference, ["app", "app.Feed", "app:", ":Feed", "app:feed()", "app:a.b", "app feeds:x", "app..x:y"]),
    (fields.Module, ["app:actors", "app/actors.py", "app.", ""]),
    (fields.FeedName, ["", "a b", "a/b", ".hidden", "x" * 101, "a\n"]),
    (fields.Label, ["", "a b", "a\n"]),
    (fields.ActorName, ["", "a b", "a\tb", "a\n"]),
    (fields.QueueName, ["", "1q", "-q", "a b", "a:b", "q\n", "q.DQ", "q.XQ"]),
    (fields.Token, ["", "a b", "a,b", "a\n"]),
    (fields.Namespace, ["", "a b"]),
    (fields.Group, ["a b", "a:b", "a/b", "x" * 101, "a\n"]),
    (fields.Origin, ["app.test", "https://app.test/", "https://app.test\r\nX: y", "https://a b"]),
    (fields.StatusOrClass, [200, 299, 600, 101, "2xx", "404", "4XX", True, 404.0, None]),
    (fields.CodeOrClass, [999, 5000, 0, "2xxx", "1008", True]),
]


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in LEGAL for value in values])
def test_legal(kind, value):
    assert verdict(kind, value) is None


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in ILLEGAL for value in values])
def test_illegal(kind, value):
    assert verdict(kind, value) is not None


def test_a_refusal_says_what_would_be_right():
    assert verdict(fields.Reference, "app.Feed") == "'app.Feed' is no reference: write \"package.module:name\""
    assert verdict(fields.StatusOrClass, 200) == '200 is no status: a number from 300 to 599, "3xx" or "4xx" or "5xx"'


A_DATE = dt.date(2026, 1, 1)


@pytest.mark.parametrize("value", [A_DATE, dt.time(12), float("nan"), float("inf"), [{"deep": A_DATE}]])
def test_what_toml_has_and_json_has_not(value):
    said = verdict(fields.JSONValue, value)
    assert said is not None
    assert "is no JSON value" in said


def test_a_file_must_be_there_only_where_the_loader_asks(tmp_path):
    there, missing = tmp_path / "ca.pem", tmp_path / "nothing.pem"
    there.touch()
    assert verdict(fields.ExistingFile, str(there), {"files": True}) is None
    assert verdict(fields.ExistingFile, str(missing), {"files": True}) == f"there is no readable file {str(missing)!r}"
    assert verdict(fields.ExistingFile, str(missing)) is None


WRITES = {"files": True, "spools": True}


def test_a_spools_folder_must_be_there_where_this_process_will_write_to_it(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    folder, missing, file, link = (str(tmp_path / name) for name in ("", "missing", "file", "link"))
    assert verdict(fields.SpoolFolder, folder, WRITES) is None
    assert verdict(fields.SpoolFolder, missing, WRITES) == (
        f"there is no folder {missing!r}: create it, owned by the user that runs the feeds"
    )
    for path in (file, link):
        assert verdict(fields.SpoolFolder, path, WRITES) == (
            f"{path!r} is no folder: name the folder that the spool's files go into"
        )
    for context in (None, {"files": True, "spools": False}):
        assert verdict(fields.SpoolFolder, missing, context) is None
