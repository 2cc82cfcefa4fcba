"""Secrets made unreadable: what of a URL or of the settings may be printed or logged.

The rule: nothing here raises, and what cannot be understood is hidden.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

MASK = "***"

#: Free-form tables and frames: their shape is shown, their values are not (tokens are sent in both).
_OPAQUE = {"session_args", "subscribe"}

_URLS = {"url"}

#: Shown also where they come from the environment: they are the keys by which one finds things.
_NAMES = {"actor", "queue", "telemetry_id"}


def mask_url(url: str, secrets: Iterable[SecretStr] = ()) -> str:
    """Hide a URL's userinfo and the values of its query, and those of ``secrets`` in its host and path.

    Where the whole URL is a secret, its path is hidden too: venues put keys there.
    """
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return f"{url.partition('://')[0]}://{MASK}" if "://" in url else MASK
    if not parts.scheme or not (parts.netloc or parts.path.startswith("/")):
        return MASK
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    user = f"{MASK}@" if "@" in parts.netloc else ""
    path = parts.path
    for secret in filter(None, (secret.get_secret_value() for secret in secrets)):
        path = f"/{MASK}" if url in secret and path.strip("/") else path.replace(secret, MASK)
        host = host.replace(secret, MASK)
    query = f"?{_mask_query(parts.query)}" if parts.query else ""
    return f"{parts.scheme}://{user}{host}{port}{path}{query}{f'#{MASK}' if parts.fragment else ''}"


def _mask_query(query: str) -> str:
    """Hide the values and keep the names: ``a=1&b`` becomes ``a=***&***``, as a name alone may be the secret."""
    items = (item.partition("=") for item in query.split("&"))
    return "&".join(f"{name}={MASK}" if equals else MASK for name, equals, _ in items)


def masked(table: BaseModel) -> dict[str, Any]:
    """Return what was set in a table of the settings, as plain values that may be shown; defaults are left out."""
    return _masked_table(table, getattr(table, "secrets", ()))


def _masked_table(table: BaseModel, secrets: tuple[SecretStr, ...]) -> dict[str, Any]:
    shown = [name for name, field in type(table).model_fields.items() if name in table.model_fields_set and not field.exclude]
    return {name: _masked_value(name, getattr(table, name), secrets) for name in shown}


def _masked_value(name: str, value: Any, secrets: tuple[SecretStr, ...]) -> Any:
    match value:
        case BaseModel():
            return _masked_table(value, getattr(value, "secrets", secrets))
        case SecretStr():
            return mask_url(value.get_secret_value(), secrets) if name in _URLS else MASK
        case str() if name in _URLS:
            return mask_url(value, secrets)
        case dict():
            return {key: MASK if name in _OPAQUE else _masked_value(key, item, secrets) for key, item in value.items()}
        case list() | tuple():
            return [MASK if name in _OPAQUE else _masked_value("", item, secrets) for item in value]
        case str() if name not in _NAMES and any(secret.get_secret_value() in value for secret in secrets):
            return MASK
        case _:
            return value
