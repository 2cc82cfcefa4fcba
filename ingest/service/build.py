"""Puts the supervisor together: the one place that constructs things and connects the planes.

The rule: everything that can be wrong with the settings, the user's code or Redis is found here, before the first connection.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence

import dramatiq
import redis

from ingest.broker.assembly import MiddlewareRefused, assemble_middleware, without_worker_metrics
from ingest.broker.broker import RateLimitedBroker
from ingest.broker.clients import SOCKET_TIMEOUT, UnusableURL, check_server, make_client
from ingest.broker.control import Control
from ingest.broker.lease import Leases
from ingest.connection.status import SHOWN
from ingest.delivery.leftovers import left_over
from ingest.errors import BrokerError
from ingest.service.cautions import memory_warnings, settings_warnings, spool_warnings
from ingest.service.feed_builder import FeedBuilder
from ingest.service.gap_writer import GapWriter
from ingest.service.health import Health
from ingest.service.historian import Historian
from ingest.service.http import AddressUnusable, HTTPServer
from ingest.service.keeper import Keeper
from ingest.service.pause_watch import PauseWatch
from ingest.service.plant import Plant, limits_of
from ingest.service.references import References, resolve_all
from ingest.service.reporter import Reporter
from ingest.service.roster import Roster
from ingest.service.spools import open_spools, owner_of
from ingest.telemetry.bus import Bus, Sink
from ingest.telemetry.log import LogSink, log_event
from ingest.telemetry.masking import hide_secrets_of
from ingest.telemetry.prometheus import SupervisorMetrics
from ingest.telemetry.sentry import SentrySink, init_sentry
from ingest.telemetry.subscribers import subscriber_sinks
from ingest.version import project_version
from settings.environment import Environment
from settings.model import Settings, SupervisorSettings
from settings.problems import Problem, SettingsError

#: Seconds after which the reporter's own calls give up: a status that is late is of no use.
REPORT_TIMEOUT = 2.0


def build(settings: Settings, only: Sequence[str] = ()) -> Plant:
    """Return the feeds (those in ``only``, or all), ready to start.

    Raises `SettingsError` with every reference that leads nowhere, with what Redis has against us, with every spool that cannot
    be used, and with a port for health that cannot.
    """
    hide_secrets_of(settings)
    listener = open_listener(settings.supervisor)
    try:
        return _build(settings, only, listener)
    except BaseException:
        if listener is not None:
            listener.close()
        raise


def open_listener(supervisor: SupervisorSettings) -> HTTPServer | None:
    """Return the server for health and metrics, listening; None where nobody names a port. Raises `SettingsError`."""
    environment = Environment.read()
    port = supervisor.health_port if supervisor.health_port is not None else environment.health_port
    if port is None:
        return None
    try:
        return HTTPServer(supervisor.health_host or environment.health_host, port)
    except AddressUnusable as error:
        place = "HEALTH_PORT" if supervisor.health_port is None else "supervisor.health_port"
        raise SettingsError([Problem(place, str(error))]) from None


def _build(settings: Settings, only: Sequence[str], listener: HTTPServer | None) -> Plant:
    references = resolve_all(settings)
    broker = build_broker(settings, references)
    try:
        server = check_server(broker.client)
    except BrokerError as error:
        raise SettingsError([Problem("broker.url", str(error))]) from error
    feeds = [feed for name, feed in settings.feeds.items() if not only or name in only]
    spools = open_spools(feeds, owner_of(settings))
    cautions = (*settings_warnings(settings), *spool_warnings(settings, left_over), *memory_warnings(settings, server))
    for caution in cautions:
        log_event(logging.WARNING, "settings_warning", {"detail": caution})
    client = _make_client(settings, timeout=REPORT_TIMEOUT)
    where = f"{socket.gethostname()}:{os.getpid()}"
    history = Historian(client, broker.keys, settings.supervisor.group, where)
    bus = Bus([*_sinks(settings, references), history])
    gaps = _gap_writer(settings, broker, bus)
    builder = FeedBuilder(settings, broker, gaps, history, bus)
    lease_client = _make_client(settings, timeout=min(REPORT_TIMEOUT, settings.supervisor.lease / 3))
    leases = Leases(lease_client, broker.keys, settings.supervisor.group, settings.supervisor.lease)
    keeper = Keeper(leases)
    runners = Roster()
    pauses = PauseWatch(Control(client, broker.keys, settings.supervisor.group), runners)
    reporter = Reporter(
        client,
        settings.broker.namespace,
        runners,
        bus.publish,
        group=settings.supervisor.group,
        history=history,
        obey=pauses.look,
    )
    metrics = SupervisorMetrics(
        lambda: [runner.figures() for runner in runners],
        SHOWN,
        reporter.queues,
        bus.counts,
        (project_version(), settings.supervisor.group),
        redis_up=lambda: not reporter.trouble(),
    )
    health = Health(runners, keeper, reporter)
    plant = Plant(runners, builder, keeper, gaps, pauses, reporter, bus, broker, health, metrics, listener)
    for feed in feeds:
        plant.add(feed, references.feeds[feed.name], spools.get(feed.name))
    plant.watch_queues(settings)
    return plant


def build_broker(settings: Settings, references: References) -> RateLimitedBroker:
    """Return the broker, with the user's middleware, as the process's Dramatiq broker; it has connected to nothing yet."""
    try:
        middleware = without_worker_metrics(assemble_middleware([], references.middleware))
    except MiddlewareRefused as error:
        raise SettingsError([Problem("broker.middleware", str(error))]) from error
    broker = RateLimitedBroker(
        client=_make_client(settings),
        max_connections=settings.broker.max_connections,
        namespace=settings.broker.namespace,
        middleware=middleware,
        queues={name: limits_of(settings, name) for name in settings.queues},
    )
    dramatiq.set_broker(broker)
    return broker


def _make_client(settings: Settings, *, timeout: float = SOCKET_TIMEOUT) -> redis.Redis:
    broker = settings.broker
    try:
        return make_client(
            **broker.endpoint(),
            max_connections=broker.max_connections,
            connect_timeout=timeout,
            socket_timeout=timeout,
        )
    except UnusableURL as error:
        raise SettingsError([Problem("broker.url", str(error))]) from None


def _sinks(settings: Settings, references: References) -> list[Sink]:
    """Return who is told of events; Sentry only where the environment names it."""
    sinks: list[Sink] = [LogSink(), *subscriber_sinks(references.subscribers)]
    dsn = Environment.read().sentry_dsn
    if dsn is not None:
        init_sentry(dsn.get_secret_value(), "supervisor")
        sinks.append(SentrySink(send_frames=settings.telemetry.send_frames))
    return sinks


def _gap_writer(settings: Settings, broker: RateLimitedBroker, bus: Bus) -> GapWriter:
    client = _make_client(settings, timeout=REPORT_TIMEOUT)
    return GapWriter(client, broker.keys, settings.supervisor.group, broker.enqueue_hooks(), bus.publish)
