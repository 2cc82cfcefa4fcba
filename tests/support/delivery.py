"""The delivery plane put together as the supervisor does it, with a numbered stream to send and to check."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import dramatiq
import redis

from ingest.broker.broker import RateLimitedBroker
from ingest.broker.hooks import message_encoder
from ingest.broker.lease import Bid, Leases, Renewal, Taken, Terms
from ingest.broker.limits import Limits
from ingest.clock import Deadline, Monotonic, monotonic, wall_us
from ingest.connection.session import To
from ingest.delivery.backlog import Backlog, Bounds, Chain
from ingest.delivery.core import Pace, PublisherCore
from ingest.delivery.envelope import Destination, Envelope, PayloadRules
from ingest.delivery.intake import Intake
from ingest.delivery.losses import Losses
from ingest.delivery.publisher import Line, Publisher
from ingest.errors import BrokerError
from ingest.events import Event
from settings.wire import new_producer
from tests.support.waiting import wait_until


def make_envelope(producer: str | None = None, **options: Any) -> Envelope:
    """Return the envelope of the feed "trades", for the actor "handle" on the queue "trades"."""
    return Envelope(
        feed="trades",
        producer=producer or new_producer(),
        destination=options.pop("destination", Destination("trades", "handle")),
        rules=options.pop("rules", PayloadRules()),
        encoder=options.pop("encoder", None) or message_encoder(),
        routed=To,
    )


@contextmanager
def made_broker(url: str, **options: Any) -> Iterator[RateLimitedBroker]:
    """Return a broker without middleware, closed at the end."""
    broker = RateLimitedBroker(url=url, middleware=options.pop("middleware", []), **options)
    try:
        yield broker
    finally:
        broker.close()


class FixedLead:
    """Leads for ever, or until fenced."""

    def __init__(self, leader: str) -> None:
        self.leader = leader
        self.lost: list[str] = []

    def fenced(self, producer: str) -> None:
        self.lost.append(producer)
        self.leader = ""


def memory_backlog(messages: int = 1_000_000, size: int = 1 << 30, *, on_room: Callable[[], None] = lambda: None) -> Backlog:
    """Return a backlog without a disk that blocks when it is full."""
    return Backlog(Bounds(messages, size), Losses("trades", "trades", lambda event: None), on_room=on_room)


class Pipeline:
    """One feed's intake, backlog and publisher, which leads; what is put is numbered from 1.

    Parameters:
      backlog, chain: instead of its own; a chain without its backlog makes no sense.
    """

    def __init__(
        self,
        line: Line,
        limits: Callable[[str], Limits],
        *,
        pace: Pace | None = None,
        backlog: Backlog | None = None,
        after: Callable[[bytes], None] | None = None,
        producer: str | None = None,
        chain: Chain | None = None,
        mark_late: Callable[[bytes], bytes] | None = None,
        spools: bool = False,
        clock: Monotonic = monotonic,
    ) -> None:
        self.producer = chain.producer if chain is not None else producer or new_producer()
        self.events: list[Event] = []
        self.crashes: list[BaseException] = []
        self.backlog = backlog if backlog is not None else memory_backlog()
        self.intake = Intake(make_envelope, self.backlog, label="trades", publish=self.events.append)
        self.chain = chain if chain is not None else self.backlog.open(self.producer, 1)
        self.intake.enter(self.chain)
        self.core = PublisherCore(feed="trades", label="trades", queue="trades", watermarks=limits, pace=pace or Pace())
        self.lead = FixedLead(self.producer)
        self.publisher = Publisher(
            self.backlog,
            line,
            self.core,
            self.lead,
            publish=self.events.append,
            mark_late=mark_late,
            spools=spools,
            after=after,
            clock=clock,
        )
        self._thread = threading.Thread(target=self._run, name="publish-trades", daemon=True)

    def __enter__(self) -> Pipeline:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.publisher.stop()
        self._thread.join(20)
        assert not self._thread.is_alive(), "the publisher did not end"

    def put(self, *payloads: object) -> None:
        """Emit payloads, as read now."""
        self.intake.deliver(payloads, wall_us())

    def put_numbers(self, first: int, last: int, batch: int = 100) -> None:
        """Emit the numbers from first to last, so many at once."""
        for start in range(first, last + 1, batch):
            self.put(*range(start, min(start + batch, last + 1)))

    def emptied(self, timeout: float = 60.0) -> None:
        """Wait until everything is confirmed."""
        wait_until(
            lambda: len(self.backlog) == 0, timeout, f"an empty backlog (it holds {len(self.backlog)}; {self.events[-3:]})"
        )

    def drain(self, seconds: float) -> bool:
        """Drain for at most so long; tell whether nothing is left."""
        self.intake.close()
        self.publisher.drain(Deadline(seconds))
        self._thread.join(seconds + 10)
        assert not self._thread.is_alive(), "the publisher did not end"
        return len(self.backlog) == 0

    def told(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if type(event) is kind]

    def _run(self) -> None:
        try:
            self.publisher.run()
        except BaseException as cause:
            self.crashes.append(cause)


@contextmanager
def leading(broker: RateLimitedBroker, feed: str = "trades", **options: Any) -> Iterator[Pipeline]:
    """Run one feed's pipeline on this broker, under a lease that is given back at the end."""
    leases = Leases(broker.client, broker.keys, "", 60.0)
    chain = options.get("chain")
    producer = chain.producer if chain is not None else new_producer()
    [answer] = leases.take([Bid(feed, producer, Terms(60.0))])
    assert isinstance(answer, Taken), "another pipeline leads this feed"
    with Pipeline(broker.line(feed, "", Terms(60.0)), broker.limits, producer=producer, **options) as pipeline:
        try:
            yield pipeline
        finally:
            with suppress(BrokerError):
                leases.release([Renewal(feed, producer)])


@contextmanager
def publishing(
    url: str, *, pace: Pace | None = None, backlog: Backlog | None = None, chain: Chain | None = None, **limits: Any
) -> Iterator[Pipeline]:
    """Run one feed's pipeline with a broker of its own; wide limits unless ``limits`` or ``queues`` say otherwise."""
    limits.setdefault("limits", Limits(high=10**6, low=1))
    with made_broker(url, **limits) as broker, leading(broker, pace=pace, backlog=backlog, chain=chain) as pipeline:
        yield pipeline


def queued(client: redis.Redis, queue: str = "trades", namespace: str = "dramatiq") -> list[dramatiq.Message[Any]]:
    """Return the messages of a queue, in order, as Dramatiq decodes them; every id has its message and no message lies about."""
    ids: Sequence[bytes] = client.lrange(f"{namespace}:{queue}", 0, -1)
    data = client.hgetall(f"{namespace}:{queue}.msgs")
    assert len(set(ids)) == len(ids), "an id is in the list twice"
    assert set(data) == set(ids), "the list and the hash differ"
    return [dramatiq.Message.decode(data[each]) for each in ids]


def payloads(client: redis.Redis, queue: str = "trades", namespace: str = "dramatiq") -> list[Any]:
    """Return what the actors of a queue would get, in order."""
    return [message.args[0] for message in queued(client, queue, namespace)]
