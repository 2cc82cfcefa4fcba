"""Supervisors of one feed, one after the other or beside each other, and what they left: the queue, the gaps, the spools."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import redis

from ingest.broker.gaps import GapRecord, read_gaps
from ingest.broker.keys import Keys
from tests.support import noting
from tests.support.fault_feeds import QUEUE, feeds_toml
from tests.support.numbered import number_of
from tests.support.queue_content import messages_in, numbers_of
from tests.support.redis_server import Valkey
from tests.support.supervisor import SupervisorProcess
from tests.support.waiting import wait_until

KEY = "dramatiq:trades"

NOTING = 'session = "noting:Noting"\n'


class Member(SupervisorProcess):
    """One supervisor, with a folder of its own; with the session `NOTING` it tells how far it was when it was killed."""

    def __init__(self, folder: Path, feeds: str, redis_url: str, *, prefix: Sequence[str] = (), **environ: str) -> None:
        folder.mkdir()
        shutil.copy(noting.__file__, folder)
        self._notes = folder / noting.FILE
        super().__init__(folder, feeds, redis_url, prefix=prefix, **environ)

    @property
    def leads(self) -> bool:
        return self.told(r" lease_taken ") > self.told(r" lease_lost ")

    @property
    def read(self) -> int:
        """The last number that the session saw."""
        return self._noted()[0]

    @property
    def kept(self) -> int:
        """The last number that was handed on: it is in the backlog, and where `durability` says so on disk."""
        return self._noted()[1]

    def _noted(self) -> tuple[int, int]:
        if not self._notes.exists():
            return 0, 0
        data = self._notes.read_bytes()
        read, kept = struct.unpack(noting.LAYOUT, data) if data else (0, 0)
        return read, kept


class Fleet:
    """Use as a context manager: whoever still runs at its end is killed. ``spool`` is a folder for all of them."""

    def __init__(self, folder: Path, valkey: Valkey, url: str, *, extra: str = "", top: str = QUEUE) -> None:
        self.spool = folder / "spool"
        self.spool.mkdir(exist_ok=True)
        self.client: redis.Redis = valkey.client()
        self.members: list[Member] = []
        self._folder = folder
        self._redis_url = valkey.url
        self._url = url
        self._extra = extra
        self._top = top
        self._stack = ExitStack()

    def start(
        self,
        *,
        redis_url: str | None = None,
        url: str | None = None,
        extra: str | None = None,
        top: str | None = None,
        feeds: str | None = None,
        prefix: Sequence[str] = (),
        **environ: str,
    ) -> Member:
        """Start one more supervisor; what is given replaces what is the fleet's, ``feeds`` all of its settings file."""
        feeds = feeds or feeds_toml(
            self._url if url is None else url,
            extra=self._extra if extra is None else extra,
            top=self._top if top is None else top,
        )
        folder = self._folder / f"supervisor-{len(self.members)}"
        member = Member(folder, feeds, redis_url or self._redis_url, prefix=prefix, **environ)
        self.members.append(self._stack.enter_context(member))
        return member

    def newest(self) -> int:
        """Return the last number in the queue; 0 if there is none. Messages to a gap actor are passed over."""
        ids = self.client.lrange(KEY, -20, -1)
        found = self.client.hmget(f"{KEY}.msgs", ids) if ids else []
        payloads = [json.loads(data)["args"][0] for data in found if data is not None]
        payloads = [payload[-1] if isinstance(payload, list) else payload for payload in payloads]
        return next((number_of(payload) for payload in reversed(payloads) if isinstance(payload, str)), 0)

    def depth(self) -> int:
        return self.client.llen(KEY)

    def flows(self, beyond: int = 0, timeout: float = 60.0) -> None:
        """Wait until a number beyond this one is in the queue."""
        wait_until(lambda: self.newest() > beyond, timeout, f"a number beyond {beyond}")

    def messages(self) -> list[dict[str, Any]]:
        """Return every message in the queue, in order."""
        return messages_in(self.client)

    def numbers(self) -> list[int]:
        """Return all numbers in the queue, in order."""
        return numbers_of(self.messages())

    def gaps(self, *causes: str) -> list[GapRecord]:
        """Return the gap records (of these causes, or all), in the order in which they began."""
        found = read_gaps(self.client, Keys("dramatiq"), "", ["trades"])
        return [gap for gap in found if not causes or gap.cause in causes]

    def spooled(self) -> str:
        """Return the lines of a settings file that give a feed the fleet's spool."""
        return spooling(self.spool)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        for number, member in enumerate(self.members if error is not None else ()):
            error.add_note(f"--- the log of supervisor {number} ---\n{member.log[-3000:]}")
        self._stack.close()


def assert_dropped_after(seq: int, count: int, gaps: Sequence[GapRecord]) -> None:
    """Check that records tell of ``count`` drops after number ``seq``, one behind the other: two where reading went on."""
    for gap in gaps:
        assert gap.last_seq == seq, gaps
        assert gap.count, gaps
        seq, count = seq + gap.count, count - gap.count
    assert count == 0, gaps


def spooling(folder: Path, more: str = "") -> str:
    """Return the line of a settings file that gives a feed a spool in this folder."""
    return f'spool = {{ directory = "{folder}"{more} }}\n'
