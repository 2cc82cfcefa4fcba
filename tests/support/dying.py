"""A session whose process is killed (SIGKILL) or slow at one point of its life, named by the environment: ``DIES_AT``.

The rule: points lie between what a process does in Redis and what it does on its disk.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any, NoReturn

from ingest import Session
from ingest.broker.line import Line
from ingest.delivery.store import Store

#: Redis has forgotten a producer that took leave of it.
LEFT = "left"

#: Redis has granted a lead.
GRANTED = "granted"

#: It is not killed, but takes a second to give its spool back.
SLOWLY = "slowly"


class Dying(Session):
    """Emits every frame as it is."""


def _die(*_: Any, **__: Any) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("killed")


_done, _close = Line.done, Store.close

if os.environ.get("DIES_AT") == LEFT:
    Line.done = lambda self, producer: _die(_done(self, producer))  # type: ignore[method-assign]
elif os.environ.get("DIES_AT") == GRANTED:
    Store.led = _die  # type: ignore[method-assign]
elif os.environ.get("DIES_AT") == SLOWLY:
    Store.close = lambda self: (time.sleep(1), _close(self))[1]  # type: ignore[method-assign]
