"""Groups are tried with real processes in test_crew.py; here is what a line means."""

from __future__ import annotations

import pytest

from ingest.tools.dev.groups import is_compound


@pytest.mark.parametrize(
    "line",
    [
        "python -m ingest run",
        "A=1 B='x y' dramatiq workers --processes ${N:-2}",
        "python -c 'import a; print(a) & b'",
        'sh -c "one && two | three"',
        "run > log 2<in",
    ],
)
def test_one_command_takes_the_shells_place(line: str) -> None:
    assert not is_compound(line)


@pytest.mark.parametrize("line", ["a; b", "cd x && run", "a || b", "a | b", "(a)", "a &", "echo $(date)", "echo 'unbalanced"])
def test_more_than_one_command_keeps_the_shell(line: str) -> None:
    assert is_compound(line)
