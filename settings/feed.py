"""The tables of one feed: where it comes from, how it is kept alive, and which actor gets it.

The rule: an attribute's text is its description in the JSON Schema; of two keys that contradict each other, the later is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic.json_schema import SkipJsonSchema

from settings.fields import (
    ActorName,
    BriefWait,
    CodeOrClass,
    ExistingFile,
    FeedName,
    IPAddress,
    Items,
    JSONValue,
    Label,
    Origin,
    PositiveSeconds,
    QueueName,
    Reference,
    Seconds,
    SpoolFolder,
    StatusOrClass,
    Timeout,
    Token,
    refuse,
)
from settings.headers import Headers
from settings.table import Table
from settings.urls import ProxyURL, WebSocketURL

#: Options that Dramatiq's own middleware compares with numbers, in a worker, where an error would be found much later.
_NUMBERS = frozenset({"max_retries", "min_backoff", "max_backoff", "max_age", "time_limit"})


class TLSSettings(Table):
    """How a ``wss://`` server is verified, and what we show it."""

    verify: bool = True
    """Verify the server's certificate and name; false warns at every start."""
    ca_file: ExistingFile | None = None
    """PEM file of the only authorities to trust, in place of the system's."""
    extra_ca_file: ExistingFile | None = None
    """PEM file of authorities to trust beside the system's."""
    client_cert: ExistingFile | None = None
    """PEM file of our certificate, for servers that ask for one."""
    client_key: ExistingFile | None = None
    """PEM file of its key, where that is not in the same file."""
    client_key_password: SecretStr | None = None
    """The password of that key."""
    min_version: Literal["1.2", "1.3"] = "1.2"
    """The oldest version of TLS to accept."""
    ciphers: str | None = None
    """OpenSSL's list of ciphers for TLS 1.2."""
    server_hostname: str | None = None
    """The name to ask for and to verify, where it is not the URL's host."""

    @field_validator("client_key", "client_key_password")
    @classmethod
    def _needs_certificate(cls, value: Any, info: ValidationInfo) -> Any:
        if "client_cert" in info.data and info.data["client_cert"] is None:
            raise refuse(f"{info.field_name} without client_cert has no meaning")
        return value


class SocketSettings(Table):
    """TCP options of a feed's connection."""

    family: Literal["any", "ipv4", "ipv6"] = "any"
    """Which addresses of the server to try."""
    source_address: IPAddress | None = None
    """The local address to connect from."""
    keepalive: bool = True
    """Let TCP probe a connection on which nothing moves."""


class HeartbeatSettings(Table):
    """An application-level ping, sent as a text frame."""

    interval: PositiveSeconds
    """Seconds between two heartbeats."""
    text: str | None = None
    """The frame to send; without it the session's ``heartbeat()`` says."""


class RetrySettings(Table):
    """Backoff between connection attempts."""

    initial: PositiveSeconds = 0.5
    """Seconds before the first retry."""
    max: PositiveSeconds = 30.0
    """The longest wait, in seconds."""
    multiplier: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 2.0
    """What each further failure multiplies the wait by."""
    jitter: Literal["full", "none"] = "full"
    """"full": a random wait between 0 and what the backoff says."""
    max_attempts: Annotated[int, Field(ge=0)] = 0
    """Attempts that may follow the first failure of an outage; after them the feed gives up. 0 = no limit."""
    stable_after: Seconds = 10.0
    """Seconds of being ready after which an outage counts as over."""
    function: Reference | None = None
    """"module:callable" that decides instead: ``(Attempt) -> seconds, or None to stop``."""

    @field_validator("max")
    @classmethod
    def _not_below_initial(cls, value: float, info: ValidationInfo) -> float:
        if value < info.data.get("initial", value):
            raise refuse(f"max ({value:g}) is below initial ({info.data['initial']:g})")
        return value


