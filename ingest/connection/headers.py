"""Which headers may go into an upgrade request.

The rule: a refusal names the header and never shows its value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ingest.errors import HeadersFailed

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


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise `HeadersFailed` on the first header that may not be sent."""
    for name, value in headers.items():
        problem = _problem(name, value)
        if problem is not None:
            shown = repr(name[:80]) if isinstance(name, str) else f"of type {type(name).__name__}"
            raise HeadersFailed(None, f"header {shown} {problem}")


def _problem(name: object, value: object) -> str | None:
    if not isinstance(name, str):
        return "must have a text as its name"
    if not _TOKEN.fullmatch(name):
        return "has a name that is no HTTP token"
    lower = name.lower()
    if lower in INSTEAD:
        return f"is reserved; {INSTEAD[lower]}"
    if lower in RESERVED or lower.startswith(("sec-websocket-", "proxy-")):
        return "is reserved"
    if not isinstance(value, str):
        return f"must have a text as its value, not {type(value).__name__}"
    if not _VALUE.fullmatch(value):
        return "has a value with a line break, a control character, or one outside latin-1"
    return None
