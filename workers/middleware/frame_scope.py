"""Lets what Sentry hears of a message say which frame it is about.

The rule: only where Sentry is on; the frame's content goes along only where the settings say so.
"""

from __future__ import annotations

from collections.abc import Mapping

import dramatiq

from ingest.clock import wall_us
from ingest.telemetry.sentry import FrameFacts, describe_frame, frame_text
from workers.middleware.frame_context import Current, current_message


class FrameScope(dramatiq.Middleware):
    """Tags the events of a message with feed, seq and lag of the frame that is being processed when they happen.

    Comes after `FrameContext`. ``labels`` are those of the feeds by their names.
    """

    def __init__(self, labels: Mapping[str, str], *, send_frames: bool) -> None:
        self._labels = labels
        self._send_frames = send_frames

    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        current = current_message()
        if current is not None:
            describe_frame(lambda: self._facts(current))

    def _facts(self, current: Current) -> FrameFacts | None:
        frame = current.frame()
        if frame is None:
            return None
        lag = round(max(0.0, (wall_us() - frame.received_us) / 1_000_000), 3)
        return FrameFacts(self._labels.get(frame.feed, frame.feed), frame.seq, lag, self._payload(current))

    def _payload(self, current: Current) -> str | None:
        arguments = current.message.args
        if not (self._send_frames and arguments):
            return None
        payload = arguments[0]
        if current.index is not None and isinstance(payload, list) and current.index < len(payload):
            payload = payload[current.index]
        return frame_text(payload)
