"""The envelope and the intake that a feed's settings ask for.

The rule: the one place where those settings become the values that this room's own parts take; it decides nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ingest.delivery.backlog import Backlog
from ingest.delivery.batch_intake import BatchIntake
from ingest.delivery.envelope import Destination, Encoder, Envelope, PayloadRules, Routed
from ingest.delivery.intake import Intake
from ingest.events import Publish
from settings.model import FeedSettings


def envelope_of(feed: FeedSettings, producer: str, encoder: Encoder, routed: type[Routed]) -> Envelope:
    """Return what writes the feed's messages for one producer; see `Envelope` for ``routed``, and for what it refuses."""
    return Envelope(
        feed=feed.name,
        producer=producer,
        destination=Destination(feed.queue, feed.actor, feed.options),
        rules=PayloadRules(feed.payload, feed.binary),
        encoder=encoder,
        routed=routed,
    )


def intake_of(
    feed: FeedSettings,
    backlog: Backlog,
    *,
    encoder: Encoder,
    routed: type[Routed],
    publish: Publish,
    before: Callable[[bytes], bytes] | None,
) -> Intake:
    """Return the feed's intake: one that gathers, where its messages carry several payloads."""
    make = partial(envelope_of, feed, encoder=encoder, routed=routed)
    batch = feed.batch
    if batch.size == 1:
        return Intake(make, backlog, label=feed.label, publish=publish, before=before)
    return BatchIntake(make, backlog, size=batch.size, timeout=batch.timeout, label=feed.label, publish=publish, before=before)
