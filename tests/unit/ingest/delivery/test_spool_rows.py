"""Chunks in a file: read in order whatever the order of writing, at any batch size, deleted whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.delivery.spool import Spool
from tests.support.spools import entries, numbers, opened, read_all


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = opened(tmp_path, "p", "q")
    yield spool
    spool.close()


def test_what_was_written_is_read_whole(spool):
    batch = [*entries(1, 3), *entries(4, 5, queue="books", size=70_000), *entries(6, 2600)]
    spool.append("p", batch)
    assert read_all(spool, "p") == [entry._replace(stored=True) for entry in batch]


def test_producers_keep_apart_each_in_its_own_order(spool):
    for first in range(1, 100, 10):
        spool.append("p", entries(first, first + 9))
        spool.append("q", entries(first + 1000, first + 1009))
    assert numbers(read_all(spool, "p")) == list(range(1, 101))
    assert numbers(read_all(spool, "q")) == list(range(1001, 1101))


def test_what_was_in_memory_comes_first_though_it_is_stored_last(spool):
    spool.append("p", entries(51, 70))
    spool.append("p", entries(71, 80))
    assert numbers(spool.read("p", 0, 25, 10_000)) == list(range(51, 76))  # part of the second chunk is left decoded
    spool.append("p", entries(1, 50), final=True)
    assert numbers(read_all(spool, "p")) == list(range(1, 81))
    assert numbers(read_all(spool, "p", 75)) == list(range(76, 81))


def test_a_read_ends_at_either_limit_and_gives_at_least_one(spool):
    spool.append("p", entries(1, 10, size=100))
    spool.append("p", entries(11, 20, size=100))
    assert numbers(spool.read("p", 0, 3, 10_000)) == [1, 2, 3]
    assert numbers(spool.read("p", 0, 1000, 1250)) == list(range(1, 13))
    assert numbers(spool.read("p", 0, 1000, 1)) == [1]
    assert numbers(spool.read("p", 10, 1000, 1)) == [11]
    assert spool.read("p", 20, 1000, 1000) == []
    assert spool.read("q", 0, 1000, 1000) == []


def test_a_rewind_reads_the_same_again(spool):
    for first in range(1, 400, 100):
        spool.append("p", entries(first, first + 99))
    assert numbers(spool.read("p", 0, 250, 1_000_000)) == list(range(1, 251))
    assert numbers(spool.read("p", 250, 250, 1_000_000)) == list(range(251, 401))
    assert numbers(spool.read("p", 120, 20, 1_000_000)) == list(range(121, 141))


def test_an_entry_that_stands_for_several_frames_is_one(spool):
    batch = [entries(1, 1)[0]._replace(last=100), entries(101, 101)[0]._replace(last=250)]
    spool.append("p", batch)
    assert [(entry.seq, entry.last) for entry in spool.read("p", 100, 9, 9)] == [(101, 250)]
    assert spool.read("p", 250, 9, 9) == []
    assert spool.producers()[0].last == 250


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(min_value=1, max_value=40), min_size=1, max_size=12),
    order=st.randoms(use_true_random=False),
    messages=st.integers(min_value=1, max_value=60),
    size=st.integers(min_value=1, max_value=600),
)
def test_any_order_of_writing_and_any_batch_gives_the_numbers_in_order(tmp_path_factory, lengths, order, messages, size):
    parts, first = [], 1
    for length in lengths:
        parts.append(entries(first, first + length - 1))
        first += length + 3  # a hole: what never came to the disk
    expected = [number for part in parts for number in numbers(part)]
    order.shuffle(parts)
    with closing(opened(tmp_path_factory.mktemp("spool"), "p")) as spool:  # hypothesis may end an example within
        for part in parts:
            spool.append("p", part)
        assert numbers(read_all(spool, "p", 0, messages, size)) == expected


def test_a_chunk_written_twice_is_there_once_the_longer_one(spool):
    spool.append("p", entries(1, 10))
    size = spool.size
    spool.append("p", entries(1, 10))
    assert spool.size == size
    assert numbers(spool.read("p", 0, 5, 1000)) == [1, 2, 3, 4, 5]
    spool.append("p", entries(1, 20))
    spool.append("p", entries(1, 4))
    assert numbers(read_all(spool, "p", 5)) == list(range(6, 21))
    assert spool.size == spool.producers()[0].size


def test_confirmed_chunks_go_at_the_flush_and_whole_ones_only(spool):
    for first in range(101, 140, 10):
        spool.append("p", entries(first, first + 9))
    quarter = spool.size // 4
    spool.confirm("p", 125)
    spool.confirm("p", 115)  # an older one says nothing
    assert spool.size == 4 * quarter
    spool.flush()
    assert spool.size == 2 * quarter
    [held, _] = spool.producers()
    assert (held.confirmed, held.messages, held.size, held.first, held.last) == (125, 20, 2 * quarter, 121, 140)
    assert numbers(read_all(spool, "p", 125)) == list(range(126, 141))


def test_confirming_one_producer_leaves_the_other(spool):
    spool.append("p", entries(1, 10))
    spool.append("q", entries(1, 10))
    spool.confirm("p", 10)
    spool.flush()
    assert read_all(spool, "p") == []
    assert numbers(read_all(spool, "q")) == list(range(1, 11))


def test_the_oldest_are_dropped_whole_and_told_but_none_that_was_sent(spool):
    for first in range(1, 50, 10):
        spool.append("p", entries(first, first + 9, size=100))
    held = spool.size
    spool.read("p", 0, 15, 10_000)  # under way
    dropped = spool.drop_oldest("p", 15, 1500)
    assert [(chunk.first, chunk.last, chunk.messages) for chunk in dropped] == [(21, 30, 10), (31, 40, 10)]
    assert [(chunk.from_us, chunk.to_us) for chunk in dropped] == [(1_000_021, 1_000_030), (1_000_031, 1_000_040)]
    assert held - spool.size == sum(chunk.bytes for chunk in dropped) >= 1500
    assert numbers(read_all(spool, "p")) == [*range(1, 21), *range(41, 51)]
    assert spool.drop_oldest("p", 50, 1) == []
    assert spool.drop_oldest("p", 0, 0) == []


def test_a_chunk_that_is_decoded_and_dropped_is_not_read(spool):
    spool.append("p", entries(1, 10))
    spool.append("p", entries(11, 20))
    spool.read("p", 0, 15, 10_000)
    spool.drop_oldest("p", 10, 1)
    assert spool.read("p", 15, 5, 1000) == []
