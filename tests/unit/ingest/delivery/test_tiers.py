"""Memory and disk: in order through both, what is given up when both are full, and a disk that fails in use."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.delivery.backlog import Saved
from ingest.delivery.spool import Spool
from ingest.errors import SpoolFull, SpoolUnusable
from ingest.events import FramesDropped, GapFound, SpoolTrouble
from tests.support.backlogs import KeptBacklog, damage
from tests.support.spools import entries

Overflow = Literal["block", "drop_oldest", "drop_newest"]


def fill(kept: KeptBacklog, first: int, last: int, batch: int = 1, size: int = 10) -> None:
    for start in range(first, last + 1, batch):
        kept.put(entries(start, min(start + batch - 1, last), size=size))


def restarted(kept: KeptBacklog, folder: Path) -> list[int]:
    """Return what the next process finds and delivers."""
    kept.backlog.close()
    again = KeptBacklog(folder, producer="next", epoch=2)
    assert again.of(SpoolTrouble) == []
    return again.deliver_all()


class TestSpilling:
    def test_memory_first_then_disk_and_all_comes_in_order(self, tmp_path: Path) -> None:
        kept = KeptBacklog(tmp_path, messages=5)
        fill(kept, 1, 5)
        assert (kept.spool.size, kept.spooling) == (0, [])
        fill(kept, 6, 20)
        assert (len(kept.backlog), kept.backlog.unread, kept.backlog.has_room()) == (20, 15, True)
        assert kept.deliver_all(messages=3) == list(range(1, 21))
        assert kept.spooling == [True, False]
        kept.tidy()
        assert kept.spool.size == 0

    def test_while_anything_is_unread_what_comes_goes_behind_it_though_memory_has_room(self, tmp_path: Path) -> None:
        kept = KeptBacklog(tmp_path, messages=5)
        fill(kept, 1, 8)
        kept.take()
        kept.commit(5)
        fill(kept, 9, 9)
        assert kept.backlog.unread == 4
        assert kept.take() == [6, 7, 8, 9]
        fill(kept, 10, 10)
        assert (kept.backlog.unread, kept.take()) == (0, [10])

    def test_only_what_is_full_stops_the_reading(self, tmp_path: Path) -> None:
        kept = KeptBacklog(tmp_path, messages=2, most=1000)
        fill(kept, 1, 3, size=600)
        assert kept.backlog.has_room()
        fill(kept, 4, 4, size=600)
        assert not kept.backlog.has_room()
        assert kept.take() == [1, 2]
        kept.commit(2)
        assert not kept.backlog.has_room(), "the disk is still full"
        assert kept.take() == [3, 4]
        kept.commit(4)
        kept.tidy()
        assert (kept.rooms, kept.backlog.has_room()) == (1, True)

    def test_rewound_what_was_read_from_disk_is_not_read_again(self, tmp_path: Path) -> None:
        kept = KeptBacklog(tmp_path, messages=2)
        fill(kept, 1, 6)
        assert kept.take() == [1, 2]
        assert kept.take() == [3, 4, 5, 6]
        kept.backlog.rewind(kept.chain)
        assert kept.take() == [1, 2, 3, 4, 5, 6]
        assert kept.take() == []

    def test_a_wide_backlog_comes_back_a_thousand_at_a_time(self, tmp_path: Path) -> None:
        kept = KeptBacklog(tmp_path, messages=1)
        fill(kept, 1, 2501, batch=500)
        kept.take()
        kept.commit(500)
        assert kept.take(10) == list(range(501, 511))
        assert (kept.backlog.unread, len(kept.backlog)) == (1001, 2001)

    @settings(max_examples=50, deadline=None)
    @given(
        steps=st.lists(st.tuples(st.sampled_from(["put", "put", "take", "commit", "rewind"]), st.integers(1, 9)), max_size=50),
        write_ahead=st.booleans(),
    )
    def test_behaves_as_a_list_with_a_cursor(
        self, tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], write_ahead: bool
    ) -> None:
        folder = tmp_path_factory.mktemp("spool")
        kept = KeptBacklog(folder, messages=7, write_ahead=write_ahead)
        model, cursor, seq = list[int](), 0, 0
        for what, amount in steps:
            if what == "put":
                fill(kept, seq + 1, seq + amount, batch=amount)
                model += range(seq + 1, seq + amount + 1)
                seq += amount
            elif what == "take":
                taken = kept.take(amount)
                assert taken == model[cursor : cursor + len(taken)]
                assert taken or cursor == len(model)
                cursor += len(taken)
            elif what == "commit" and cursor:
                upto = model[min(cursor, amount) - 1]
                kept.commit(upto)
                model, cursor = [each for each in model if each > upto], cursor - min(cursor, amount)
            else:
                kept.backlog.rewind(kept.chain)
                cursor = 0
            assert len(kept.backlog) == len(model)
        assert kept.backlog.save(keeps=True) == Saved(len(model), 0)
        assert restarted(kept, folder) == model


class TestWriteAhead:
    def test_everything_is_on_disk_before_it_can_be_sent(self, tmp_path: Path) -> None:
        kept = KeptBacklog(tmp_path, messages=5, write_ahead=True)
        fill(kept, 1, 7)
        assert [one.messages for one in kept.spool.producers()] == [7]
        assert kept.take() == [1, 2, 3, 4, 5]
        assert restarted(kept, tmp_path) == [1, 2, 3, 4, 5, 6, 7], "as after a crash: nothing was saved"

    @pytest.mark.parametrize(("durable", "settled"), [(True, 5), (False, 0)])
    def test_it_is_settled_where_the_disk_outlives_all(self, tmp_path: Path, durable: bool, settled: int) -> None:
        kept = KeptBacklog(tmp_path, write_ahead=True, durable=durable)
        kept.backlog.notify_at(kept.chain, 5)
        fill(kept, 1, 5, batch=5)
        assert (kept.backlog.settled(kept.chain), kept.rooms) == (settled, 1 if durable else 0)

    def test_it_is_not_where_it_may_yet_be_dropped_from_the_disk(self, tmp_path: Path) -> None:
        """An acknowledgement cannot be taken back."""
        kept = KeptBacklog(tmp_path, write_ahead=True, overflow="drop_oldest")
        fill(kept, 1, 5, batch=5)
        assert kept.backlog.settled(kept.chain) == 0
        kept.take()
        kept.commit(5)
        assert kept.backlog.settled(kept.chain) == 5

    def test_what_the_disk_refused_is_not_settled(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        kept = KeptBacklog(tmp_path, write_ahead=True)
        fill(kept, 1, 3)
        refuse(monkeypatch)
        fill(kept, 4, 5)
        assert kept.backlog.settled(kept.chain) == 0
        kept.take()
        kept.commit(3)
        assert kept.backlog.settled(kept.chain) == 3
        assert kept.take() == [4, 5]
        assert kept.backlog.settled(kept.chain) == 3, "under way is neither in Redis nor on disk"
        kept.commit(5)
        assert kept.backlog.settled(kept.chain) == 5

    def test_what_the_disk_refused_is_stored_at_the_end_wherever_it_is_by_then(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = KeptBacklog(tmp_path, write_ahead=True)
        fill(kept, 1, 3, batch=3)
        with monkeypatch.context() as full:
            refuse(full)
            fill(kept, 4, 5)
        assert kept.take() == [1, 2, 3]
        assert kept.take(1) == [4]
        kept.commit(2)
        assert kept.backlog.save(keeps=True) == Saved(3, 0)
        assert restarted(kept, tmp_path) == [3, 4, 5]


def refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every disk be full from now on."""

    def append(self: Spool, producer: str, batch: object, *, final: bool = False) -> None:
        raise SpoolFull(str(self.path), "no space")

    monkeypatch.setattr(Spool, "append", append)


