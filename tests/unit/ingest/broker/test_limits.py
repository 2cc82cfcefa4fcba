"""Limits that contradict each other are refused where they are made."""

from __future__ import annotations

import pytest

from ingest.broker.limits import Limits


def test_the_default_burst_is_a_twentieth_of_a_second_and_at_least_one() -> None:
    assert Limits(rate=1000.0).burst_messages == 50
    assert Limits(rate=2.0).burst_messages == 1
    assert Limits(rate=2.0, burst=7).burst_messages == 7
    assert Limits().burst_messages == 0


@pytest.mark.parametrize(
    "options", [{"high": 10, "low": 10}, {"low": -1}, {"rate": 0.0}, {"burst": 5.0}, {"rate": 5.0, "burst": 0.5}], ids=str
)
def test_contradictions_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"low|rate|burst"):
        Limits(**options)  # type: ignore[arg-type]
