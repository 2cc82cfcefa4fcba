"""``${NAME}`` in the file: where it is replaced, what is remembered, what is refused."""

from __future__ import annotations

import pytest

from settings.substitution import Substitution

ENVIRON = {"A": "one", "B": "two", "EMPTY": "", "NESTED": "${A}"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${A}", "one"), ("x${A}y${B}${A}", "xoney" "twoone"), ("${EMPTY}", ""), ("${NESTED}", "${A}"),
        ("no reference", "no reference"),
        ("$A $$ $", "$A $$ $"), ("$${A}", "${A}"), ("$${A} ${A}", "${A} one"), ("$${", "${"), ("$$${A}", "$${A}"),
    ],
)  # fmt: skip
def test_texts(text, result):
    substitution = Substitution(ENVIRON)
    assert substitution.apply(text) == result
    assert substitution.problems == []


def test_every_text_at_any_depth_and_no_key():
    document = {"${A}": {"list": ["${A}", 5, {"deep": "${B}"}]}, "number": 1.5, "flag": True}
    assert Substitution(ENVIRON).apply(document) == {"${A}": {"list": ["one", 5, {"deep": "two"}]}, "number": 1.5, "flag": True}


def test_it_remembers_where_and_whence():
    substitution = Substitution(ENVIRON)
    substitution.apply(
        {"feeds": {"x": {"url": "${B}${A}${B}", "list": ["plain", "${A}"], "escaped": "$${A}"}}, "other": "${EMPTY}"}
    )
    assert substitution.sources == {("feeds", "x", "url"): ("B", "A"), ("feeds", "x", "list", 1): ("A",), ("other",): ("EMPTY",)}
    assert substitution.values_below(("feeds", "x")) == ["one", "two"]
    assert substitution.values_below(("feeds", "y")) == []
    assert substitution.values_below(()) == ["one", "two"]  # nothing is hidden by hiding an empty text


def test_every_unset_variable_is_a_problem_once_and_its_text_stays():
    substitution = Substitution({"A": "one"})
    assert substitution.apply({"list": ["${X} ${A} ${Y} ${X}"]}) == {"list": ["${X} ${A} ${Y} ${X}"]}
    assert [str(problem) for problem in substitution.problems] == [
        "list[0]: the environment variable X is not set",
        "list[0]: the environment variable Y is not set",
    ]
    assert substitution.unresolved == {("list", 0)}
    assert substitution.sources == {}


@pytest.mark.parametrize("text", ["${}", "${A", "${1A}", "${A-default}", "${ A }"])
def test_what_is_no_reference(text):
    substitution = Substitution(ENVIRON)
    substitution.apply({"key": text})
    assert [str(problem) for problem in substitution.problems] == [
        "key: ${ without a legal NAME} behind it: write $${ for a literal ${"
    ]
