"""A random walk of a publisher over a network that loses, delays and cuts, against the real scripts on a real server.

The clock and the network are simulated, so that a command which the publisher has given up may be executed at any later time.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import redis

from ingest.broker.broker import RateLimitedBroker
from ingest.broker.clients import dedicated_connection
from ingest.broker.limits import Limits
from ingest.broker.line import Line
from ingest.connection.session import To
from ingest.delivery.backlog import Backlog
from ingest.delivery.core import Pace, PublisherCore
from ingest.delivery.intake import Intake
from ingest.delivery.publisher import Publisher
from ingest.events import Event, QueueForgotten
from settings.wire import new_producer, split_message_id
from tests.support.delivery import make_envelope

QUEUES = {"trades": Limits(high=6, low=2), "books": Limits(high=5, low=1, rate=20_000.0, burst=4)}


class Clock:
    """Simulated seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Network:
    """What lies between lines and the server; ``calm`` ends its mischief."""

    def __init__(self, client: redis.Redis, chance: Random, clock: Clock) -> None:
        self.chance = chance
        self.clock = clock
        self.calm = False
        self.abandoned: list[list[bytes]] = []
        self._server = dedicated_connection(client)
        self._server.connect()

    def strikes(self, probability: float) -> bool:
        return not self.calm and self.chance.random() < probability

    def execute(self, command: bytes) -> Any:
        self._server.send_packed_command([command])
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
        self._waiting: list[bytes] = []
        self._replies: list[Any] = []

    def connect(self) -> None:
        if self._network.strikes(0.1):
            raise redis.ConnectionError("connection refused")

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
            self._replies.append(self._network.execute(self._waiting.pop(0)))
            if self._network.strikes(0.08):
                raise redis.TimeoutError("the reply is lost")
        reply = self._replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply


class WalkingPublisher(Publisher):
    """Waits in simulated time."""

    def step(self) -> None:
        self._step()

    def _pause(self, until: float) -> None:
        assert isinstance(self._clock, Clock)
        self._clock.now = max(self._clock.now, until)


class WalkingBacklog(Backlog):
    """Has no second thread to wait for."""

    def wait(self, timeout: float) -> None:
        pass


class Walk:
    """One feed that goes to two queues, a consumer of both, and mischief."""

    def __init__(self, broker: RateLimitedBroker, client: redis.Redis, chance: Random) -> None:
        self.chance = chance
        self.client = client
        self.clock = Clock()
        self.network = Network(client, chance, self.clock)
        self.events: list[Event] = []
        self.sent: dict[str, list[int]] = {queue: [] for queue in QUEUES}
        self.consumed: dict[str, list[int]] = {queue: [] for queue in QUEUES}
        self.flushed: set[int] = set()
        self.deepest: Counter[str] = Counter()
        self.backlog = WalkingBacklog(10_000, 1 << 20)
        producer = new_producer()
        self.intake = Intake(make_envelope(producer), self.backlog, label="walk", publish=self.events.append)
        pace = Pace(window=chance.choice([1, 2, 4]), messages=chance.choice([1, 3, 8]), size=2500)
        core = PublisherCore(
            producer, label="walk", queue="trades", watermarks=QUEUES.__getitem__, pace=pace, uniform=chance.uniform
        )
        line = Line(lambda: Connection(self.network), broker.keys, "walk", "", QUEUES.__getitem__)
        self.publisher = WalkingPublisher(
            producer, self.backlog, line, core, label="walk", publish=self.events.append, clock=self.clock
        )

    def run(self, steps: int, *, flush: bool) -> None:
        """Walk; then calm down, let every late command happen, and empty the backlog."""
        acts = [self.put, *[self.step] * 4, self.consume, self.network.execute_abandoned, self.forget_scripts]
        for _ in range(steps):
            self.chance.choice(acts)()
            if flush and self.chance.random() < 0.02:
                self.flush()
        self.network.calm = True
        self.put()  # without a lease, only a feed that sends notices that Redis forgot
        for _ in range(20_000):
            if not len(self.backlog) and not self.network.abandoned:
                break
            self.network.execute_abandoned()
            self.consume()
            self.step()
        assert len(self.backlog) == 0, "no progress though nothing is in the way"
        assert not self.network.abandoned
        self.consume(everything=True)
        self.network.close()

    def put(self) -> None:
        emitted = []
        for _ in range(self.chance.randint(1, 6)):
            queue = self.chance.choice(list(QUEUES))
            number = self.intake.emitted + len(emitted) + 1
            self.sent[queue].append(number)
            emitted.append(To("x" * self.chance.choice([1, 1500]), queue=queue))
        self.intake.deliver(emitted, 1_790_000_000_000_000)

    def step(self) -> None:
        self.clock.now += 0.001
        self.publisher.step()
        for queue in QUEUES:
            self.deepest[queue] = max(self.deepest[queue], self.client.llen(f"dramatiq:{queue}"))

    def consume(self, *, everything: bool = False) -> None:
        for queue in QUEUES:
            ids = self.client.lpop(f"dramatiq:{queue}", 1000 if everything else self.chance.randint(1, 3)) or []
            for each in ids:
                assert self.client.hdel(f"dramatiq:{queue}.msgs", each) == 1, "an id without its message"
            self.consumed[queue] += [split_message_id(each.decode())[1] for each in ids]

    def forget_scripts(self) -> None:
        if self.chance.random() < 0.2:
            self.client.script_flush()

    def flush(self) -> None:
        for queue in QUEUES:
            self.flushed |= {split_message_id(each.decode())[1] for each in self.client.lrange(f"dramatiq:{queue}", 0, -1)}
        self.client.flushall()

    def assert_exactly_once_in_order(self) -> None:
        assert self.consumed == self.sent
        assert self.publisher.enqueued == self.intake.emitted
        assert [event for event in self.events if type(event) is QueueForgotten] == []
        for queue, limits in QUEUES.items():
            assert self.deepest[queue] <= limits.high

    def assert_honest_about_what_was_forgotten(self) -> None:
        told = max([event.confirmed for event in self.events if isinstance(event, QueueForgotten)], default=0)
        for queue, sent in self.sent.items():
            got = self.consumed[queue]
            missing = set(sent) - set(got)
            assert missing <= self.flushed, "lost what no flush took"
            assert all(number <= told for number in missing), "lost without a word"
            assert set(got) <= set(sent)


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
