"""Where a worker's metrics go: the files of Dramatiq's own Prometheus middleware, so that its exposition shows ours too.

The rule: nothing of it is imported before Dramatiq's middleware is in use, because both its import and that of the client have
effects: the one makes a folder, the other decides whether processes share their metrics.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from dramatiq import Middleware

if TYPE_CHECKING:
    from ingest.telemetry.prometheus import WorkerMetrics


def worker_metrics() -> Middleware:
    """Return Dramatiq's middleware; what imports the Prometheus client after this shares its metrics as Dramatiq's own are."""
    share()
    from dramatiq.middleware.prometheus import Prometheus

    return Prometheus()


def open_metrics(labels: Mapping[str, str]) -> WorkerMetrics:
    """Return this process's metrics; after the fork."""
    share()
    from ingest.telemetry.prometheus import WorkerMetrics

    return WorkerMetrics(labels)


def share() -> None:
    """Say where metrics are shared, as Dramatiq's middleware will once it has booted: the first import of the client decides."""
    from dramatiq.middleware.prometheus import DB_PATH

    os.environ["PROMETHEUS_MULTIPROC_DIR"] = DB_PATH
