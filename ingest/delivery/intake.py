"""Takes payloads from a connection: numbers them, encodes them, and puts them in the backlog.

The rule: a payload has its number before anything can happen to it, and everything before a refused payload is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ingest.delivery.backlog import Backlog, Entry
from ingest.delivery.envelope import Envelope
from ingest.errors import EnqueueVetoed
from ingest.events import MessageRejected, Publish


class Intake:
    """The sink of one feed.

    Parameters:
      before: what Dramatiq middleware makes of an encoded message before it is enqueued, or None; called once per message.
      label: the feed's ``telemetry_id``.
      wake: wakes the feed's thread.
    """

    def __init__(
        self,
        envelope: Envelope,
        backlog: Backlog,
        *,
        label: str,
        publish: Publish,
        before: Callable[[bytes], bytes] | None = None,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._envelope = envelope
        self._backlog = backlog
        self._label = label
        self._publish = publish
        self._before = before
        self._emitted = 0
        self._vetoed = 0
        self._closed = False
        self._wake = wake
        self._began = 0  # what had been taken when the connection began
        self._dropped: int | None = None
        self._notify_at: int | None = None
        backlog.on_commit = self._notify
        backlog.on_drop = self._note_drop

    @property
    def emitted(self) -> int:
        """How many payloads were taken."""
        return self._emitted

    @property
    def settled(self) -> int:
        """The number up to which every payload is in Redis, and none of those taken since `begin` was dropped."""
        oldest = self._backlog.oldest_seq
        confirmed = self._emitted if oldest is None else oldest - 1
        return confirmed if self._dropped is None else min(confirmed, self._dropped - 1)

    @property
    def dropped(self) -> int | None:
        """The number of the first payload taken since `begin` and dropped."""
        return self._dropped

    def begin(self) -> None:
        """A connection begins: what was taken and dropped before does not count any more."""
        self._began, self._dropped = self._emitted, None

    def notify_at(self, seq: int | None) -> None:
        """Wake the feed once ``settled`` has reached ``seq``, or never can; None: not any more."""
        self._notify_at = seq
        self._notify()

    def _notify(self) -> None:
        seq = self._notify_at
        if seq is not None and (self.settled >= seq or (self._dropped is not None and self._dropped <= seq)):
            self._wake()  # what is asked for stays: to clear it here could undo what the feed asks for at this very moment

    def _note_drop(self, seq: int) -> None:
        if seq > self._began and (self._dropped is None or seq < self._dropped):
            self._dropped = seq
            self._notify()

    @property
    def vetoed(self) -> int:
        """How many of them a middleware refused."""
        return self._vetoed

    def has_room(self) -> bool:
        """Tell whether reading may go on."""
        return self._backlog.has_room()

    def close(self) -> None:
        """Take nothing more: what a callback that hung returns later comes after the end was counted."""
        self._closed = True

    def deliver(self, payloads: Sequence[object], received_us: int) -> None:
        """Take payloads that were read at ``received_us`` (wall-clock microseconds).

        `PayloadRefused` at the first that cannot be encoded: those before it are taken, it and those after it are not.
        """
        if self._closed:
            return
        entries: list[Entry] = []
        try:
            self._envelope.seal(payloads, self._emitted + 1, received_us, entries)
        finally:
            self._emitted += len(entries)
            if self._before is not None:
                entries = self._through_middleware(entries, self._before)
            if entries:
                self._backlog.put(entries)

    def _through_middleware(self, entries: list[Entry], before: Callable[[bytes], bytes]) -> list[Entry]:
        passed: list[Entry] = []
        for entry in entries:
            try:
                passed.append(entry._replace(data=before(entry.data)))
            except EnqueueVetoed as veto:
                self._vetoed += 1
                self._note_drop(entry.seq)
                self._publish(MessageRejected(telemetry_id=self._label, seq=entry.seq, detail=str(veto)))
        return passed
