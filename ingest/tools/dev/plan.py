"""What a run will start, and with which settings, decided and checked before anything is started.

The rule: nothing here starts a process; what is wrong is one `Refused` that lists everything.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from ingest.tools.dev import embedded, procfile
from settings import SettingsError, load
from settings.model import Settings

#: The source tree that this file belongs to: where the demonstration's Procfile, actors and feeds are.
ROOT = Path(__file__).resolve().parents[3]
DEMO_FEEDS = ROOT / "examples" / "demo" / "feeds.toml"

#: Our command line as the console script begins it: a ``settings`` module in the working directory does not shadow ours.
COMMAND_LINE = (sys.executable, "-c", "from ingest.service.console import main; main()")

#: Stand-ins until server and simulator run; what still holds the first one after loading uses the embedded server.
_SERVER_TO_COME = "unix:///tmp/embedded?db=0"
_SIMULATOR_TO_COME = "ws://127.0.0.1:1/v2"


class Refused(Exception):
    """What was asked for cannot be run; one line for each thing that is wrong."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asked for; ``feeds`` is the user's own file, or None for the demonstration."""

    feeds: Path | None = None
    seconds: float | None = None
    rate: float = 200.0
    seed: int = 1
    symbols: Sequence[str] = ("BTC/USD",)
    faults: bool = False
    tcp: bool = False


@dataclass(frozen=True, slots=True)
class Ground:
    """Where everything is started, its commands by name, and what the environment is; known before the settings are."""

    directory: Path
    commands: Mapping[str, str]
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run; ``simulator`` is a command's words, or none."""

    directory: Path
    commands: Mapping[str, str]
    env: Mapping[str, str]
    settings: Settings
    embedded: embedded.Embedded | None = None
    simulator: tuple[str, ...] = ()
    seconds: float | None = None


def survey(request: Request, environ: Mapping[str, str], directory: Path) -> Ground:
    """Return the ground of a request made in `directory`, whose Procfile counts if it has one; `Refused` where there is none."""
    root = directory if (directory / "Procfile").is_file() else ROOT
    if not (root / "Procfile").is_file():  # ours is in the source tree alone
        raise Refused(
            f"there is no Procfile in {directory}: `dev` starts its lines 'ingest' and 'worker'; "
            "write one, or run it in a checkout of dramatiq-websocket"
        )
    return Ground(root, _commands(root / "Procfile"), _environment(request, environ))


def make_plan(request: Request, ground: Ground) -> Plan:
    """Return what to run."""
    env = dict(ground.env)
    settings = _settings(Path(env["FEEDS_FILE"]), env)
    server = None
    if settings.broker.url.get_secret_value() == _SERVER_TO_COME:
        server = embedded.prepare(tcp=request.tcp)
        env["REDIS_URL"] = server.url
        broker = settings.broker.model_copy(update={"url": SecretStr(server.url)})
        settings = settings.model_copy(update={"broker": broker})
    simulator = () if request.feeds else _simulator(request)
    return Plan(ground.directory, ground.commands, env, settings, server, simulator, request.seconds)


def _environment(request: Request, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what the processes see: our interpreter's programs first, and an exported REDIS_URL only for the user's own file."""
    env = dict(environ)
    env["PATH"] = os.pathsep.join(filter(None, [str(Path(sys.executable).parent), env.get("PATH", "")]))
    env["PYTHONUNBUFFERED"] = "1"
    env["FEEDS_FILE"] = str((request.feeds or DEMO_FEEDS).absolute())
    if request.feeds is None:
        env["SIMULATOR_URL"] = _SIMULATOR_TO_COME
        env["SIMULATOR_SYMBOLS"] = ",".join(request.symbols)
    if request.feeds is None or not env.get("REDIS_URL"):
        env["REDIS_URL"] = _SERVER_TO_COME
    return env


def _commands(path: Path) -> dict[str, str]:
    try:
        return procfile.load(path, needed=("ingest", "worker"))
    except procfile.ProcfileError as error:
        raise Refused(str(error)) from error


def _settings(path: Path, env: Mapping[str, str]) -> Settings:
    try:
        return load(path, env)
    except SettingsError as error:
        raise Refused("\n".join(str(problem) for problem in error.problems)) from error


def _simulator(request: Request) -> tuple[str, ...]:
    numbers = ["--port", "0", "--rate", f"{request.rate:g}", "--seed", str(request.seed)]
    words = [*COMMAND_LINE, "simulate", *numbers, "--symbols", ",".join(request.symbols)]
    return (*words, "--faults") if request.faults else tuple(words)
