"""The options that pick dead letters, declared once for all commands that take them.

The rule: what they mean is `ingest.broker.dead_letters.Filter`'s; here is only how they are written and read.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ingest.broker.dead_letters import Filter

QueueOption = Annotated[str | None, typer.Option("--queue", metavar="NAME", help="Of this queue; default: of all.")]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_age(text: str | None, option: str) -> float | None:
    """Return an age in seconds; `typer.BadParameter` where it is none."""
    if text is None:
        return None
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    try:
        seconds = float(number) * _UNITS[unit]
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise typer.BadParameter("is no age: seconds, or a number with a unit (90s, 15m, 2h, 3d)", param_hint=option)
    return seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """The options that pick dead letters, as they were given."""

    queue: QueueOption = None
    actor: Annotated[str | None, typer.Option("--actor", metavar="NAME", help="For this actor.")] = None
    feed: Annotated[str | None, typer.Option("--feed", metavar="NAME", help="Read from this feed.")] = None
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="AGE", help="Dead for longer: seconds, or with a unit (90s, 15m, 2h, 3d)."),
    ] = None
    newer_than: Annotated[str | None, typer.Option("--newer-than", metavar="AGE", help="Dead for less long.")] = None
    exception: Annotated[
        str | None, typer.Option("--exception", metavar="TEXT", help="Whose cause holds this, in any case: TimeoutError.")
    ] = None

    def filter(self, until: float | None = None) -> Filter:
        """Return the filter that they make; ``until`` is in wall-clock seconds."""
        from ingest.broker.dead_letters import Filter

        return Filter(
            queue=self.queue,
            actor=self.actor,
            feed=self.feed,
            older_than=parse_age(self.older_than, "--older-than"),
            newer_than=parse_age(self.newer_than, "--newer-than"),
            exception=self.exception,
            until=until,
        )


def picking(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `Picked` in place of its parameter ``picked``."""

    @wraps(command)
    def with_options(**given: Any) -> None:
        picked = Picked(**{field.name: given.pop(field.name) for field in fields(Picked)})
        command(picked=picked, **given)

    options = inspect.signature(Picked, eval_str=True).parameters.values()
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        parameters.extend(options if parameter.annotation is Picked else [parameter])
    # By these two Typer knows what to offer.
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_options
