"""Every way things go wrong here, as one tree of errors that carry data and build their own text.

::

    IngestError
    ├── EndReason                   why a connection, or the attempt to make one, ended
    │   ├── DialFailed              a step of DNS, TCP, proxy or TLS failed
    │   ├── OpenTimedOut            the steps together took longer than ``open_timeout``
    │   ├── HandshakeRejected       the server answered the upgrade with another status than 101
    │   ├── HandshakeInvalid        the server's 101 is not an answer to what was asked
    │   ├── UrlFailed, HeadersFailed, BootstrapFailed, FrameHandlerFailed   the user's code failed
    │   ├── SessionFailed           the session returned `Fail`
    │   ├── ReadyTimedOut, IdleTimedOut, DataTimedOut, PingTimedOut, SendTimedOut
    │   ├── ClosedByServer          a close frame came
    │   ├── ConnectionDropped       the stream ended or broke without one
    │   ├── ProtocolViolated        the server broke RFC 6455; we closed with its code
    │   ├── PayloadDropped          an ack can never leave, because a payload before it was dropped
    │   ├── FeedCrashed             a fault in our own loop
    │   ├── Fenced                  another process leads the feed now
    │   ├── Paused                  an operator paused the feed
    │   └── Stopped                 we were asked to
    ├── PayloadRefused              an emitted value that no encoder takes
    ├── BrokerError                 Redis said no, or nothing
    │   ├── BrokerUnreachable       no connection could be made, or the one we had broke
    │   │   └── BrokerTimedOut      no answer in time
    │   ├── BrokerRefused           an error in place of an answer
    │   │   └── BrokerAuthFailed    wrong user or password
    │   ├── BrokerTooOld            a server without what the scripts need
    │   ├── EnqueueVetoed           a Dramatiq middleware did not let a message pass
    │   └── ForeignWriter           somebody else writes under our producer's name
    ├── SpoolError                  the disk said no, or gave back something else
    │   ├── SpoolFull               the spool's limit is reached, or its disk takes no more
    │   ├── SpoolDamaged            a file that cannot be read, or not all of it
    │   ├── SpoolTooNew             a file of a newer version of this software
    │   ├── SpoolForeign            a file that holds what another group of supervisors has to send
    │   └── SpoolUnusable           the folder or the file cannot be used at all
    └── RecordError                 a recorded feed that cannot be written or read
        ├── NotARecord              a file of something else
        ├── RecordTooNew            a record of a newer version of this software
        └── RecordDamaged           a record that is not what was written, or cannot be

The rule: errors are values (compared by content), but not frozen, because Python itself writes their traceback; no text of a
server or of Redis is trusted; what is shown is bounded and free of secrets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar


class IngestError(Exception):
    """The root of the tree."""


class EndReason(IngestError):
    """Why a connection, or the attempt to make one, ended."""

    @property
    def kind(self) -> str:
        """The name under which events, metrics and summaries count this reason."""
        return type(self).__name__

    #: The setting whose deadline passed, for the reasons that are time-outs.
    setting: ClassVar[str | None] = None

    @property
    def retry_after(self) -> float | None:
        """Seconds after which the server wants to see us again, if it said so."""
        return None


@dataclass(unsafe_hash=True)
class DialFailed(EndReason):
    """A step (``dns``, ``tcp``, ``proxy``, ``tls``, ``upgrade``) failed."""

    step: str
    detail: str

    def __str__(self) -> str:
        return f"{self.step} failed: {self.detail}"


@dataclass(unsafe_hash=True)
class OpenTimedOut(EndReason):
    """No connection within ``open_timeout`` seconds; ``step`` is where the time ran out."""

    step: str
    seconds: float

    setting = "open_timeout"

    def __str__(self) -> str:
        return f"not open within {self.seconds:g} s (in step {self.step})"


@dataclass(unsafe_hash=True)
class HandshakeRejected(EndReason):
    """The upgrade was answered with another status than 101; ``body`` holds at most 4 KiB."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    body: bytes = field(default=b"", repr=False)
    after: float | None = None

    @property
    def retry_after(self) -> float | None:
        return self.after

    def __str__(self) -> str:
        # A redirect mostly repeats our own query, which may be a token, and may repeat the user info.
        location = re.sub(r"//[^/]*@", "//", self.headers.get("location", "").partition("?")[0])
        where = f" to {location[:200]!r}" if 300 <= self.status < 400 and location else ""
        return f"the server answered the upgrade with status {self.status}{where}"


