"""The supervisor's own decisions; what it does as a process is in tests/integration."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from ingest.service.plant import Plant
from ingest.service.signals import StopSignals
from ingest.service.supervisor import GARBAGE_THRESHOLD, Supervisor, calm_garbage_collection


def test_leases_that_nobody_keeps_are_told_and_end_the_process_where_it_is_for_good() -> None:
    signals = StopSignals()
    supervisor = Supervisor(cast(Plant, SimpleNamespace(runners=[])), 1.0, signals)
    supervisor._keeping_crashed(ZeroDivisionError("ours"), 1.0)
    assert (supervisor._broken, signals.stop.is_set()) == (False, False)
    supervisor._keeping_crashed(ZeroDivisionError("ours"), None)
    assert (supervisor._broken, signals.stop.is_set()) == (True, True)


@pytest.fixture
def collector() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("collector")
@pytest.mark.parametrize(("chosen", "then"), [(700, GARBAGE_THRESHOLD), (0, 0), (10**6, 10**6)])
def test_the_search_for_garbage_becomes_rarer_and_no_choice_of_the_users_is_undone(chosen: int, then: int) -> None:
    gc.set_threshold(chosen, 7, 8)
    calm_garbage_collection()
    assert gc.get_threshold() == (then, 7, 8)
    assert gc.get_freeze_count() > 0
