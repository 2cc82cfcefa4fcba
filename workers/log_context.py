"""Says on every line that is logged while a frame is processed which frame that is: feed, seq, and how old it is.

The rule: whoever logs (the actor, Dramatiq, a library) need not know of it, and a line outside an actor stays as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from ingest.clock import wall_us
from ingest.telemetry.lines import CONTEXT
from workers.middleware.frame_context import current_frame


class FrameLogContext(logging.Filter):
    """Adds the current frame to every record; lets all pass. ``labels`` are those of the feeds by their names."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        super().__init__()
        self._labels = labels

    def filter(self, record: logging.LogRecord) -> bool:
        """Add ``feed``, ``seq`` and ``lag`` (seconds since the frame was read), where there is a frame."""
        frame = current_frame()
        if frame is not None:
            lag = max(0.0, (wall_us() - frame.received_us) / 1_000_000)
            setattr(record, CONTEXT, {"feed": self._labels.get(frame.feed, frame.feed), "seq": frame.seq, "lag": round(lag, 3)})
        return True
