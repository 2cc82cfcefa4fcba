"""A session that has its process killed (SIGKILL) at one point of its life, named by the environment: ``DIES_AT``.

The rule: points lie between what Redis has done for a process and what the process writes down of it.
"""

from __future__ import annotations

import os
import signal
from typing import Any, NoReturn

from ingest import Session
from ingest.broker.line import Line
from ingest.delivery.store import Store

#: Redis has forgotten a producer that took leave of it.
LEFT = "left"

#: Redis has granted a lead.
GRANTED = "granted"


class Dying(Session):
    """Emits every frame as it is."""


def _die(*_: Any, **__: Any) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("killed")


_done = Line.done

if os.environ.get("DIES_AT") == LEFT:
    Line.done = lambda self, producer: _die(_done(self, producer))  # type: ignore[method-assign]
elif os.environ.get("DIES_AT") == GRANTED:
    Store.led = _die  # type: ignore[method-assign]
