"""The race of several addresses, on loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from ingest.connection.opening import Opening
from ingest.connection.tcp import connect
from ingest.connection.wakeup import Wakeup
from ingest.errors import DialFailed
from settings.model import SocketSettings


@pytest.fixture
def opening() -> Iterator[Opening]:
    wakeup = Wakeup()
    yield Opening(30.0, wakeup, lambda: False)
    wakeup.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def here(listener: socket.socket) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    return socket.AF_INET, listener.getsockname()


def refusing(number: int) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    return socket.AF_INET, (f"127.0.0.{number}", 1)


def test_the_first_that_answers_wins_and_does_not_block(opening: Opening, listener: socket.socket) -> None:
    with connect([refusing(1), refusing(2), here(listener)], SocketSettings(), opening) as winner:
        assert winner.getpeername() == listener.getsockname()
        assert winner.gettimeout() == 0.0
    assert opening.step == "tcp"


def test_of_many_failures_the_last_three_are_told(opening: Opening) -> None:
    with pytest.raises(DialFailed) as raised:
        connect([refusing(number) for number in range(1, 6)], SocketSettings(), opening)

    told = "; ".join(f"127.0.0.{number} port 1: Connection refused" for number in (3, 4, 5))
    assert raised.value == DialFailed("tcp", told)


def test_an_unusable_address_does_not_stop_the_next_one(opening: Opening, listener: socket.socket) -> None:
    no_such_family: Any = (9999, ("127.0.0.1", 1))
    unroutable = (socket.AF_INET, ("255.255.255.255", 1))
    with connect([no_such_family, unroutable, here(listener)], SocketSettings(), opening) as winner:
        assert winner.getpeername() == listener.getsockname()


@pytest.mark.parametrize("keepalive", [True, False])
def test_options(opening: Opening, listener: socket.socket, keepalive: bool) -> None:
    with connect([here(listener)], SocketSettings(keepalive=keepalive), opening) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)) is keepalive
        if keepalive and hasattr(socket, "TCP_KEEPINTVL"):
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 10


def test_the_source_address_leaves_out_the_other_family(opening: Opening, listener: socket.socket) -> None:
    addresses = [(socket.AF_INET6, ("::1", 1, 0, 0)), here(listener)]
    with connect(addresses, SocketSettings(source_address="127.0.0.9"), opening) as sock:
        assert sock.getsockname()[0] == "127.0.0.9"