class TestRefusal:
    """The disk has no place, though we may use more of it."""

    def test_what_was_read_waits_behind_all_that_is_stored(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        kept = KeptBacklog(tmp_path, messages=2)
        fill(kept, 1, 4)
        refuse(monkeypatch)
        fill(kept, 5, 6, batch=2)
        assert (len(kept.backlog), kept.backlog.has_room()) == (6, False)
        assert kept.deliver_all() == [1, 2, 3, 4, 5, 6]
        kept.tidy()
        assert kept.backlog.has_room()

    @pytest.mark.parametrize("write_ahead", [False, True])
    def test_a_disk_that_holds_nothing_of_ours_is_tried_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_ahead: bool
    ) -> None:
        kept = KeptBacklog(tmp_path, messages=2, write_ahead=write_ahead)
        with monkeypatch.context() as full:
            refuse(full)
            fill(kept, 1, 3)
            assert not kept.backlog.has_room()
            assert kept.deliver_all() == [1, 2, 3]
        kept.tidy()
        assert kept.backlog.has_room()
        fill(kept, 4, 8)
        assert kept.backlog.has_room()
        assert kept.spool.size > 0

    def test_what_is_given_up_meanwhile_does_not_keep_the_disk_from_being_tried_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = KeptBacklog(tmp_path, messages=2, write_ahead=True, overflow="drop_newest")
        with monkeypatch.context() as full:
            refuse(full)
            fill(kept, 1, 3)
        kept.tidy()
        fill(kept, 4, 5)
        assert kept.deliver_all() == [4, 5]
        assert kept.losses.counts == {"drop_newest": 3}

    def test_at_the_end_all_that_is_not_stored_is_stored_in_its_order(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = KeptBacklog(tmp_path, messages=2)
        fill(kept, 1, 4)
        with monkeypatch.context() as full:
            refuse(full)
            fill(kept, 5, 6, batch=2)
        assert kept.backlog.save(keeps=True) == Saved(6, 0)
        assert restarted(kept, tmp_path) == [1, 2, 3, 4, 5, 6]

    def test_what_is_stored_between_is_not_hidden_by_what_is_stored_at_the_end(self, tmp_path: Path) -> None:
        kept = KeptBacklog(tmp_path, messages=3)
        fill(kept, 1, 5)
        kept.take()
        assert kept.take() == [4, 5]
        kept.commit(2)
        fill(kept, 6, 7)  # 3 and 6 were never on disk, 4 and 5 are
        assert kept.backlog.save(keeps=True) == Saved(5, 0)
        assert restarted(kept, tmp_path) == [3, 4, 5, 6, 7]

    def test_at_the_end_too_it_may_refuse_and_what_it_refuses_is_lost_and_counted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = KeptBacklog(tmp_path, messages=2)
        fill(kept, 1, 4)
        with monkeypatch.context() as full:
            refuse(full)
            assert kept.backlog.save(keeps=True) == Saved(2, 2)
        assert kept.dropped() == [(1, 2, 2)]
        assert restarted(kept, tmp_path) == [3, 4]


class TestDropNewest:
    @pytest.mark.parametrize("with_disk", [False, True])
    def test_gives_up_what_comes_until_there_is_room_again(self, tmp_path: Path, with_disk: bool) -> None:
        kept = KeptBacklog(tmp_path if with_disk else None, messages=4, most=300, overflow="drop_newest")
        fill(kept, 1, 40)
        held = len(kept.backlog)
        assert held < 40
        assert kept.backlog.has_room()
        assert kept.deliver_all() == list(range(1, held + 1))
        kept.tidy()
        assert kept.dropped() == [(held + 1, 40, 40 - held)], "one episode"
        fill(kept, 41, 42)
        assert kept.deliver_all() == [41, 42]


class TestDropOldest:
    def test_in_memory_gives_up_what_waits_longest_and_nothing_that_was_sent(self) -> None:
        kept = KeptBacklog(messages=4, overflow="drop_oldest")
        fill(kept, 1, 4)
        kept.take(2)
        fill(kept, 5, 6)
        kept.backlog.rewind(kept.chain)
        assert kept.deliver_all() == [1, 2, 5, 6]
        assert kept.losses.counts == {"drop_oldest": 2}

    def test_by_bytes_too(self) -> None:
        kept = KeptBacklog(messages=100, size=1000, overflow="drop_oldest")
        fill(kept, 1, 10, size=100)
        fill(kept, 11, 11, size=250)
        assert kept.deliver_all() == [*range(4, 12)]

    def test_if_all_is_under_way_it_is_the_new_one_that_goes(self) -> None:
        kept = KeptBacklog(messages=3, overflow="drop_oldest")
        fill(kept, 1, 3)
        kept.take()
        fill(kept, 4, 5)
        kept.backlog.rewind(kept.chain)
        assert kept.deliver_all() == [1, 2, 3]
        assert kept.losses.counts == {"drop_oldest": 2}

    def test_on_disk_gives_up_whole_chunks_from_the_disk_and_memory_stays(self, tmp_path: Path) -> None:
        kept = KeptBacklog(tmp_path, messages=2, most=1000, overflow="drop_oldest")
        fill(kept, 1, 2)
        fill(kept, 3, 30, batch=2, size=200)
        delivered = kept.deliver_all()
        assert delivered[:2] == [1, 2]
        assert delivered[-1] == 30
        assert delivered == sorted(delivered)
        kept.losses.end()
        assert sum(count for _, _, count in kept.dropped()) == 30 - len(delivered) > 0

    def test_from_the_disk_it_is_recorded_with_the_time_at_which_it_was_received(self, tmp_path: Path) -> None:
        """Which may have been long before: so where a kill ends the episode, the record of that begins there."""
        kept = KeptBacklog(tmp_path, messages=2, most=1000, overflow="drop_oldest")
        fill(kept, 1, 2)
        fill(kept, 3, 30, batch=2, size=200)
        assert kept.losses.since_us == 1_000_003
        kept.losses.end()
        [(first, last, _)] = kept.dropped()
        [gap] = [event for event in kept.events if isinstance(event, GapFound)]
        assert (first, gap.from_us, gap.to_us) == (3, 1_000_003, 1_000_000 + last)

    def test_a_damaged_chunk_is_dropped_as_well(self, tmp_path: Path) -> None:
        kept = KeptBacklog(tmp_path, messages=2, most=1000, overflow="drop_oldest")
        fill(kept, 1, 2)
        fill(kept, 3, 6, batch=2, size=200)
        kept.spool._file.write(lambda connection: connection.execute("UPDATE chunk SET data = 'x'"))
        fill(kept, 7, 30, batch=2, size=200)
        assert kept.losses.since_us is not None
        assert kept.losses.since_us > 0

    def test_written_ahead_what_is_dropped_from_disk_is_dropped_from_memory(self, tmp_path: Path) -> None:
        kept = KeptBacklog(tmp_path, messages=100, most=1000, overflow="drop_oldest", write_ahead=True)
        fill(kept, 1, 30, batch=2, size=200)
        assert len(kept.backlog) == sum(one.messages for one in kept.spool.producers())
        kept.losses.end()
        delivered = kept.deliver_all()
        assert len(delivered) + kept.losses.total == 30
        assert delivered[-1] == 30


@settings(max_examples=50, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["put", "put", "take", "commit", "rewind", "tidy"]), st.integers(1, 9)), max_size=60
    ),
    overflow=st.sampled_from(["drop_oldest", "drop_newest"]),
    disk=st.sampled_from(["none", "spill", "write ahead"]),
)
def test_whatever_happens_each_message_is_either_delivered_or_told_as_dropped(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], overflow: Overflow, disk: str
) -> None:
    folder = tmp_path_factory.mktemp("spool") if disk != "none" else None
    kept = KeptBacklog(folder, messages=6, most=1500, overflow=overflow, write_ahead=disk == "write ahead")
    seq, sent, delivered = 0, list[int](), list[int]()
    for what, amount in steps:
        if what == "put":
            fill(kept, seq + 1, seq + amount, batch=amount, size=100)
            seq += amount
        elif what == "take":
            sent += kept.take(amount)
        elif what == "commit" and sent:
            delivered += kept.commit(sent[min(amount, len(sent)) - 1])
            sent = [each for each in sent if each > delivered[-1]]
        elif what == "rewind":
            kept.backlog.rewind(kept.chain)
            sent = []
        else:
            kept.tidy()
    delivered += kept.deliver_all()
    kept.losses.end()
    told = [event for event in kept.events if isinstance(event, FramesDropped)]
    assert delivered == sorted(set(delivered))
    assert kept.losses.total == sum(event.count for event in told) == seq - len(delivered)
    missing = set(range(1, seq + 1)) - set(delivered)
    assert all(any(event.first_seq <= each <= event.last_seq for event in told) for each in missing)
    assert len(kept.backlog) == 0


