"""Which headers may go into an upgrade request, also those that a session or a function returns.

The rule: a refusal names the header and never shows its value; `settings.headers` says what is legal, for the file too.
"""

from __future__ import annotations

from collections.abc import Mapping

from ingest.errors import HeadersFailed
from settings.headers import name_problem, value_problem


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise `HeadersFailed` on the first header that may not be sent."""
    for name, value in headers.items():
        problem = _problem(name, value)
        if problem is not None:
            shown = repr(name[:80]) if isinstance(name, str) else f"of type {type(name).__name__}"
            raise HeadersFailed(None, f"header {shown} {problem}")


def _problem(name: object, value: object) -> str | None:
    """Return what is wrong with a header; what the user's code returns need not be text."""
    if not isinstance(name, str):
        return "must have a text as its name"
    if (problem := name_problem(name)) is not None:
        return problem
    return value_problem(value) if isinstance(value, str) else f"must have a text as its value, not {type(value).__name__}"
