"""The overview of all commands that ``--help`` prints.

The rule: the order is that in which a user comes to need them, whichever module declares them; a new command has its place here.
"""

from __future__ import annotations

import typer
from typer.core import TyperGroup

#: To begin, to look, to operate, to keep.
ORDER = (
    *("run", "check", "schema", "dev", "simulate"),
    *("status", "top", "web", "doctor", "health", "gaps"),
    *("dead-letters", "pause", "resume", "record", "replay"),
)


class InOrder(TyperGroup):
    """Lists the commands in `ORDER`, whichever module declares them."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override] # typer's own is click's
        """Return the names of the commands."""
        return sorted(super().list_commands(ctx), key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
