"""One dead letter as an operator sees it: where it came from, when and of what it died; and as a message to be tried anew.

The rule: pure; whatever is in Redis becomes a `DeadLetter`, also what nobody can read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from ingest.broker.hooks import MessageEncoder

#: Options that Dramatiq's `Retries` and delays leave in a message, and that a fresh one does not have.
_OF_EARLIER_TRIES = ("retries", "traceback", "requeue_timestamp", "eta")

#: Our option that says where a message came from, and in it the mark of a frame that failed for good (`workers.frame_actor`).
_FRAME, _DEAD = "frame", "dead"

#: A line of a traceback that names code, and what stands before every line where several exceptions are shown as a group.
_CODE = re.compile(r'^\s*File ".*", line \d+')
_BARS = re.compile(r"^ +\| ")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One message that was given up.

    Attributes:
      id: the name by which Redis knows it, unique in its queue.
      at: when it died (wall-clock seconds of the worker).
      size: bytes of the encoded message.
      feed, seq: which feed it came from, and its number there; None where it is no message of ours.
      retries: how often it was tried again.
      traceback: as Dramatiq's `Retries` left it, "" where there is none.
      content: the decoded message; None where it cannot be read.
      problem: why it cannot be read, "" where it can.
    """

    queue: str
    id: str
    at: float
    size: int = 0
    message_id: str = ""
    actor: str = ""
    feed: str | None = None
    seq: int | None = None
    retries: int = 0
    traceback: str = ""
    content: Mapping[str, Any] | None = None
    problem: str = ""

    @property
    def cause(self) -> str:
        """The exception in one line, "" where nobody knows it."""
        return last_line(self.traceback)


def read_dead_letter(queue: str, ident: str, at: float, data: bytes | None, encoder: MessageEncoder) -> DeadLetter:
    """Return the dead letter that is in ``data``."""
    if data is None:
        return DeadLetter(queue=queue, id=ident, at=at, problem="its content is gone from Redis")
    try:
        content = encoder.decode(data)
        options = content["options"]
        name, actor = str(content["message_id"]), str(content["actor_name"])
        if not isinstance(options, Mapping):
            raise TypeError("its options are none")
    except Exception as error:  # noqa: BLE001 - the encoder may be anybody's, and the content anything
        problem = f"it is no message of the encoder in use: {type(error).__name__}: {error}"[:200]
        return DeadLetter(queue=queue, id=ident, at=at, size=len(data), problem=problem)
    frame, retries, trace = options.get(_FRAME), options.get("retries"), options.get("traceback")
    feed, seq = (frame.get("feed"), frame.get("seq")) if isinstance(frame, Mapping) else (None, None)
    return DeadLetter(
        queue=queue,
        id=ident,
        at=at,
        size=len(data),
        message_id=name,
        actor=actor,
        feed=feed if isinstance(feed, str) else None,
        seq=seq if isinstance(seq, int) else None,
        retries=retries if isinstance(retries, int) else 0,
        traceback=trace if isinstance(trace, str) else "",
        content=content,
    )


def renewed(letter: DeadLetter, encoder: MessageEncoder) -> tuple[str, bytes] | None:
    """Return a new id and the message under it, as if it had never been tried; None where it cannot be read.

    It keeps its ``message_id``, its time stamp (so ``max_age`` counts on), its arguments, its ``frame`` and every option that is
    not of earlier tries. Its id in Redis is a new one, as Dramatiq gives one at every enqueue, so no late word of a worker about
    the old one can touch it.
    """
    if letter.content is None:
        return None
    ident = str(uuid4())
    options = {key: value for key, value in letter.content["options"].items() if key not in _OF_EARLIER_TRIES}
    frame = options.get(_FRAME)
    if isinstance(frame, Mapping):
        options[_FRAME] = {key: value for key, value in frame.items() if key != _DEAD}
    options["redis_message_id"] = ident
    try:
        return ident, encoder.encode({**letter.content, "queue_name": letter.queue, "options": options})
    except Exception:  # noqa: BLE001 - as above
        return None


def last_line(traceback: str) -> str:
    """Return the line of a traceback that names its exception: the first one after the last line of code."""
    lines = [_BARS.sub("", line) for line in traceback.splitlines() if line.strip()]
    code = [at for at, line in enumerate(lines) if _CODE.match(line)]
    after = lines[code[-1] + 1 :] if code else []
    named = next((line for line in after if not line[0].isspace()), "")  # the code itself is indented
    return named or (lines[-1].strip() if lines else "")
