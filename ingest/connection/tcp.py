"""A TCP connection to the first of several addresses that answers (RFC 8305).

The rule: a silent address delays the next one by a quarter of a second, it does not use up the deadline.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections import deque
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from ingest.clock import Deadline
from ingest.connection.opening import Opening
from ingest.connection.resolve import Address
from settings.model import SocketSettings

#: Seconds that an address has to itself before the next one is tried beside it (RFC 8305, 5).
HEAD_START = 0.25

#: Seconds of silence before keepalive probes, seconds between them, and how many may fail.
_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPALIVE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))


class _Race:
    """The connects under way; the first to succeed is the winner."""

    def __init__(self, addresses: Sequence[Address], settings: SocketSettings) -> None:
        self.waiting = deque(addresses)
        self.running: dict[int, tuple[socket.socket, Address]] = {}
        self.failures: list[str] = []
        self._settings = settings

    def start_next(self) -> None:
        """Begin to connect to the next address; what fails at once is noted."""
        family, address = self.waiting.popleft()
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            self._failed(address, error.errno)
            return
        try:
            _configure(sock, family, self._settings)
            code = sock.connect_ex(address)
        except OSError as error:
            code = error.errno or errno.EINVAL
        if code in (0, errno.EINPROGRESS):
            self.running[sock.fileno()] = sock, (family, address)
        else:
            sock.close()
            self._failed(address, code)

    def winner(self, ready: Sequence[int]) -> socket.socket | None:
        """Return the connected one among those that are ready; drop those that failed."""
        for descriptor in ready:
            sock, (_, address) = self.running.pop(descriptor)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code == 0:
                return sock
            sock.close()
            self._failed(address, code)
        return None

    def close(self) -> None:
        for sock, _ in self.running.values():
            sock.close()

    def _failed(self, address: tuple[Any, ...], code: int | None) -> None:
        self.failures.append(f"{address[0]} port {address[1]}: {os.strerror(code or errno.EINVAL)}")


def connect(addresses: Sequence[Address], settings: SocketSettings, opening: Opening) -> socket.socket:
    """Return a connected, non-blocking socket."""
    opening.step = "tcp"
    race = _Race(_usable(addresses, settings, opening), settings)
    try:
        while race.waiting or race.running:
            head_start = Deadline(HEAD_START)
            if race.waiting:
                race.start_next()
            while race.running:
                at_most = head_start.remaining() if race.waiting else float("inf")
                ready = opening.wait(dict.fromkeys(race.running, select.POLLOUT), at_most)
                if (winner := race.winner(ready)) is not None:
                    return winner
                if race.waiting:
                    break  # this one failed, or its head start is over
    finally:
        race.close()
    raise opening.failed("; ".join(race.failures[-3:]))


def _usable(addresses: Sequence[Address], settings: SocketSettings, opening: Opening) -> Sequence[Address]:
    """Leave out the addresses that cannot be reached from the source address."""
    source = settings.source_address
    if source is None:
        return addresses
    family = socket.AF_INET if ip_address(source).version == 4 else socket.AF_INET6
    usable = [address for address in addresses if address[0] == family]
    if not usable:
        raise opening.failed(f"no address of the server can be reached from source_address {source}")
    return usable


def _configure(sock: socket.socket, family: int, settings: SocketSettings) -> None:
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if settings.keepalive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if hasattr(socket, name):  # not all systems have all of them
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    if settings.source_address is not None:
        sock.bind((settings.source_address, 0))
