"""The supervisor's own decisions; what it does as a process is in tests/integration."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from ingest.service.build import Plant
from ingest.service.signals import StopSignals
from ingest.service.supervisor import Supervisor


def test_leases_that_nobody_keeps_are_told_and_end_the_process_where_it_is_for_good() -> None:
    signals = StopSignals()
    supervisor = Supervisor(cast(Plant, SimpleNamespace(runners=[])), 1.0, signals)
    supervisor._keeping_crashed(ZeroDivisionError("ours"), 1.0)
    assert (supervisor._broken, signals.stop.is_set()) == (False, False)
    supervisor._keeping_crashed(ZeroDivisionError("ours"), None)
    assert (supervisor._broken, signals.stop.is_set()) == (True, True)
