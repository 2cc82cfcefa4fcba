"""Prepares what ``record`` and ``replay`` are to do: a feed's settings and code, its broker, its file.

The rule: everything that can be wrong is said before anything is begun: `Refused` in a sentence, `SettingsError` as problems.
"""

from __future__ import annotations

import importlib.util
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ingest.connection.callbacks import SessionMaker
from ingest.errors import BrokerError, RecordError
from ingest.service.references import References, resolve_all
from ingest.service.signals import StopSignals
from ingest.telemetry.log import configure_logging
from ingest.telemetry.masking import hide_secrets_of
from settings.environment import Environment
from settings.model import BrokerSettings, Settings, TelemetrySettings
from settings.problems import Problem, SettingsError

if TYPE_CHECKING:
    from ingest.records.reading import RecordReader

Waits = Literal["subscribe", "all", "none"]


class Refused(Exception):
    """What was asked for cannot be done; the text says why, in a sentence."""


def check_packages(*names: str) -> None:
    """`Refused` where a package that is needed is not installed."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            extra = "'dramatiq-websocket[embedded]'" if name == "websockets" else name
            raise Refused(f"the package {name} is not installed: pip install {extra}")


def check_positive(value: float | None, option: str) -> None:
    """`Refused` where an option's number is none, or not above 0."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise Refused(f"{option} is {value:g}; it must be more than 0")


def record_feed(
    settings: Settings,
    name: str,
    path: Path,
    *,
    seconds: float | None,
    frames: int | None,
    masks: Sequence[str],
    recorder: str,
) -> int:
    """Record one feed into a new file; return the exit code."""
    from ingest.tools.record.run import Recording, record

    hide_secrets_of(settings)
    feed = settings.feeds[name]
    code = _references(settings, name).feeds[name]
    maker = SessionMaker(feed, code.session_class, code.headers_function, code.subscribe_function)
    recording = Recording(feed, maker, code.retry_function, path, seconds, frames, tuple(masks), recorder)
    signals = _logging_and_signals()
    try:
        return record(recording, signals.stop, signals.at_once)
    except FileExistsError:
        raise Refused(f"{path} is there already: name another file with -o, or remove it") from None
    except OSError as error:
        raise Refused(f"{path} cannot be written: {_reason(error)}") from None


@contextmanager
def opened(path: Path) -> Iterator[RecordReader]:
    """Open a record; `Refused` where it is none that can be read."""
    from ingest.records.reading import RecordReader

    try:
        record = RecordReader(path)
    except OSError as error:
        raise Refused(f"{path} cannot be read: {_reason(error)}") from None
    except RecordError as error:
        raise Refused(f"{path}: {error}") from None
    with record:
        yield record


def describe(path: Path) -> int:
    """Print what a record holds; return the exit code: 1 where it is not whole."""
    from ingest.records.connections import survey

    with opened(path) as record:
        found = survey(record)
        header = record.header
        started = datetime.fromtimestamp(header.started_us / 1_000_000, UTC).isoformat(timespec="seconds")
        print(f"{path}: feed {header.feed}, recorded {started}, {found.last_us / 1_000_000:.1f} s")
        print(f"  {header.about.get('url', '')} session {header.about.get('session') or '-'}")
        print(f"  {found.attempts} attempts; {found.received} frames received, {found.sent} sent, {found.emitted} payloads")
        for number, each in enumerate(found.connections, start=1):
            if each.status is not None:
                print(f"  connection {number}: refused with {each.status}")
            else:
                end = each.ended_by or "the record ends"
                print(f"  connection {number}: {each.received} received, {each.sent} sent, {each.emitted} payloads; {end}")
        if record.problem is not None:
            print(f"  {record.problem}")
        return 0 if record.problem is None else 1


def replay_to_queue(
    settings: Settings, name: str, record: RecordReader, path: Path, *, speed: float | None, first: int, now: bool
) -> int:
    """Replay an open record into the queue of a feed; return the exit code."""
    from ingest.broker.clients import check_server
    from ingest.service.build import build_broker
    from ingest.tools.replay.queue import QueueReplay
    from ingest.tools.replay.run import replay_to_queue as replay

    hide_secrets_of(settings)
    references = _references(settings, name, middleware=True)
    broker = build_broker(settings, references)
    session_class = references.feeds[name].session_class
    asked = QueueReplay(
        record, settings.feeds[name], session_class, broker, settings.supervisor.group, speed=speed, first=first, now=now
    )
    try:
        check_server(broker.client)
        signals = _logging_and_signals()
        return replay(path, asked, signals.stop, signals.at_once, shown=_configure_logging)
    except BrokerError as error:
        raise SettingsError([Problem("broker.url", str(error))]) from error
    finally:
        broker.close()


def serve(path: Path, host: str, port: int, *, speed: float | None, loop: bool, waits: Waits) -> int:
    """Serve a record until it was played, or a signal; return the exit code: 1 where it is not whole."""
    import asyncio

    from ingest.records.connections import survey
    from ingest.tools.replay.serve import Serving, serve_record

    with opened(path) as record:
        found = survey(record)
        problem = record.problem
    if not found.connections:
        raise Refused(f"{path}: there is no connection in it that reached a server, so there is nothing to serve")
    code = asyncio.run(serve_record(Serving(path, found, host, port, speed, loop, waits)))
    if problem is not None and code == 0:
        print(f"{path}: {problem}; what is whole of it was played", file=sys.stderr)
        return 1
    return code


def _references(settings: Settings, name: str, *, middleware: bool = False) -> References:
    """Return the code of one feed alone; what is wrong with others is no matter here."""
    alone: dict[str, object] = {"feeds": {name: settings.feeds[name]}, "telemetry": TelemetrySettings()}
    if not middleware:
        alone["broker"] = BrokerSettings(url=settings.broker.url)
    return resolve_all(settings.model_copy(update=alone))


def _logging_and_signals() -> StopSignals:
    _configure_logging()
    signals = StopSignals()
    signals.install()
    return signals


def _configure_logging() -> None:
    environment = Environment.read()
    configure_logging(environment.log_level, environment.log_format)


def _reason(error: OSError) -> str:
    """Return what the system says, without the path once more."""
    return os.strerror(error.errno) if error.errno else str(error)
