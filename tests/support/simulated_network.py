"""A network between publishers and a real server that loses, delays, cuts and refuses; the clock is simulated.

A command that its sender has given up may be executed at any later time, or never.
"""

from __future__ import annotations

from random import Random
from typing import Any

import redis

from ingest.broker.clients import dedicated_connection
from ingest.broker.keys import Keys
from ingest.broker.lease import Leases
from ingest.broker.packing import command
from ingest.broker.scripts import LEASE
from ingest.errors import BrokerTimedOut, BrokerUnreachable

#: What a server may say in place of doing anything.
REFUSALS = ("OOM command not allowed", "READONLY You can't write against a read only replica.", "LOADING Redis is loading")


class Killed(BaseException):
    """The process that waited for this answer is no more; Redis has done what it was asked."""


class Clock:
    """Simulated seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Network:
    """What lies between the processes and the server; ``calm`` ends its mischief."""

    #: How likely a process is killed between what Redis does for it and its hearing of that, and the part of a command that it
    #: takes to be so.
    deadly = 0.004
    deadly_at = b""

    def __init__(self, client: redis.Redis, chance: Random, clock: Clock) -> None:
        self.chance = chance
        self.clock = clock
        self.calm = False
        self.abandoned: list[list[bytes]] = []
        self._server = dedicated_connection(client)
        self._server.connect()

    def strikes(self, probability: float) -> bool:
        return not self.calm and self.chance.random() < probability

    def kills(self, packed: bytes) -> bool:
        """Tell whether the process that waits for the answer to this dies."""
        return self.deadly_at in packed and self.strikes(self.deadly)

    def execute(self, packed: bytes) -> Any:
        if self.strikes(0.02):
            return redis.ResponseError(self.chance.choice(REFUSALS))
        self._server.send_packed_command([packed])
        try:
            return self._server.read_response()
        except redis.ResponseError as error:
            return error

    def execute_abandoned(self) -> None:
        """Execute the next command of a connection that is long given up."""
        if self.abandoned:
            commands = self.chance.choice(self.abandoned)
            self.execute(commands.pop(0))
            if not commands:
                self.abandoned.remove(commands)

    def close(self) -> None:
        self._server.disconnect()


class Connection:
    """One simulated connection: commands wait in it until the server reads them."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._stands = False
        self._waiting: list[bytes] = []
        self._replies: list[Any] = []

    def connect(self) -> None:
        if not self._stands and self._network.strikes(0.1):
            raise redis.ConnectionError("connection refused")
        self._stands = True

    def disconnect(self) -> None:
        if self._waiting:
            self._network.abandoned.append(self._waiting)
            self._waiting = []

    def send_packed_command(self, command: list[bytes], check_health: bool = True) -> None:
        if self._network.strikes(0.03):
            raise redis.ConnectionError("cut before anything was sent")
        self._waiting += commands_of(b"".join(command))
        if self._network.strikes(0.03):
            raise redis.TimeoutError("cut after everything was sent")

    def can_read(self, timeout: float = 0) -> bool:
        if self._network.strikes(0.2):
            self._network.execute_abandoned()
        if self._network.strikes(0.2):
            self._network.clock.now += self._network.chance.choice([0.01, timeout, 6.0])
            return False
        return True

    def read_response(self) -> Any:
        if not self._replies:
            if self._network.strikes(0.05):
                raise redis.ConnectionError("cut before the server read it")
            packed = self._waiting.pop(0)
            self._replies.append(self._network.execute(packed))
            if self._network.kills(packed):
                raise Killed
            if self._network.strikes(0.08):
                raise redis.TimeoutError("the reply is lost")
        reply = self._replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply


class SimulatedLeases(Leases):
    """Leases whose calls go over the simulated network."""

    def __init__(self, network: Network, keys: Keys, seconds: float) -> None:
        self._network = network
        self._keys = keys
        self._group = ""
        self.seconds = seconds

    def _eval(self, feeds: Any, *arguments: str) -> Any:
        keys = [self._keys.feed("", feed) for feed in feeds]
        packed = command("EVAL", LEASE.source, str(len(keys)), *keys, *arguments)
        if self._network.strikes(0.05):
            raise BrokerUnreachable("nothing was sent")
        if self._network.strikes(0.05):
            self._network.abandoned.append([packed])
            raise BrokerTimedOut("nothing was answered")
        answer = self._network.execute(packed)
        if self._network.kills(packed):
            raise Killed
        if self._network.strikes(0.1):
            raise BrokerTimedOut("the answer is lost")
        if isinstance(answer, Exception):
            raise BrokerUnreachable(str(answer))
        return answer


def commands_of(packed: bytes) -> list[bytes]:
    """Cut packed bytes into their commands."""
    commands, start, at = [], 0, 0
    while at < len(packed):
        end = packed.index(b"\r\n", at)
        arguments, at = int(packed[at + 1 : end]), end + 2
        for _ in range(arguments):
            end = packed.index(b"\r\n", at)
            at = end + 2 + int(packed[at + 1 : end]) + 2
        commands.append(packed[start:at])
        start = at
    return commands
