"""The Lua scripts as they are sent: their source and its SHA1 digest.

The rule: a script is read once, at import, from the file beside this one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    """One script; Redis knows it by ``digest`` once it is loaded."""

    source: str
    digest: str

    @classmethod
    def read(cls, name: str) -> Script:
        """Return the script in ``<name>.lua``."""
        return cls.of(files("ingest.broker").joinpath(f"{name}.lua").read_text(encoding="utf-8"))

    @classmethod
    def of(cls, source: str) -> Script:
        """Return a script of this source."""
        return cls(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


ENQUEUE = Script.read("enqueue")
LEASE = Script.read("lease")
GAPS = Script.read("gaps")
ACK = Script.read("ack")
REQUEUE = Script.read("requeue")
NACK = Script.read("nack")
RETRY_DEAD = Script.read("retry_dead")
DELETE_DEAD = Script.read("delete_dead")
