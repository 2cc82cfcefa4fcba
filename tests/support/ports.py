"""A port for a command that must be told one, and cannot say which it took.

The rule: it lies below those that systems give to whoever asks for any, so that no connection of another test takes it meanwhile.
"""

from __future__ import annotations

import random
import socket

_FIRST, _LAST = 20_000, 32_000


def unused_port() -> int:
    """Return a port of this machine on which nobody listens."""
    for port in random.sample(range(_FIRST, _LAST), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no port between {_FIRST} and {_LAST} is unused")
