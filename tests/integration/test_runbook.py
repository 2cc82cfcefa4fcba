"""The run-book knows what there is: every alert, every line of the log that asks for somebody, and only commands that exist."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
import yaml

from ingest.service.cli import app
from ingest.telemetry.facts import event_name
from ingest.telemetry.log import LEVELS
from tests.support.markdown import PAGES, ROOT, anchors

DOCS = ROOT / "docs"
RUNBOOK = DOCS / "runbook.md"
TEXT = RUNBOOK.read_text(encoding="utf-8")
WHERE_TO_LOOK = TEXT + (DOCS / "troubleshooting.md").read_text(encoding="utf-8")

_COMMAND = re.compile(r"-m ingest ((?:[a-z][a-z-]*)(?: [^\n`|]*)?)")


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((DOCS / "monitoring" / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return list(group["rules"])


def section(anchor: str) -> str:
    """Return what stands under a heading of second or third level."""
    for heading, text in re.findall(r"^##+ (.+)\n((?:(?!##).*\n)*)", TEXT, re.MULTILINE):
        if re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") == anchor:
            return str(text)
    raise AssertionError(f"the run-book has no section {anchor}")


def lines_that_ask() -> list[str]:
    """Return the names of all lines of level WARNING and above: of events, and of what is logged directly."""
    of_events = {event_name(kind) for kind, level in LEVELS.items() if level >= logging.WARNING}
    return sorted(of_events | set(logged_directly()))


def logged_directly() -> Iterator[str]:
    for package in ("ingest", "workers"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "log_event":
                    level, name = node.args[:2]
                    if isinstance(name, ast.Constant) and ast.unparse(level) in {"logging.WARNING", "logging.ERROR"}:
                        yield str(name.value)


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: str(alert["alert"]))
def test_every_alert_leads_to_its_section(alert: dict[str, Any]) -> None:
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    assert ROOT / page == RUNBOOK
    assert anchor in anchors(RUNBOOK)
    assert f"`{alert['alert']}`" in section(anchor)
    row = next(line for line in section("from-an-alert").splitlines() if f"`{alert['alert']}`" in line)
    assert f"(#{anchor})" in row


@pytest.mark.parametrize("name", lines_that_ask())
def test_every_line_that_asks_for_somebody_is_explained(name: str) -> None:
    assert re.search(rf"`{name}\b", WHERE_TO_LOOK), f"neither the run-book nor troubleshooting names {name}"


def test_what_is_logged_directly_is_found() -> None:
    assert {"gap_not_recorded", "no_actors", "settings_warning"} <= set(logged_directly())


def test_only_alerts_that_there_are_are_named() -> None:
    named = set(re.findall(r"`([A-Z]\w+)`", section("from-an-alert")))
    assert named == {alert["alert"] for alert in alerts()}


def said_by_status() -> list[str]:
    """Return what the first table quotes of the sentences and states of ``status``."""
    rows = [line.split(" | ")[0] for line in section("first").splitlines() if line.startswith("| ")]
    quotes = {quoted for row in rows for quoted in re.findall(r"`([^`]+)`", row)} - {"status"}
    return sorted({part.strip() for quoted in quotes for part in quoted.split("…")})


@pytest.mark.parametrize("quoted", said_by_status())
def test_status_says_what_the_first_table_quotes(quoted: str) -> None:
    sources = ("ingest/tools/findings.py", "ingest/tools/views.py", "ingest/connection/states.py", "ingest/errors.py")
    assert any(quoted in (ROOT / source).read_text(encoding="utf-8") for source in sources)


def test_the_first_table_is_found() -> None:
    assert {"none runs", "BLOCKED", "Redis is unreachable"} <= set(said_by_status())


def commands() -> list[str]:
    """Return every call of ours in the run-book and in the other pages' code, without its arguments' values."""
    found = set(_COMMAND.findall(TEXT))
    for page in PAGES:
        for block in re.findall(r"^```console\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            found |= set(_COMMAND.findall(block))
    return sorted(found)


@pytest.mark.parametrize("line", commands())
def test_commands_and_their_options_exist(line: str) -> None:
    words = re.split(r"[;|>\"']| (?:and|then|says|with) ", line)[0].split()
    command: Any = typer.main.get_command(app)
    while words and "commands" in vars(command):
        name = words.pop(0)
        assert name in command.commands, line
        command = command.commands[name]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("-")} <= options | {"--help"}, line


def test_commands_are_found() -> None:
    assert {"status", "doctor --grace 30", "check --connect"} <= set(commands())
