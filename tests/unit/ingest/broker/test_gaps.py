"""Gap records: the same gap is the same bytes, and what a reader does not understand is none."""

from __future__ import annotations

import json
import uuid
from typing import Any

import dramatiq
import pytest
from dramatiq.encoder import PickleEncoder

from ingest.broker.gaps import LONGEST_POSITION, GapActor, GapRecord, gap_command, gap_message
from ingest.broker.keys import Keys
from ingest.errors import EnqueueVetoed, PayloadRefused
from tests.support.gaps import PRODUCER, START_US, make_gap, make_record

FILL = GapActor("fill_gap", "trades")


def encoded(**changes: Any) -> bytes:
    value = json.loads(make_record().encode())
    value.update(changes)
    return json.dumps({name: item for name, item in value.items() if item != "absent"}).encode()


def test_a_record_comes_back_as_it_was() -> None:
    record = make_record(3, position={"BTC/USD": [1, 2.5]}, count=7, detail="because")

    assert GapRecord.decode(record.encode()) == record
    assert json.loads(record.encode()) == {
        "v": 1,
        "feed": "trades",
        "cause": "disconnected",
        "from_us": START_US + 3_000_000,
        "to_us": START_US + 3_500_000,
        "producer": PRODUCER,
        "last_seq": 3,
        "position": {"BTC/USD": [1, 2.5]},
        "count": 7,
        "detail": "because",
    }


@pytest.mark.parametrize("text", ["{", "7", "[]", '{"v": 1}', b"\xff", ""])
def test_what_is_no_record_is_none(text: str | bytes) -> None:
    assert GapRecord.decode(text) is None


@pytest.mark.parametrize(
    "changes", [{"v": 2}, {"v": "1"}, {"v": "absent"}, {"from_us": "1"}, {"last_seq": None}, {"feed": 7}], ids=str
)
def test_of_a_newer_version_or_of_other_types_is_none(changes: dict[str, Any]) -> None:
    assert GapRecord.decode(encoded()) == make_record()
    assert GapRecord.decode(encoded(**changes)) is None


def test_more_than_is_known_is_passed_over_and_the_rest_has_defaults() -> None:
    assert GapRecord.decode(encoded(future=1, count="many", detail=None, position="absent")) == make_record()


class Sly(dict[str, int]):
    def items(self) -> Any:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "position", [{1, 2}, float("nan"), 10**5000, {("BTC", "USD"): 1}, Sly(a=1)], ids=lambda p: type(p).__name__
)
def test_a_position_that_is_no_json_does_not_cost_the_record(position: object) -> None:
    record = make_record(position=position)

    assert record.position == f"left out: a {type(position).__name__} that is no JSON"
    assert GapRecord.decode(record.encode()) == record


def test_a_position_that_is_too_long_is_left_out_in_words() -> None:
    longest = "x" * (LONGEST_POSITION - 2)

    assert make_record(position=longest).position == longest
    assert make_record(position=longest + "x").position.startswith("left out: 16385 characters")


def test_the_position_is_that_of_the_moment_though_the_session_changes_it_later() -> None:
    position = {"BTC/USD": 1}
    record = make_record(position=position)
    position["BTC/USD"] = 2

    assert record.position == {"BTC/USD": 1}


def test_the_message_carries_the_gap_and_the_same_gap_has_the_same_id() -> None:
    one, again = (gap_message(make_record(3, position=[1]), FILL) for _ in range(2))
    other, elsewhere = gap_message(make_record(4), FILL), gap_message(make_record(3, position=[1]), FILL._replace(queue="books"))
    message = dramatiq.Message.decode(one.data)

    assert one == again
    assert len({one.id, other.id, elsewhere.id}) == 3
    assert message.message_id == message.options["redis_message_id"] == one.id.decode() == str(uuid.UUID(one.id.decode()))
    assert (message.queue_name, message.actor_name, message.kwargs) == ("trades", "fill_gap", {})
    assert message.message_timestamp == (START_US + 3_500_000) // 1000
    [content] = message.args
    assert content == {
        "feed": "trades",
        "cause": "disconnected",
        "from_us": START_US + 3_000_000,
        "to_us": START_US + 3_500_000,
        "last_seq": 3,
        "producer": PRODUCER,
        "position": [1],
    }


def test_count_and_detail_are_told_where_there_are_any() -> None:
    content = make_record(cause="dropped", count=0, detail="overflow").content()

    assert (content["count"], content["detail"]) == (0, "overflow")


def test_the_message_goes_through_the_processs_own_encoder() -> None:
    before = dramatiq.get_encoder()
    dramatiq.set_encoder(PickleEncoder())
    try:
        data = gap_message(make_record(), FILL).data
        assert PickleEncoder().decode(data)["actor_name"] == "fill_gap"
    finally:
        dramatiq.set_encoder(before)


class Refusing(PickleEncoder):
    def encode(self, data: Any) -> bytes:
        raise ZeroDivisionError("no")


def test_an_encoder_that_raises_is_said_so() -> None:
    before = dramatiq.get_encoder()
    dramatiq.set_encoder(Refusing())
    try:
        with pytest.raises(PayloadRefused, match="ZeroDivisionError: no"):
            gap_message(make_record(), FILL)
    finally:
        dramatiq.set_encoder(before)


def test_middleware_may_change_the_message_or_not_let_it_pass() -> None:
    def veto(data: bytes) -> bytes:
        raise EnqueueVetoed("quota")

    assert gap_message(make_record(), FILL, lambda data: data + b" ").data.endswith(b"} ")
    with pytest.raises(EnqueueVetoed, match="quota"):
        gap_message(make_record(), FILL, veto)


def test_a_command_names_its_keys() -> None:
    record = make_record(2)
    bare = gap_command(Keys("ns"), "blue", record)
    full = gap_command(Keys("ns"), "blue", record, gap_message(record, FILL))

    assert bare[1:] == (b"1", b"ns:__gaps__.blue.trades", b"%d" % record.from_us, record.encode(), b"1000")
    assert full[1:5] == (b"3", b"ns:__gaps__.blue.trades", b"ns:trades", b"ns:trades.msgs")
    assert len(full) == 10


def test_long_details_are_cut() -> None:
    assert len(GapRecord.of(make_gap(detail="x" * 10_000)).detail) == 500
