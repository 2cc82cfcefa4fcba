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

#: Shorter values are no secrets worth the name, and hiding every "1" would make logs unreadable.
SHORTEST = 4

_URL = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>\\]+")

_hidden: tuple[SecretStr, ...] = ()


def hide_secrets_of(settings: Settings) -> None:
    """Hide from now on, beside what is already hidden, every secret value that the settings hold."""
    feeds = settings.feeds.values()
    hide(chain.from_iterable((*feed.secrets, *feed.headers.values()) for feed in feeds))


def hide(secrets: Iterable[SecretStr]) -> None:
    """Hide these values, too, wherever they appear."""
    global _hidden
    values = {secret.get_secret_value() for secret in chain(_hidden, secrets)}
    # The longest first: a secret may contain another.
    _hidden = tuple(SecretStr(value) for value in sorted(values, key=len, reverse=True) if len(value) >= SHORTEST)


def mask_text(text: str) -> str:
    """Return the text with the secrets of every URL in it, and every hidden value, made unreadable."""
    masked = _URL.sub(lambda match: mask_url(match.group(), _hidden), text)
    for secret in _hidden:
        masked = masked.replace(secret.get_secret_value(), MASK)
    return masked
