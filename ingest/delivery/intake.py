"""Takes payloads from a connection: numbers them, encodes them, and puts them in the backlog.

The rule: a payload has its number before anything can happen to it, everything before a refused payload is kept, and what has a
number is at every moment in the backlog or in one of the counts that `close` takes: the user's code may hang anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock

from ingest.delivery.backlog import Backlog, Chain, Entry
from ingest.delivery.envelope import Envelope
from ingest.errors import EnqueueVetoed, PayloadRefused
from ingest.events import MessageRejected, Publish


class Intake:
    """The sink of one feed; `enter` says under which producer.

    Parameters:
      make_envelope: makes the envelope of a producer.
      before: what Dramatiq middleware makes of an encoded message before it is enqueued, or None; called once per message.
      label: the feed's ``telemetry_id``.
    """

    def __init__(
        self,
        make_envelope: Callable[[str], Envelope],
        backlog: Backlog,
        *,
        label: str,
        publish: Publish,
        before: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._make_envelope = make_envelope
        self._backlog = backlog
        self._label = label
        self._publish = publish
        self._before = before
        self._envelope: Envelope | None = None
        self._chain = Chain("")  # nothing is put before `enter`
        self._emitted = 0
        self._total = 0
        self._handing_over = Lock()  # guards what follows: whoever closes takes it, or finds it in the backlog
        self._closed = False
        self._unsealed = 0  # payloads that have a number and are in no message yet that could be handed over
        self._received_us = 0  # when the newest payloads were read
        self._in_hand: list[Entry] = []  # messages that middleware has
        self._vetoed: set[int] = set()  # the numbers of those that it did not let pass

    @property
    def emitted(self) -> int:
        """The number of the last payload taken from the present producer."""
        return self._emitted

    @property
    def total(self) -> int:
        """How many payloads were taken, from all producers."""
        return self._total

    @property
    def settled(self) -> int:
        """The number up to which every payload is in Redis or safely on disk, and none taken since `begin` was given up."""
        return self._backlog.settled(self._chain)

    @property
    def dropped(self) -> int | None:
        """The number of the first payload taken since `begin` and given up."""
        return self._chain.first_unkept

    def enter(self, chain: Chain) -> None:
        """Number what comes from now on anew, for the producer of ``chain``; nothing more comes for the one before."""
        if chain is self._chain:
            return
        self._backlog.end(self._chain)
        self._chain = chain
        self._envelope = self._make_envelope(chain.producer)
        self._emitted = 0

    def has_room(self) -> bool:
        """Tell whether reading may go on."""
        return self._backlog.has_room()

    def begin(self) -> None:
        """A connection begins: what was taken and given up before does not count any more."""
        self._backlog.begin_connection(self._chain)

    def notify_at(self, seq: int | None) -> None:
        """Wake the feed once ``settled`` has reached ``seq``, or never can; None: not any more."""
        self._backlog.notify_at(self._chain, seq)

    def close(self) -> None:
        """Take nothing more: what a callback that hung returns later comes after the end was counted.

        What has its number and hangs in an encoder or in middleware is lost.
        """
        with self._handing_over:
            self._closed = True
            in_hand = [entry for entry in self._in_hand if entry.seq not in self._vetoed]
            unsealed, last = self._unsealed, self._emitted
        self._backlog.lose(self._chain, in_hand)
        if unsealed:
            since_us = self._backlog.gathering_us or self._received_us
            self._backlog.refuse(self._chain, last - unsealed + 1, last, since_us, "lost")
        self._backlog.end(self._chain)

    def flush(self) -> None:
        """Let nothing wait for more to come; here nothing ever does."""

    def deliver(self, payloads: Sequence[object], received_us: int) -> None:
        """Take payloads that were read at ``received_us`` (wall-clock microseconds).

        `PayloadRefused` at the first that cannot be encoded: those before it are taken, it and those after it are not.
        """
        if self._closed:
            return
        assert self._envelope is not None, "a connection was made before a tenure began"
        self._received_us = received_us
        entries: list[Entry] = []
        try:
            self._envelope.seal(payloads, self._emitted + 1, received_us, entries)
        except PayloadRefused as refused:
            self._take(entries)
            self._give_up(refused, received_us)
            raise
        self._take(entries)

    def _take(self, entries: list[Entry]) -> None:
        if entries:
            self._count(len(entries))
            self._hand_over(entries, len(entries))

    def _count(self, payloads: int) -> None:
        """Give so many payloads their numbers, if they do not come after the end."""
        with self._handing_over:
            if not self._closed:
                self._emitted += payloads
                self._total += payloads
                self._unsealed += payloads

    def _hand_over(self, entries: list[Entry], payloads: int) -> None:
        """Put messages that have their numbers, and carry so many payloads, into the backlog, as middleware leaves them."""
        with self._handing_over:
            if self._closed:
                return
            self._unsealed -= payloads
            if self._before is None:
                self._backlog.put(self._chain, entries)
                return
            self._in_hand = entries
        self._keep(self._through_middleware(entries, self._before))

    def _keep(self, entries: list[Entry]) -> None:
        """Put what middleware has let pass into the backlog."""
        with self._handing_over:
            if self._closed:
                return
            self._in_hand, self._vetoed = [], set()
            if entries:
                self._backlog.put(self._chain, entries)

    def _refuse(self, first: int, last: int, received_us: int, refused: PayloadRefused) -> None:
        """Give up payloads that have their numbers, since they cannot be encoded."""
        with self._handing_over:
            if self._closed:
                return
            self._unsealed -= last - first + 1
        self._backlog.refuse(self._chain, first, last, received_us, "unencodable")
        self._publish(MessageRejected(telemetry_id=self._label, seq=first, detail=str(refused)))

    def _give_up(self, refused: PayloadRefused, received_us: int) -> None:
        self._count(1)
        self._refuse(self._emitted, self._emitted, received_us, refused)

    def _through_middleware(self, entries: list[Entry], before: Callable[[bytes], bytes]) -> list[Entry]:
        passed: list[Entry] = []
        for entry in entries:
            try:
                passed.append(entry._replace(data=before(entry.data)))
            except EnqueueVetoed as veto:
                self._veto(entry, veto)
        return passed

    def _veto(self, entry: Entry, veto: EnqueueVetoed) -> None:
        with self._handing_over:
            if self._closed:
                return
            self._vetoed.add(entry.seq)
        self._backlog.refuse(self._chain, entry.seq, entry.last, entry.received_us, "vetoed")
        self._publish(MessageRejected(telemetry_id=self._label, seq=entry.seq, detail=str(veto)))
