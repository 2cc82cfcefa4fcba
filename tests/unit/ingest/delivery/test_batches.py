"""Payloads that share a message: what goes together, what cuts, and what a worker decodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dramatiq
import orjson
import pytest
from dramatiq.encoder import PickleEncoder
from hypothesis import given
from hypothesis import strategies as st

from ingest.broker.hooks import MessageEncoder
from ingest.connection.session import To
from ingest.delivery.batches import Batch, Cutter
from ingest.delivery.entry import Entry, payloads_in
from ingest.delivery.envelope import PayloadRules
from ingest.errors import PayloadRefused
from settings.wire import message_id, new_producer
from tests.support.delivery import make_envelope

PRODUCER = new_producer()
RECEIVED = 1_790_000_000_123_456

#: A message as (first number, last number, actor, payloads).
Message = tuple[int, int, str, list[Any]]


def pickled() -> MessageEncoder:
    encoder = PickleEncoder()
    return MessageEncoder(encoder.encode, encoder.decode, False)


class Cut:
    """A cutter, with what it closed."""

    def __init__(self, size: int, most_bytes: int = 1_000_000, **options: Any) -> None:
        self.envelope = make_envelope(PRODUCER, **options)
        self.cutter = Cutter(self.envelope, size, most_bytes)
        self.closed: list[Batch] = []
        self.decode: Callable[[bytes], dict[str, Any]] = options["encoder"].decode if "encoder" in options else orjson.loads
        self._seq = 1

    def add(self, *payloads: object) -> Cut:
        self.cutter.add(payloads, self._seq, RECEIVED, self.closed)
        self._seq += len(payloads)
        return self

    def close(self) -> list[Entry]:
        self.cutter.close(self.closed)
        return [batch.seal(self.envelope) for batch in self.closed]

    def messages(self) -> list[Message]:
        """Close what is open; return what workers would get."""
        entries = self.close()
        decoded = [self.decode(entry.data) for entry in entries]
        for entry, message in zip(entries, decoded, strict=True):
            name = message_id(PRODUCER, entry.seq)
            assert message["message_id"] == message["options"]["redis_message_id"] == entry.id.decode() == name
            assert message["queue_name"] == entry.queue
            count = entry.last - entry.seq + 1
            assert message["options"]["frame"] == {"feed": "trades", "seq": entry.seq, "received_us": RECEIVED, "count": count}
            assert len(message["args"][0]) == count
        return [(e.seq, e.last, m["actor_name"], m["args"][0]) for e, m in zip(entries, decoded, strict=True)]


def test_what_one_read_brings_is_cut_into_full_messages_and_the_rest_stays_open() -> None:
    cut = Cut(3).add("a", "b", "c", "d", "e", "f", "g")
    assert [(batch.first, batch.last) for batch in cut.closed] == [(1, 3), (4, 6)]
    assert cut.cutter.open is not None
    assert cut.cutter.open.count == 1
    cut.add("h")
    assert cut.messages() == [
        (1, 3, "handle", ["a", "b", "c"]),
        (4, 6, "handle", ["d", "e", "f"]),
        (7, 8, "handle", ["g", "h"]),
    ]


def test_a_message_with_one_payload_carries_a_list_too() -> None:
    assert Cut(3).add("a").messages() == [(1, 1, "handle", ["a"])]


def test_a_destination_of_its_own_cuts_and_what_shares_it_goes_together() -> None:
    other = [To("x", actor="other"), To({"y": 1}, actor="other"), To("z", actor="other", options={"max_age": 5})]
    cut = Cut(10).add("a", *other, "b", To("c"))
    assert cut.messages() == [
        (1, 1, "handle", ["a"]),
        (2, 3, "other", ["x", {"y": 1}]),
        (4, 4, "other", ["z"]),
        (5, 6, "handle", ["b", "c"]),
    ]


def test_a_payload_that_cannot_be_encoded_closes_all_before_it() -> None:
    cut = Cut(10).add("a", "b")
    with pytest.raises(PayloadRefused, match="object"):
        cut.add("c", object(), "never")
    assert cut.cutter.open is None
    assert [(batch.first, batch.last) for batch in cut.closed] == [(1, 3)]


def test_a_message_is_not_longer_than_so_many_bytes_but_takes_one_payload_of_any_size() -> None:
    cut = Cut(100, most_bytes=29).add(*["x" * 10] * 5, "y" * 100, "z")
    assert [(first, last) for first, last, _, _ in cut.messages()] == [(1, 2), (3, 4), (5, 5), (6, 6), (7, 7)]


@pytest.mark.parametrize("encoder", [None, pickled()], ids=["json", "pickle"])
def test_values_that_the_fast_way_does_not_take_go_through_dramatiqs_encoder(encoder: MessageEncoder | None) -> None:
    cut = Cut(10, **({"encoder": encoder} if encoder else {}))
    cut.decode = cut.decode if encoder else lambda data: dramatiq.Message.decode(data).asdict()
    key = 1 if encoder else "1"
    [(_, _, _, found)] = cut.add("a", 2**70, {1: 2}, b"\x00", float("inf"), "lone \ud800").messages()
    assert found == ["a", 2**70, {key: 2}, "AA==", float("inf"), "lone \ud800"]


def test_texts_of_json_are_their_values() -> None:
    assert Cut(10, rules=PayloadRules("json")).add('{"a":1}', "[]").messages() == [(1, 2, "handle", [{"a": 1}, []])]


def test_what_a_session_changes_later_is_not_what_travels() -> None:
    for encoder in (None, pickled()):
        value = {"a": [1]}
        cut = Cut(10, **({"encoder": encoder} if encoder else {})).add(value)
        value["a"].append(2)
        assert cut.messages() == [(1, 1, "handle", [{"a": [1]}])]


def test_an_encoder_that_takes_each_but_not_the_list_is_a_refusal_of_all() -> None:
    def encode(fields: dict[str, Any]) -> bytes:
        if len(fields.get("args", ([],))[0]) > 1:
            raise ValueError("too many")
        return orjson.dumps(fields)

    cut = Cut(10, encoder=MessageEncoder(encode, orjson.loads, False)).add(["a"], ["b"])
    with pytest.raises(PayloadRefused, match="too many"):
        cut.close()


@given(
    st.lists(st.lists(st.sampled_from(["a", "ü" * 7, To("t", actor="x"), {"k": 1}, "\ud800"]), max_size=9), max_size=9),
    st.integers(2, 7),
    st.integers(10, 60),
)
def test_whatever_comes_in_whatever_reads_all_is_there_once_in_order_and_no_message_is_too_long(
    reads: list[list[Any]], size: int, most_bytes: int
) -> None:
    cut = Cut(size, most_bytes)
    cut.decode = lambda data: dramatiq.Message.decode(data).asdict()
    for read in reads:
        cut.add(*read)
    messages = cut.messages()
    sent = [payload for read in reads for payload in read]
    assert [payload for *_, payloads in messages for payload in payloads] == [
        payload.payload if isinstance(payload, To) else payload for payload in sent
    ]
    assert [seq for first, last, *_ in messages for seq in range(first, last + 1)] == list(range(1, len(sent) + 1))
    assert all(last - first < size for first, last, *_ in messages)


def test_payloads_are_counted_and_holes_are_not() -> None:
    def entry(seq: int, last: int) -> Entry:
        return Entry(seq, last, "q", b"", b"", 0)

    assert payloads_in([]) == 0
    assert payloads_in([entry(1, 1), entry(2, 2)]) == 2
    assert payloads_in([entry(1, 1), entry(5, 5)]) == 2
    assert payloads_in([entry(1, 3), entry(5, 5)]) == 4
