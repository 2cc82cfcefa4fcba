"""Messages as Dramatiq would have written them."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import dramatiq
import pytest
from dramatiq.encoder import Encoder, JSONEncoder, PickleEncoder
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.broker.hooks import MessageEncoder, message_encoder
from ingest.connection.session import To
from ingest.delivery.backlog import Entry
from ingest.delivery.envelope import Destination, PayloadRules, mark_late
from ingest.errors import PayloadRefused
from settings.wire import Frame, message_id, new_producer
from tests.support.delivery import make_envelope

RECEIVED = 1_790_000_000_123_456
PRODUCER = new_producer()


def seal(*payloads: object, seq: int = 1, **options: Any) -> list[Entry]:
    out: list[Entry] = []
    make_envelope(PRODUCER, **options).seal(payloads, seq, RECEIVED, out)
    return out


def other(encoder: Encoder) -> MessageEncoder:
    """Return an encoder that is not Dramatiq's own."""
    return MessageEncoder(encoder.encode, encoder.decode, False)


def decoded(entry: Entry) -> dramatiq.Message[Any]:
    return dramatiq.Message.decode(entry.data)


def as_dramatiq_writes_it(payload: object, seq: int = 1) -> dramatiq.Message[Any]:
    name = message_id(PRODUCER, seq)
    options = {"redis_message_id": name, "frame": {"feed": "trades", "seq": seq, "received_us": RECEIVED}}
    message: dramatiq.Message[Any] = dramatiq.Message("trades", "handle", (payload,), {}, options, name, RECEIVED // 1000)
    return dramatiq.Message.decode(message.encode())


def json_values(*, infinity: bool) -> st.SearchStrategy[Any]:
    """Return values that JSON can carry, with the infinities of Python's JSON or without, and with lone surrogates."""
    floats = st.floats(allow_nan=False, allow_infinity=infinity)
    return st.recursive(
        st.none() | st.booleans() | st.integers() | floats | st.text(st.characters()),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers() | st.booleans(), inner, max_size=4),
        max_leaves=20,
    )


@settings(max_examples=400, deadline=None)
@given(json_values(infinity=True), st.integers(1, 2**48 - 1))
def test_any_json_value_is_what_dramatiqs_own_message_would_carry(payload: object, seq: int) -> None:
    [entry] = seal(payload, seq=seq)
    assert decoded(entry) == as_dramatiq_writes_it(payload, seq)


@settings(max_examples=300, deadline=None)
@given(json_values(infinity=False))
def test_json_text_becomes_the_value_that_it_is(value: object) -> None:
    [entry] = seal(json.dumps(value), rules=PayloadRules("json"))
    assert decoded(entry).args == (json.loads(json.dumps(value)),)


def test_the_bytes_are_those_of_dramatiqs_encoder() -> None:
    [entry] = seal("plain ascii")
    assert entry.data == as_dramatiq_writes_it("plain ascii").encode()


payloads_of_a_read = st.lists(
    st.text(st.characters()) | st.sampled_from(['\n",\n', "%d\\", "\ud800", b"binary", To("t", queue="other")]), max_size=12
)


@settings(max_examples=300, deadline=None)
@given(payloads_of_a_read, st.integers(1, 2**48 - 100))
def test_a_read_at_once_is_the_same_as_each_payload_by_itself(payloads: list[object], seq: int) -> None:
    alone = [entry for n, payload in enumerate(payloads) for entry in seal(payload, seq=seq + n)]
    assert seal(*payloads, seq=seq) == alone


def test_what_comes_before_and_after_a_lone_surrogate_is_there_in_order() -> None:
    texts = ["a", "b", "\ud800", "c"]
    entries = seal(*texts, seq=4094)
    assert [entry.seq for entry in entries] == [4094, 4095, 4096, 4097]
    assert [decoded(entry).args[0] for entry in entries] == texts
    assert [type(entry) for entry in entries] == [Entry] * 4


def test_nan_reaches_the_actor_as_nan() -> None:
    [entry] = seal([float("nan"), float("inf")])
    value = decoded(entry).args[0]
    assert value[0] != value[0]
    assert value[1] == float("inf")


def test_entries_are_numbered_and_named_by_their_number() -> None:
    first, second = seal("a", {"b": 1}, seq=41)
    assert (first.seq, first.last, second.seq, second.last) == (41, 41, 42, 42)
    assert second.id.decode() == message_id(PRODUCER, 42) == decoded(second).message_id
    assert str(UUID(second.id.decode())) == second.id.decode()
    assert (first.queue, first.received_us) == ("trades", RECEIVED)


def test_the_frame_option_says_where_a_payload_came_from() -> None:
    message = decoded(seal("a", seq=7)[0])
    assert Frame.of(message.options, message.message_id) == Frame("trades", 7, RECEIVED, PRODUCER)


def test_options_of_the_feed_are_passed_on_and_cannot_replace_ours() -> None:
    destination = Destination("q%s", "a%d", {"max_retries": 3, "frame": 1, "redis_message_id": "x", 'quo"te': None})
    [entry] = seal("p", destination=destination)
    message = decoded(entry)
    assert (message.queue_name, message.actor_name) == ("q%s", "a%d")
    assert message.options["max_retries"] == 3
    assert message.options['quo"te'] is None
    assert message.options["redis_message_id"] == message.message_id
    assert message.options["frame"]["seq"] == 1


