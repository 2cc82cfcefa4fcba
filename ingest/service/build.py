"""Puts the supervisor together: the one place that constructs things and connects the planes.

The rule: everything that can be wrong with the settings, the user's code or Redis is found here, before the first connection.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Event

import dramatiq
import redis

from ingest.broker.assembly import MiddlewareRefused, assemble_middleware
from ingest.broker.broker import RateLimitedBroker
from ingest.broker.clients import SOCKET_TIMEOUT, check_server, make_client
from ingest.broker.hooks import EnqueueHooks, message_encoder
from ingest.broker.limits import Limits
from ingest.connection.callbacks import SessionMaker
from ingest.connection.feed import AlwaysLeads, Feed, policy_of
from ingest.connection.session import To
from ingest.connection.status import FeedStatus
from ingest.connection.transport import connect
from ingest.connection.wakeup import Wakeup
from ingest.delivery.backlog import Backlog
from ingest.delivery.core import Pace, PublisherCore
from ingest.delivery.envelope import Destination, Envelope, PayloadRules
from ingest.delivery.intake import Intake
from ingest.delivery.publisher import Publisher
from ingest.errors import BrokerError
from ingest.service.cautions import memory_warnings, settings_warnings
from ingest.service.references import FeedCode, References, resolve_all
from ingest.service.reporter import Reporter
from ingest.service.runner import FeedRunner
from ingest.service.watch import QueueWatch
from ingest.telemetry.bus import Bus, Sink
from ingest.telemetry.log import LogSink, log_event
from ingest.telemetry.masking import hide_secrets_of
from ingest.telemetry.sentry import SentrySink, init_sentry
from ingest.telemetry.subscribers import subscriber_sinks
from settings.environment import Environment
from settings.model import FeedSettings, Settings
from settings.problems import Problem, SettingsError
from settings.wire import new_producer

#: Seconds after which the reporter's own calls give up: a status that is late is of no use.
REPORT_TIMEOUT = 2.0


@dataclass(frozen=True, slots=True)
class Plant:
    """What the supervisor runs."""

    runners: Sequence[FeedRunner]
    reporter: Reporter
    bus: Bus
    broker: RateLimitedBroker

    def close(self, timeout: float) -> None:
        """Let telemetry finish, within ``timeout`` seconds, and close what is still open."""
        self.bus.close(timeout)
        with suppress(OSError):
            self.broker.close()


def build(settings: Settings, only: Sequence[str] = ()) -> Plant:
    """Return the feeds (those in ``only``, or all), ready to start.

    Raises `SettingsError` with every reference that leads nowhere and with what Redis has against us.
    """
    hide_secrets_of(settings)
    references = resolve_all(settings)
    broker = build_broker(settings, references)
    try:
        server = check_server(broker.client)
    except BrokerError as error:
        raise SettingsError([Problem("broker.url", str(error))]) from error
    for caution in (*settings_warnings(settings), *memory_warnings(settings, server)):
        log_event(logging.WARNING, "settings_warning", {"detail": caution})
    bus = Bus(_sinks(references))
    feeds = [feed for name, feed in settings.feeds.items() if not only or name in only]
    builder = _FeedBuilder(broker, bus, broker.enqueue_hooks())
    runners = [builder.build(feed, references.feeds[feed.name]) for feed in feeds]
    watches = [QueueWatch(feed.label, feed.queue, settings.queue(feed.queue).high_watermark) for feed in _one_a_queue(feeds)]
    client = _make_client(settings, timeout=REPORT_TIMEOUT)
    return Plant(runners, Reporter(client, settings.broker.namespace, runners, watches, bus.publish), bus, broker)


def build_broker(settings: Settings, references: References) -> RateLimitedBroker:
    """Return the broker, with the user's middleware, as the process's Dramatiq broker; it has connected to nothing yet."""
    try:
        middleware = assemble_middleware([], references.middleware)
    except MiddlewareRefused as error:
        raise SettingsError([Problem("broker.middleware", str(error))]) from error
    broker = RateLimitedBroker(
        client=_make_client(settings),
        namespace=settings.broker.namespace,
        middleware=middleware,
        queues={name: limits_of(settings, name) for name in settings.queues},
    )
    dramatiq.set_broker(broker)
    return broker


def limits_of(settings: Settings, queue: str) -> Limits:
    """Return what a queue takes."""
    demand = settings.queue(queue)
    return Limits(demand.high_watermark, demand.low_watermark, demand.rate_limit, demand.burst)


def _make_client(settings: Settings, *, timeout: float = SOCKET_TIMEOUT) -> redis.Redis:
    broker = settings.broker
    return make_client(
        broker.url.get_secret_value(),
        verify=broker.tls.verify,
        ca_file=broker.tls.ca_file,
        max_connections=broker.max_connections,
        connect_timeout=timeout,
        socket_timeout=timeout,
    )


def _sinks(references: References) -> list[Sink]:
    """Return who is told of events; Sentry only where the environment names it."""
    sinks: list[Sink] = [LogSink(), *subscriber_sinks(references.subscribers)]
    dsn = Environment.read().sentry_dsn
    if dsn is not None:
        init_sentry(dsn.get_secret_value(), "supervisor")
        sinks.append(SentrySink())
    return sinks


def _one_a_queue(feeds: Sequence[FeedSettings]) -> list[FeedSettings]:
    return list({feed.queue: feed for feed in reversed(feeds)}.values())


@dataclass(frozen=True, slots=True)
class _FeedBuilder:
    """Makes the parts of one feed after the other."""

    broker: RateLimitedBroker
    bus: Bus
    hooks: EnqueueHooks

    def build(self, feed: FeedSettings, code: FeedCode) -> FeedRunner:
        """Return one feed with its own threads' parts: reading, backlog, publishing."""
        producer = new_producer()
        wakeup, stop = Wakeup(), Event()
        backlog = Backlog(feed.backlog.messages, feed.backlog.bytes, on_room=wakeup.set)
        intake = self._intake(feed, producer, backlog, wakeup)
        reading = self._reading(feed, code, intake, AlwaysLeads(producer), wakeup, stop)
        return FeedRunner(reading, intake, backlog, self._publisher(feed, producer, backlog), wakeup, stop)

    def _intake(self, feed: FeedSettings, producer: str, backlog: Backlog, wakeup: Wakeup) -> Intake:
        envelope = Envelope(
            feed=feed.name,
            producer=producer,
            destination=Destination(feed.queue, feed.actor, feed.options),
            rules=PayloadRules(feed.payload, feed.binary),
            encoder=message_encoder(),
            routed=To,
        )
        publish, before = self.bus.publish, self.hooks.before
        return Intake(envelope, backlog, label=feed.label, publish=publish, before=before, wake=wakeup.set)

    def _reading(
        self, feed: FeedSettings, code: FeedCode, intake: Intake, lead: AlwaysLeads, wakeup: Wakeup, stop: Event
    ) -> Feed:
        maker = SessionMaker(feed, code.session_class, code.headers_function, code.subscribe_function)
        return Feed(
            feed,
            maker,
            policy_of(feed, maker, code.retry_function),
            intake,
            FeedStatus(feed.label, self.bus.publish),
            dial=partial(connect, feed, wakeup=wakeup, stopping=stop.is_set),
            wakeup=wakeup,
            stopping=stop.is_set,
            lead=lead,
        )

    def _publisher(self, feed: FeedSettings, producer: str, backlog: Backlog) -> Publisher:
        core = PublisherCore(producer, label=feed.label, queue=feed.queue, watermarks=self.broker.limits, pace=Pace())
        return Publisher(
            producer,
            backlog,
            self.broker.line(feed.name),
            core,
            label=feed.label,
            publish=self.bus.publish,
            after=self.hooks.after,
        )
