"""What must not be readable in any text that telemetry lets out: secrets of URLs, and values that are known to be secret.

The rule: one list for the whole process, because log lines and exceptions come from anywhere in it.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from threading import Lock
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from pydantic import SecretStr

from settings.masking import MASK, mask_url
from settings.model import FeedSettings, Settings

#: Shorter values are hidden in URLs only: symbols and numbers come from the environment, too, and hiding every "1" or
#: "BTC/USD" would make logs unreadable.
SHORTEST = 8
SHORTEST_IN_URL = 4

#: So many values of one feed are remembered that come and go: tokens that are fetched anew for every connection.
MOST_PASSING = 10

#: Parts of a URL's path that are so long, and were not in the settings, are keys.
LONG_PART = 16

_URL = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>\\]+")

#: A query without the URL that it belongs to, and credentials as headers carry them.
_QUERY = re.compile(r"([?&][A-Za-z0-9_.~%-]+=)[^&\s\"'<>\\]+")
_CREDENTIALS = re.compile(r"\b((?i:Bearer|Basic|Token))\s+(?=\S*(?:[\d=]|[a-z][A-Z]))[A-Za-z0-9._~+/=-]{8,}")

_SECRET_NAME = re.compile(r"token|key|secret|sig|auth|pass|pwd|jwt|cred|session", re.IGNORECASE)

_hidden: tuple[SecretStr, ...] = ()
_passing: dict[str, deque[SecretStr]] = {}
_changing = Lock()


def hide_secrets_of(settings: Settings) -> None:
    """Hide from now on, beside what is already hidden, every secret value that the settings hold."""
    hide(map(SecretStr, _credentials(settings.broker.url.get_secret_value())))
    for feed in settings.feeds.values():
        # By these one finds things; they stay readable also where they come from the environment.
        names = {feed.name, feed.actor, feed.queue, feed.label}
        hide(SecretStr(value) for value in secret_values_of(feed) if value not in names)


def hide(secrets: Iterable[SecretStr]) -> None:
    """Hide these values, too, wherever they appear."""
    global _hidden
    with _changing:
        known = {secret.get_secret_value() for secret in _hidden}
        fresh = {secret.get_secret_value() for secret in secrets} - known  # forms of forms would be without end
        values = known | {form for value in fresh for form in _forms(value)}
        # The longest first: a secret may contain another.
        _hidden = tuple(SecretStr(value) for value in sorted(values, key=len, reverse=True) if len(value) >= SHORTEST_IN_URL)


def hide_passing(feed: FeedSettings, url: str, headers: Mapping[str, str]) -> None:
    """Hide what one connection is opened with, where it is not from the settings; the oldest of such values are forgotten."""
    named = {secret.get_secret_value() for secret in (*feed.secrets, *feed.headers.values())}
    values = [form for value in headers.values() if value not in named for form in _header_forms(value)]
    if url != feed.url:
        values += _credentials(url)
        values += [part for part in urlsplit(url).path.split("/") if len(part) >= LONG_PART and part not in feed.url]
    with _changing:
        passing = _passing.setdefault(feed.name, deque(maxlen=MOST_PASSING))
        known = {secret.get_secret_value() for secret in passing}
        passing.extend(SecretStr(value) for value in dict.fromkeys(values) if len(value) >= SHORTEST and value not in known)


def mask_text(text: str) -> str:
    """Return the text with the secrets of every URL in it, and every hidden value, made unreadable."""
    hidden = _all_hidden()
    masked = _URL.sub(lambda match: mask_url(match.group(), hidden), text)
    for secret in hidden:
        value = secret.get_secret_value()
        if len(value) >= SHORTEST and "://" not in value:  # of a URL that is a secret, the host may be seen
            masked = masked.replace(value, MASK)
    masked = _CREDENTIALS.sub(rf"\1 {MASK}", masked)
    return _QUERY.sub(rf"\1{MASK}", masked)


def _all_hidden() -> tuple[SecretStr, ...]:
    if not _passing:
        return _hidden
    with _changing:
        passing = [secret for secrets in _passing.values() for secret in secrets]
    return (*sorted(passing, key=len, reverse=True), *_hidden)


def secret_values_of(feed: FeedSettings) -> Iterator[str]:
    """Yield what of a feed's settings is secret, also in parts that may stand by themselves."""
    for secret in feed.secrets:
        yield secret.get_secret_value()
    for header in feed.headers.values():
        yield from _header_forms(header.get_secret_value())
    yield from _credentials(feed.url)
    if feed.proxy is not None:
        yield from _credentials(feed.proxy.get_secret_value())
    if feed.tls.client_key_password is not None:
        yield feed.tls.client_key_password.get_secret_value()


def _header_forms(value: str) -> Iterator[str]:
    """Yield a header's value, and without its scheme: ``Bearer abc`` is a secret as ``abc`` as well."""
    yield value
    scheme, _, rest = value.partition(" ")
    if rest and scheme.isalpha():
        yield rest.strip()


def _credentials(url: str) -> Iterator[str]:
    """Yield what is secret in a URL also where it stands by itself: the password, and what its query calls a key or a token."""
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        return
    if password:
        yield password
        yield unquote(password)
    for name, value in parse_qsl(parts.query):
        if _SECRET_NAME.search(name):
            yield value


def _forms(value: str) -> Iterator[str]:
    """Yield a value as it is, and as URLs, JSON and Python's `repr` write it."""
    yield value
    yield quote(value, safe="")
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield repr(value)[1:-1]
