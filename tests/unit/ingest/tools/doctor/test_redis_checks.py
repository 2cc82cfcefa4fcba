"""What the doctor says of a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ingest.tools.doctor.redis_checks import clocks, eviction, memory, persistence, version
from tests.support.inspections import depths, facts, inspection, said

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("of", "level", "text"),
    [
        ({}, "ok", "Redis 7.2.4"),
        ({"name": "Valkey", "version": "9.1.0"}, "ok", "Valkey 9.1.0"),
        ({"version": "6.0.9", "equals": (6, 0)}, "problem", "Redis 6.0.9 is too old"),
        ({"role": "slave"}, "problem", "replica"),
        ({"cluster": True}, "problem", "cluster"),
    ],
)
def test_version_and_role(of: dict[str, Any], level: str, text: str) -> None:
    [(found, what)] = said(version(inspection(of=of)))
    assert found == level
    assert text in what


@pytest.mark.parametrize(
    ("of", "level"),
    [
        ({}, "ok"),
        ({"policy": "allkeys-lru", "maxmemory": MIB}, "problem"),
        ({"policy": "allkeys-lru"}, "warning"),
    ],
)
def test_eviction(of: dict[str, Any], level: str) -> None:
    assert [found for found, _ in said(eviction(inspection(of=of)))] == [level]


@pytest.mark.parametrize(
    ("of", "levels", "text"),
    [
        ({}, ["ok"], "append-only"),
        ({"aof": False, "saves": "3600 1"}, ["warning"], "snapshots alone (3600 1)"),
        ({"aof": False, "saves": ""}, ["warning"], "nothing is kept"),
        ({"aof": False, "saves": None}, ["warning"], "does not say"),
        ({"aof_ok": False}, ["problem", "ok"], "append-only file"),
        ({"rdb_ok": False, "aof": False, "saves": "1 1"}, ["problem", "warning"], "a snapshot"),
    ],
)
def test_persistence(of: dict[str, Any], levels: list[str], text: str) -> None:
    found = said(persistence(inspection(of=of)))
    assert [level for level, _ in found] == levels
    assert text in found[0][1]


@pytest.mark.parametrize(
    ("limit", "used", "level"),
    [(0, 5 * MIB, "ok"), (200 * MIB, 10 * MIB, "ok"), (110 * MIB, 10 * MIB, "warning"), (90 * MIB, 10 * MIB, "problem"),
     (90 * MIB, 100 * MIB, "problem")],
)  # fmt: skip
def test_memory_counts_all_queues_up_to_their_watermarks(tmp_path: Path, limit: int, used: int, level: str) -> None:
    """Three queues of 20 000 messages take 88 MiB."""
    redis = inspection(of={"maxmemory": limit, "used_memory": used})
    [(found, what)] = said(memory(facts(tmp_path), redis))
    assert found == level
    assert "88 MiB" in what


def test_what_waits_already_is_not_counted_twice(tmp_path: Path) -> None:
    redis = inspection(of={"maxmemory": 90 * MIB, "used_memory": 20 * MIB}, depths={"trades": depths(0, 15_000)})
    [(found, what)] = said(memory(facts(tmp_path), redis))
    assert (found, "66 MiB" in what) == ("warning", True)


def test_clocks_of_this_machine_and_of_processes() -> None:
    assert said(clocks(inspection(ahead=1.5, clocks={"worker a:1": -1.9}))) == [
        ("ok", "this machine and 1 processes agree with Redis within 2 s")
    ]
    found = said(clocks(inspection(ahead=-3.0, clocks={"worker a:1": -75.0, "supervisor b:2": 0.1})))
    assert [level for level, _ in found] == ["warning", "problem"]
    assert "this machine is 3.0 s ahead of" in found[0][1]
    assert "worker a:1 is 75.0 s behind" in found[1][1]
    assert said(clocks(inspection(ahead=3.0, within=1.5)))[0][0] == "ok"  # the way there took too long to tell
