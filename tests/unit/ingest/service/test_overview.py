"""The overview: every command once, in the order of use, each with a sentence that fits."""

from __future__ import annotations

import typer
from typer.testing import CliRunner

from ingest.service.cli import app
from ingest.service.overview import ORDER


def test_it_names_every_command_in_order_and_each_fits_into_a_line() -> None:
    shown = CliRunner().invoke(app, ["-h"], terminal_width=80).stdout
    listed = shown.partition("Commands:")[2].partition("\n\n")[0]
    named = [line.split()[0] for line in listed.splitlines() if line[2:3].isalpha()]
    assert named == list(ORDER)
    assert set(named) == set(typer.main.get_command(app).commands)
    assert "..." not in listed
