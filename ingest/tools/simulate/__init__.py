"""A simulated exchange that speaks Kraken v2, for demonstrations, tests and benchmarks without an account or a network.

The rule: one line to standard output, ``listening on ws://…``, once clients are served; problems are one line each,
never a traceback.
"""

from __future__ import annotations

import asyncio
import importlib.util
import math
import re
import sys
from collections.abc import Sequence

#: The exit code for bad usage, a port in use and a missing package among it.
BAD_USAGE = 2


def run_simulation(
    host: str = "127.0.0.1",
    port: int = 8765,
    rate: float = 200.0,
    seed: int = 1,
    symbols: Sequence[str] = ("BTC/USD", "ETH/USD"),
    faults: bool = False,
    idle_timeout: float = 60.0,
    *,
    fault_interval: float = 8.0,
    exit_with_stdin: bool = False,
) -> int:
    """Serve the exchange until SIGTERM or SIGINT, and return the exit code.

    ``port`` 0 takes any free one. ``rate`` is data messages per second over all symbols, for a client that subscribes to books
    and trades of all of them; 0 leaves heartbeats only. A client without a subscription is closed after ``idle_timeout`` seconds
    of silence. With ``faults``, something goes wrong every ``fault_interval`` seconds or so. ``exit_with_stdin`` makes the end of
    standard input a request to end, too.
    """
    problem = find_problem(rate, symbols, idle_timeout, fault_interval)
    if problem:
        print(problem, file=sys.stderr)
        return BAD_USAGE
    from ingest.tools.simulate.run import Options, run  # only now: it needs what find_problem has looked for

    return asyncio.run(
        run(Options(host, port, rate, seed, tuple(dict.fromkeys(symbols)), faults, idle_timeout, fault_interval, exit_with_stdin))
    )


def find_problem(rate: float, symbols: Sequence[str], idle_timeout: float = 60.0, fault_interval: float = 8.0) -> str | None:
    """Return what is wrong with these options of `run_simulation`, in a sentence, or None."""
    if importlib.util.find_spec("websockets") is None:
        return "simulate needs the package websockets: pip install 'dramatiq-websocket[embedded]'"
    if not (math.isfinite(rate) and rate >= 0):
        return f"rate is {rate:g}; it must be messages per second, 0 or more"
    if not symbols:
        return "symbols is empty; name at least one, such as BTC/USD"
    for symbol in symbols:
        if not re.fullmatch(r"[A-Z0-9.]+/[A-Z0-9.]+", symbol):
            return f"{symbol!r} is no symbol; one looks like BTC/USD"
    for name, value in (("idle_timeout", idle_timeout), ("fault_interval", fault_interval)):
        if not (math.isfinite(value) and value > 0):
            return f"{name} is {value:g}; it must be seconds, more than 0"
    return None
