"""Chunks: what goes in comes out, a cut loses nothing, and other bytes are refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.delivery.chunks import MOST_BYTES, MOST_ENTRIES, checksum, cut, pack, received, unpack
from ingest.delivery.entry import Entry
from tests.support.spools import entries

NUMBERS = st.integers(min_value=0, max_value=2**63 - 1)
ENTRIES = st.builds(
    Entry,
    seq=NUMBERS,
    last=NUMBERS,
    queue=st.sampled_from(["trades", "books", "_q"]) | st.text(min_size=1),
    id=st.binary(),
    data=st.binary(),
    received_us=NUMBERS,
)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(ENTRIES, min_size=1, max_size=30))
def test_what_goes_in_comes_out_marked_as_stored(batch):
    assert unpack(pack(batch)) == [entry._replace(stored=True) for entry in batch]


@settings(deadline=None)  # the machine may be busy
@given(st.lists(ENTRIES, min_size=1, max_size=30))
def test_when_the_first_and_the_last_were_received_is_known_without_the_rest(batch):
    assert received(pack(batch)) == (batch[0].received_us, batch[-1].received_us)


def test_what_comes_out_is_an_entry():
    [entry] = unpack(pack(entries(7, 7)))
    assert (type(entry), entry.seq, entry.data, entry.stored) == (Entry, 7, b"7;xxxxxxxx", True)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.integers(min_value=0, max_value=MOST_BYTES + 5), max_size=12), st.integers(min_value=1, max_value=2100))
def test_a_cut_keeps_the_order_and_both_limits(sizes, count):
    batch = [Entry(n, n, "q", b"", bytes(size), 0) for n, size in enumerate(sizes)] + entries(len(sizes), len(sizes) + count)
    parts = list(cut(batch))
    assert [entry for part in parts for entry in part] == batch
    for part in parts:
        assert 1 <= len(part) <= MOST_ENTRIES
        assert len(part) == 1 or sum(len(entry.data) for entry in part) <= MOST_BYTES


def test_a_cut_makes_no_more_chunks_than_needed():
    assert [len(part) for part in cut(entries(1, 2500))] == [1000, 1000, 500]
    assert [len(part) for part in cut(entries(1, 5, size=400_000))] == [2, 2, 1]


@settings(deadline=None)  # the machine may be busy
@given(st.lists(ENTRIES, min_size=1, max_size=5), st.data())
def test_a_chunk_cut_short_is_refused(batch, data):
    packed = pack(batch)
    with pytest.raises(ValueError):  # noqa: PT011 -- whatever it says
        unpack(packed[: data.draw(st.integers(min_value=0, max_value=len(packed) - 1))])


def test_the_checksum_is_of_the_place_too():
    data = pack(entries(1, 3))
    assert len({checksum(*place, data) for place in [(1, 1, 3, 3), (2, 1, 3, 3), (1, 2, 3, 3), (1, 1, 4, 3), (1, 1, 3, 2)]}) == 5
    assert checksum(1, 1, 3, 3, data) != checksum(1, 1, 3, 3, data[:-1] + b"?")
