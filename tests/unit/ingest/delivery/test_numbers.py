"""Numbers as text, many at a time, against each by itself."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from ingest.delivery.numbers import decimals, message_ids
from settings.wire import MAX_SEQ, message_id

FIRST = st.integers(1, MAX_SEQ - 10_000) | st.integers(1, 10_000)


@example(first=4096 - 5, count=4096 + 10)
@example(first=MAX_SEQ - 4, count=5)
@given(first=FIRST, count=st.integers(1, 9000))
def test_ids_are_those_of_the_wire(first: int, count: int) -> None:
    expected = [message_id("producer", seq).encode() for seq in range(first, first + count)]
    assert message_ids(b"producer", first, count) == expected


@given(first=FIRST, count=st.integers(1, 2000))
def test_decimals_are_the_numbers(first: int, count: int) -> None:
    assert [int(digits) for digits in decimals(first, count)] == list(range(first, first + count))
    assert decimals(first, count)[0] == b"%d" % first
