"""Which headers may go into an upgrade request, whether they come from the file or from a session.

The rule: a refusal never shows a value.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, SecretStr

from settings.fields import refuse

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

#: Visible latin-1, space and tab (RFC 9110, 5.5): no CR, LF or NUL, with which a value would become another header.
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

#: Ours to set: what makes the request an upgrade, and what would change where a message ends.
RESERVED = frozenset({"host", "upgrade", "connection", "content-length", "transfer-encoding", "te", "trailer", "expect"})

#: Reserved too, but there is a setting that does what was meant.
INSTEAD = {
    "sec-websocket-protocol": "use the setting subprotocols",
    "sec-websocket-extensions": "use the setting compression",
    "origin": "use the setting origin",
}


def name_problem(name: str) -> str | None:
    """Return what is wrong with a header's name, or None."""
    lower = name.lower()
    if not _TOKEN.fullmatch(name):
        return "has a name that is no HTTP token"
    if lower in INSTEAD:
        return f"is reserved; {INSTEAD[lower]}"
    if lower in RESERVED or lower.startswith(("sec-websocket-", "proxy-")):
        return "is reserved"
    return None


def value_problem(value: str) -> str | None:
    """Return what is wrong with a header's value, or None."""
    if "\r" in value or "\n" in value:
        return "has a value with a line break (CR or LF)"
    if not _VALUE.fullmatch(value):
        return "has a value with a control character or one outside latin-1"
    return None


def _header_name(name: str) -> str:
    if (problem := name_problem(name)) is not None:
        raise refuse(f"the header {problem}")
    return name


def _header_value(value: SecretStr) -> SecretStr:
    if (problem := value_problem(value.get_secret_value())) is not None:
        raise refuse(f"the header {problem}")
    return value


def _headers(headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
    lower = [name.lower() for name in headers]
    for name in headers:
        if lower.count(name.lower()) > 1:
            raise refuse(f"the header {name} is there twice (names do not differ by case)")
    return headers


HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[SecretStr, AfterValidator(_header_value)]
Headers = Annotated[dict[HeaderName, HeaderValue], AfterValidator(_headers)]
