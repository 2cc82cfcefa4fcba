"""Keeps secrets out of records: known values everywhere, and in what we sent whatever looks like a credential.

The rule: pure, and byte for byte: what is not masked stays as it was, so that a session takes it as it took the original. What
cannot be told apart from data is only masked in frames that we sent; a record may still hold what a server tells of an account.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from ingest.telemetry.masking import SHORTEST, SHORTEST_IN_URL
from settings.masking import MASK

_MASK = MASK.encode()

#: Parts of a name that say that its value is a credential, in lower case and without ``-`` and ``_``.
_TELLING = (
    *("token", "secret", "passw", "passphrase", "passcode", "apikey", "accesskey", "privatekey", "listenkey", "signature"),
    *("jwt", "cookie", "credential", "authorization", "bearer", "sessionid"),
)

#: Names that say so as a whole.
_NAMES = frozenset({"auth", "sign", "sig", "pwd", "pass", "key"})

#: Fields that say what a frame is for.
_PURPOSES = ("op", "method", "event", "type", "action", "cmd", "command", "request")

_LOGS_IN = re.compile(r"auth(?!or)|login|log[ _-]?on|sign[ _-]?in|identify|passw", re.IGNORECASE)

#: A name and its text or number in JSON.
_MEMBER = re.compile(rb'"((?:[^"\\]|\\.)*)"(\s*:\s*)("(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*)')

#: A name and its value in a line of something else: a header, a query.
_PAIR = re.compile(rb"([A-Za-z][\w.-]*)(\s*[:=]\s*)([^\s&;,]+)")


def names_credential(name: str) -> bool:
    """Tell whether a field, a header or a part of a query of this name is a credential."""
    plain = name.lower().replace("_", "").replace("-", "")
    return plain in _NAMES or any(part in plain for part in _TELLING)


class Scrubber:
    """Masks the frames and texts of one record; for one thread at a time, except that `hide` is seen by whoever comes later.

    Parameters:
      secrets: values that came from the environment, and the values of headers.
      names: further names of JSON members whose values are masked, in both directions.
    """

    def __init__(self, secrets: Iterable[str] = (), names: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self._known = self._known_sent = _nothing()
        self._names = frozenset(name.lower() for name in names)
        self._hint = _any_of(f'"{name}"'.encode() for name in self._names)
        self.hide(secrets)

    def hide(self, values: Iterable[str]) -> None:
        """Mask these values, too, from now on."""
        new = {value for value in values if len(value) >= SHORTEST_IN_URL} - self._secrets
        if new:
            self._secrets |= new
            self._known = _any_of(form for value in self._secrets if len(value) >= SHORTEST for form in _forms(value))
            self._known_sent = _any_of(form for value in self._secrets for form in _forms(value))

    def hide_request(self, url: str, headers: Mapping[str, str]) -> None:
        """Mask what the upgrade request of an attempt shows as its credentials."""
        parts = urlsplit(url)
        query = [value for name, value in parse_qsl(parts.query) if names_credential(name)]
        sent = [value for name, value in headers.items() if names_credential(name)]
        words = [value.split()[-1] for value in sent if value.split()]  # Bearer …
        self.hide([*query, *sent, *words, *filter(None, (parts.password,))])

    def received(self, payload: bytes) -> bytes:
        """Return a frame of the server's as it may be kept."""
        if self._names and self._hint.search(payload):
            payload = _MEMBER.sub(self._mask_named, payload)
        return self._known.sub(_masked, payload)

    def sent(self, payload: bytes, *, text: bool) -> bytes:
        """Return a frame of ours as it may be kept."""
        if text:
            payload = self._without_credentials(payload)
        return self._known_sent.sub(_masked, payload)

    def said(self, text: str) -> str:
        """Return a text of ours (a reason, a subprotocol) as it may be kept."""
        return self._known_sent.sub(_masked, text.encode("utf-8", "replace")).decode("utf-8", "replace")

    def payload(self, value: Any) -> Any:
        """Return an emitted value as it may be kept."""
        data = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
        masked = self.received(data)
        if masked == data:
            return value
        try:
            return json.loads(masked.decode("utf-8", "replace"))
        except ValueError:  # part of something that is no text
            return MASK

    def _without_credentials(self, payload: bytes) -> bytes:
        try:
            value = json.loads(payload)
        except (ValueError, RecursionError):
            return _mask_lines(payload)
        if _is_login(value):
            return json.dumps(_blank(value, top=True), ensure_ascii=False).encode("utf-8", "replace")
        return _MEMBER.sub(self._mask_credential, payload)

    def _mask_credential(self, match: re.Match[bytes]) -> bytes:
        name = match[1].decode("utf-8", "replace")
        if not names_credential(name) and name.lower() not in self._names:
            return match[0]
        if match[3].startswith(b'"') and len(match[3]) >= SHORTEST + 2:
            self.hide([json.loads(match[3])])  # the server may repeat it
        return _masked_member(match)

    def _mask_named(self, match: re.Match[bytes]) -> bytes:
        return _masked_member(match) if match[1].decode("utf-8", "replace").lower() in self._names else match[0]


def _masked(match: re.Match[bytes]) -> bytes:
    # A number stays one, wherever in a JSON text it stands.
    return b"9" * len(match[0]) if match[0].isdigit() else _MASK


def _masked_member(match: re.Match[bytes]) -> bytes:
    return b'"%b"%b"%b"' % (match[1], match[2], _MASK)


def _is_login(value: Any) -> bool:
    """Tell whether a JSON frame is there to say who we are."""
    if isinstance(value, dict):
        return any(isinstance(value.get(name), str) and _LOGS_IN.search(value[name]) for name in _PURPOSES)
    return isinstance(value, list) and bool(value) and isinstance(value[0], str) and bool(_LOGS_IN.search(value[0]))


def _blank(value: Any, *, top: bool = False) -> Any:
    """Mask every text and number, except what says what the frame is for."""
    match value:
        case dict():
            kept = _PURPOSES if top else ()
            return {key: item if key in kept and isinstance(item, str) else _blank(item) for key, item in value.items()}
        case list():
            return [item if top and at == 0 else _blank(item) for at, item in enumerate(value)]
        case bool() | None:
            return value
        case _:
            return MASK


def _mask_lines(payload: bytes) -> bytes:
    """Mask the credentials of a text that is no JSON: ``AUTH user password``, ``token: …``, ``token=…``."""
    first, blank, _ = payload.partition(b" ")
    if blank and len(first) <= 16 and _LOGS_IN.search(first.decode("utf-8", "replace")):
        return first + b" " + _MASK
    return _PAIR.sub(_mask_pair, payload)


def _mask_pair(match: re.Match[bytes]) -> bytes:
    telling = names_credential(match[1].decode("ascii", "replace")) or match[1].lower() == b"login"
    return match[1] + match[2] + _MASK if telling else match[0]


def _forms(value: str) -> set[bytes]:
    """Return a secret as it may stand in a frame: as it is, in JSON, in a URL."""
    texts = (value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], quote(value, safe=""))
    return {text.encode("utf-8", "replace") for text in texts}


def _any_of(forms: Iterable[bytes]) -> re.Pattern[bytes]:
    """Return what finds any of these, the longest first: a secret may contain another."""
    parts = sorted(set(forms), key=len, reverse=True)
    return re.compile(b"|".join(map(re.escape, parts)), re.IGNORECASE) if parts else _nothing()


def _nothing() -> re.Pattern[bytes]:
    return re.compile(rb"(?!)")
