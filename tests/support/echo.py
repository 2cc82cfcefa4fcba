"""A real WebSocket server (`websockets`) that sends back what it receives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from websockets.sync.server import ServerConnection, serve


def echo(connection: ServerConnection) -> None:
    """Send every message back."""
    for message in connection:
        connection.send(message)


@contextmanager
def websockets_server(handler: Callable[[ServerConnection], None] = echo, **options: Any) -> Iterator[int]:
    """Run a server for the block; ``options`` are `websockets.sync.server.serve`'s own. Gives its port."""
    host = options.pop("host", "127.0.0.1")
    with serve(handler, host, 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join(10)
