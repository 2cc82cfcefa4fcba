"""DNS in a thread that can be left behind, because ``getaddrinfo`` can be neither interrupted nor bounded.

The rule: nobody waits for the thread longer than the opening allows, and there is at most one per name: an attempt that
finds its predecessor's thread still asking waits for the same answer.
"""

from __future__ import annotations

import socket
import threading
from typing import Any, Literal

from ingest.connection.opening import Opening

#: ``(family, address)`` as `socket.socket` and its ``connect`` take them.
Address = tuple[socket.AddressFamily, tuple[Any, ...]]

Family = Literal["any", "ipv4", "ipv6"]

FAMILIES: dict[Family, socket.AddressFamily] = {
    "any": socket.AF_UNSPEC,
    "ipv4": socket.AF_INET,
    "ipv6": socket.AF_INET6,
}

#: Seconds between two looks at the stop and the deadline; the answer itself is noticed at once.
LOOK_EVERY = 0.05

_Question = tuple[str, int, Family]


class _Lookup(threading.Thread):
    """One question to the resolver, and its answer."""

    def __init__(self, question: _Question) -> None:
        super().__init__(name=f"dns-{question[0]}", daemon=True)
        self._question = question
        self.answered = threading.Event()
        self.addresses: list[Address] = []
        self.failure: str | None = None

    def run(self) -> None:
        host, port, family = self._question
        try:
            found = socket.getaddrinfo(host, port, FAMILIES[family], socket.SOCK_STREAM, socket.IPPROTO_TCP)
            self.addresses = [(entry[0], entry[4]) for entry in found]
        except (OSError, UnicodeError) as error:  # UnicodeError: a label that is empty or too long
            self.failure = error.strerror if isinstance(error, OSError) and error.strerror else "not a valid name"
        finally:
            with _lock:
                _running.pop(self._question, None)
            self.answered.set()


_lock = threading.Lock()
_running: dict[_Question, _Lookup] = {}


def resolve(host: str, port: int, family: Family, opening: Opening) -> list[Address]:
    """Return the addresses of a host, in the system's order of preference; at least one."""
    opening.step = "dns"
    lookup = _ask((host, port, family))
    while not lookup.answered.wait(LOOK_EVERY):
        opening.remaining()
    opening.remaining()
    if lookup.failure is not None or not lookup.addresses:
        raise opening.failed(f"{host}: {lookup.failure or 'no address'}")
    return lookup.addresses


def _ask(question: _Question) -> _Lookup:
    with _lock:
        lookup = _running.get(question)
        if lookup is None:
            lookup = _running[question] = _Lookup(question)
            lookup.start()
        return lookup
