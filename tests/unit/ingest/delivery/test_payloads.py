"""Payloads as JSON: fast only where it says the same, and never anything that a worker cannot read."""

from __future__ import annotations

import json
from collections import namedtuple
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from uuid import uuid4

import orjson
import pytest

from ingest.delivery.payloads import checked_json, fast_json, offender, text_of
from ingest.errors import PayloadRefused


@dataclass
class Record:
    price: float


class Side(Enum):
    BUY = "buy"


class Level(IntEnum):
    ONE = 1


class Text(str):
    pass


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    "value", ["text", "ü€😀\x00", 0, -(2**63), 2**64 - 1, 1.5, -0.0, 1e300, True, None, [1, [2]], (1, 2), {"a": {"b": []}}]
)
def test_plain_values_are_written_as_dramatiq_reads_them(value: object) -> None:
    data = fast_json(value)
    assert data is not None
    assert json.loads(data) == json.loads(json.dumps(value))


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        [1, {"a": float("-inf")}],
        2**64,
        {1: "a"},
        {None: 1},
        Text("x"),
        {"k": Text("x")},
        Point(1, 2),
        Record(1.5),
        [datetime.now(UTC)],
        uuid4(),
        Side.BUY,
        Level.ONE,
        orjson.Fragment(b"}{"),
        Decimal(1),
        b"x",
        {1, 2},
        "\ud800",
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_orjson_refuses_or_would_change_is_left_to_dramatiqs_encoder(value: object) -> None:
    assert fast_json(value) is None


def test_values_nested_too_deep_or_in_themselves_are_left_to_dramatiqs_encoder() -> None:
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    loop: list[object] = []
    loop.append(loop)
    assert fast_json(deep) is None
    assert fast_json(loop) is None


@pytest.mark.parametrize(("rule", "expected"), [("base64", "aMO8"), ("utf-8", "hü"), ("latin-1", "hÃ¼")])
def test_binary_payloads_become_text(rule: str, expected: str) -> None:
    assert text_of("hü".encode(), rule) == expected  # type: ignore[arg-type]


def test_bytes_that_are_no_utf8_are_refused_by_place() -> None:
    with pytest.raises(PayloadRefused, match="at byte 2"):
        text_of(b"ab\xff", "utf-8")


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        " [1, 2]\n",
        '"a"',
        "null",
        "1e999",
        '"\\ud800"',
        '{"a":1,"a":2}',
        "123456789012345678901234567890",
        '{"ü":"😀"}',
        "-0",
    ],
)
def test_json_text_is_passed_on_as_it_is(text: str) -> None:
    assert checked_json(text) == text.encode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        "{'a':1}",
        "NaN",
        "[Infinity]",
        "-Infinity",
        "1 2",
        '{"a":}',
        "\ufeff{}",
        "01",
        "\ud800",
        '"\ud800"',
        "[1,]",
        '"\t"',
    ],
)
def test_text_that_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(PayloadRefused) as caught:
        checked_json(text)
    assert caught.value.type_name == "str"


def nested(depth: int) -> str:
    return '{"a":[' * (depth // 2) + "1" + "]}" * (depth // 2)


def test_json_deeper_than_a_worker_reads_is_refused_and_wide_json_is_not() -> None:
    assert checked_json(nested(240))
    assert checked_json("[" + ",".join(["[1]"] * 5000) + "]")
    for depth in (300, 2000, 100_000):
        with pytest.raises(PayloadRefused, match=r"nested|recursion|no JSON"):
            checked_json(nested(depth))


def test_deep_json_with_what_orjson_cannot_read_is_judged_too() -> None:
    assert checked_json("[" * 200 + '"\\ud800"' + "]" * 200 + " ")
    with pytest.raises(PayloadRefused, match="nested"):
        checked_json("[" * 260 + '"\\ud800"' + "]" * 260)


def test_integers_longer_than_python_reads_are_refused_wherever_they_are() -> None:
    for before in (0, 1, 17, 4299, 4300, 9000):
        with pytest.raises(PayloadRefused, match="digits"):
            checked_json(" " * before + "[" + "7" * 4301 + "]")
    assert checked_json("[" + "7" * 4300 + "," + "8" * 4299 + "]")
    assert checked_json('["' + "7" * 9000 + '"]')
    assert checked_json("[1." + "7" * 9000 + "]")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (uuid4(), "UUID"),
        ({"a": [1, {2, 3}]}, "set"),
        ({(1, 2): 3}, "tuple"),
        ([b"x"], "bytes"),
        ({"a": 1}, "dict"),
        (object(), "object"),
    ],
)
def test_names_the_type_that_is_to_blame(value: object, name: str) -> None:
    assert offender(value) == name


def test_a_value_inside_itself_is_named_by_its_own_type() -> None:
    loop: list[object] = []
    loop.append(loop)
    assert offender(loop) == "list"
