"""Whether an operator has paused a feed, as far as this process knows.

The rule: set by whoever reads the orders, looked at by the feed's thread; a change wakes that.
"""

from __future__ import annotations

from collections.abc import Callable


class Hold:
    """The order to one feed; ``by`` is who paused it ("" if nobody knows), None while it is not paused."""

    __slots__ = ("_changed", "by")

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._changed = changed
        self.by: str | None = None

    def __bool__(self) -> bool:
        return self.by is not None

    def set(self, by: str | None) -> None:
        """Pause the feed, or with None let it go on."""
        changes = (by is None) is not (self.by is None)
        self.by = by
        if changes:
            self._changed()
