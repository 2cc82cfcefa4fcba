"""The options that pick dead letters: what is an age, and what a command is offered and given."""

from __future__ import annotations

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from ingest.broker.dead_letters import Filter
from ingest.service.dead_letter_options import Picked, parse_age, picking


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, None), ("0", 0), ("90", 90), ("1.5", 1.5), ("90s", 90), ("15m", 900), ("2h", 7200), ("3d", 259_200)],
)
def test_an_age_is_seconds_or_has_a_unit(text: str | None, seconds: float | None) -> None:
    assert parse_age(text, "--older-than") == seconds


@pytest.mark.parametrize("text", ["", "-1", "h", "2w", "nan", "inf", "1e999d", "two hours"])
def test_what_is_no_age_is_refused_by_the_name_of_its_option(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no age: seconds, or a number with a unit") as refused:
        parse_age(text, "--newer-than")
    assert refused.value.param_hint == "--newer-than"


class TestPicking:
    def call(self, *arguments: str) -> Filter:
        app, given = typer.Typer(), []

        @app.command()
        @picking
        def command(
            *,
            ids: Annotated[list[str] | None, typer.Argument()] = None,
            picked: Picked,
            yes: Annotated[bool, typer.Option("--yes")] = False,
        ) -> None:
            """Do it."""
            given.append((ids, picked.filter(until=7.0), yes))

        done = CliRunner().invoke(app, ["one", "--yes", *arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        [(ids, wanted, yes)] = given
        assert (ids, yes) == (["one"], True)  # the command's own are as they were
        return wanted

    def test_without_options_everything_is_meant(self) -> None:
        assert self.call() == Filter(until=7.0)

    def test_every_option_arrives_in_the_filter(self) -> None:
        given = ["--queue", "q", "--actor", "a", "--feed", "f", "--older-than", "2h", "--newer-than", "3d", "--exception", "E"]
        assert self.call(*given) == Filter(
            queue="q", actor="a", feed="f", older_than=7200, newer_than=259_200, exception="E", until=7.0
        )
