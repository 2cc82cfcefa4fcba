"""Spools of feeds that are not there any more: what waits in them is seen, and stays as it is."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from ingest.delivery.leftovers import left_over
from tests.support.spools import crash, entries, numbers, opened, read_all


def spooled(folder: Path, last: int) -> None:
    """Leave messages behind for the feed "trades"."""
    spool = opened(folder, "p")
    spool.append("p", entries(1, last))
    crash(spool)


def test_what_waits_for_a_feed_of_another_name_is_counted_and_left_as_it_is(tmp_path: Path) -> None:
    spooled(tmp_path, 3)
    assert left_over(tmp_path, {"trades"}) == {}
    assert left_over(tmp_path, {"trades2"}) == {"trades": 3}
    with closing(opened(tmp_path)) as spool:
        assert numbers(read_all(spool, "p")) == [1, 2, 3]


def test_what_a_running_process_has_or_nobody_can_read_or_is_empty_is_no_concern(tmp_path: Path) -> None:
    holding = opened(tmp_path, "p")
    holding.append("p", entries(1, 3))
    assert left_over(tmp_path, {}) == {}
    holding.confirm("p", 3)
    holding.close()
    (tmp_path / "other.0.spool").write_bytes(b"no database")
    assert left_over(tmp_path, {}) == {}
    assert left_over(tmp_path / "missing", {}) == {}
