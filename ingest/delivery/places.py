"""Whether the files of the spools in use still have their names: somebody may remove one, or its folder, under a running process.

The rule: what such a file holds can be read as long as it is open, so it is written anew wherever there is a place for it; while
there is none, nothing that is written there counts as kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ingest.clock import Monotonic
from ingest.delivery.spool import Spool
from ingest.errors import SpoolError

#: Seconds between two looks.
LOOK_INTERVAL = 1.0


class Places:
    """Looks after the files of one feed; ``trouble`` is told what was found, once a removal."""

    def __init__(self, trouble: Callable[[str], None], clock: Monotonic) -> None:
        self._trouble = trouble
        self._clock = clock
        self._looked_at = clock()
        self._without: list[Spool] = []
        #: What stands in the way of the files that have no place now; "" if all have one.
        self.standing = self._found = ""

    @property
    def is_look_due(self) -> bool:
        return self._clock() - self._looked_at >= LOOK_INTERVAL

    def has(self, spool: Spool) -> bool:
        """Whether a spool's file was in its place, or got a new one, at the last look."""
        return spool not in self._without

    def look(self, spools: Sequence[Spool]) -> None:
        """Look at these files, and write anew what was removed."""
        self._looked_at = self._clock()
        self._found = ""
        self._without = [spool for spool in spools if not spool.is_in_place and not self._moved(spool)]
        self.standing = self._found

    def _moved(self, spool: Spool) -> bool:
        path = spool.path
        try:
            spool.move()
        except SpoolError as error:
            self._found = f"{path} was removed while it was in use, and cannot be written anew: {error}"
            if self.has(spool):
                self._trouble(
                    f"{self._found}; what waits in it is kept only as long as this process lives: "
                    "put the folder back, which is noticed within a second"
                )
            return False
        self._trouble(
            f"{path} was removed while it was in use; all that waits in it is written anew to {spool.path}: "
            "stop the supervisor before its files are deleted or moved"
        )
        return True
