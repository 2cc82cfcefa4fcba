"""Events to the user's own code: the callables that ``[telemetry] subscribers`` names.

The rule: each subscriber is a sink of its own, so a slow one delays nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ingest.events import Event

Subscriber = Callable[[Event], None]


class SubscriberSink:
    """One subscriber, called with one event at a time."""

    def __init__(self, name: str, subscriber: Subscriber) -> None:
        self._name = name
        self._subscriber = subscriber

    @property
    def name(self) -> str:
        return self._name

    def handle(self, event: Event) -> None:
        self._subscriber(event)

    def close(self) -> None:
        """Do nothing: a subscriber that buffers flushes by itself."""


def subscriber_sinks(subscribers: Mapping[str, Subscriber]) -> list[SubscriberSink]:
    """Return a sink for each subscriber; the keys are the references under which settings name them."""
    return [SubscriberSink(name, subscriber) for name, subscriber in subscribers.items()]
