"""The spools that this process holds for one feed: its own, and those that dead processes left in the same folder.

The rule: no failure of a disk gets past here as an exception; it becomes an answer, an event and, where messages are gone, a loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ingest.delivery.entry import Entry
from ingest.delivery.losses import Losses
from ingest.errors import SpoolDamaged, SpoolError, SpoolFull
from ingest.events import Event, SpoolTrouble


class StoredProducer(Protocol):
    """What a spool knows of a producer (`ingest.delivery.spool.StoredProducer`)."""

    @property
    def id(self) -> str: ...
    @property
    def epoch(self) -> int | None: ...
    @property
    def confirmed(self) -> int: ...
    @property
    def late(self) -> bool: ...
    @property
    def messages(self) -> int: ...
    @property
    def last(self) -> int: ...


class Spool(Protocol):
    """One file and its lock (`ingest.delivery.spool.Spool`)."""

    @property
    def size(self) -> int: ...
    @property
    def path(self) -> object: ...
    def producers(self) -> Sequence[StoredProducer]: ...
    def add(self, producer: str) -> None: ...
    def taken(self, producer: str, epoch: int) -> None: ...
    def mark_late(self, producers: Sequence[str]) -> None: ...
    def append(self, producer: str, entries: Sequence[Entry]) -> None: ...
    def read(self, producer: str, after: int, messages: int, size: int) -> list[Entry]: ...
    def confirm(self, producer: str, seq: int) -> None: ...
    def flush(self) -> None: ...
    def drop_oldest(self, producer: str, after: int, size: int) -> list[tuple[int, int, int, int]]: ...
    def reject(self, producer: str, entry: Entry, detail: str) -> None: ...
    def forget(self, producer: str) -> None: ...
    def save_gaps(self, records: Sequence[bytes]) -> None: ...
    def take_gaps(self) -> list[bytes]: ...
    def set_aside(self) -> object: ...
    def close(self) -> None: ...


class Store:
    """A feed's spools, addressed by producer; guarded by the backlog's lock.

    Parameters:
      own: this process's spool; ``adopt`` returns those that have become free since it was asked last.
      most: bytes that ``own`` may hold.
      durable: whether what is appended survives a power cut and the process's machine: fsync "always", and persistent.
      losses: told of the messages that a damaged file held.
      gone: called with every producer whose messages on disk are gone.
    """

    def __init__(
        self,
        own: Spool,
        adopt: Callable[[], Sequence[Spool]],
        *,
        most: int,
        durable: bool,
        losses: Losses,
        tell: Callable[[Event], None],
        label: str,
    ) -> None:
        self.durable = durable
        self.gone: Callable[[str], None] = lambda producer: None
        self._own = own
        self._adopt = adopt
        self._adopted: list[Spool] = []
        self._most = most
        self._losses = losses
        self._tell = tell
        self._label = label
        self._refused = False  # the disk has no place, whatever we may hold
        self._newest: StoredProducer | None = None
        self._where: dict[str, Spool] = {}
        self._known: dict[str, StoredProducer] = {}
        self._learn(own)

    @property
    def is_full(self) -> bool:
        return self._refused or self._own.size >= self._most

    @property
    def has_room_again(self) -> bool:
        """Whether so much has gone that it is worth going on after having been full."""
        return not self._refused and self._own.size <= self._most * 3 // 4

    @property
    def newest(self) -> StoredProducer | None:
        """The newest producer held that has led the feed, as it was when its spool was opened."""
        return self._newest

    def holds(self, producer: str) -> bool:
        """Whether a producer is in a spool whose lock this process has: whoever made it is dead, if it was not us."""
        return producer in self._where

    def adopt(self) -> list[StoredProducer]:
        """Take over what dead processes left; return their producers that hold messages, oldest first."""
        found: list[StoredProducer] = []
        for spool in self._adopt():
            self._adopted.append(spool)
            found += self._learn(spool)
        return found

    def earlier(self) -> list[StoredProducer]:
        """Return the producers of the own spool that hold messages, oldest first, as they were when it was opened."""
        return [each for each in self._known.values() if self._where[each.id] is self._own and each.messages]

    def add(self, producer: str) -> None:
        """Write a candidate down before it asks for the lead; a disk that refuses costs only what would be known of it later."""
        self._where[producer] = self._own
        self._try(self._own, lambda: self._own.add(producer))

    def led(self, producer: str, epoch: int) -> None:
        self._try(self._own, lambda: self._own.taken(producer, epoch))

    def mark_late(self, producers: Sequence[str]) -> None:
        for spool in {id(self._where[each]): self._where[each] for each in producers if each in self._where}.values():
            mine = [each for each in producers if self._where.get(each) is spool]
            self._try(spool, lambda spool=spool, mine=mine: spool.mark_late(mine))  # type: ignore[misc]

    def append(self, producer: str, entries: Sequence[Entry]) -> bool:
        """Store entries; False if the disk has no place for them: then none is."""
        spool = self._where[producer]
        for _ in range(2):  # a damaged file is replaced by a new one: once more
            try:
                spool.append(producer, entries)
            except SpoolDamaged:
                self._set_aside(spool)
            except SpoolFull:
                break
            except SpoolError as error:
                self._trouble(str(error))
                break
            else:
                return True
        self._refused = spool.size < self._most
        return False

    def read(self, producer: str, after: int, messages: int, size: int) -> list[Entry]:
        """Return the next entries after a number; none if there is none, or if the file could not be read (told)."""
        spool = self._where[producer]
        try:
            return spool.read(producer, after, messages, size)
        except SpoolDamaged:
            self._set_aside(spool)
        except SpoolError as error:
            self._trouble(str(error))
        return []

    def confirm(self, producer: str, seq: int) -> None:
        if producer in self._where:
            self._where[producer].confirm(producer, seq)

    def flush(self) -> None:
        """Let go of what is confirmed; the disk may have room again after that."""
        for spool in (*self._adopted, self._own):
            before = spool.size
            self._try(spool, spool.flush)
            if spool.size < before:
                self._refused = False

    def drop_oldest(self, producer: str, after: int, size: int) -> list[tuple[int, int, int, int]]:
        spool, dropped = self._where[producer], []
        try:
            dropped = spool.drop_oldest(producer, after, size)
        except SpoolDamaged:
            self._set_aside(spool)
        except SpoolError as error:
            self._trouble(str(error))
        if dropped:
            self._refused = False
        return dropped

    def reject(self, producer: str, entry: Entry, detail: str) -> bool:
        """Set one message aside; tell whether it is safe there."""
        spool = self._where.get(producer)
        return spool is not None and self._try(spool, lambda: spool.reject(producer, entry, detail))

    def forget(self, producer: str) -> None:
        """Forget a producer of which nothing is held."""
        spool = self._where.pop(producer, None)
        if spool is not None:
            self._try(spool, lambda: spool.forget(producer))
        if spool in self._adopted and not any(where is spool for where in self._where.values()):
            self._adopted.remove(spool)
            self._try(spool, spool.close)

    def save_gaps(self, records: Sequence[bytes]) -> bool:
        return not records or self._try(self._own, lambda: self._own.save_gaps(records))

    def take_gaps(self) -> list[bytes]:
        """Return the gap records that an earlier process could not bring to Redis."""
        records: list[bytes] = []
        for spool in (*self._adopted, self._own):
            self._try(spool, lambda spool=spool: records.extend(spool.take_gaps()))  # type: ignore[misc]
        return records

    def close(self) -> None:
        """Give the files and their locks back."""
        for spool in (*self._adopted, self._own):
            self._try(spool, spool.close)

    def _learn(self, spool: Spool) -> list[StoredProducer]:
        producers = list(spool.producers())
        for each in producers:
            self._where[each.id], self._known[each.id] = spool, each
            if each.epoch is not None and (self._newest is None or each.epoch > (self._newest.epoch or 0)):
                self._newest = each
        return [each for each in producers if each.messages]

    def _try(self, spool: Spool, act: Callable[[], None]) -> bool:
        try:
            act()
        except SpoolDamaged:
            self._set_aside(spool)
        except SpoolError as error:
            self._trouble(str(error))
        else:
            return True
        return False

    def _set_aside(self, spool: Spool) -> None:
        """Replace a damaged file, and tell what was in it."""
        damaged = [each for each, where in self._where.items() if where is spool]
        try:
            self._trouble(f"{spool.path} is damaged; it is set aside as {spool.set_aside()}")
        except SpoolError as error:
            self._trouble(str(error))
        for producer in damaged:
            self.gone(producer)

    def _trouble(self, detail: str) -> None:
        self._tell(SpoolTrouble(telemetry_id=self._label, detail=detail))
