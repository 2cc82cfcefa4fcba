"""The packed command, read back as a server would read it."""

from __future__ import annotations

from typing import NamedTuple

from ingest.broker.keys import Keys
from ingest.broker.limits import Limits
from ingest.broker.packing import BatchPacker, Position, command, queues_of


class One(NamedTuple):
    queue: str
    id: bytes
    data: bytes


LIMITS = {"a": Limits(high=100, low=1, rate=2.5, burst=10), "b": Limits(high=7, low=1)}


def unpacked(packed: bytes) -> list[bytes]:
    """Return the arguments of one RESP command, checking every length."""
    head, rest = packed.split(b"\r\n", 1)
    arguments = []
    for _ in range(int(head.removeprefix(b"*"))):
        size, rest = rest.split(b"\r\n", 1)
        length = int(size.removeprefix(b"$"))
        arguments.append(rest[:length])
        assert rest[length : length + 2] == b"\r\n"
        rest = rest[length + 2 :]
    assert rest == b""
    return arguments


def pack(*messages: One) -> list[bytes]:
    packer = BatchPacker("sha", "ns:feed", Keys("ns"), LIMITS.__getitem__)
    at = Position("me", "p.x", "0:n:", 3, 9)
    return unpacked(packer.pack(at, queues_of(messages), messages))


def test_one_queue_is_one_run() -> None:
    arguments = pack(One("a", b"1", b"x"), One("a", b"22", b""))
    assert arguments[:7] == [b"EVALSHA", b"sha", b"4", b"ns:feed", b"ns:a", b"ns:a.msgs", b"ns:__rate__.a"]
    assert arguments[7:16] == [b"me", b"p.x", b"0:n:", b"3", b"9", b"1", b"100", b"2.5", b"10"]
    assert arguments[16:] == [b"1", b"1", b"2", b"1", b"x", b"22", b""]


def test_consecutive_messages_for_one_queue_are_a_run() -> None:
    messages = [One(queue, b"i", b"d\r\n$1\r\n") for queue in "bbabb"]
    arguments = pack(*messages)
    assert arguments[2:10] == [b"7", b"ns:feed", b"ns:a", b"ns:a.msgs", b"ns:__rate__.a", b"ns:b", b"ns:b.msgs", b"ns:__rate__.b"]
    assert arguments[15:22] == [b"2", b"100", b"2.5", b"10", b"7", b"0", b"0"]
    assert arguments[22:29] == [b"3", b"2", b"2", b"1", b"1", b"2", b"2"]
    assert arguments[29:] == [b"i", b"d\r\n$1\r\n"] * 5


def test_arguments_of_any_length_are_told_by_their_length() -> None:
    lengths = [0, 1, 9, 10, 99, 100, 4095, 4096, 4097, 70_000]
    messages = [One("a", b"i" * (n % 50), b"d" * n) for n in lengths * 2]
    assert pack(*messages)[19:] == [part for one in messages for part in (one.id, one.data)]


def test_texts_outside_ascii_are_measured_in_bytes() -> None:
    assert unpacked(command("SET", "schlüssel", "€")) == [b"SET", "schlüssel".encode(), "€".encode()]


def test_very_many_routes_are_not_all_remembered() -> None:
    packer = BatchPacker("sha", "ns:feed", Keys("ns"), lambda _: Limits())
    for number in range(1000):
        packer.pack(Position("", "f", "p", 0, 1), (f"q{number}",), [One(f"q{number}", b"i", b"d")])
    assert len(packer._routes) <= 256
