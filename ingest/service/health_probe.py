"""Asks a supervisor on this machine whether it is well: what containers run as their health check.

The rule: no answer is an answer, and comes within seconds.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

from settings import load
from settings.environment import Environment
from settings.problems import Problem, SettingsError

#: Seconds for the whole question.
TIMEOUT = 5.0

#: Bytes of an answer that are shown.
LONGEST = 64 * 1024

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is listened on is not what is asked


def ask(feeds: Path | None, path: str) -> tuple[int, str]:
    """Return an exit code and what there is to print; `SettingsError` where nothing says which port to ask."""
    host, port = address(feeds)
    host = _ANY.get(host, host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}{path}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT) as answer:
            return 0, answer.read(LONGEST).decode(errors="replace").rstrip()
    except urllib.error.HTTPError as error:
        return 1, error.read(LONGEST).decode(errors="replace").rstrip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return 1, f"no answer from {url}: {getattr(reason, 'strerror', None) or reason}"


def address(feeds: Path | None) -> tuple[str, int]:
    """Return where the supervisor listens, by the file if there is one, else by the environment."""
    environment = Environment.read()
    try:
        supervisor = load(feeds, spools=False).supervisor
    except SettingsError:
        if environment.health_port is None:
            raise
        return environment.health_host, environment.health_port  # the supervisor itself says what is wrong with the file
    port = supervisor.health_port if supervisor.health_port is not None else environment.health_port
    if not port:
        raise SettingsError([Problem("HEALTH_PORT", "names no port to ask; set it, or [supervisor] health_port, for both")])
    return supervisor.health_host or environment.health_host, port
