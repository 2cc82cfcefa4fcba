"""The opening's deadline and stop, and its blocking socket, over a stream that is scripted."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator

import pytest

from ingest.connection.opening import Opening, OpeningSocket
from ingest.connection.stream import TCPStream
from ingest.connection.wakeup import Wakeup
from ingest.errors import DialFailed, OpenTimedOut, Stopped
from tests.support.connections import ManualClock


@pytest.fixture
def wakeup() -> Iterator[Wakeup]:
    wakeup = Wakeup()
    yield wakeup
    wakeup.close()


@pytest.fixture
def pair() -> Iterator[tuple[TCPStream, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(10)
        yield TCPStream(ours), theirs


def never() -> bool:
    return False


def after(calls: int) -> Callable[[], bool]:
    """A ``stopping`` that becomes true after so many looks."""
    looks = iter(range(calls))
    return lambda: next(looks, None) is None


def test_what_remains_goes_down_to_the_timeout_of_the_current_step(wakeup: Wakeup) -> None:
    clock = ManualClock()
    opening = Opening(10.0, wakeup, never, clock)
    clock.now += 4.0
    assert opening.remaining() == 6.0
    opening.step = "tls"
    clock.now += 6.0

    with pytest.raises(OpenTimedOut) as raised:
        opening.remaining()
    assert raised.value == OpenTimedOut("tls", 10.0)


def test_a_stop_is_told_rather_than_a_timeout(wakeup: Wakeup) -> None:
    clock = ManualClock()
    opening = Opening(1.0, wakeup, lambda: True, clock)
    clock.now += 2.0

    with pytest.raises(Stopped):
        opening.remaining()


def test_a_wait_returns_what_is_ready_or_nothing_after_its_own_bound(
    wakeup: Wakeup, pair: tuple[TCPStream, socket.socket]
) -> None:
    stream, theirs = pair
    opening = Opening(30.0, wakeup, never)
    interest = {stream.fileno(): select.POLLIN}
    assert opening.wait(interest, at_most=0.01) == []
    theirs.send(b"x")

    assert opening.wait(interest) == [stream.fileno()]


def test_a_wait_notices_a_stop_without_a_wakeup(wakeup: Wakeup, pair: tuple[TCPStream, socket.socket]) -> None:
    stream, _ = pair
    opening = Opening(30.0, wakeup, after(3))

    with pytest.raises(Stopped):
        opening.wait({stream.fileno(): select.POLLIN})


@pytest.mark.parametrize("woken", [True, False])
def test_a_wakeup_is_given_back_at_the_end(wakeup: Wakeup, woken: bool) -> None:
    opening = Opening(30.0, wakeup, never)
    if woken:
        wakeup.set()
    opening.wait({}, at_most=0.01)
    assert select.select([wakeup.fileno()], [], [], 0)[0] == []
    opening.finish()

    assert bool(select.select([wakeup.fileno()], [], [], 0)[0]) is woken


def test_the_socket_reads_as_much_as_is_asked_for(wakeup: Wakeup, pair: tuple[TCPStream, socket.socket]) -> None:
    stream, theirs = pair
    sock = OpeningSocket(stream, Opening(30.0, wakeup, never))
    theirs.sendall(b"abcdef")

    assert [sock.recv(1), sock.recv(3), sock.leftover(), sock.leftover()] == [b"a", b"bcd", b"ef", b""]


def test_a_head_is_read_and_what_follows_it_left(wakeup: Wakeup, pair: tuple[TCPStream, socket.socket]) -> None:
    stream, theirs = pair
    sock = OpeningSocket(stream, Opening(30.0, wakeup, never))
    theirs.sendall(b"HTTP/1.1 200 OK\r\n\r\nnext")

    assert sock.read_head(100) == b"HTTP/1.1 200 OK\r\n\r\n"
    assert sock.leftover() == b"next"


@pytest.mark.parametrize(("length", "fits"), [(100, True), (101, False)])
def test_a_head_longer_than_the_limit_is_refused(
    wakeup: Wakeup, pair: tuple[TCPStream, socket.socket], length: int, fits: bool
) -> None:
    stream, theirs = pair
    sock = OpeningSocket(stream, Opening(30.0, wakeup, never))
    head = b"x" * (length - 4) + b"\r\n\r\n"
    theirs.sendall(head)

    if fits:
        assert sock.read_head(100) == head
    else:
        with pytest.raises(ValueError, match="longer than 100 bytes"):
            sock.read_head(100)


def test_the_end_of_the_stream_fails_the_step(wakeup: Wakeup, pair: tuple[TCPStream, socket.socket]) -> None:
    stream, theirs = pair
    sock = OpeningSocket(stream, Opening(30.0, wakeup, never, step="proxy"))
    theirs.sendall(b"half a he")
    theirs.shutdown(socket.SHUT_WR)

    with pytest.raises(DialFailed) as raised:
        sock.read_head(100)
    assert raised.value == DialFailed("proxy", "the peer ended the stream")


def test_read_some_returns_nothing_at_the_end_and_after_its_bound(wakeup: Wakeup, pair: tuple[TCPStream, socket.socket]) -> None:
    stream, theirs = pair
    sock = OpeningSocket(stream, Opening(30.0, wakeup, never))
    assert sock.read_some(0.01) == b""
    theirs.sendall(b"some")
    assert sock.read_some(10.0) == b"some"
    theirs.shutdown(socket.SHUT_WR)

    assert sock.read_some(10.0) == b""
    assert sock.read_some(10.0) == b""


def test_sending_to_who_takes_nothing_ends_at_the_deadline(wakeup: Wakeup, pair: tuple[TCPStream, socket.socket]) -> None:
    stream, _ = pair
    opening = Opening(0.1, wakeup, never, step="upgrade")

    with pytest.raises(OpenTimedOut) as raised:
        OpeningSocket(stream, opening).sendall(bytes(16 * 1024 * 1024))
    assert raised.value == OpenTimedOut("upgrade", 0.1)


def test_sending_to_who_has_left_fails_the_step(wakeup: Wakeup, pair: tuple[TCPStream, socket.socket]) -> None:
    stream, theirs = pair
    theirs.close()

    with pytest.raises(DialFailed) as raised:
        OpeningSocket(stream, Opening(30.0, wakeup, never, step="upgrade")).sendall(b"hello")
    assert raised.value == DialFailed("upgrade", "the peer reset the connection")
