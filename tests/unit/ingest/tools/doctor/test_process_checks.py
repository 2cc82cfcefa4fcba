"""What the doctor says of our processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ingest.tools.doctor.process_checks import connections, consumers, files, namespace, shutdown
from tests.support.inspections import FEEDS, depths, facts, inspection, said

WORKERS = {"worker": "dramatiq workers --processes ${WORKER_PROCESSES:-3} --worker-shutdown-timeout 25000"}


def test_connections_are_those_of_running_processes_or_else_of_the_procfile(tmp_path: Path) -> None:
    """A supervisor of three feeds takes 3 + 4, a worker process of three queues 4 + 3."""
    running = inspection(of={"maxclients": 40, "connected": 3}, supervisors=2, worker_processes=1)
    assert said(connections(facts(tmp_path), running)) == [
        (
            "ok",
            "at most 2 supervisors of 7 + 1 worker process of 7 + 1 command = 22, and Redis takes 40; "
            "a small plan's 20 would not do",
        )
    ]
    [(level, what)] = said(connections(facts(tmp_path, machine={"procfile": WORKERS}), inspection()))
    assert (level, "1 supervisor of 7 + 3 worker processes of 7 + 1 command = 29, and small plans take 20" in what) == (
        "problem",
        True,
    )
    started = facts(tmp_path, machine={"procfile": WORKERS, "worker_processes": "1"})
    assert "1 worker process of 7" in said(connections(started, inspection()))[0][1]
    assert "2 worker processes of 7" in said(connections(facts(tmp_path), None))[0][1]


def test_a_plan_that_is_named_is_what_counts(tmp_path: Path) -> None:
    redis = inspection(of={"maxclients": 10_000}, worker_processes=2)
    [(level, what)] = said(connections(facts(tmp_path, plan=20), redis))
    assert (level, what.endswith("and your plan takes 20")) == ("problem", True)
    less = "[broker]\nmax_connections = 2\n[workers]\nwake = false\n" + FEEDS
    assert said(connections(facts(tmp_path, less, plan=20), redis))[0][0] == "ok"


def test_a_crowd_is_named_by_its_addresses(tmp_path: Path) -> None:
    redis = inspection(of={"maxclients": 20, "connected": 17}, worker_processes=1, connections={"10.0.0.1": 2, "10.0.0.9": 14})
    found = said(connections(facts(tmp_path), redis))
    assert found[-1] == ("warning", "17 of 20 are open now (most: 14 from 10.0.0.9, 2 from 10.0.0.1)")


@pytest.mark.parametrize(
    ("seen", "parts", "level"),
    [
        (depths(0, 0, head=None, then=None), {}, "ok"),
        (depths(5, 9, then=b"b"), {}, "ok"),
        (depths(9, 5), {}, "ok"),
        (depths(0, 9, head=None), {"workers": 0}, "ok"),  # it has only just come
        (depths(5, 9), {}, "warning"),
        (depths(5, 9), {"workers": 0}, "problem"),
        (depths(5, 9), {"workers": 0, "worker_processes": 1}, "warning"),
    ],
)
def test_a_queue_from_which_nothing_is_taken(tmp_path: Path, seen: Any, parts: dict[str, Any], level: str) -> None:
    redis = inspection(depths={"trades": seen}, **parts)
    [(found, what)] = said(consumers(facts(tmp_path), redis))
    assert found == level
    assert ("queue trades" in what) is (level != "ok")


def test_workers_of_another_namespace_alone_are_a_problem(tmp_path: Path) -> None:
    def judged(**parts: Any) -> list[tuple[str, str]]:
        return said(namespace(facts(tmp_path), inspection(**parts)))

    assert judged() == [("ok", "dramatiq")]
    assert judged(elsewhere={"shop": 2}) == [("ok", "dramatiq; others on this Redis: shop (2)")]
    [(level, what)] = judged(workers=0, elsewhere={"shop": 2}, walked_all=False)
    assert level == "problem"
    assert "the namespaces shop (2), and none in dramatiq (not all keys were looked through)" in what
    assert judged(workers=0, worker_processes=1, elsewhere={"shop": 2})[0][0] == "ok"


@pytest.mark.parametrize(
    ("text", "line", "grace", "levels"),
    [
        ("", WORKERS["worker"], 30, ["ok", "ok"]),
        ("", None, 30, ["ok", "ok"]),
        ("", "dramatiq workers", 30, ["ok", "problem"]),
        ("", "dramatiq workers --worker-shutdown-timeout=${LONG:-29000}", 30, ["ok", "problem"]),
        ("[supervisor]\nshutdown_timeout = 26\n", None, 30, ["problem", "ok"]),
        ("[supervisor]\nshutdown_timeout = 26\n", "python -m dramatiq workers", 700, ["ok", "ok"]),
        ("", WORKERS["worker"], 10, ["problem", "problem"]),
    ],
)
def test_shutdown_against_the_platforms_patience(
    tmp_path: Path, text: str, line: str | None, grace: float, levels: list[str]
) -> None:
    machine = {"procfile": {"web": "gunicorn", "worker": line} if line else None}
    assert [level for level, _ in said(shutdown(facts(tmp_path, text + FEEDS, machine=machine, grace=grace)))] == levels


@pytest.mark.parametrize(("limit", "level"), [(1024, "ok"), (None, "ok"), (40, "problem")])
def test_open_files(tmp_path: Path, limit: int | None, level: str) -> None:
    [(found, what)] = said(files(facts(tmp_path, machine={"files": limit})))
    assert found == level
    assert "47 files" in what  # 25, five for each feed, and seven connections
