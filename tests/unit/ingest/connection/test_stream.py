"""The TCP stream: nothing of it waits, and its end is a fact that stays."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest

from ingest.connection.stream import READ_BYTES, TCPStream, describe
from ingest.errors import ConnectionDropped


@pytest.fixture
def pair() -> Iterator[tuple[TCPStream, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(10)
        yield TCPStream(ours), theirs


def test_receive_returns_what_is_there_and_nothing_where_nothing_is(pair: tuple[TCPStream, socket.socket]) -> None:
    stream, theirs = pair
    assert stream.receive() == b""
    theirs.sendall(b"here")

    assert stream.receive() == b"here"
    assert stream.receive() == b""
    assert stream.ended is None


def test_what_was_received_stays_what_it_was(pair: tuple[TCPStream, socket.socket]) -> None:
    stream, theirs = pair
    received = []
    for data in (b"first, and longer", b"second"):
        theirs.sendall(data)
        received.append(stream.receive())
    assert received == [b"first, and longer", b"second"]


def test_the_end_is_told_after_the_last_bytes(pair: tuple[TCPStream, socket.socket]) -> None:
    stream, theirs = pair
    theirs.sendall(b"last")
    theirs.close()

    assert stream.receive() == b"last"
    assert stream.ended is None
    assert stream.receive() == b""
    assert stream.ended == "the peer ended the stream"


def test_flush_sends_what_can_be_sent_and_goes_on_later(pair: tuple[TCPStream, socket.socket]) -> None:
    stream, theirs = pair
    data = bytes(range(256)) * 4 * 4096
    stream.queue(data[:100])
    stream.queue(data[100:])
    assert not stream.flush()

    taken = bytearray()
    while len(taken) < len(data):
        taken += theirs.recv(READ_BYTES)
        stream.flush()
    assert taken == data
    assert stream.flush()


def test_sending_to_who_has_left_is_a_drop(pair: tuple[TCPStream, socket.socket]) -> None:
    stream, theirs = pair
    theirs.close()
    stream.queue(b"hello")

    with pytest.raises(ConnectionDropped, match="reset"):
        stream.flush()


def test_end_tells_the_peer_and_leaves_reading_possible(pair: tuple[TCPStream, socket.socket]) -> None:
    stream, theirs = pair
    stream.end()
    assert theirs.recv(1) == b""
    theirs.sendall(b"still")

    assert stream.receive() == b"still"


@pytest.mark.parametrize("how", ["close", "abort"])
def test_closing_is_final_and_repeatable(pair: tuple[TCPStream, socket.socket], how: str) -> None:
    stream, theirs = pair
    for _ in range(2):
        if how == "close":
            stream.close()
        else:
            stream.abort()

    assert stream.ended == "closed by us"
    assert stream.fileno() == -1
    assert theirs.recv(1) == b""
    stream.end()
    stream.queue(b"x")
    with pytest.raises(ConnectionDropped):
        stream.flush()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionResetError(errno.ECONNRESET, "x"), "the peer reset the connection"),
        (BrokenPipeError(errno.EPIPE, "x"), "the peer reset the connection"),
        (OSError(errno.EHOSTUNREACH, "/secret"), "No route to host"),
        (OSError("no number"), "OSError"),
    ],
)
def test_errors_are_told_in_the_systems_words(error: OSError, words: str) -> None:
    assert describe(error) == words
