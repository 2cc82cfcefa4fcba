"""Turns the references of the settings, ``"package.module:name"``, into the user's classes and functions.

The rule: all that lead nowhere are reported at once, as problems with the path of their key.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ingest.connection.session import Session
from ingest.imports import ImportRefused, import_object
from settings.model import FeedSettings, Settings
from settings.problems import Problem, SettingsError, show_path

Function = Callable[..., Any]

#: What a session may override and we call; all are plain functions, as the feed has a thread of its own.
_CALLBACKS = ("setup", "url", "headers", "on_upgrade", "on_frame", "heartbeat", "position")
_COROUTINE = "is a coroutine function; it must be a plain one"


@dataclass(frozen=True, slots=True)
class FeedCode:
    """The user's code of one feed."""

    session_class: type[Session] = Session
    subscribe_function: Function | None = None
    headers_function: Function | None = None
    retry_function: Function | None = None


@dataclass(frozen=True, slots=True)
class References:
    """The user's code of a whole file; subscribers and middleware by their reference."""

    feeds: Mapping[str, FeedCode] = field(default_factory=dict)
    subscribers: Mapping[str, Function] = field(default_factory=dict)
    middleware: Mapping[str, object] = field(default_factory=dict)


def resolve(reference: str) -> object:
    """Return what a reference names; `ImportRefused` says in one sentence why there is nothing."""
    found = import_object(reference)
    if found is None:
        raise ImportRefused(f"{reference} is None")
    return found


def resolve_all(settings: Settings) -> References:
    """Return the user's code that the settings name; `SettingsError` with every problem."""
    resolver = _Resolver()
    subscribers = settings.telemetry.subscribers
    references = References(
        feeds={name: resolver.feed(feed) for name, feed in settings.feeds.items()},
        subscribers={ref: resolver.function(f"telemetry.subscribers[{at}]", ref) for at, ref in enumerate(subscribers)},
        middleware={ref: resolver.any(f"broker.middleware[{at}]", ref) for at, ref in enumerate(settings.broker.middleware)},
    )
    if resolver.problems:
        raise SettingsError(resolver.problems)
    return references


def wrong_function(reference: str, found: object) -> str | None:
    """Return in one sentence why a name is no function that can be called; None if it is one."""
    if not callable(found):
        return f"{reference} is no function but a {type(found).__name__}"
    return f"{reference} {_COROUTINE}" if inspect.iscoroutinefunction(found) else None


def wrong_session(reference: str, found: object) -> str | None:
    """Return in one sentence why a name is no class of sessions; None if it is one."""
    if not (isinstance(found, type) and issubclass(found, Session)):
        kind = f"the class {found.__name__}" if isinstance(found, type) else f"a {type(found).__name__}"
        return f"{reference} is {kind}; a subclass of ingest.Session is expected"
    for name in _CALLBACKS:
        if inspect.iscoroutinefunction(getattr(found, name)):
            return f"{found.__name__}.{name} {_COROUTINE}"
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        return f"{found.__name__}() {error}; a session is made without arguments, session_args go to its setup()"
    return None


def middleware_of(names: Iterable[str]) -> dict[str, object] | None:
    """Return what the names of ``[broker] middleware`` stand for, or None where one of them leads nowhere."""
    try:
        return {name: resolve(name) for name in names}
    except ImportRefused:
        return None


class _Resolver:
    """Resolves one reference after the other and gathers what is wrong; what it returns then is of no use."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def feed(self, feed: FeedSettings) -> FeedCode:
        path = show_path(("feeds", feed.name))
        return FeedCode(
            session_class=Session if feed.session is None else self._session(path, feed, feed.session),
            subscribe_function=self._optional(f"{path}.subscribe_function", feed.subscribe_function),
            headers_function=self._optional(f"{path}.headers_function", feed.headers_function),
            retry_function=self._optional(f"{path}.retry.function", feed.retry.function),
        )

    def any(self, path: str, reference: str) -> object:
        try:
            return resolve(reference)
        except ImportRefused as error:
            self.problems.append(Problem(path, str(error)))
            return None

    def function(self, path: str, reference: str) -> Function:
        found = self.any(path, reference)
        if found is not None and (wrong := wrong_function(reference, found)) is not None:
            self.problems.append(Problem(path, wrong))
        return found if callable(found) else _nothing

    def _optional(self, path: str, reference: str | None) -> Function | None:
        return None if reference is None else self.function(path, reference)

    def _session(self, path: str, feed: FeedSettings, reference: str) -> type[Session]:
        found = self.any(f"{path}.session", reference)
        if found is None:
            return Session
        if (wrong := wrong_session(reference, found)) is not None:
            self.problems.append(Problem(f"{path}.session", wrong))
        if not (isinstance(found, type) and issubclass(found, Session)):
            return Session
        self._check_arguments(path, feed, found)
        return found

    def _check_arguments(self, path: str, feed: FeedSettings, session: type[Session]) -> None:
        """Find out before the first connection whether ``setup`` takes the feed's ``session_args``."""
        if session.setup is Session.setup:
            if feed.session_args:
                self.problems.append(Problem(f"{path}.session_args", f"{session.__name__} has no setup() to take them"))
            return
        try:
            inspect.signature(session.setup).bind(None, **feed.session_args)
        except TypeError as error:
            # Python 3.12 and later also say of which kind the argument is; the settings file knows names alone.
            refused = str(error).replace("required keyword-only argument", "required argument")
            self.problems.append(Problem(f"{path}.session_args", f"{session.__name__}.setup() {refused}"))


def _nothing(*_: Any) -> None:
    """Stand in for what could not be resolved; never called, as `resolve_all` raises."""
