"""Builds the broker of a worker process from the settings.

The rule: called in the worker process itself, after the fork: neither connections nor threads survive one.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from ingest.broker.assembly import assemble_middleware
from ingest.broker.broker import RateLimitedBroker
from ingest.broker.status import about_process, publish_status
from settings.model import BrokerSettings
from workers.middleware.frame_context import FrameContext
from workers.middleware.frame_metrics import FrameMetrics
from workers.reporter import Snapshot


def build_broker(settings: BrokerSettings, extensions: Mapping[str, object], wake: bool = True) -> RateLimitedBroker:
    """Return the broker with Dramatiq's default middleware, ours and the user's; it connects at the first command.

    ``extensions`` are the objects that ``[broker] middleware`` names, by reference; ``wake`` is that of ``[workers]``. Raises
    `ingest.broker.assembly.MiddlewareRefused`.
    """
    broker = RateLimitedBroker(
        url=settings.url.get_secret_value(),
        namespace=settings.namespace,
        middleware=assemble_middleware([FrameContext()], extensions),
        verify=settings.tls.verify,
        ca_file=settings.tls.ca_file,
        max_connections=settings.max_connections,
        wake=wake,
    )
    process = about_process()
    worker_id = f"{process['host']}:{process['pid']}:{secrets.token_hex(4)}"

    def publish(snapshot: Snapshot, final: bool) -> None:
        publish_status(broker.client, broker.namespace, "worker", worker_id, {**snapshot, **process}, final)

    broker.add_middleware(FrameMetrics(publish))
    return broker
