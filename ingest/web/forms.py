"""Forms that are posted to the page.

The rule: no more of a body is read than a form of ours can have, and no longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

#: Bytes of a form: a hundred chosen dead letters.
LARGEST = 64_000

#: Fields of a form.
MOST_FIELDS = 200

#: Seconds in which it must have come.
PATIENCE = 10.0


class Refused(Exception):
    """The request is answered with ``status`` and a sentence."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form, in order."""

    fields: Sequence[tuple[str, str]]

    @property
    def first(self) -> dict[str, str]:
        """The first value of each field."""
        return dict(reversed(self.fields))

    def get(self, name: str, default: str) -> str:
        return self.first.get(name, default)

    def all(self, name: str) -> list[str]:
        return [value for field, value in self.fields if field == name]


async def read_form(headers: Mapping[str, str], body: Callable[[], Awaitable[bytes]]) -> Form:
    """Return the form in a request's body; `Refused`."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise Refused(415, "Not a form", "What was sent is no form of this page.")
    size = headers.get("content-length", "")
    if not (size.isascii() and size.isdigit() and len(size) < 10 and int(size) <= LARGEST):
        raise Refused(413, "Too much", "The form is too large, or does not say how large it is.")
    try:
        async with asyncio.timeout(PATIENCE):
            data = await body()
    except TimeoutError:
        raise Refused(408, "Too slow", "The form did not come in time.") from None
    try:
        return Form(parse_qsl(data.decode("latin-1"), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError:
        raise Refused(400, "Not a form", "What was sent is no form of this page.") from None
