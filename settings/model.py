"""The settings as typed values: one frozen pydantic model per TOML table.

The rule: every duration is in seconds, every unknown key is refused, and a value that is accepted here
never fails later for its form.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

#: A callable or class named as ``"package.module:name"``.
Reference = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")]

#: Longer than this a duration is taken for milliseconds (an ``idle_timeout`` of 15000 is a mistake).
LONGEST_SECONDS = 3600.0


def _seconds(value: float) -> float:
    if value > LONGEST_SECONDS:
        raise ValueError(f"{value:g} s is over an hour; durations are seconds, did you mean {value / 1000:g}?")
    return value


Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False), AfterValidator(_seconds)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False), AfterValidator(_seconds)]


class Table(BaseModel):
    """What all tables share: frozen, strict about keys, silent about secret input."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=False)


class TLSSettings(Table):
    """How a ``wss://`` server is verified, and what we show it."""

    verify: bool = True
    ca_file: str | None = None
    extra_ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    client_key_password: SecretStr | None = None
    min_version: Literal["1.2", "1.3"] = "1.2"
    ciphers: str | None = None
    server_hostname: str | None = None


class SocketSettings(Table):
    """TCP options of a feed's connection."""

    family: Literal["any", "ipv4", "ipv6"] = "any"
    source_address: str | None = None
    keepalive: bool = True


class HeartbeatSettings(Table):
    """An application-level ping, sent as a text frame."""

    interval: PositiveSeconds
    text: str | None = None


class RetrySettings(Table):
    """Backoff between connection attempts."""

    initial: Seconds = 0.5
    max: Seconds = 30.0
    multiplier: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 2.0
    jitter: Literal["full", "none"] = "full"
    max_attempts: Annotated[int, Field(ge=0)] = 0
    stable_after: Seconds = 10.0
    function: Reference | None = None

    @model_validator(mode="after")
    def _ordered(self) -> RetrySettings:
        if self.initial > self.max:
            raise ValueError(f"initial ({self.initial:g}) is above max ({self.max:g})")
        return self


class BacklogSettings(Table):
    """How much of a feed may wait in memory for its queue."""

    messages: Annotated[int, Field(ge=1)] = 20_000
    bytes: Annotated[int, Field(ge=1024)] = 64 * 1024 * 1024


class FeedSettings(Table):
    """One feed: where it comes from, how it is kept alive, and which actor gets it."""

    name: str = Field(exclude=True)  # the table's name, put in by the loader
    url: str
    session: Reference | None = None
    session_args: dict[str, Any] = {}
    subscribe: tuple[str, ...] = ()
    subscribe_function: Reference | None = None
    headers: dict[str, SecretStr] = {}
    headers_function: Reference | None = None
    subprotocols: tuple[str, ...] = ()
    origin: str | None = None
    proxy: SecretStr | None = None
    tls: TLSSettings = TLSSettings()
    socket: SocketSettings = SocketSettings()
    compression: Literal["none", "deflate"] = "none"
    open_timeout: PositiveSeconds = 10.0
    ready_timeout: PositiveSeconds = 10.0
    idle_timeout: PositiveSeconds | None = None
    data_timeout: PositiveSeconds | None = None
    ping_interval: Seconds = 20.0
    ping_timeout: PositiveSeconds = 20.0
    heartbeat: HeartbeatSettings | None = None
    retry: RetrySettings = RetrySettings()
    fatal_statuses: tuple[int | Literal["3xx", "4xx", "5xx"], ...] | None = None
    fatal_close_codes: tuple[int | Literal["1xxx", "3xxx", "4xxx"], ...] = ()
    max_message_bytes: Annotated[int, Field(ge=1)] = 16 * 1024 * 1024
    telemetry_id: str | None = None
    actor: str
    queue: str = "default"
    options: dict[str, Any] = {}
    payload: Literal["text", "json"] = "text"
    binary: Literal["base64", "utf-8", "latin-1"] = "base64"
    backlog: BacklogSettings = BacklogSettings()
    overflow: Literal["block"] = "block"

    @property
    def label(self) -> str:
        """The label of every event, metric and log line: ``telemetry_id``, or the feed's name."""
        return self.telemetry_id or self.name


class QueueSettings(Table):
    """Demand of one queue: ready messages and messages per second, over all supervisors."""

    high_watermark: Annotated[int, Field(ge=1)] = 20_000
    low_watermark: Annotated[int, Field(ge=0)] = 10_000
    rate_limit: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    burst: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> QueueSettings:
        if self.low_watermark >= self.high_watermark:
            raise ValueError(f"low_watermark ({self.low_watermark}) must be below high_watermark ({self.high_watermark})")
        if self.burst is not None and self.rate_limit is None:
            raise ValueError("burst without rate_limit has no meaning")
        return self

    @property
    def burst_messages(self) -> float:
        """How many messages may come at once: ``burst``, or 1/20 of a second's worth, at least one."""
        return max(1.0, self.burst if self.burst is not None else (self.rate_limit or 0) / 20)


class BrokerTLSSettings(Table):
    """TLS towards Redis (``rediss://``)."""

    verify: bool = True
    ca_file: str | None = None


class BrokerSettings(Table):
    """Where Redis is, and what Dramatiq calls its keys there."""

    url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    namespace: str = "dramatiq"
    tls: BrokerTLSSettings = BrokerTLSSettings()
    max_connections: Annotated[int, Field(ge=1)] = 4
    middleware: tuple[Reference, ...] = ()


class WorkersSettings(Table):
    """What ``dramatiq workers`` imports."""

    actors: tuple[str, ...] = ()


class SupervisorSettings(Table):
    """The process that runs the feeds."""

    shutdown_timeout: PositiveSeconds = 20.0


class TelemetrySettings(Table):
    """Who else is told of events: ``"module:callable"`` names, each called with one event."""

    subscribers: tuple[Reference, ...] = ()


class Settings(Table):
    """The whole file, validated."""

    broker: BrokerSettings = BrokerSettings()
    workers: WorkersSettings = WorkersSettings()
    supervisor: SupervisorSettings = SupervisorSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    queues: dict[str, QueueSettings] = {}
    feeds: dict[str, FeedSettings] = {}

    def queue(self, name: str) -> QueueSettings:
        """Return a queue's settings: its table, or the defaults."""
        return self.queues.get(name, QueueSettings())
