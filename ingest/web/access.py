"""Who may look at the page, and who may act: one token, sessions signed by it, and a word against forged requests.

The rule: pure but for the clock and randomness; secrets are compared in constant time and never shown.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

#: Characters that a token must have at least: it is all that stands between the network and a queue.
SHORTEST_TOKEN = 16

#: Seconds for which a session holds.
SESSION_SECONDS = 12 * 3600

#: So many wrong tokens are looked at in so many seconds, by whomever they are sent.
MOST_FAILURES = 10
FAILURE_SECONDS = 60.0

_LOCAL_NAMES = frozenset({"localhost", "localhost."})


class TokenRefused(Exception):
    """The token cannot be used; the text says why, without showing it."""


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that has shown the token: ``id`` is random, ``until`` in wall-clock seconds."""

    id: str
    until: int


class Access:
    """Decides for one running page.

    Parameters:
      token: None: nobody can act; and reading is free, which is for loopback only.
      open_reading: whether reading needs no session.
    """

    def __init__(self, token: str | None, *, open_reading: bool, wall: Callable[[], float] = time.time) -> None:
        if token is not None and len(token) < SHORTEST_TOKEN:
            raise TokenRefused(f"the token is too short: {SHORTEST_TOKEN} characters are the least")
        if token is None and not open_reading:
            raise TokenRefused("beyond this machine nobody may read without a token")
        self.open_reading = open_reading
        self._token = token.encode() if token is not None else None
        self._key = hashlib.sha256(b"session:" + (self._token or secrets.token_bytes(32))).digest()
        self._wall = wall
        self._failures: deque[float] = deque(maxlen=MOST_FAILURES)

    @property
    def can_act(self) -> bool:
        """Whether anybody can ever act: only where there is a token."""
        return self._token is not None

    @property
    def is_throttled(self) -> bool:
        """Whether so many wrong tokens came lately that none is looked at."""
        return len(self._failures) == MOST_FAILURES and self._wall() - self._failures[0] < FAILURE_SECONDS

    def is_token(self, given: str) -> bool:
        """Tell whether this is the token; a wrong one counts."""
        if self._token is None or self.is_throttled:
            return False
        if hmac.compare_digest(given.encode(), self._token):
            return True
        self._failures.append(self._wall())
        return False

    def open_session(self) -> str:
        """Return the cookie of a new session."""
        session = Session(secrets.token_urlsafe(16), int(self._wall()) + SESSION_SECONDS)
        return f"{session.id}.{session.until}.{self._sign('session', session)}"

    def session(self, cookie: str | None) -> Session | None:
        """Return the session of a cookie; None if it is none of ours, or over."""
        id_, _, rest = (cookie or "").partition(".")
        until, _, signature = rest.partition(".")
        if not (id_ and until.isascii() and until.isdigit() and len(until) < 16):
            return None
        session = Session(id_, int(until))
        if not hmac.compare_digest(signature.encode(), self._sign("session", session).encode()):
            return None
        return session if self._wall() < session.until else None

    def word(self, session: Session) -> str:
        """Return what every form of a session's pages carries."""
        return self._sign("form", session)

    def is_word(self, session: Session, given: str) -> bool:
        """Tell whether a form came from a page of this session."""
        return hmac.compare_digest(given.encode(), self.word(session).encode())

    def _sign(self, purpose: str, session: Session) -> str:
        text = f"{purpose}:{session.id}:{session.until}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


def is_loopback(host: str) -> bool:
    """Tell whether an address or a name to listen on is reached from this machine only."""
    if host.lower() in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_own_host(header: str, *, loopback: bool) -> bool:
    """Tell whether a ``Host`` header may reach a page: one on loopback answers to names of this machine only (DNS rebinding)."""
    name = urlsplit(f"//{header}").hostname if header else None
    return name is not None and (not loopback or is_loopback(name))


def is_same_origin(origin: str | None, fetch_site: str | None, host: str) -> bool:
    """Tell whether a form was sent from our own page, by what browsers say of it (``Origin``, ``Sec-Fetch-Site``)."""
    if fetch_site is not None and fetch_site not in ("same-origin", "none"):
        return False
    if origin is None:
        return fetch_site is not None
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()
