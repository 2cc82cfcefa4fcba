"""The arithmetic of connections and files; integration tests hold it against running processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.tools.doctor import read_procfile
from ingest.tools.doctor.plan import connection_plan, files_needed, processes_of, worker_line
from tests.support.inspections import FEEDS, facts


def test_the_formula(tmp_path: Path) -> None:
    settings = facts(tmp_path, "[broker]\nmax_connections = 2\n[queues.other]\n" + FEEDS).settings
    plan = connection_plan(settings, 2, 3)
    assert (plan.a_supervisor, plan.a_worker, plan.total) == (2 + 4, 2 + 4, 2 * 6 + 3 * 6 + 1)


def test_a_spool_takes_files(tmp_path: Path) -> None:
    without = files_needed(facts(tmp_path).settings)
    spool = f'spool = {{ directory = "{tmp_path}" }}\n'
    assert files_needed(facts(tmp_path, FEEDS + spool).settings) == without + 5


@pytest.mark.parametrize(
    ("line", "environ", "count"),
    [
        (None, {}, 2),
        ("dramatiq workers", {}, 2),
        ("dramatiq workers -p 5 -t 2", {}, 5),
        ("dramatiq workers --processes=7", {}, 7),
        ("dramatiq workers --processes ${N:-4}", {}, 4),
        ("dramatiq workers --processes ${N:-4}", {"N": "9"}, 9),
        ("dramatiq workers --processes $N", {"N": "9"}, 9),
        ("dramatiq workers --processes $N", {}, 2),
    ],
)
def test_processes_of_a_line(line: str | None, environ: dict[str, str], count: int) -> None:
    assert processes_of(line, environ) == count


def test_the_projects_own_procfile_is_read(tmp_path: Path) -> None:
    root = Path(__file__).parents[5]
    line = worker_line(read_procfile(root / "Procfile"))
    assert line is not None
    assert line.startswith("dramatiq workers --processes")
    assert read_procfile(tmp_path / "none") is None
    (tmp_path / "Procfile").write_text("# worker: dramatiq commented\nweb: gunicorn app:app\nrubbish\n")
    assert read_procfile(tmp_path / "Procfile") == {"web": "gunicorn app:app"}
    assert worker_line(read_procfile(tmp_path / "Procfile")) is None
