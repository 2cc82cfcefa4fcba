"""Every case of the list: what comes back, the close code that we send, and that both sides come to an end."""

from __future__ import annotations

import pytest

from tests.conformance import closing, compression, framing, utf8, volume
from tests.conformance.case import Case, parameters
from tests.conformance.server import run_case

ALL = [*framing.CASES, *utf8.CASES, *closing.CASES, *volume.CASES, *compression.CASES]

#: How many cases each category of the list has.
PUBLISHED = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1, "12": 90, "13": 126}


@pytest.mark.parametrize("case", parameters(ALL))
def test_conformance(case: Case) -> None:
    run_case(case)


def test_every_case_of_the_list_is_there_once() -> None:
    numbers = [case.number for case in ALL]

    assert len(set(numbers)) == len(numbers)
    assert {category: sum(number.split(".")[0] == category for number in numbers) for category in PUBLISHED} == PUBLISHED