class BatchSettings(Table):
    """How many payloads travel in one message. With a size above 1 the actor gets a list of them."""

    size: Annotated[int, Field(ge=1, le=10_000)] = 1
    """The most payloads in a message; above 1 it carries a list of them, also of one. About 1 MB is the most too."""
    timeout: BriefWait = 0.05
    """Seconds that payloads wait for more, at most, where they do not fill a message; 0: only those of one read share one."""


class BacklogSettings(Table):
    """How much of a feed may wait in memory for its queue."""

    messages: Annotated[int, Field(ge=1)] = 20_000
    """Messages that may wait; when so many do, reading stops."""
    bytes: Annotated[int, Field(ge=1024)] = 64 * 1024 * 1024
    """The same in bytes of encoded messages; whichever is reached first."""


class SpoolSettings(Table):
    """Where a feed's messages go when its backlog is full, and at a stop: files in a folder of this machine."""

    directory: SpoolFolder
    """Folder of the files, on a disk of this machine (no network file system). Feeds and supervisors may share one."""
    max_bytes: Annotated[int, Field(ge=1024)] = 1024 * 1024 * 1024
    """Bytes of encoded messages that may wait on disk; what is in memory at a stop is added to that."""
    fsync: Literal["batch", "always"] = "batch"
    """"always": every write waits for the disk, so that a power cut loses none; "batch": only from time to time."""
    persistent: bool = True
    """Whether the folder outlives the process; by default false where the environment has DYNO (Heroku), else true."""


