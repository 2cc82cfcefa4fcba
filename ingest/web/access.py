"""Who may look at the page, and who may act: one token, sessions signed by it, and a CSRF token for every session.

The rule: no I/O but the clock and randomness; secrets are compared in constant time and never shown.
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
from enum import Enum, auto
from urllib.parse import urlsplit

#: Seconds for which a session holds.
SESSION_SECONDS = 12 * 3600

#: So many wrong tokens of one address, and of all together, are looked at in so many seconds.
MOST_FAILURES = 10
MOST_FAILURES_OF_ALL = 100
FAILURE_SECONDS = 60.0

#: Sessions that have logged out and are remembered until they would have ended.
MOST_ENDED = 1000

_LOCAL_NAMES = frozenset({"localhost", "localhost."})


class Verdict(Enum):
    """What became of a token that was given."""

    RIGHT = auto()
    WRONG = auto()
    THROTTLED = auto()


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that has shown the token: ``id`` is random, ``until`` in wall-clock seconds."""

    id: str
    until: int


class Access:
    """Decides for one running page. Without a token nobody ever acts, and nobody reads who is not let in otherwise."""

    def __init__(self, token: str | None, *, wall: Callable[[], float] = time.time) -> None:
        self._token = token.encode() if token is not None else None
        # Slow on purpose: who sees a cookie could guess at the token with it, elsewhere and at leisure. The same token gives the
        # same key, so that sessions outlive a restart.
        salt = b"dramatiq-websocket: the page's sessions"
        self._key = hashlib.scrypt(self._token or secrets.token_bytes(32), salt=salt, n=2**14, r=8, p=1)
        self._wall = wall
        self._failures: deque[tuple[float, str]] = deque(maxlen=MOST_FAILURES_OF_ALL)
        self._ended: deque[str] = deque(maxlen=MOST_ENDED)

    @property
    def can_act(self) -> bool:
        """Whether anybody can ever act: only where there is a token."""
        return self._token is not None

    def check(self, given: str, address: str) -> Verdict:
        """Tell whether this is the token, which somebody sends from ``address``; after many wrong ones none is looked at."""
        if self._token is None:
            return Verdict.WRONG
        since = self._wall() - FAILURE_SECONDS
        recent = [who for at, who in self._failures if at > since]
        if len(recent) >= MOST_FAILURES_OF_ALL or recent.count(address) >= MOST_FAILURES:
            return Verdict.THROTTLED
        if hmac.compare_digest(given.encode(errors="replace"), self._token):
            return Verdict.RIGHT
        self._failures.append((self._wall(), address))
        return Verdict.WRONG

    def open_session(self) -> str:
        """Return the cookie of a new session."""
        session = Session(secrets.token_urlsafe(16), int(self._wall()) + SESSION_SECONDS)
        return f"{session.id}.{session.until}.{self._sign('session', session)}"

    def session(self, cookie: str | None) -> Session | None:
        """Return the session of a cookie; None if it is none of ours, or over."""
        ident, _, rest = (cookie or "").partition(".")
        until, _, signature = rest.partition(".")
        if self._token is None or not (ident and until.isascii() and until.isdigit() and len(until) < 16):
            return None
        session = Session(ident, int(until))
        if not hmac.compare_digest(signature.encode(errors="replace"), self._sign("session", session).encode()):
            return None
        return session if self._wall() < session.until and session.id not in self._ended else None

    def end_session(self, session: Session) -> None:
        """Let a session be over in this process, wherever its cookie still is."""
        self._ended.append(session.id)

    def csrf_token(self, session: Session) -> str:
        """Return what every form of a session's pages carries."""
        return self._sign("form", session)

    def is_csrf_token(self, session: Session, given: str) -> bool:
        """Tell whether a form came from a page of this session."""
        return hmac.compare_digest(given.encode(errors="replace"), self.csrf_token(session).encode())

    def seal(self, session: Session, text: str) -> str:
        """Return what shows that this text is ours: a link that somebody else made cannot put words into the page."""
        return self._sign(f"notice:{text}", session)

    def is_sealed(self, session: Session, text: str, seal: str) -> bool:
        return hmac.compare_digest(seal.encode(errors="replace"), self.seal(session, text).encode())

    def _sign(self, purpose: str, session: Session) -> str:
        text = f"{session.id}:{session.until}:{purpose}"
        return hmac.new(self._key, text.encode(errors="replace"), hashlib.sha256).hexdigest()


def is_loopback(host: str) -> bool:
    """Tell whether an address or a name to listen on is reached from this machine only."""
    if host.lower() in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_local_name(header: str) -> bool:
    """Tell whether a ``Host`` header is a name of this machine: any other that leads to loopback is DNS rebinding."""
    try:
        return is_loopback(urlsplit(f"//{header}").hostname or "")
    except ValueError:
        return False


def is_same_origin(origin: str | None, fetch_site: str | None, host: str) -> bool:
    """Tell whether a form was sent from our own page, by what browsers say of it (``Origin``, ``Sec-Fetch-Site``)."""
    if origin is None or not host:
        return fetch_site == "same-origin"
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    same = parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()
    return same and fetch_site in (None, "same-origin")


def address_of(peer: str, forwarded_for: str) -> str:
    """Return who sent a request: if a private address is the peer, whom the nearest router names last (``X-Forwarded-For``)."""
    last = forwarded_for.rpartition(",")[2].strip()
    try:
        behind = ipaddress.ip_address(peer).is_private
        return str(ipaddress.ip_address(last)) if behind and last else peer
    except ValueError:
        return peer
