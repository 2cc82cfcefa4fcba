"""The spools that this process holds for one feed: its own, and those that dead processes left in the same folder.

The rule: no failure of a disk gets past here as an exception; it becomes an answer, an event and, where messages are gone, a
loss.

It is long because what a spool can do stands here once more, each with what its failure means for the feed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from ingest.clock import Monotonic, monotonic, wall_us
from ingest.delivery.entry import Entry
from ingest.delivery.places import Places
from ingest.delivery.spool import Spool, StoredProducer
from ingest.delivery.spool_folder import SpoolFolder
from ingest.delivery.spool_rows import DroppedChunk
from ingest.errors import SpoolDamaged, SpoolError, SpoolFull
from ingest.events import Event, GapFound, SpoolTrouble

#: Seconds for which a disk that refused is not tried again.
REFUSAL = 1.0

#: Seconds for which the last refusal stands, where nothing has had to be written since.
STANDING = 60.0


class Store:
    """A feed's spools, addressed by producer; guarded by the backlog's lock.

    Parameters:
      own: this process's spool, which is in ``folder``.
      most: bytes that ``own`` may hold.
      durable: whether what is appended survives a power cut and the process's machine: fsync "always", and persistent.
    """

    def __init__(
        self,
        own: Spool,
        folder: SpoolFolder,
        *,
        most: int,
        durable: bool,
        feed: str,
        label: str,
        tell: Callable[[Event], None],
        clock: Monotonic = monotonic,
    ) -> None:
        #: Called with every producer whose messages on disk are gone with a damaged file.
        self.gone: Callable[[str], None] = lambda producer: None
        self._durable = durable
        self._own = own
        self._folder = folder
        self._adopted: list[Spool] = []
        self._most = most
        self._feed = feed
        self._label = label
        self._tell = tell
        self._clock = clock
        self._refused_at: float | None = None  # the disk had no place then, whatever we may hold
        self._standing: tuple[float, str] | None = None  # the last refusal since something was stored
        self._newest: StoredProducer | None = None
        self._where: dict[str, Spool] = {}
        self._leading = ""
        self._places = Places(lambda detail: tell(SpoolTrouble(telemetry_id=label, detail=detail)), clock)
        self._unheard_of: Spool | None = own  # what it holds is known to nobody yet
        self._earlier = self._learn(own)
        self._unheard_of = None

    @property
    def durable(self) -> bool:
        """Whether what is stored outlives power and process: not while a file has lost its place."""
        return self._durable and self._places.has(self._own)

    @property
    def trouble(self) -> str:
        """What is wrong with the files or their disk now, "" if nothing is; any thread may ask."""
        standing = self._standing
        refused = standing[1] if standing is not None and self._clock() - standing[0] < STANDING else ""
        return self._places.standing or refused

    @property
    def is_look_due(self) -> bool:
        """Whether it is time to `look` again."""
        return self._places.is_look_due

    def look(self) -> None:
        """See whether somebody has removed a file that is in use, and write it anew."""
        had_no_place = self._places.standing
        self._places.look(self._all())
        if had_no_place and not self._places.standing:
            self._standing = None  # it was refused for that reason

    def keeps(self, producer: str) -> bool:
        """Whether what is stored of a producer will be there for the next process."""
        return self._places.has(self._where.get(producer, self._own))

    @property
    def is_full(self) -> bool:
        return self._is_refused or self._own.size >= self._most

    @property
    def has_room_again(self) -> bool:
        """Whether so much has gone that it is worth going on after having been full."""
        return not self._is_refused and self._own.size <= self._most * 3 // 4

    @property
    def _is_refused(self) -> bool:
        return self._refused_at is not None and self._clock() - self._refused_at < REFUSAL

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum([spool.size for spool in self._all()])

    @property
    def newest(self) -> StoredProducer | None:
        """The newest producer held that has led the feed before this process, as it was when its spool was opened."""
        return self._newest

    def is_continued_by(self, producer: str, leader: str) -> bool:
        """Whether nobody but the process of ``leader`` can have led since that of ``producer``.

        A process writes its lead into every spool that it holds: so what lies there beside it waits for its turn before what
        it has read itself, and what lies elsewhere has been overtaken.
        """
        spool = self._where.get(producer)
        return spool is not None and spool.leader == leader

    def holds(self, producer: str) -> bool:
        """Whether a producer is in a spool whose lock this process has: whoever made it is dead, if it was not us."""
        return producer in self._where

    @property
    def candidates(self) -> list[str]:
        """The newest producers held that are not known to have led; costs no disk."""
        return [each for spool in self._all() for each in spool.candidates]

    def earlier(self) -> list[StoredProducer]:
        """Return the producers that an earlier process left messages of in this spool, oldest first; once."""
        earlier, self._earlier = self._earlier, []
        return earlier

    def look_for_more(self) -> bool:
        """Tell whether dead processes left something to `adopt`; costs no disk."""
        try:
            return self._folder.look(self._slots())
        except SpoolError as error:
            self._refuse(str(error))
        return False

    def adopt(self) -> tuple[list[StoredProducer], bool]:
        """Take over what dead processes left in the folder.

        Return their producers that hold messages, and whether there was any spool at all.
        """
        found: list[StoredProducer] = []
        try:
            self._folder.look(self._slots())
            adopted = self._folder.adopt()
        except SpoolError as error:
            self._refuse(str(error))
            return [], False
        for spool in adopted:
            self._adopted.append(spool)
            self._unheard_of = spool
            held = self._learn(spool)
            self._take_over_gaps(spool)
            found += held if self._unheard_of is spool else []
            self._unheard_of = None
            self._let_go_if_empty(spool)
        return found, bool(adopted)

    def add(self, producer: str) -> None:
        """Write a candidate down before it asks for the lead; a disk that refuses costs only what would be known of it later."""
        self._where[producer] = self._own
        self._try(self._own, lambda: self._own.add(producer))

    def led(self, producer: str, epoch: int, held: Collection[str] = ()) -> None:
        """Note that a candidate leads, in every spool; of those before it, only who has messages is of interest from now on.

        ``held``: those that have some in memory, which may yet come to the disk. What need not be durable at once is by the next
        `flush`, which is due before the first message.
        """
        self._leading = producer
        for spool in self._all():
            useless = [each.id for each in self._producers_of(spool) if not each.messages and each.id not in (producer, *held)]
            for each in useless:
                self._where.pop(each, None)
            self._note_lead(spool, producer, epoch, useless)
            self._let_go_if_empty(spool)

    def mark_late(self, producers: Sequence[str]) -> None:
        """Note, durably, that what is held of these comes late."""
        for spool in self._all():
            mine = [each for each in producers if self._where.get(each) is spool]
            if mine:
                self._mark_late(spool, mine)

    def append(self, producer: str, entries: Sequence[Entry], *, final: bool = False) -> bool:
        """Store entries; False if the disk has no place for them: then none is. ``final``: at a stop, at any cost."""
        spool = self._where[producer]
        if self.is_look_due:
            self.look()
        if not self._places.has(spool):
            self._refused_at = self._clock()
            return False
        for _ in range(2):  # a damaged file is replaced by a new one: once more
            try:
                spool.append(producer, entries, final=final)
            except SpoolDamaged:
                self._set_aside(spool)
            except SpoolFull as error:
                if spool.size < self._most:  # not our limit, but the disk's: told once
                    self._refuse(str(error), told=self._is_refused)
                break
            except SpoolError as error:
                self._refuse(str(error))
                break
            else:
                self._standing = None
                return True
        self._refused_at = self._clock() if spool.size < self._most else None
        return False

    def read(self, producer: str, after: int, messages: int, size: int) -> list[Entry]:
        """Return the next entries after a number; none if there is none, or if the file cannot be read and is set aside."""
        spool = self._where[producer]
        try:
            return spool.read(producer, after, messages, size)
        except SpoolError:  # whatever it is: to go on as if nothing were there would lose it without a word
            self._set_aside(spool)
        return []

    def confirm(self, producer: str, seq: int) -> None:
        """Note that everything up to this number is in Redis; `flush` lets it go."""
        spool = self._where.get(producer)
        if spool is not None:
            spool.confirm(producer, seq)

    def flush(self) -> None:
        """Let go of what is confirmed; the disk may have room again after that."""
        for spool in self._all():
            before = spool.size
            self._try(spool, spool.flush)
            if spool.size < before:
                self._refused_at = self._standing = None

    def drop_oldest(self, producer: str, after: int, size: int) -> list[DroppedChunk]:
        """Drop the oldest chunks after a number until so many bytes are free; return what was dropped."""
        spool = self._where[producer]
        dropped: list[DroppedChunk] = []
        self._try(spool, lambda: dropped.extend(spool.drop_oldest(producer, after, size)))
        if dropped:
            self._refused_at = self._standing = None
        return dropped

    def reject(self, producer: str, entry: Entry, detail: str) -> None:
        """Set one message aside."""
        spool = self._where.get(producer)
        if spool is not None:
            self._try(spool, lambda: spool.reject(producer, entry, detail))

    def clear(self, producer: str) -> bool:
        """Delete, durably, all that is stored of a producer; False if the disk does not let us."""
        spool = self._where.get(producer)
        return spool is None or self._try(spool, lambda: spool.clear(producer))

    def forget(self, producer: str) -> None:
        """Forget a producer, and all that is stored of it; the one that led last stays known: it shows later if Redis forgot."""
        spool = self._where.get(producer)
        if spool is None:
            return
        if producer == self._leading:
            self._try(spool, lambda: _empty(spool, producer))
            return
        del self._where[producer]
        self._try(spool, lambda: spool.forget(producer))
        self._let_go_if_empty(spool)

    def take_gaps(self) -> list[bytes]:
        """Return the gap records that earlier processes could not bring to Redis; each once."""
        return self._gaps_of(self._own)

    def save_gaps(self, records: Sequence[bytes]) -> bool:
        """Store gap records that Redis does not have."""
        return self._places.has(self._own) and self._try(self._own, lambda: self._own.save_gaps(records))

    def close(self) -> None:
        """Give the files and their locks back."""
        for spool in self._all():
            self._try(spool, spool.close)
        self._folder.close()

    def _all(self) -> list[Spool]:
        return [*self._adopted, self._own]

    def _slots(self) -> list[int]:
        return [spool.slot for spool in self._all()]

    def _learn(self, spool: Spool) -> list[StoredProducer]:
        if spool.set_aside_at_open is not None:
            self._tell_lost_at_open(f"{spool.path} was damaged; it is set aside as {spool.set_aside_at_open}")
        producers = self._producers_of(spool)
        if self._unheard_of is None:  # it was damaged after all: of the new file
            producers = self._producers_of(spool)
        for each in producers:
            self._where[each.id] = spool
            if each.epoch is not None and (self._newest is None or each.epoch > (self._newest.epoch or 0)):
                self._newest = each
        return [each for each in producers if each.messages]

    def _tell_lost_at_open(self, detail: str) -> None:
        """What was in a file that could not be opened is lost; whose it was, and how much, nobody can know."""
        self._trouble(f"{detail}, and what was in it is lost")
        self._record_lost(detail)

    def _record_lost(self, detail: str) -> None:
        self._tell(
            GapFound(
                telemetry_id=self._label,
                feed=self._feed,
                cause="damaged",
                from_us=0,
                to_us=wall_us(),
                producer="",
                last_seq=0,
                detail=detail,
            )
        )

    def _producers_of(self, spool: Spool) -> list[StoredProducer]:
        producers: list[StoredProducer] = []
        self._try(spool, lambda: producers.extend(spool.producers()))
        return producers

    def _gaps_of(self, spool: Spool) -> list[bytes]:
        records: list[bytes] = []
        self._try(spool, lambda: records.extend(spool.take_gaps()))
        return records

    def _take_over_gaps(self, spool: Spool) -> None:
        found = self._gaps_of(spool)
        if found and not self.save_gaps(found):
            self._try(spool, lambda: spool.save_gaps(found))  # else they would go with its close

    def _let_go_if_empty(self, spool: Spool) -> None:
        if spool in self._adopted and spool not in self._where.values():
            self._adopted.remove(spool)
            self._try(spool, spool.close)

    def _note_lead(self, spool: Spool, producer: str, epoch: int, useless: list[str]) -> None:
        self._try(spool, lambda: spool.lead(producer, epoch, useless))

    def _mark_late(self, spool: Spool, producers: list[str]) -> None:
        self._try(spool, lambda: spool.mark_late(producers))

    def _try(self, spool: Spool, act: Callable[[], None]) -> bool:
        try:
            act()
        except SpoolDamaged:
            self._set_aside(spool)
        except SpoolError as error:
            self._refuse(str(error))
        else:
            return True
        return False

    def _set_aside(self, spool: Spool) -> None:
        """Replace a damaged file, and tell what was in it."""
        try:
            aside = spool.set_aside()
        except SpoolError as error:
            self._refuse(f"{spool.path} is damaged, and cannot be set aside: {error}")
        else:
            self._trouble(f"{spool.path} is damaged; it is set aside as {aside}")
        if spool is self._unheard_of:  # then nobody counts what was in it
            self._unheard_of = None
            self._record_lost(f"{spool.path} was damaged, and what was in it is lost")
        for producer in [each for each, where in self._where.items() if where is spool]:
            self.gone(producer)

    def _refuse(self, detail: str, *, told: bool = False) -> None:
        """Note that the disk refuses, which stands until it takes something again, and tell it."""
        self._standing = self._clock(), detail
        if not told:
            self._trouble(detail)

    def _trouble(self, detail: str) -> None:
        self._tell(SpoolTrouble(telemetry_id=self._label, detail=detail))


def _empty(spool: Spool, producer: str) -> None:
    for each in spool.producers():
        if each.id == producer and each.messages:
            spool.confirm(producer, each.last)
            spool.flush()
