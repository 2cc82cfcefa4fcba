"""TLS contexts from settings.

The rule: one `ssl.SSLContext` per distinct settings and state of their files (it takes 0.8 MB and some 20 ms); a renewed
certificate is in use from the next connection on.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from ingest.connection.stream import describe
from ingest.errors import DialFailed
from settings.model import TLSSettings

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def context_for(settings: TLSSettings) -> ssl.SSLContext:
    """Return the context for these settings: the one we have, unless one of their files has changed since."""
    files = {
        "ca_file": settings.ca_file,
        "extra_ca_file": settings.extra_ca_file,
        "client_cert": settings.client_cert,
        "client_key": settings.client_key,
    }
    state: list[tuple[int, int]] = []
    for key, file in files.items():
        if file:
            with _naming(key, file):
                stat = os.stat(file)
                state.append((stat.st_mtime_ns, stat.st_size))
    return _context(settings, tuple(state))


@lru_cache(maxsize=64)
def _context(settings: TLSSettings, state: tuple[tuple[int, int], ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = _VERSIONS[settings.min_version]
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if not settings.ca_file:
        context.load_default_certs()
    for key, file in (("ca_file", settings.ca_file), ("extra_ca_file", settings.extra_ca_file)):
        if file:
            with _naming(key, file):
                context.load_verify_locations(file)
    if settings.ciphers:
        with _naming("ciphers", settings.ciphers):
            context.set_ciphers(settings.ciphers)
    if settings.client_cert:
        with _naming("client_cert", settings.client_cert):
            _load_client(context, settings, settings.client_cert)
    return context


def _load_client(context: ssl.SSLContext, settings: TLSSettings, certificate: str) -> None:
    """Load our certificate and its key; a password that is wrong or missing is told as such, which OpenSSL does not."""
    # Always with a password: without one OpenSSL would ask for it on the terminal, and wait.
    password = _Password(settings.client_key_password.get_secret_value() if settings.client_key_password else "")
    try:
        context.load_cert_chain(certificate, settings.client_key, password)
    except (ssl.SSLError, ValueError) as error:  # ValueError: a password of more than 1023 bytes
        if not password.asked or (isinstance(error, ssl.SSLError) and reason_of(error)):
            raise
        key = "client_key" if settings.client_key else "client_cert"
        file = settings.client_key or certificate
        if not settings.client_key_password:
            raise DialFailed("tls", f"tls.{key} = {file!r}: the key is encrypted; set tls.client_key_password") from error
        raise DialFailed("tls", f"tls.client_key_password: it does not open the key in {file!r}") from error


class _Password:
    """Gives the password where a key is encrypted, and knows that it was asked."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.asked = False

    def __call__(self) -> str:
        self.asked = True
        return self._text


@contextmanager
def _naming(key: str, value: str) -> Iterator[None]:
    """Name the setting that is at fault."""
    try:
        yield
    except ssl.SSLError as error:
        raise DialFailed("tls", f"tls.{key} = {value!r}: {reason_of(error) or 'not usable'}") from error
    except OSError as error:
        raise DialFailed("tls", f"tls.{key} = {value!r}: {describe(error)}") from error


def reason_of(error: ssl.SSLError) -> str:
    """Return OpenSSL's reason in lower-case words; empty where there is none."""
    reason: str | None = getattr(error, "reason", None)  # what `ssl` raises by itself has none
    return reason.replace("_", " ").lower() if reason else ""