@dataclass(unsafe_hash=True)
class HandshakeInvalid(EndReason):
    """The server's 101 is not an answer to what was asked (RFC 6455, 4.1)."""

    detail: str

    def __str__(self) -> str:
        return f"invalid upgrade: {self.detail}"


@dataclass(unsafe_hash=True)
class _CallbackFailed(EndReason):
    cause: BaseException | None
    detail: str

    _what = "a callback"

    def __str__(self) -> str:
        return f"{self._what} failed: {self.detail}"


class UrlFailed(_CallbackFailed):
    """``Session.url`` raised or returned no WebSocket URL."""

    _what = "url"


class HeadersFailed(_CallbackFailed):
    """``Session.headers`` or the ``headers_function`` raised or returned no headers."""

    _what = "headers"


class BootstrapFailed(_CallbackFailed):
    """``Session.setup``, ``on_upgrade``, the ``subscribe_function``, or sending what they returned, failed."""

    _what = "bootstrap"


class FrameHandlerFailed(_CallbackFailed):
    """``Session.on_frame`` or ``heartbeat`` raised, or returned or emitted what it must not."""

    _what = "the session"


@dataclass(unsafe_hash=True)
class SessionFailed(EndReason):
    """The session returned `Fail`."""

    reason: str
    fatal: bool = False
    after: float | None = None

    @property
    def retry_after(self) -> float | None:
        return self.after

    def __str__(self) -> str:
        return f"the session ended the connection: {self.reason}"


@dataclass(unsafe_hash=True)
class _TimedOut(EndReason):
    seconds: float

    _what = "nothing"

    def __str__(self) -> str:
        return f"{self._what} for {self.seconds:g} s"


class ReadyTimedOut(_TimedOut):
    """Not ready ``ready_timeout`` seconds after the upgrade."""

    _what = "not ready"
    setting = "ready_timeout"


class IdleTimedOut(_TimedOut):
    """Nothing at all came for ``idle_timeout`` seconds."""

    _what = "nothing received"
    setting = "idle_timeout"


class DataTimedOut(_TimedOut):
    """No data frame came for ``data_timeout`` seconds, though the connection lives."""

    _what = "no data received"
    setting = "data_timeout"


class PingTimedOut(_TimedOut):
    """Our ping was not answered within ``ping_timeout`` seconds."""

    _what = "ping not answered"
    setting = "ping_timeout"


class SendTimedOut(_TimedOut):
    """The server did not take what we sent."""

    _what = "the server took nothing of what was sent"
    setting = "open_timeout"


@dataclass(unsafe_hash=True)
class ClosedByServer(EndReason):
    """The server closed (RFC 6455, 7.4): 1005 where its close frame had no code."""

    code: int
    reason: str = ""

    def __str__(self) -> str:
        return f"closed by the server with {self.code}" + (f" ({self.reason[:123]})" if self.reason else "")


@dataclass(unsafe_hash=True)
class ConnectionDropped(EndReason):
    """The stream ended or broke without a close frame."""

    detail: str

    def __str__(self) -> str:
        return f"connection dropped: {self.detail}"


@dataclass(unsafe_hash=True)
class ProtocolViolated(EndReason):
    """The server broke the protocol; ``code`` (1002, 1007, 1009) is what we closed with."""

    code: int
    detail: str

    def __str__(self) -> str:
        return f"closed with {self.code}: {self.detail}"


@dataclass(unsafe_hash=True)
class PayloadDropped(EndReason):
    """A payload was dropped before it was safe: the ``acks`` that wait behind it can never leave. The server will send again."""

    acks: int

    def __str__(self) -> str:
        return f"a payload was dropped: {self.acks} acks can never leave"


@dataclass(unsafe_hash=True)
class FeedCrashed(EndReason):
    """A fault in our own loop."""

    cause: BaseException

    def __str__(self) -> str:
        return f"the feed's loop crashed: {type(self.cause).__name__}: {self.cause}"


@dataclass(unsafe_hash=True)
class Fenced(EndReason):
    """This process does not lead the feed any more."""

    def __str__(self) -> str:
        return "this process does not lead the feed any more"