class TestDamage:
    def test_of_a_file_that_cannot_be_read_what_was_on_it_alone_is_lost_and_told(self, tmp_path: Path) -> None:
        kept = KeptBacklog(tmp_path, messages=3)
        fill(kept, 1, 9)
        damage(kept.spool)
        assert kept.deliver_all() == [1, 2, 3]
        assert kept.dropped() == [(4, 9, 6)]
        [gap] = [event for event in kept.events if isinstance(event, GapFound)]
        assert (gap.cause, gap.last_seq, gap.count) == ("damaged", 3, 6)
        assert len(kept.of(SpoolTrouble)) == 1
        assert list(tmp_path.glob("trades.0.spool.damaged-*"))
        fill(kept, 10, 15)
        assert kept.deliver_all() == [10, 11, 12, 13, 14, 15]

    @pytest.mark.parametrize("write_ahead", [False, True])
    def test_what_is_in_memory_is_stored_again_at_the_end(self, tmp_path: Path, write_ahead: bool) -> None:
        kept = KeptBacklog(tmp_path, messages=3, write_ahead=write_ahead)
        fill(kept, 1, 9, batch=3)
        assert kept.take() == [1, 2, 3]
        assert kept.take(2) == [4, 5]  # all of the disk's are in memory now
        fill(kept, 10, 12, batch=3)
        damage(kept.spool)
        assert kept.take(4) == [6, 7, 8, 9]
        assert kept.take() == []
        assert kept.dropped() == [(10, 12, 3)]
        fill(kept, 13, 14)
        kept.commit(2)
        assert kept.backlog.settled(kept.chain) == 2, "what is in memory alone is not safe any more"
        assert kept.backlog.save(keeps=True) == Saved(9, 0)
        assert restarted(kept, tmp_path) == [3, 4, 5, 6, 7, 8, 9, 13, 14]

    def test_a_disk_that_cannot_be_read_for_another_reason_is_no_end_of_the_queue(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = KeptBacklog(tmp_path, messages=3)
        fill(kept, 1, 9)

        def read(self: Spool, *of: object) -> list[object]:
            raise SpoolUnusable(str(self.path), "I/O error")

        with monkeypatch.context() as broken:
            broken.setattr(Spool, "read", read)
            kept.take()
            kept.commit(3)
            assert kept.take() == []
        delivered = kept.deliver_all()
        assert kept.losses.total == 6 - len(delivered), "no message goes without a word"
