"""Names to addresses."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from ingest.connection import resolve as module
from ingest.connection.opening import Opening
from ingest.connection.resolve import resolve
from ingest.connection.wakeup import Wakeup
from ingest.errors import DialFailed


@pytest.fixture
def opening() -> Iterator[Opening]:
    wakeup = Wakeup()
    yield Opening(30.0, wakeup, lambda: False, step="tls")
    wakeup.close()


def test_a_literal_address_is_its_own_answer(opening: Opening) -> None:
    assert resolve("127.0.0.1", 80, "any", opening) == [(socket.AF_INET, ("127.0.0.1", 80))]
    assert opening.step == "dns"


def test_the_family_restricts_the_answer(opening: Opening) -> None:
    assert {family for family, _ in resolve("localhost", 80, "ipv4", opening)} == {socket.AF_INET}
    with pytest.raises(DialFailed) as raised:
        resolve("127.0.0.1", 80, "ipv6", opening)
    assert raised.value.step == "dns"


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".example", "a..example"])
def test_a_name_without_an_answer_is_named(opening: Opening, host: str) -> None:
    with pytest.raises(DialFailed) as raised:
        resolve(host, 80, "any", opening)

    assert raised.value.step == "dns"
    assert raised.value.detail.startswith(f"{host}: ")


def test_an_empty_answer_is_no_address(opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.socket, "getaddrinfo", lambda *_: [])

    with pytest.raises(DialFailed) as raised:
        resolve("empty.example", 80, "any", opening)
    assert raised.value == DialFailed("dns", "empty.example: no address")


def test_who_asks_the_same_at_the_same_time_gets_the_same_answer(opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    both, release = threading.Barrier(2), threading.Event()

    def getaddrinfo(host: str, port: int, *_: object) -> list[object]:
        asked.append(host)
        release.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{len(asked)}", port))]

    def ask() -> None:
        both.wait(10)
        answers.append(resolve("twice.example", 80, "any", opening))

    monkeypatch.setattr(module.socket, "getaddrinfo", getaddrinfo)
    answers: list[object] = []
    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    threading.Timer(0.2, release.set).start()
    for thread in threads:
        thread.join(30)

    assert answers == [[(socket.AF_INET, ("127.0.0.1", 80))]] * 2
    assert asked == ["twice.example"]
    assert resolve("twice.example", 80, "any", opening) == [(socket.AF_INET, ("127.0.0.2", 80))]  # not a cache
