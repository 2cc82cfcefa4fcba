"""What the process's environment says: the variables that we read by name.

The rule: no other module asks for a variable by name; what the file says wins over REDIS_URL.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit

from pydantic import SecretStr

from settings.problems import Problem, SettingsError

LogFormat = Literal["console", "json"]

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LEVEL = "INFO"
FORMATS = ("console", "json")
FORMAT: LogFormat = "console"

#: Where health and metrics are told by default: to this machine alone.
HEALTH_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Environment:
    """FEEDS_FILE, REDIS_URL, SENTRY_DSN, LOG_LEVEL, LOG_FORMAT, HEALTH_PORT and HEALTH_HOST; empty is the same as unset."""

    feeds_file: Path = Path("feeds.toml")
    redis_url: SecretStr | None = None
    sentry_dsn: SecretStr | None = None
    log_level: str = LEVEL
    log_format: LogFormat = FORMAT
    health_port: int | None = None
    health_host: str = HEALTH_HOST

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Environment:
        """Return what the variables say; `SettingsError` with every problem of theirs."""
        level = environ.get("LOG_LEVEL", "").upper() or LEVEL
        log_format = environ.get("LOG_FORMAT", "").lower() or FORMAT
        problems = [
            Problem(name, f"must be one of {', '.join(legal).lower()}")
            for name, value, legal in (("LOG_LEVEL", level, LEVELS), ("LOG_FORMAT", log_format, FORMATS))
            if value not in legal
        ]
        port = environ.get("HEALTH_PORT", "").strip()
        if port and not _is_port(port):
            problems.append(Problem("HEALTH_PORT", "must be a TCP port, 0 to 65535 (0: any that is free)"))
        dsn = _secret(environ, "SENTRY_DSN")
        if dsn is not None and not _is_dsn(dsn.get_secret_value()):
            problems.append(
                Problem("SENTRY_DSN", "is no DSN of Sentry; one looks like https://<key>@<host>/<number of the project>")
            )
        if problems:
            raise SettingsError(problems)
        return cls(
            feeds_file=feeds_file(environ),
            redis_url=_secret(environ, "REDIS_URL"),
            sentry_dsn=dsn,
            log_level=level,
            log_format=cast(LogFormat, log_format),
            health_port=int(port) if port else None,
            health_host=environ.get("HEALTH_HOST", "").strip() or HEALTH_HOST,
        )


#: Characters that WEB_TOKEN must have at least: it is all that stands between the network and the queues.
SHORTEST_TOKEN = 16


@dataclass(frozen=True, slots=True)
class WebEnvironment:
    """PORT and WEB_TOKEN, which only the page reads; empty is the same as unset.

    ``platform_port`` tells that a platform gives the port, and so wants it to be open to its router.
    """

    port: int | None = None
    token: SecretStr | None = None
    platform_port: bool = False

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> WebEnvironment:
        """Return what the variables say; `SettingsError` with every problem of theirs."""
        problems = []
        port, token = environ.get("PORT", "").strip(), environ.get("WEB_TOKEN", "").strip()
        if port and not _is_port(port):
            problems.append(Problem("PORT", "must be a TCP port, 0 to 65535 (0: any that is free)"))
        if token and not (len(token) >= SHORTEST_TOKEN and token.isascii() and token.isprintable() and " " not in token):
            legal = f"must have {SHORTEST_TOKEN} characters or more, letters, digits and signs of ASCII"
            problems.append(Problem("WEB_TOKEN", f"{legal}; one is made by: openssl rand -hex 24"))
        if problems:
            raise SettingsError(problems)
        return cls(int(port) if port else None, SecretStr(token) if token else None, bool(port) and on_dyno(environ))


def feeds_file(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the settings file that the environment names, or feeds.toml in the working directory."""
    return Path(environ.get("FEEDS_FILE") or "feeds.toml")


def on_dyno(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether this is a Heroku dyno, whose disk does not outlive the process."""
    return bool(environ.get("DYNO"))


def _secret(environ: Mapping[str, str], name: str) -> SecretStr | None:
    return SecretStr(environ[name]) if environ.get(name) else None


def _is_port(value: str) -> bool:
    return value.isascii() and value.isdecimal() and len(value) <= 5 and int(value) <= 65535


def _is_dsn(value: str) -> bool:
    """Return whether Sentry's SDK takes this; what it refuses, it refuses with a traceback that may show the key."""
    try:
        parts = urlsplit(value.strip())
        port_is_legal = parts.port != 0  # asking raises for what is no number
    except ValueError:
        return False
    project = parts.path.rpartition("/")[2]
    named = bool(parts.username and parts.hostname) and port_is_legal
    return parts.scheme in ("http", "https") and named and project.isascii() and project.isdecimal()
