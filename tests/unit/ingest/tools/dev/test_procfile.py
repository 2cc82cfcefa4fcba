from __future__ import annotations

from pathlib import Path

import pytest

from ingest.tools.dev.procfile import ProcfileError, load

ROOT = Path(__file__).resolve().parents[5]


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "Procfile"
    path.write_text(text)
    return path


def test_the_needed_lines_are_returned_as_they_stand(tmp_path: Path) -> None:
    path = write(tmp_path, "web: x\ningest: python -m ingest run\n# worker: no\nworker:  dramatiq workers -p ${N:-2}\n")
    commands = load(path, ("ingest", "worker"))
    assert commands == {"ingest": "python -m ingest run", "worker": "dramatiq workers -p ${N:-2}"}


def test_all_missing_lines_are_named(tmp_path: Path) -> None:
    with pytest.raises(ProcfileError, match=r"Procfile: no line 'ingest', 'worker'"):
        load(write(tmp_path, "web: x\n"), ("ingest", "worker"))


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ProcfileError, match="No such file"):
        load(tmp_path / "Procfile", ("ingest",))


def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProcfileError, match="unique"):
        load(write(tmp_path, "ingest: a\ningest: b\n"), ("ingest",))


def test_our_own_procfile_has_what_a_deployment_needs() -> None:
    lines = load(ROOT / "Procfile", ("ingest", "worker", "release"))
    assert lines["ingest"] == "python -m ingest run"
    assert lines["release"] == "python -m ingest check"
    assert lines["worker"].startswith("dramatiq workers ")
    milliseconds = int(lines["worker"].split("--worker-shutdown-timeout ")[1].split()[0])
    assert milliseconds < 30_000, "hosts kill 30 s after they have asked"
