"""Builds the broker of a worker process from the settings.

The rule: called in the worker process itself, after the fork: neither connections nor threads survive one.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from dramatiq import Middleware

from ingest.broker.assembly import assemble_middleware, is_worker_metrics
from ingest.broker.broker import RateLimitedBroker
from ingest.broker.status import about_process, publish_status
from settings.model import BrokerSettings
from workers.exposition import worker_metrics
from workers.middleware.frame_context import FrameContext
from workers.middleware.frame_metrics import FrameMetrics
from workers.reporter import Snapshot


def build_broker(
    settings: BrokerSettings,
    extensions: Mapping[str, object],
    wake: bool = True,
    *,
    metrics: bool = False,
    labels: Mapping[str, str] = MappingProxyType({}),
    own: Sequence[Middleware] = (),
) -> RateLimitedBroker:
    """Return the broker with Dramatiq's default middleware, ours and the user's; it connects at the first command.

    ``extensions`` are the objects that ``[broker] middleware`` names, by reference; ``wake`` is that of ``[workers]``,
    ``metrics`` its ``prometheus``, ``labels`` are the feeds' by their names, and ``own`` is further middleware of ours. Raises
    `ingest.broker.assembly.MiddlewareRefused`.
    """
    middleware = assemble_middleware([FrameContext(), *own], extensions)
    if metrics and not any(is_worker_metrics(each) for each in middleware):
        middleware.append(worker_metrics())
    broker = RateLimitedBroker(
        url=settings.url.get_secret_value(),
        namespace=settings.namespace,
        middleware=middleware,
        verify=settings.tls.verify,
        ca_file=settings.tls.ca_file,
        max_connections=settings.max_connections,
        wake=wake,
    )
    process = about_process()
    worker_id = f"{process['host']}:{process['pid']}:{secrets.token_hex(4)}"

    def publish(snapshot: Snapshot, final: bool) -> None:
        publish_status(broker.client, broker.namespace, "worker", worker_id, {**snapshot, **process}, final)

    broker.add_middleware(FrameMetrics(publish, labels))
    return broker