class FeedSettings(Table):
    """One feed: where it comes from, how it is kept alive, and which actor gets it."""

    name: SkipJsonSchema[FeedName] = Field(exclude=True)  # the table's name, put in by the loader
    secrets: SkipJsonSchema[tuple[SecretStr, ...]] = Field(default=(), exclude=True, repr=False)  # so is what ${…} brought

    url: WebSocketURL = Field(repr=False)
    """ws:// or wss://, path and query included."""
    session: Reference | None = None
    """"module:Class" of a Session."""
    session_args: dict[str, Any] = Field(default={}, repr=False)
    """Keyword arguments of the session's ``setup``."""
    subscribe: Items[str] = Field(default=(), repr=False)
    """Text frames to send after the upgrade."""
    subscribe_function: Reference | None = None
    """"module:callable" that returns them instead."""
    headers: Headers = Field(default={})
    """Headers of the upgrade request."""
    headers_function: Reference | None = None
    """"module:callable" that returns them instead, called before every attempt."""
    subprotocols: Items[Token] = ()
    """Offered to the server, which must choose one of them or none."""
    origin: Origin | None = None
    """The Origin header; not sent by default."""
    proxy: ProxyURL | None = None
    """http://, https://, socks4(a):// or socks5(h):// URL, or "environment"."""
    tls: TLSSettings = TLSSettings()
    socket: SocketSettings = SocketSettings()
    compression: Literal["none", "deflate"] = "none"
    """"deflate" offers permessage-deflate."""
    open_timeout: Timeout = 10.0
    """Seconds for DNS, TCP, proxy, TLS and upgrade together."""
    ready_timeout: Timeout = 10.0
    """Seconds from the upgrade until a session that awaits confirmation has it."""
    idle_timeout: PositiveSeconds | None = None
    """Seconds with nothing at all inbound after which to reconnect; any frame counts."""
    data_timeout: PositiveSeconds | None = None
    """Seconds without a data frame after which to reconnect, though pings and pongs come."""
    ping_interval: Seconds = 20.0
    """Seconds between our pings; 0 turns them off."""
    ping_timeout: Timeout = 20.0
    """Seconds in which the server must answer a ping."""
    heartbeat: HeartbeatSettings | None = None
    retry: RetrySettings = RetrySettings()
    fatal_statuses: Items[StatusOrClass] | None = None
    """Statuses of the upgrade's answer that stop the feed.

    By default 400, 404, 405, 410, 426 and redirects, and 401 and 403 where nothing renews the credentials."""
    fatal_close_codes: Items[CodeOrClass] = ()
    """Close codes that stop the feed."""
    max_message_bytes: Annotated[int, Field(ge=1)] = 16 * 1024 * 1024
    """Bound on one message, compressed or not."""
    telemetry_id: Label | None = None
    """Label of every event, metric and log line; the feed's name by default."""
    actor: ActorName
    """Name of the Dramatiq actor; its code need not be importable where the feed runs."""
    queue: QueueName = "default"
    """Name of the Dramatiq queue; the actor's own."""
    options: dict[str, JSONValue] = Field(default={})
    """Options of the Dramatiq message, in Dramatiq's own units: milliseconds."""
    payload: Literal["text", "json"] = "text"
    """"json": the actor gets the frame's JSON value itself instead of its text."""
    binary: Literal["base64", "utf-8", "latin-1"] = "base64"
    """How a binary payload becomes JSON."""
    batch: BatchSettings = BatchSettings()
    backlog: BacklogSettings = BacklogSettings()
    spool: SpoolSettings | None = None
    durability: Literal["memory", "disk"] = "memory"
    """"disk": everything is written to the spool before it goes to the queue, so that a SIGKILL loses none of it."""
    overflow: Literal["block", "drop_oldest", "drop_newest"] = "block"
    """What happens when backlog and spool are full: reading stops, or the oldest or newest messages are dropped and counted."""
    gap_actor: ActorName | None = None
    """Name of a Dramatiq actor, on the feed's queue, that is told of every interval in which frames may be missing."""
    on_fenced: Literal["drop", "deliver"] = "drop"
    """What becomes of messages that a supervisor still holds when another has taken over the feed; "deliver": late, marked so."""

    @property
    def label(self) -> str:
        """The label of every event, metric and log line: ``telemetry_id``, or the feed's name."""
        return self.telemetry_id or self.name

    @field_validator("session_args")
    @classmethod
    def _needs_session(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if value and "session" in info.data and info.data["session"] is None:
            raise refuse("arguments of a session, but the feed has no session")
        return value

    @field_validator("subscribe_function", "headers_function")
    @classmethod
    def _instead_of_literals(cls, value: str | None, info: ValidationInfo) -> str | None:
        literal = str(info.field_name).removesuffix("_function")
        if value is not None and info.data.get(literal):
            raise refuse(f"replaces {literal}, which is there too: leave one of them out")
        return value

    @field_validator("ping_timeout")
    @classmethod
    def _needs_pings(cls, value: float, info: ValidationInfo) -> float:
        if info.data.get("ping_interval") == 0:
            raise refuse("has no meaning without pings (ping_interval = 0)")
        return value

    @field_validator("heartbeat")
    @classmethod
    def _has_something_to_send(cls, value: HeartbeatSettings | None, info: ValidationInfo) -> HeartbeatSettings | None:
        if value is not None and value.text is None and "session" in info.data and info.data["session"] is None:
            raise refuse("nothing to send: give text, or a session that has heartbeat()")
        return value

    @field_validator("spool")
    @classmethod
    def _takes_the_backlog(cls, value: SpoolSettings | None, info: ValidationInfo) -> SpoolSettings | None:
        backlog = info.data.get("backlog")
        if value is not None and backlog is not None and value.max_bytes < backlog.bytes:
            raise refuse(
                f"max_bytes ({value.max_bytes}) is below backlog.bytes ({backlog.bytes}): at a stop the backlog goes to the spool"
            )
        return value

    @field_validator("durability")
    @classmethod
    def _needs_a_disk(cls, value: str, info: ValidationInfo) -> str:
        if value == "disk" and "spool" in info.data and info.data["spool"] is None:
            raise refuse('"disk" needs a spool: set spool.directory')
        return value

    @field_validator("options")
    @classmethod
    def _leaves_ours_alone(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in ("frame", "redis_message_id"):
            if name in value:
                raise refuse(f"{name} is set by the feed itself, for every message")
        return value

    @field_validator("options")
    @classmethod
    def _are_numbers_where_dramatiq_counts(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in sorted(_NUMBERS & value.keys()):
            given = value[name]
            if isinstance(given, bool) or not isinstance(given, int | float) or given < 0:
                raise refuse(f"{name} must be a number, 0 or more")
        return value
