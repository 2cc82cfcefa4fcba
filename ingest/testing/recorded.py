"""A recorded feed in a test: as a server that plays it, and as frames for a session.

The rule: a record that is not whole is an `AssertionError` before anything is tested with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from ingest.clock import monotonic
from ingest.connection.session import Session
from ingest.errors import IngestError
from ingest.records.connections import NO_CODE, Await, Close, Connection, Cut, Finish, Linger, Send, Step, steps_of, survey
from ingest.records.delivered import Delivered
from ingest.records.format import PING, EmittedEntry, Entry, EventEntry, FrameEntry, Header
from ingest.records.reading import RecordReader
from ingest.testing.script import ScriptedConnection
from ingest.testing.server import Script, ScriptedServer
from ingest.testing.session import SessionRun, run_session
from settings.masking import MASK
from settings.model import FeedSettings

#: What is waited for of the client: its first frames, those with the recorded content, or nothing.
Expects = Literal["subscribe", "exactly", "nothing"]


@dataclass(frozen=True, slots=True)
class Record:
    """All of a record: ``header``, and for every connection that was upgraded what came (``connections``).

    ``payloads`` are those that the session emitted when it was recorded, as an actor got them.
    """

    header: Header
    entries: tuple[Entry, ...]

    @classmethod
    def load(cls, path: str | Path) -> Record:
        """Read a record; `AssertionError` where there is none, or not a whole one."""
        try:
            with RecordReader(Path(path)) as reader:
                entries = tuple(reader)
                problem = reader.problem
        except (OSError, IngestError) as error:
            raise AssertionError(f"{path}: {error}") from error
        if problem is not None:
            raise AssertionError(f"{path}: {problem}")
        return cls(reader.header, entries)

    @property
    def connections(self) -> list[list[str | bytes]]:
        """The messages of the server, a list for each connection that was upgraded."""
        found: list[list[str | bytes]] = []
        for entry in self.entries:
            if isinstance(entry, EventEntry) and entry.name == "upgraded":
                found.append([])
            elif isinstance(entry, FrameEntry) and entry.is_data and not entry.outbound and found:
                found[-1].append(entry.message)
        return found

    @property
    def frames(self) -> list[str | bytes]:
        """The messages of the server, over all connections."""
        return [message for messages in self.connections for message in messages]

    @property
    def payloads(self) -> list[Any]:
        """What the session emitted, as an actor got it."""
        return [value for entry in self.entries if isinstance(entry, EmittedEntry) for value in entry.payloads]


@dataclass(frozen=True, slots=True)
class RecordRun:
    """What a session did with a record: a `SessionRun` for each connection, and all ``payloads``, as an actor gets them."""

    runs: tuple[SessionRun, ...]
    payloads: list[Any]


def run_record(
    session_class: type[Session],
    path: str | Path,
    *,
    feed: FeedSettings | None = None,
    session_args: Mapping[str, Any] | None = None,
) -> RecordRun:
    """Run a session over a record: a new one for each recorded connection, with one memory, as `run_session` does.

    ``run_record(Trades, path).payloads == Record.load(path).payloads`` says that it does what it did when it was recorded.
    ``feed`` defaults to one with the recorded rules for payloads.
    """
    record = Record.load(path)
    feed = feed if feed is not None else _feed_of(record.header)
    delivered = Delivered(feed)
    memory: dict[str, Any] = {}
    runs: list[SessionRun] = []
    payloads: list[Any] = []
    for frames in record.connections:
        run = run_session(session_class, frames, feed=feed, session_args=session_args, memory=memory)
        delivered.take(run.emitted, payloads)
        runs.append(run)
    return RecordRun(tuple(runs), payloads)


class RecordedFeed:
    """A server that plays a record, for one ``with`` block, and what is expected of who connects to it.

    The first client gets the first recorded connection, the second the second, …; beyond the last they are refused (503). Closes,
    cuts and refusals come as recorded; after the last frame of a record that ended before its connection did, the server listens.

    Parameters:
      speed: recorded seconds in one; None: at once.
      expects: what the client has to say: "subscribe" (as many frames as were sent right after the upgrade), "exactly" (those
        very frames; what was masked may be anything), "nothing".
      timeout: seconds that the server waits for the client at most.
    """

    def __init__(
        self, path: str | Path, *, speed: float | None = None, expects: Expects = "subscribe", timeout: float = 10.0
    ) -> None:
        self.record = Record.load(path)
        self._speed = speed
        self._expects = expects
        scripts = [self._script(number, each) for number, each in enumerate(survey(self.record.entries).connections)]
        assert scripts, f"{path}: no recorded connection reached a server"
        #: The server itself, with what its clients did (`ScriptedServer.recordings`).
        self.server = ScriptedServer(*scripts, then="refuse", timeout=timeout)

    @property
    def url(self) -> str:
        """Where the server is."""
        return self.server.url

    @property
    def frames(self) -> list[str | bytes]:
        """The messages that the server sends, over all connections."""
        return self.record.frames

    @property
    def payloads(self) -> list[Any]:
        """What the session emitted when it was recorded, as an actor got it."""
        return self.record.payloads

    def __enter__(self) -> Self:
        self.server.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.server.__exit__(kind, error, trace)

    def _script(self, number: int, connection: Connection) -> Script:
        if connection.status is not None:
            return _refusing(connection.status, connection.retry_after)
        steps = list(steps_of(self.record.entries, number))

        def play(client: ScriptedConnection) -> None:
            client.accept(subprotocol=connection.subprotocol)
            began = monotonic()
            for step in steps:
                self._wait(client, step, began)
                self._do(client, step)

        return play

    def _wait(self, client: ScriptedConnection, step: Step, began: float) -> None:
        if self._speed is not None:
            seconds = began + step.at_us / 1_000_000 / self._speed - monotonic()
            if seconds > 0:
                client.listen(seconds)

    def _do(self, client: ScriptedConnection, step: Step) -> None:
        match step:
            case Send(entry=entry) if entry.opcode == PING:
                client.ping(entry.payload)
            case Send(entry=entry):
                client.send(entry.message)
            case Await(entry=entry, subscribes=True) if self._expects != "nothing":
                client.expect(_as_recorded(entry) if self._expects == "exactly" else None)
            case Close(code=code, reason=reason):
                client.close(None if code == NO_CODE else code, reason)
            case Cut():
                client.hang_up()  # in order: a reset would take with it what the client has not read yet
            case Await() | Linger() | Finish():
                pass  # the server goes on listening until the client leaves


def _refusing(status: int, retry_after: float | None) -> Script:
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:.0f}"}

    def refuse(client: ScriptedConnection) -> None:
        client.refuse(status, headers)

    return refuse


def _as_recorded(entry: FrameEntry) -> Callable[[str | bytes], bool]:
    recorded = entry.message

    def as_recorded(message: str | bytes) -> bool:
        if message == recorded:
            return True
        try:
            return isinstance(recorded, str) and _same(json.loads(recorded), json.loads(message))
        except ValueError:
            return False

    as_recorded.__name__ = f"{recorded!r} (as recorded)"
    return as_recorded


def _same(recorded: Any, value: Any) -> bool:
    """Compare JSON values; what was masked is as good as anything."""
    if recorded == MASK:
        return True
    if isinstance(recorded, dict) and isinstance(value, dict):
        return recorded.keys() == value.keys() and all(_same(recorded[key], value[key]) for key in recorded)
    if isinstance(recorded, list) and isinstance(value, list):
        return len(recorded) == len(value) and all(map(_same, recorded, value))
    return bool(recorded == value)


def _feed_of(header: Header) -> FeedSettings:
    rules = {name: header.about[name] for name in ("payload", "binary") if name in header.about}
    return FeedSettings.model_validate({"name": header.feed, "url": "ws://server.test/", "actor": "test", **rules})


#: What a fixture of `ingest.testing.pytest_plugin` is: it takes what `RecordedFeed` takes, and ends with the test.
OpenRecordedFeed = Callable[..., RecordedFeed]
