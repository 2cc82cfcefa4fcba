"""Leases: what is asked of lease.lua, what its answers mean, what its failures are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from ingest.broker.keys import Keys
from ingest.broker.lease import Held, Leases, Renewal, Renewed, Taken, Terms, take_arguments
from ingest.broker.scripts import LEASE
from ingest.errors import BrokerError, BrokerRefused, BrokerTimedOut, BrokerUnreachable


class ScriptedClient:
    """Answers every call of the script with what it was given; an exception is raised."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.calls: list[tuple[list[str], tuple[str, ...]]] = []

    def register_script(self, source: str) -> Callable[..., Any]:
        assert source == LEASE.source
        return self._call

    def _call(self, keys: list[str], arguments: tuple[str, ...]) -> Any:
        self.calls.append((keys, arguments))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def leases(client: ScriptedClient) -> Leases:
    return Leases(client, Keys("ns"), "group", 5.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(("seconds", "milliseconds"), [(5.0, "5000"), (0.25, "250"), (600.0, "600000"), (1.0006, "1001")])
def test_terms_are_whole_milliseconds(seconds: float, milliseconds: str) -> None:
    assert Terms(seconds).milliseconds == milliseconds


@pytest.mark.parametrize(
    ("seen", "again", "arguments"),
    [
        (None, False, ("take", "me", "5000", "", "", "url", "1", "")),
        (Held("other", "17"), False, ("take", "me", "5000", "other", "17", "url", "1", "")),
        (None, True, ("take", "me", "5000", "", "", "url", "1", "1")),
    ],
)
def test_a_take_names_who_is_known_to_be_dead_and_whether_it_is_one_again(
    seen: Held | None, again: bool, arguments: tuple[str, ...]
) -> None:
    assert take_arguments("me", Terms(5.0, "url"), seen, again=again) == arguments


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        ([b"taken", b"1", b"", b"", b"", b"", b""], Taken(1, "", 0, "", 0, 0)),
        (
            [b"taken", b"12", b"old", b"1790000000123", b'{"a":1}', b"77", b"1789"],
            Taken(12, "old", 1_790_000_000_123_000, '{"a":1}', 77, 1789),
        ),
        ([b"held", b"other", b"4"], Held("other", "4")),
        ([b"other", b"other", b"4"], Held("other", "4", is_other=True)),
    ],
)
def test_what_a_take_answers(answer: list[bytes], meaning: Taken | Held) -> None:
    client = ScriptedClient(answer)
    assert leases(client).take("trades", "me", Terms(5.0, "url")) == meaning
    assert client.calls == [(["ns:__feed__.group.trades"], take_arguments("me", Terms(5.0, "url"), None))]


def test_renews_all_in_one_call_and_answers_in_their_order() -> None:
    client = ScriptedClient([[b"ok", b"41"], [b"ok", b""], [b"fenced", b"other"], [b"gone", b""]])
    renewals = [Renewal("a", "p"), Renewal("b", "q", '{"at":7}', 1789), Renewal("c", "r"), Renewal("d", "s")]
    assert leases(client).renew(renewals) == [
        Renewed("ok", 41),
        Renewed("ok", None),
        Renewed("fenced", leader="other"),
        Renewed("gone"),
    ]
    [(keys, arguments)] = client.calls
    assert keys == [f"ns:__feed__.group.{feed}" for feed in "abcd"]
    assert arguments == ("renew", "5000", "p", "", "", "q", '{"at":7}', "1789", "r", "", "", "s", "", "")


@pytest.mark.parametrize(("answer", "was_ours"), [(1, True), (0, False)])
def test_a_release_tells_whether_it_was_ours(answer: int, was_ours: bool) -> None:
    client = ScriptedClient(answer)
    assert leases(client).release("trades", "me", "{}") is was_ours
    assert client.calls == [(["ns:__feed__.group.trades"], ("release", "me", "{}", ""))]


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (redis.TimeoutError("slow"), BrokerTimedOut),
        (redis.ConnectionError("gone"), BrokerUnreachable),
        (redis.exceptions.ReadOnlyError("replica"), BrokerRefused),
        (redis.ResponseError("WRONGTYPE not a hash"), BrokerRefused),
    ],
)
def test_every_failure_is_ours_by_name(error: Exception, raised: type[BrokerError]) -> None:
    made = leases(ScriptedClient(error))
    for call in (
        lambda: made.take("trades", "me", Terms()),
        lambda: made.renew([Renewal("trades", "me")]),
        lambda: made.release("trades", "me"),
    ):
        with pytest.raises(raised):
            call()