@dataclass(unsafe_hash=True)
class Paused(EndReason):
    """An operator paused the feed."""

    def __str__(self) -> str:
        return "paused by an operator"


@dataclass(unsafe_hash=True)
class Stopped(EndReason):
    """We were asked to stop."""

    def __str__(self) -> str:
        return "stopped"


@dataclass(unsafe_hash=True)
class PayloadRefused(IngestError):
    """An emitted value that no encoder takes; ``type_name`` is the offending type."""

    type_name: str
    detail: str

    def __str__(self) -> str:
        return f"a payload of type {self.type_name} cannot be encoded: {self.detail}"


class BrokerError(IngestError):
    """Redis said no, or nothing."""


@dataclass(unsafe_hash=True)
class BrokerUnreachable(BrokerError):
    """No connection to Redis could be made, or the one we had broke."""

    detail: str

    def __str__(self) -> str:
        return f"Redis is unreachable: {self.detail}"


@dataclass(unsafe_hash=True)
class BrokerTimedOut(BrokerUnreachable):
    """Redis did not answer in time."""

    def __str__(self) -> str:
        return f"Redis does not answer: {self.detail}"


@dataclass(unsafe_hash=True)
class BrokerRefused(BrokerError):
    """Redis answered with an error; ``code`` is its first word (``OOM``, ``READONLY``, …)."""

    code: str
    detail: str

    def __str__(self) -> str:
        return f"Redis refused: {self.code} {self.detail}".rstrip()


class BrokerAuthFailed(BrokerRefused):
    """The user or the password is wrong, or one is needed and none was given."""

    def __str__(self) -> str:
        return f"Redis refused the user or password ({self.code})"


@dataclass(unsafe_hash=True)
class BrokerTooOld(BrokerError):
    """The server lacks what the scripts need."""

    version: str
    needed: str

    def __str__(self) -> str:
        return f"Redis {self.version} is too old: {self.needed} or newer is needed"


@dataclass(unsafe_hash=True)
class EnqueueVetoed(BrokerError):
    """A Dramatiq middleware raised in ``before_enqueue``, which means: do not enqueue this message."""

    detail: str

    def __str__(self) -> str:
        return f"a middleware refused the message: {self.detail}"


@dataclass(unsafe_hash=True)
class ForeignWriter(BrokerError):
    """Redis holds a position (``held``) beyond anything that this producer ever sent (``sent``)."""

    producer: str
    held: int
    sent: int

    def __str__(self) -> str:
        return f"somebody else enqueues as producer {self.producer}: Redis holds {self.held}, only {self.sent} were sent"


@dataclass(unsafe_hash=True)
class SpoolError(IngestError):
    """The disk said no, or gave back something else; ``path`` is the file or the folder."""

    path: str
    detail: str

    _what = "the spool failed"

    def __str__(self) -> str:
        return f"{self._what}: {self.path}: {self.detail}"


class SpoolFull(SpoolError):
    """The spool's limit is reached, or its disk takes no more; nothing of what was to be written is stored."""

    _what = "the spool is full"


class SpoolDamaged(SpoolError):
    """A file that cannot be read, or not all of it."""

    _what = "the spool is damaged"


class SpoolTooNew(SpoolError):
    """A file of a newer version of this software, left as it is."""

    _what = "the spool was written by a newer version"


class SpoolForeign(SpoolError):
    """A file that holds what another group of supervisors has to send, left as it is."""

    _what = "the spool belongs to others"


class SpoolUnusable(SpoolError):
    """The folder or the file cannot be used at all."""

    _what = "the spool cannot be used"


@dataclass(unsafe_hash=True)
class RecordError(IngestError):
    """A recorded feed that cannot be written or read; who knows the file names it."""

    detail: str
    #: What was read in one go before the damage.
    before: tuple[object, ...] = field(default=(), repr=False, compare=False)

    _what = "the record cannot be used"

    def __str__(self) -> str:
        return f"{self._what}: {self.detail}"


class NotARecord(RecordError):
    """A file of something else."""

    _what = "this is no record of a feed"


class RecordTooNew(RecordError):
    """A record of a newer version of this software."""

    _what = "the record was written by a newer version"


class RecordDamaged(RecordError):
    """A record that is not what was written, or what cannot be written into one."""

    _what = "the record is damaged"
