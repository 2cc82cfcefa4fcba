"""The summary of the suite's own reports: what passes, what is named as wrong, and what is no report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conformance.report import CLOSE_CODES, main

#: As the suite says it of a case that went well.
GOOD = {"behavior": "OK", "behaviorClose": "OK", "duration": 2, "reportfile": "case.json"}


def index(folder: Path, **changed: Mapping[str, object]) -> str:
    """Write the reports of a run in which all went well but for what is ``changed``."""
    cases = {number: {**GOOD, "remoteCloseCode": code, **changed.get(number, {})} for number, code in CLOSE_CODES.items()}
    path = folder / "index.json"
    path.write_text(json.dumps({"dramatiq-websocket": cases}))
    return str(path)


def test_a_run_in_which_all_went_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    informational = {"behavior": "INFORMATIONAL", "behaviorClose": "INFORMATIONAL"}

    assert main([index(tmp_path, **{"7.1.6": informational})]) == 0

    printed = capsys.readouterr().out
    assert "   7   37 cases: 1 INFORMATIONAL, 36 OK; closing: 1 INFORMATIONAL, 36 OK\n" in printed
    assert " all  517 cases:" in printed
    assert printed.endswith("0 wrong, 0 not played\n")


@pytest.mark.parametrize(
    ("number", "said", "told"),
    [
        ("1.1.1", {"behavior": "FAILED"}, "1.1.1: FAILED, closing: OK"),
        ("5.15", {"behavior": "NON-STRICT"}, "5.15: NON-STRICT, closing: OK"),
        ("12.1.1", {"behavior": "UNIMPLEMENTED"}, "12.1.1: UNIMPLEMENTED, closing: OK"),
        ("6.4.1", {"behaviorClose": "UNCLEAN"}, "6.4.1: OK, closing: UNCLEAN"),
        ("7.7.4", {"remoteCloseCode": 1000}, "7.7.4: closed with 1000 instead of 1003"),
        ("7.9.1", {"remoteCloseCode": None}, "7.9.1: closed with None instead of 1002"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: str, said: dict[str, object], told: str
) -> None:
    assert main([index(tmp_path, **{number: said})]) == 1

    assert f"wrong: {told}\n1 wrong, 0 not played\n" in capsys.readouterr().out


def test_what_was_not_played_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(index(tmp_path))
    reports = json.loads(path.read_text())
    del reports["dramatiq-websocket"]["10.1.1"]
    path.write_text(json.dumps(reports))

    assert main([str(path)]) == 1

    assert capsys.readouterr().out.endswith("0 wrong, 1 not played (10.1.1)\n")


@pytest.mark.parametrize("text", [None, "no JSON", "[]", '{"client": {"1.1.1": {}}}', '{"client": 1}'])
def test_what_is_no_report_is_told_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None) -> None:
    path = tmp_path / "index.json"
    if text is not None:
        path.write_text(text)

    assert main([str(path)]) == 2

    assert capsys.readouterr().err.startswith(f"{path} is not a report of the suite (")
