"""What must not be readable in any text that telemetry lets out: secrets of URLs, and values that came from the environment.

The rule: one list for the whole process, because log lines and exceptions come from anywhere in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain

from pydantic import SecretStr

from settings.masking import MASK, mask_url
from settings.model import Settings

#: Shorter values are hidden in URLs only: symbols and numbers come from the environment, too, and hiding every "1" or
#: "BTC/USD" would make logs unreadable.
SHORTEST = 8
SHORTEST_IN_URL = 4

_URL = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>\\]+")

_hidden: tuple[SecretStr, ...] = ()


def hide_secrets_of(settings: Settings) -> None:
    """Hide from now on, beside what is already hidden, every secret value that the settings hold."""
    for feed in settings.feeds.values():
        # By these one finds things; they stay readable also where they come from the environment.
        names = {feed.name, feed.actor, feed.queue, feed.label}
        hide(secret for secret in (*feed.secrets, *feed.headers.values()) if secret.get_secret_value() not in names)


def hide(secrets: Iterable[SecretStr]) -> None:
    """Hide these values, too, wherever they appear."""
    global _hidden
    values = {secret.get_secret_value() for secret in chain(_hidden, secrets)}
    # The longest first: a secret may contain another.
    _hidden = tuple(SecretStr(value) for value in sorted(values, key=len, reverse=True) if len(value) >= SHORTEST_IN_URL)


def mask_text(text: str) -> str:
    """Return the text with the secrets of every URL in it, and every hidden value, made unreadable."""
    masked = _URL.sub(lambda match: mask_url(match.group(), _hidden), text)
    for secret in _hidden:
        value = secret.get_secret_value()
        if len(value) >= SHORTEST and "://" not in value:  # of a URL that is a secret, the host may be seen
            masked = masked.replace(value, MASK)
    return masked
