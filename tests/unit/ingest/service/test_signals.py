"""The first signal asks, the second insists."""

import os
import signal

import pytest

from ingest.service.signals import StopSignals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_asks_and_the_second_insists(number):
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    signals = StopSignals()
    try:
        signals.install()
        os.kill(os.getpid(), number)
        assert signals.stop.wait(10)
        assert not signals.at_once.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.at_once.wait(10)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
