"""A WebSocket server on loopback whose every connection plays a script.

The rule: whatever goes wrong in a script fails the test that wrote it, at the end of the ``with`` block; and that
end always comes.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl as tls
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

from ingest.clock import Deadline
from ingest.testing.link import Link
from ingest.testing.recording import Recording
from ingest.testing.script import ScriptedConnection, ScriptEnded
from ingest.testing.stream import FOREVER, GRACE, StopSignal, Stream

#: What a connection does: a function of its `ScriptedConnection`.
Script = Callable[[ScriptedConnection], object]


class ScriptedServer:
    """A server for one ``with`` block: the first client to ask for an upgrade gets the first script, the second the second, ….

    Clients beyond the last script get the last one again, or are refused with 503 if ``then`` is "refuse". Without a script a
    client is accepted and listened to. ``timeout`` (seconds) bounds whatever a script waits for; ``ssl`` makes it a ``wss://``
    server.
    """

    def __init__(
        self,
        *scripts: Script,
        then: Literal["repeat", "refuse"] = "repeat",
        ssl: tls.SSLContext | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        timeout: float = 10.0,
    ) -> None:
        self._scripts = scripts or (_listen,)
        self._beyond: Script = self._scripts[-1] if then == "repeat" else _refuse
        self._ssl = ssl
        self._address = (host, port)
        self._timeout = timeout
        self._stop = StopSignal()
        self._upgrades = itertools.count()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._streams: list[Stream] = []
        self._errors: list[tuple[int, BaseException]] = []
        #: Every client so far, in order of arrival; also those that never asked for an upgrade.
        self.recordings: list[Recording] = []

    @property
    def port(self) -> int:
        return int(self._address[1])

    @property
    def url(self) -> str:
        """Where the server is: ``ws://127.0.0.1:port/``, or ``wss://``."""
        return f"{'ws' if self._ssl is None else 'wss'}://{self._address[0]}:{self.port}/"

    def wait_until(self, condition: Callable[[], object], what: str = "the condition", *, timeout: float | None = None) -> None:
        """Wait until ``condition()`` is true, asked again whenever a client did something; `AssertionError` if it never is."""
        deadline = Deadline(self._timeout if timeout is None else timeout)
        with self._changed:
            while not condition():
                if deadline.expired:
                    raise AssertionError(f"{what}: not within {deadline.seconds:g} s")
                self._changed.wait(min(deadline.remaining(), 0.05))  # conditions may also be about the client's side

    def wait_for_connections(self, count: int, *, timeout: float | None = None) -> None:
        """Wait until so many clients have asked for an upgrade."""

        def enough() -> bool:
            return sum(bool(recording.path) for recording in self.recordings) >= count

        self.wait_until(enough, f"{count} connections", timeout=timeout)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(self._address)
        self._listener.settimeout(self._timeout)
        self._address = self._listener.getsockname()[:2]
        self._spawn("accept", self._accept_clients)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stop.set()
        stuck = self._join(GRACE * 2)
        if stuck:  # in a send that nobody reads, or in code of the script itself
            for stream in self._streams:
                stream.abort()
            stuck = self._join(GRACE)
        self._listener.close()
        if not stuck:
            self._stop.close()
        self._report(error, stuck)

    def _report(self, error: BaseException | None, stuck: list[str]) -> None:
        failures = [f"script of connection {number}: {cause or type(cause).__name__}" for number, cause in self._errors]
        failures += [f"{name} did not end: its script waits for something else than its connection" for name in stuck]
        if not failures:
            return
        if error is not None:  # the test has failed already: its own error comes first
            error.add_note("\n".join(failures))
            return
        raise AssertionError("\n".join(failures)) from (self._errors[0][1] if self._errors else None)

    def _join(self, seconds: float) -> list[str]:
        deadline = Deadline(seconds)
        for thread in self._threads:
            thread.join(deadline.remaining())
        return [thread.name for thread in self._threads if thread.is_alive()]

    def _spawn(self, name: str, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name=f"scripted-server-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept_clients(self) -> None:
        while self._stop.wait_readable(self._listener, Deadline(FOREVER), patient=False):
            with contextlib.suppress(OSError):  # the client was gone before we looked
                sock, _ = self._listener.accept()
                stream = Stream(sock, self._stop, self._timeout)
                recording = Recording(len(self.recordings) + 1)
                self._streams.append(stream)
                self.recordings.append(recording)
                self._spawn(str(recording.number), self._serve, stream, recording)

    def _serve(self, stream: Stream, recording: Recording) -> None:
        try:
            link = Link(stream, recording, self._notify)
            if self._tls_done(stream, recording) and self._request_came(link):
                self._play(ScriptedConnection(link, self._stop, self._timeout))
        except Exception as error:  # noqa: BLE001  # whatever a script raises is the test's, and is raised at its end
            self._errors.append((recording.number, error))
        finally:
            stream.finish()
            self._notify()

    def _tls_done(self, stream: Stream, recording: Recording) -> bool:
        try:
            if self._ssl is not None:
                stream.start_tls(self._ssl)
        except OSError as error:
            recording.handshake_error = str(error)
            return False
        return True

    def _request_came(self, link: Link) -> bool:
        deadline = Deadline(self._timeout)
        while link.request is None:
            if not link.pump(deadline):
                link.recording.handshake_error = "no upgrade request came"
                return False
        return True

    def _play(self, connection: ScriptedConnection) -> None:
        number = next(self._upgrades)
        script = self._scripts[number] if number < len(self._scripts) else self._beyond
        with contextlib.suppress(ScriptEnded):
            script(connection)
        connection.play_out()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()


def _listen(connection: ScriptedConnection) -> None:
    connection.accept()


def _refuse(connection: ScriptedConnection) -> None:
    connection.refuse(503)
