"""The settings as typed values: one frozen pydantic model per TOML table.

The rule: every duration is in seconds, every unknown key is refused, and a value that is accepted here
never fails later for its form.
"""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from settings.feed import (
    BacklogSettings,
    FeedSettings,
    HeartbeatSettings,
    RetrySettings,
    SocketSettings,
    SpoolSettings,
    TLSSettings,
)
from settings.fields import ExistingFile, FeedName, Group, Items, Module, Namespace, QueueName, Reference, Timeout, refuse
from settings.table import Table
from settings.urls import RedisURL

__all__ = [
    "BacklogSettings",
    "BrokerSettings",
    "BrokerTLSSettings",
    "FeedSettings",
    "HeartbeatSettings",
    "QueueSettings",
    "RetrySettings",
    "Settings",
    "SocketSettings",
    "SpoolSettings",
    "SupervisorSettings",
    "TLSSettings",
    "TelemetrySettings",
    "WorkersSettings",
]


def _half_of_high(data: dict[str, Any]) -> int:
    return int(data["high_watermark"] // 2)


class QueueSettings(Table):
    """Demand of one queue: ready messages and messages per second, over all supervisors."""

    high_watermark: Annotated[int, Field(ge=1)] = 20_000
    """Ready messages at or above which nothing more is enqueued."""
    low_watermark: Annotated[int, Field(ge=0)] = Field(default_factory=_half_of_high)
    """Ready messages at or below which enqueueing goes on; by default half of high_watermark."""
    rate_limit: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Messages per second over all supervisors; none by default."""
    burst: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    """Messages that may come at once under a rate_limit; by default 1/20 of a second's worth."""

    @field_validator("low_watermark")
    @classmethod
    def _below_high(cls, value: int, info: ValidationInfo) -> int:
        high = info.data.get("high_watermark")
        if high is not None and value >= high:
            raise refuse(f"low_watermark ({value}) must be below high_watermark ({high})")
        return value

    @field_validator("burst")
    @classmethod
    def _of_a_rate(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and "rate_limit" in info.data and info.data["rate_limit"] is None:
            raise refuse("burst without rate_limit has no meaning")
        return value

    @property
    def burst_messages(self) -> float:
        """How many messages may come at once: ``burst``, or 1/20 of a second's worth, at least one."""
        return max(1.0, self.burst if self.burst is not None else (self.rate_limit or 0) / 20)


class BrokerTLSSettings(Table):
    """TLS towards Redis (``rediss://``)."""

    verify: bool = True
    """Verify Redis's certificate; false for self-signed ones, as on Heroku."""
    ca_file: ExistingFile | None = None
    """PEM file of the authorities to trust."""


class Endpoint(TypedDict):
    """How a client reaches Redis; the URL with the secrets in it."""

    url: str
    verify: bool
    ca_file: str | None


class BrokerSettings(Table):
    """Where Redis is, and what Dramatiq calls its keys there."""

    url: RedisURL = SecretStr("redis://127.0.0.1:6379/0")
    """redis://, rediss:// or unix:// URL; by default the environment's REDIS_URL, or the local Redis."""
    namespace: Namespace = "dramatiq"
    """Prefix of all keys; Dramatiq's own by default."""
    tls: BrokerTLSSettings = BrokerTLSSettings()
    max_connections: Annotated[int, Field(ge=1)] = 4
    """Connections of one process that may be open at once, beside as many that all feeds' publishers share, and one for each
    worker's queue."""
    middleware: Items[Reference] = ()
    """"module:name" of your own Dramatiq middleware, for both kinds of process."""

    def endpoint(self) -> Endpoint:
        """Return how a client reaches Redis, as its arguments."""
        return Endpoint(url=self.url.get_secret_value(), verify=self.tls.verify, ca_file=self.tls.ca_file)


class WorkersSettings(Table):
    """What ``dramatiq workers`` imports, and how its processes wait."""

    actors: Items[Module] = ()
    """Modules with your actors."""
    wake: bool = True
    """Wait for messages on a connection of its own for each queue; false to poll as Dramatiq does."""
    prometheus: bool = False
    """Use Dramatiq's own Prometheus middleware, with the lag and the counts of each feed beside what it measures itself."""


class SupervisorSettings(Table):
    """The process that runs the feeds."""

    group: Group = ""
    """Supervisors of one group share their feeds; another group keeps a second app, or staging, on the same Redis apart."""
    lease: Annotated[Timeout, Field(ge=1)] = 5.0
    """Seconds without a sign of life after which another supervisor takes over a feed."""
    shutdown_timeout: Timeout = 20.0
    """Seconds in which an orderly stop flushes what was read."""
    health_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """TCP port for /live, /ready and /metrics, 0 for any that is free; by default the environment's HEALTH_PORT, or none."""
    health_host: Annotated[str, Field(min_length=1)] | None = None
    """Address on which that port listens; by default the environment's HEALTH_HOST, or 127.0.0.1: this machine alone."""


class TelemetrySettings(Table):
    """Who else is told of events, and how much."""

    subscribers: Items[Reference] = ()
    """"module:callable" names; each is called with one event at a time, in a thread of its own."""
    send_frames: bool = False
    """Let Sentry have the beginning of the frame at which code of yours failed; secrets that are known are masked in it."""


class Settings(Table):
    """Feeds of dramatiq-websocket: the whole file, validated."""

    broker: BrokerSettings = BrokerSettings()
    workers: WorkersSettings = WorkersSettings()
    supervisor: SupervisorSettings = SupervisorSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    queues: dict[QueueName, QueueSettings] = Field(default={})
    feeds: dict[FeedName, FeedSettings] = Field(default={})

    def queue(self, name: str) -> QueueSettings:
        """Return a queue's settings: its table, or the defaults."""
        return self.queues.get(name, QueueSettings())

    @model_validator(mode="after")
    def _labels_differ(self) -> Settings:
        owners: dict[str, str] = {}
        for name, feed in self.feeds.items():
            if owners.setdefault(feed.label, name) != name:
                raise refuse(f"feeds {owners[feed.label]} and {name} have one telemetry_id: nobody could tell them apart")
        return self
