"""Leases: what is asked of lease.lua, what its answers mean, what its failures are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from ingest.broker.keys import Keys
from ingest.broker.lease import Bid, Held, Leases, Renewal, Renewed, Spent, Taken, Terms, take_arguments
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
    ("seen", "ghosts", "again", "arguments"),
    [
        (None, [], False, ("take", "1", "", "me", "5000", "", "", "url", "")),
        (Held("other", "17"), [], False, ("take", "1", "", "me", "5000", "other", "17", "url", "")),
        (None, ["a", "b"], False, ("take", "1", "", "me", "5000", "", "", "url", "a b")),
        (None, [], True, ("take", "1", "1", "me", "5000", "", "", "url", "")),
    ],
)
def test_a_take_names_who_is_known_to_be_dead_and_whether_it_is_one_again(
    seen: Held | None, ghosts: list[str], again: bool, arguments: tuple[str, ...]
) -> None:
    assert take_arguments([Bid("trades", "me", Terms(5.0, "url"), seen, ghosts)], again=again) == arguments


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
    client = ScriptedClient([answer, [b"spent", b"", b""], [b"error", b"OOM no more"]])
    bids = [Bid("trades", "me", Terms(5.0, "url")), Bid("b", "mine", Terms(7.0, "b")), Bid("c", "other", Terms(5.0, "c"))]
    assert leases(client).take(bids) == [meaning, Spent(), BrokerRefused("OOM", "no more")]
    assert client.calls == [([f"ns:__feed__.group.{feed}" for feed in ("trades", "b", "c")], take_arguments(bids))]


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


def test_a_release_tells_of_each_whether_it_was_ours() -> None:
    client = ScriptedClient([[b"ok", 1], [b"ok", 0], [b"error", b"WRONGTYPE no hash"]])
    given_back = [Renewal("a", "p", "{}"), Renewal("b", "q"), Renewal("c", "r", "", 5)]
    assert leases(client).release(given_back) == [True, False, BrokerRefused("WRONGTYPE", "no hash")]
    [(keys, arguments)] = client.calls
    assert keys == [f"ns:__feed__.group.{feed}" for feed in "abc"]
    assert arguments == ("release", "p", "{}", "", "q", "", "", "r", "", "5")


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
        lambda: made.take([Bid("trades", "me", Terms())]),
        lambda: made.renew([Renewal("trades", "me")]),
        lambda: made.release([Renewal("trades", "me")]),
    ):
        with pytest.raises(raised):
            call()
