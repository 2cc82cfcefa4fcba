"""What an actor gets of the payloads that a session emits, without a queue in between.

The rule: the feed's own envelope writes them and the process's encoder reads them, as in production.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ingest.broker.hooks import message_encoder
from ingest.connection.session import To
from ingest.delivery.entry import Entry
from ingest.delivery.feed_intake import envelope_of
from settings.model import FeedSettings
from settings.wire import new_producer


class Delivered:
    """The way of one feed's payloads through a message and back."""

    def __init__(self, feed: FeedSettings) -> None:
        self._encoder = message_encoder()
        self._envelope = envelope_of(feed, new_producer(), self._encoder, To)

    def take(self, payloads: Sequence[object], out: list[Any]) -> None:
        """Append what an actor gets to ``out``; `PayloadRefused` at the first that no encoder takes, after those before it."""
        entries: list[Entry] = []
        try:
            self._envelope.seal(payloads, 1, 0, entries)
        finally:
            out += [self._encoder.decode(entry.data)["args"][0] for entry in entries]
