"""What wakes the feed thread from its wait on its socket."""

from ingest.wakeup import Wakeup

__all__ = ["Wakeup"]