def test_a_payload_with_its_own_destination_goes_there() -> None:
    destination = Destination("trades", "handle", {"max_retries": 3, "time_limit": 5})
    routed = To({"x": 1}, actor="other", queue="books", options={"max_retries": 0})
    plain, entry, actor_only = seal("p", routed, To("t", actor="third"), destination=destination)
    message = decoded(entry)
    assert (entry.queue, message.queue_name, message.actor_name, message.args) == ("books", "books", "other", ({"x": 1},))
    assert (message.options["max_retries"], message.options["time_limit"]) == (0, 5)
    assert (decoded(plain).actor_name, decoded(plain).options["max_retries"]) == ("handle", 3)
    assert (decoded(actor_only).actor_name, actor_only.queue, decoded(actor_only).options["time_limit"]) == ("third", "trades", 5)


def test_very_many_destinations_are_not_all_remembered() -> None:
    envelope = make_envelope(PRODUCER)
    out: list[Entry] = []
    envelope.seal([To("p", queue=f"q{number}") for number in range(3000)], 1, RECEIVED, out)
    assert [entry.queue for entry in out] == [f"q{number}" for number in range(3000)]
    assert len(envelope._templates) <= 1024


@pytest.mark.parametrize(
    ("payload", "rules", "expected"),
    [
        (b"\x00\xff", PayloadRules(), "AP8="),
        (b"\xff", PayloadRules(binary="latin-1"), "ÿ"),
        ("ü".encode(), PayloadRules(binary="utf-8"), "ü"),
        (b'{"a":1}', PayloadRules("json", "utf-8"), {"a": 1}),
        (b'{"a":1}', PayloadRules("json", "latin-1"), '{"a":1}'),
        (b"1", PayloadRules("json", "base64"), "MQ=="),
        ('{"a":1}', PayloadRules("text"), '{"a":1}'),
        ({"a": 1}, PayloadRules("json"), {"a": 1}),
    ],
)
def test_payload_and_binary_rules(payload: object, rules: PayloadRules, expected: object) -> None:
    assert decoded(seal(payload, rules=rules)[0]).args == (expected,)
    assert decoded(seal(To(payload), rules=rules)[0]).args == (expected,)
    through_other_encoder = seal(payload, rules=rules, encoder=other(PickleEncoder()))
    assert PickleEncoder().decode(through_other_encoder[0].data)["args"] == (expected,)


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (uuid4(), "UUID"),
        ({"a": {1}}, "set"),
        (To([object()]), "object"),
        (To("x", options={"a": b""}), "bytes"),
        (To(To(1)), "To"),
    ],
)
def test_what_no_encoder_takes_is_refused_by_the_name_of_its_type(payload: object, name: str) -> None:
    with pytest.raises(PayloadRefused) as caught:
        seal(payload)
    assert caught.value.type_name == name


def test_a_destination_that_is_no_text_is_refused() -> None:
    with pytest.raises(PayloadRefused, match="texts"):
        seal(To("x", queue=7))  # type: ignore[arg-type]


def test_what_came_before_a_refused_payload_is_kept() -> None:
    out: list[Entry] = []
    with pytest.raises(PayloadRefused):
        make_envelope(PRODUCER).seal(["a", {"b": 2}, object(), "c"], 5, RECEIVED, out)
    assert [decoded(entry).args[0] for entry in out] == ["a", {"b": 2}]


def test_options_that_cannot_be_encoded_are_refused_at_once() -> None:
    with pytest.raises(PayloadRefused, match="bytes"):
        make_envelope(destination=Destination("q", "a", {"x": b"1"}))


def test_another_encoder_of_the_process_writes_whole_messages() -> None:
    encoder = PickleEncoder()
    options = {"encoder": other(encoder), "destination": Destination("q", "a", {"max_age": 1})}
    plain, routed = seal({1, 2}, To((1, 2), queue="r", options={"tag": {3}}), **options)
    fields = encoder.decode(plain.data)
    assert fields["args"] == ({1, 2},)
    assert fields["options"]["max_age"] == 1
    assert fields["options"]["redis_message_id"] == fields["message_id"] == plain.id.decode()
    assert (routed.queue, encoder.decode(routed.data)["options"]["tag"]) == ("r", {3})


def test_an_encoder_that_raises_refuses_the_payload_and_not_the_next() -> None:
    class Moody(JSONEncoder):
        def encode(self, data: dict[str, Any]) -> bytes:
            if data.get("args") == ("bad",):
                raise LookupError("not today")
            return super().encode(data)

    envelope = make_envelope(PRODUCER, encoder=other(Moody()))
    out: list[Entry] = []
    with pytest.raises(PayloadRefused, match="LookupError: not today"):
        envelope.seal(["bad"], 1, RECEIVED, out)
    envelope.seal(["good"], 1, RECEIVED, out)
    assert decoded(out[0]).args == ("good",)


@pytest.mark.parametrize("encoder", [message_encoder(), other(PickleEncoder())], ids=["json", "another"])
def test_a_late_message_says_so_and_is_the_same_in_all_else(encoder: MessageEncoder) -> None:
    [entry] = seal({"a": 1}, seq=7, encoder=encoder, destination=Destination("q", "a", {"max_age": 1}))
    late, before = encoder.decode(mark_late(encoder, entry.data)), encoder.decode(entry.data)
    assert late["options"].pop("frame") == {**before["options"].pop("frame"), "late": True}
    assert late == before
