"""What a connection needs of others: where payloads go, who leads, what the wire and the dial are to it.

The rule: protocols only. The delivery plane and the transport fulfil them without being imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ingest.connection.frames import Ping, Pong, Received
from ingest.connection.gaps import Before
from ingest.connection.session import Outgoing


class Sink(Protocol):
    """Where emitted payloads go: the delivery plane, as far as this one knows it.

    Payloads are numbered in the order in which they are taken.
    """

    @property
    def emitted(self) -> int:
        """The number of the last payload that was taken."""

    @property
    def settled(self) -> int:
        """Every payload up to this number is in Redis or safely on disk, and none of those taken since `begin` was dropped."""

    @property
    def dropped(self) -> int | None:
        """The number of the first payload that was taken since `begin` and dropped; None if there is none."""

    def begin(self) -> None:
        """A connection begins: what was taken and dropped before does not count any more."""

    def notify_at(self, seq: int | None) -> None:
        """Wake the feed once ``settled`` has reached ``seq``, or never can, also if that is so already; None: not any more."""

    def deliver(self, payloads: Sequence[object], received_us: int) -> None:
        """Take payloads in order; `PayloadRefused` names one that cannot be encoded (those before it are taken)."""

    def flush(self) -> None:
        """Let nothing that was taken wait for more to come."""

    def has_room(self) -> bool:
        """Tell whether reading may go on."""


class Transport(Protocol):
    """The open connection, as `ingest.connection.transport` makes it."""

    @property
    def bytes_received(self) -> int:
        """Bytes read from the server since the upgrade."""

    def receive(self, timeout: float | None, *, read: bool = True) -> list[Received]: ...
    def send(self, frames: Sequence[Outgoing | Ping | Pong], timeout: float) -> None: ...
    def close(self, code: int, reason: str, timeout: float) -> object: ...
    def abort(self) -> None: ...


#: Makes the connection: ``(url, headers) -> Transport``; raises an `EndReason`.
Dial = Callable[[str, Mapping[str, str]], Transport]


class Wakeup(Protocol):
    """What interrupts a feed's waits."""

    def wait(self, timeout: float | None) -> bool:
        """Wait until set or ``timeout`` seconds passed, and clear; tell whether it was set."""


class Lead(Protocol):
    """Whether this process leads the feed; whoever changes it sets the feed's wake-up."""

    @property
    def tenure(self) -> int:
        """The number of the time for which this process leads; 0 while it does not."""

    @property
    def producer(self) -> str:
        """The producer of the tenure that was entered last."""

    def enter(self) -> Before | None:
        """Take up the tenure held now: what is emitted from now on belongs to it. Return what is known of the time before.

        May be called again for the same tenure.
        """
