"""A way to a server on which packets can vanish: both ends keep their connections and hear nothing any more."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from tests.support.raw_server import RawServer


class HalfOpenProxy(RawServer):
    """Relays to a port on loopback, or to a Unix socket.

    What was connected while it swallowed is dead for ever, as after a firewall's time-out.
    """

    def __init__(self, target: int | Path) -> None:
        super().__init__(self._serve)
        self._target = target
        self._epoch = 0
        self._swallowing = False

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/"

    @property
    def redis_url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def swallow(self) -> None:
        """From now on let nothing pass, neither bytes nor ends."""
        self._swallowing = True
        self._epoch += 1

    def heal(self) -> None:
        """Let new connections pass."""
        self._swallowing = False
        self._epoch += 1

    def _serve(self, connection: socket.socket) -> None:
        epoch = self._epoch
        if self._swallowing:
            self.closing.wait()
            return
        with self._dial() as upstream:
            back = threading.Thread(target=self._pump, args=(upstream, connection, epoch), daemon=True)
            back.start()
            self._pump(connection, upstream, epoch)
            back.join()

    def _dial(self) -> socket.socket:
        if isinstance(self._target, int):
            return socket.create_connection(("127.0.0.1", self._target))
        upstream = socket.socket(socket.AF_UNIX)
        upstream.connect(str(self._target))
        return upstream

    def _pump(self, source: socket.socket, sink: socket.socket, epoch: int) -> None:
        """Pass bytes on; once they are swallowed, keep both sides open and read on, so that nobody is held up."""
        source.settimeout(0.1)
        while not self.closing.is_set():
            try:
                data = source.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                data = b""
            if self._epoch == epoch:
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)
            elif not data:
                return
