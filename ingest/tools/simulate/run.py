"""The process around the simulated exchange: its port, its first line, its signals and its end.

The rule: it ends in order, with code 0, whenever it is asked to; nothing is left open.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from dataclasses import dataclass

from websockets.asyncio.server import Server, serve

from ingest.tools.simulate import BAD_USAGE
from ingest.tools.simulate.faults import plan
from ingest.tools.simulate.server import LOGGER, PATH, Exchange

_MOST_REQUEST_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Options:
    """What `run_simulation` was told, checked."""

    host: str
    port: int
    rate: float
    seed: int
    symbols: tuple[str, ...]
    faults: bool
    idle_timeout: float
    fault_interval: float
    exit_with_stdin: bool


async def run(options: Options) -> int:
    """Serve until asked to end; return the exit code."""
    stop = asyncio.Event()
    _end_on_request(stop, options.exit_with_stdin)
    exchange = Exchange(options.symbols, options.seed, options.rate, options.idle_timeout)
    try:
        server = await serve(
            exchange.serve,
            options.host,
            options.port,
            process_request=exchange.answer_upgrade,
            compression=None,
            close_timeout=1,
            max_size=_MOST_REQUEST_BYTES,
            logger=LOGGER,
        )
    except OSError as error:
        print(f"cannot listen on {options.host}:{options.port}: {_reason(error)}", file=sys.stderr)
        return BAD_USAGE
    async with server:
        print(f"listening on {_url(server)}", flush=True)
        await _run_until(stop, exchange, options)
    return 0


async def _run_until(stop: asyncio.Event, exchange: Exchange, options: Options) -> None:
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(exchange.run_markets())]
        if options.faults:
            running.append(tasks.create_task(exchange.run_faults(plan(options.seed, options.fault_interval))))
        await stop.wait()
        for task in running:
            task.cancel()


def _end_on_request(stop: asyncio.Event, exit_with_stdin: bool) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if exit_with_stdin:

        def read() -> None:
            if not os.read(sys.stdin.fileno(), 4096):
                loop.remove_reader(sys.stdin)
                stop.set()

        with contextlib.suppress(PermissionError):  # a plain file never "ends" for a poller
            loop.add_reader(sys.stdin, read)


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror) or not error.errno:  # whose numbers are not the system's
        return error.strerror or str(error)
    return os.strerror(error.errno)  # asyncio's own text says the address once more


def _url(server: Server) -> str:
    host, port = next(iter(server.sockets)).getsockname()[:2]
    return f"ws://[{host}]:{port}{PATH}" if ":" in host else f"ws://{host}:{port}{PATH}"
