"""The fixtures that all tests share; each lies in tests/support beside what it starts."""

import signal

from hypothesis import settings

settings.register_profile("shared machine", deadline=None)  # how long one example takes says nothing there
settings.load_profile("shared machine")

# `nohup make test` turns it off for all its children, and `make run` heeds that.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

pytest_plugins = [
    "tests.support.fault_report",
    "tests.support.redis_server",
    "tests.support.redis_clock",
    "tests.support.sentry_server",
    "tests.support.user_code",
    "tests.support.workers_process",
    "tests.support.in_process",
    "tests.support.browser",
    "tests.support.promtool",
]
