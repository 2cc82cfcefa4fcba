"""A client that sends every message back as it came: what WebSocket conformance suites want to talk to.

Against an echo server of your own, ``feeds.toml`` says::

    [feeds.echo]
    url = "ws://127.0.0.1:9001/"
    session = "examples.echo_session:EchoSession"
    actor = "none"                          # nothing is emitted, so no queue fills and no worker is needed

`FuzzedSession` goes through all cases of the Autobahn suite's fuzzing server, one connection each: ``echo_feeds.toml`` beside
this file uses it, docs/conformance.md says how.
"""

from __future__ import annotations

from ingest import Session, Skip
from ingest.connection.retry import Attempt
from ingest.errors import UrlFailed


class EchoSession(Session):
    """Reply with what came, text as text and binary as binary; emit nothing."""

    def on_frame(self, payload: str | bytes) -> Skip:
        """Send the message back."""
        return Skip(reply=(payload,))


class FuzzedSession(EchoSession):
    """Ask how many cases there are, play one with every connection, have the reports written, and be done.

    A session ends with its connection; which step is next is in ``memory``, which outlives it.
    """

    def setup(self, agent: str = "dramatiq-websocket", first: int = 1, last: int = 0) -> None:
        """Take ``session_args``: the name in the reports, and the cases to play, up to the last of all where ``last`` is 0."""
        self.agent = agent
        self.memory.setdefault("next", first)
        self.memory.setdefault("last", last or None)
        self.counting = self.memory["last"] is None

    def url(self) -> str:
        """Return the URL that stands for the next step."""
        number, last, base = self.memory["next"], self.memory["last"], self.feed.url.rstrip("/")
        if last is None:
            return f"{base}/getCaseCount"
        if number <= last:
            return f"{base}/runCase?case={number}&agent={self.agent}"
        if number == last + 1:
            return f"{base}/updateReports?agent={self.agent}"
        raise LookupError("all cases are played")

    def on_upgrade(self) -> tuple[str, ...]:
        """Count the step as taken, now that the server has agreed to it; nothing is sent."""
        if not self.counting:
            self.memory["next"] += 1
        return ()

    def on_frame(self, payload: str | bytes) -> Skip:
        """Send the message back, unless it is the number that was asked for."""
        if self.counting:
            self.memory["last"] = int(payload)
            return Skip()
        return super().on_frame(payload)


def next_case(attempt: Attempt) -> float | None:
    """Go on at once after a connection, in a second where there was none, and stop after the last step (``retry.function``)."""
    if isinstance(attempt.reason, UrlFailed):
        return None
    return 0.0 if attempt.was_ready else 1.0
