"""What ``python -m ingest web`` says where it cannot begin; that it begins is shown with the process."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ingest.service import web_command
from ingest.service.cli import app

TOKEN = "a-token-of-the-tests"


def run(*options: str, **environ: str) -> tuple[int, str, str]:
    ours = dict.fromkeys(("FEEDS_FILE", "PORT", "WEB_TOKEN", "DYNO", "LOG_LEVEL"), "")
    told = CliRunner().invoke(app, ["web", *options], env={**ours, "REDIS_URL": "unix:///none", **environ})
    return told.exit_code, told.stdout, told.stderr


@pytest.mark.parametrize(
    ("options", "environ", "says"),
    [
        (
            ("--host", "0.0.0.0"),
            {},
            "WEB_TOKEN: without it nobody beyond this machine may be let in, and 0.0.0.0 is open to others",
        ),
        (("--host", "::"), {}, "WEB_TOKEN: without it"),
        ((), {"PORT": "0", "DYNO": "web.1"}, "WEB_TOKEN: without it"),
        ((), {"WEB_TOKEN": "short-secret"}, "WEB_TOKEN: must have 16 characters or more"),
        ((), {"WEB_TOKEN": "sixteen secrets and blanks"}, "WEB_TOKEN: must have 16 characters or more"),
        ((), {"PORT": "http", "WEB_TOKEN": "short-secret"}, "2 problems with the settings"),
        ((), {"PORT": "http", "LOG_LEVEL": "loud"}, "LOG_LEVEL: must be one of"),
        (("--port", "70000"), {}, "--port"),
        (("--feeds", "none.toml"), {"PORT": "x"}, "none.toml: there is no such file"),
        (
            ("--host", "198.51.100.7", "--port", "0"),
            {"WEB_TOKEN": TOKEN},
            "web: 198.51.100.7 port 0: that is no address of this machine",
        ),
        ((), {"REDIS_URL": "http://x"}, "url"),
    ],
)
def test_what_cannot_begin_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], environ: dict[str, str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*options, **environ)
    assert (code, out) == (2, "")
    assert says in err
    assert "secret" not in err


def test_a_missing_package_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_command, "_PACKAGES", ("jinja2", "no_such_package"))
    code, _, err = run()
    assert code == 2
    assert err.startswith("not installed: no_such_package; dramatiq-websocket needs them")
