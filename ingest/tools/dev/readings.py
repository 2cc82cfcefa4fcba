"""What a run asks Redis: the snapshots of its own processes, and what is left in its queues.

The rule: reads only; a server that does not answer costs a reading, never the run.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ingest.broker.clients import make_client, translated
from ingest.broker.status import read_statuses
from ingest.errors import BrokerError
from ingest.tools.dev.progress import Snapshot
from settings.model import BrokerSettings


@dataclass(frozen=True, slots=True)
class Left:
    """Messages that are in Redis: ``waiting`` to be taken or acknowledged, ``delayed`` (retries), and ``dead`` ones."""

    waiting: int = 0
    delayed: int = 0
    dead: int = 0

    @property
    def total(self) -> int:
        return self.waiting + self.delayed + self.dead


class Readings:
    """A client with short time-outs; ``owns`` says which process ids belong to this run."""

    def __init__(self, broker: BrokerSettings, owns: Callable[[int], bool]) -> None:
        self._namespace = broker.namespace
        self._owns = owns
        self._ours: set[str] = set()
        self._client = make_client(
            **broker.endpoint(),
            max_connections=1,
            connect_timeout=1.0,
            socket_timeout=1.0,
        )

    def answers(self) -> bool:
        """Say whether the server is there."""
        try:
            with translated():
                return bool(self._client.ping())
        except BrokerError:
            return False

    def snapshots(self) -> list[Snapshot]:
        """Return the snapshots of this run's processes: others may share the server."""
        try:
            statuses = read_statuses(self._client, self._namespace)
        except BrokerError:
            return []
        return [status for status in statuses if self._is_ours(status["id"])]

    def left(self, queues: Iterable[str]) -> Left | None:
        """Count what is left in queues; None if the server does not answer."""
        keys = [f"{self._namespace}:{queue}" for queue in queues]
        try:
            with translated(), self._client.pipeline(transaction=False) as pipe:
                for key in keys:
                    # The hashes, not the lists: they hold a message until it is acknowledged.
                    pipe.hlen(f"{key}.msgs")
                    pipe.hlen(f"{key}.DQ.msgs")
                    pipe.zcard(f"{key}.XQ")
                counts = pipe.execute()
        except BrokerError:
            return None
        return Left(waiting=sum(counts[0::3]), delayed=sum(counts[1::3]), dead=sum(counts[2::3]))

    def close(self) -> None:
        self._client.close()

    def _is_ours(self, identity: str) -> bool:
        """Decide while the process runs, and remember: its last word is read when it is gone."""
        host, _, rest = identity.rpartition(":")[0].rpartition(":")
        if identity not in self._ours and host == socket.gethostname() and rest.isdigit() and self._owns(int(rest)):
            self._ours.add(identity)
        return identity in self._ours
