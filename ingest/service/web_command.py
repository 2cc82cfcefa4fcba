"""The command ``web``: the page, built and run.

The rule: as that of `ingest.service.cli`; the page itself is `ingest.web`'s. Whoever could be reached from other machines without
a token does not start.
"""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import SecretStr

from ingest.service.command_support import FeedsOption, problems_reported
from settings import Settings, SettingsError
from settings.environment import Environment, WebEnvironment
from settings.problems import Problem

if TYPE_CHECKING:
    from ingest.telemetry.facts import Plain
    from ingest.web.app import Site

#: Where the page listens where nobody says otherwise, and where a platform gives a port.
HOST, PLATFORM_HOST = "127.0.0.1", "0.0.0.0"  # noqa: S104 - it does not start there without a token
PORT = 8080

_PACKAGES = ("starlette", "uvicorn", "jinja2")


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog="Example: WEB_TOKEN=$(openssl rand -hex 24) python -m ingest web")(web)


def web(
    feeds: FeedsOption = None,
    host: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="The address to listen on. Default: 127.0.0.1, or 0.0.0.0 on a Heroku dyno."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(metavar="PORT", min=0, max=65535, help="The port; 0 takes a free one. Default: $PORT, or 8080."),
    ] = None,
) -> None:
    """Serve a page that shows what `top` shows, and dead letters. It is for browsers, also on a phone.

    WEB_TOKEN (16 characters or more) is what one logs in with, to retry or delete dead letters and to pause or resume feeds. It
    is needed to listen beyond this machine; then reading needs it too. While Redis does not answer the page says so, and goes on
    by itself. SIGTERM or Ctrl-C ends it.
    """
    with problems_reported(feeds):
        code = run_web(feeds, host, port)
    raise typer.Exit(code)


def run_web(feeds: Path | None, host: str | None, port: int | None) -> int:
    """Serve until it is stopped; return the exit code: 0, or 2 where it cannot begin. Raises `SettingsError`."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        typer.echo(f"not installed: {', '.join(missing)}; dramatiq-websocket needs them: install it once more with pip", err=True)
        return 2
    settings, environment, web_environment = _read(feeds)
    from ingest.telemetry.log import configure_logging, log_event
    from ingest.web.access import is_loopback
    from ingest.web.serve import AddressUnusable, address_url, listen, serve

    host = host or (PLATFORM_HOST if web_environment.platform_port else HOST)
    token, loopback = web_environment.token, is_loopback(host)
    if token is None and not loopback:
        remedy = f"set it (one is made by: openssl rand -hex 24), or listen on {HOST}"
        typer.echo(
            f"WEB_TOKEN: without it nobody beyond this machine may be let in, and {host} is open to others: {remedy}", err=True
        )
        return 2
    try:
        sock = listen(host, next(each for each in (port, web_environment.port, PORT) if each is not None))
    except AddressUnusable as error:
        typer.echo(f"web: {error}", err=True)
        return 2
    configure_logging(environment.log_level, environment.log_format)
    site = _site(settings, token, loopback=loopback)
    listening: dict[str, Plain] = {"url": address_url(sock), "acting": token is not None}
    serve(site.app(), sock, lambda: log_event(logging.INFO, "web_listening", listening), site.end)
    log_event(logging.INFO, "web_stopped", {})
    return 0


def _read(feeds: Path | None) -> tuple[Settings, Environment, WebEnvironment]:
    """Return settings and variables; `SettingsError` with the problems of all of them."""
    from ingest.imports import ImportRefused, import_object
    from ingest.service.looking import look_settings
    from ingest.telemetry.masking import hide

    problems: list[Problem] = []
    try:
        web_environment = WebEnvironment.read()
    except SettingsError as error:
        problems += error.problems
    try:
        settings = look_settings(feeds)
        for reference in settings.broker.middleware:  # where one sets an encoder, dead letters are read with it
            import_object(reference)
    except SettingsError as error:
        problems += error.problems
    except ImportRefused as error:
        problems.append(Problem("broker.middleware", str(error)))
    if problems:
        raise SettingsError(problems)
    if web_environment.token is not None:
        hide([web_environment.token])
    return settings, Environment.read(), web_environment


def _site(settings: Settings, token: SecretStr | None, *, loopback: bool) -> Site:
    from ingest.broker.clients import public_url
    from ingest.service.looking import make_watcher
    from ingest.web.access import Access
    from ingest.web.app import Site
    from ingest.web.backend import Backend
    from ingest.web.pages import Pages
    from ingest.web.poller import Poller

    broker = settings.broker
    try:
        poller, backend = Poller(make_watcher(settings, history=True)), Backend(broker)
    except ValueError as error:
        raise SettingsError([Problem("broker.url", str(error))]) from None
    access = Access(token.get_secret_value() if token is not None else None)
    where = f"{public_url(broker.url.get_secret_value())} {broker.namespace}"
    return Site(access, poller, backend, Pages(where), loopback=loopback)
