"""A random walk of supervisors over a network that loses, delays and cuts, against the real scripts on a real server.

Supervisors are killed, stopped and started; Redis is flushed, or set back to an older state; everything that is promised of the
queues afterwards is checked message by message.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import dramatiq
import redis

from ingest.broker.broker import RateLimitedBroker
from ingest.broker.limits import Limits
from ingest.delivery.core import Pace
from ingest.events import DropReason, Event, GapFound, QueueForgotten
from settings.wire import Frame, message_id, split_message_id
from tests.support.simulated_network import Clock, Killed, Network
from tests.support.simulated_node import COMPANIONS, FEED, Node, Plan

_ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")

_SIZES = (1, 2, 3, 5)

QUEUES = {"trades": Limits(high=6, low=2), "books": Limits(high=5, low=1, rate=20_000.0, burst=4)}


class Walk:
    """One feed that goes to two queues, its supervisors, a consumer of both queues, and mischief.

    Parameters:
      forgets: whether Redis is flushed, or set back to an older state, from time to time.
      batches: whether messages carry several payloads, and each process cuts them otherwise. All ids are those of payloads.
    """

    def __init__(
        self,
        broker: RateLimitedBroker,
        client: redis.Redis,
        chance: Random,
        folder: Path,
        *,
        nodes: int = 2,
        forgets: bool = False,
        batches: bool = False,
    ) -> None:
        self.chance = chance
        self.client = client
        self.forgets = forgets
        self.batches = batches
        self.clock = Clock()
        self.network = Network(client, chance, self.clock)
        self.events: list[Event] = []
        self.number = 0
        self.sent: dict[str, list[str]] = {queue: [] for queue in QUEUES}  # ids in the order in which they were emitted
        self.numbers: dict[str, int] = {}
        self.consumed: dict[str, list[tuple[str, bool]]] = {queue: [] for queue in QUEUES}  # (id, late)
        self.dropped: dict[str, DropReason] = {}
        self.killed: set[str] = set()  # in memory alone when their process was killed
        self.untold: set[str] = set()  # of an episode of drops that was going on when its process was killed
        self.flushed: set[str] = set()
        self.forgettings: list[tuple[int, set[str], Node | None]] = []  # events so far, what was lost, who could notice
        self.may_double: set[str] = set()
        self.lost = 0
        self.deepest: Counter[str] = Counter()
        self.snapshot: dict[bytes, bytes] | None = None
        self.snapshot_ids: dict[str, list[str]] = {}
        plan = self._plan(folder, nodes)
        self.nodes = [Node(name, plan, broker, self.network, chance, QUEUES, self.events, self.dropped) for name in range(nodes)]

    def run(self, steps: int) -> None:
        """Walk; then calm down, let every late command happen, and empty the backlogs."""
        acts = [*[self.read] * 3, *[self.step] * 8, *[self.keep] * 2, *[self.consume] * 2, self.network.execute_abandoned]
        acts += [self.forget_scripts, self.pass_time, self.pause_until_replaced, self.stop_until_replaced]
        for _ in range(steps):
            self.chance.choice(acts)()
            if self.chance.random() < 0.02:
                self.end_or_start()
            if self.forgets and self.chance.random() < 0.02:
                self.chance.choice([self.flush, self.take_snapshot, self.restore_snapshot])()
        self._come_to_rest()
        self.consume(everything=True)

    def close(self) -> None:
        """Let go of files and connections."""
        for node in self.nodes:
            if node.runs:
                node.kill()
        self.network.close()

    # What happens.

    def read(self) -> None:
        self.read_at(self.chance.choice(self.nodes))

    def read_at(self, node: Node) -> None:
        if not node.runs:
            return
        queues = list(QUEUES)
        if self.batches and self.chance.random() < 0.7:
            queues = [self.chance.choice(queues)]
        pairs = [(self.number + at, self.chance.choice(queues)) for at in range(1, self.chance.randint(2, 7))]
        ids = node.read(pairs)
        for (number, queue), each in zip(pairs, ids, strict=False):
            self.sent[queue].append(each)
            self.numbers[each] = number
            self.number = number

    def step(self) -> None:
        self.step_at(self.chance.choice(self.nodes))

    def step_at(self, node: Node) -> None:
        self.clock.now += 0.001
        if node.runs:
            with self._mortal(node):
                node.step()
        for queue in QUEUES:
            self.deepest[queue] = max(self.deepest[queue], self.client.llen(f"dramatiq:{queue}"))

    def keep(self) -> None:
        self.keep_at(self.chance.choice(self.nodes))

    def keep_at(self, node: Node) -> None:
        if node.runs:
            with self._mortal(node):
                node.keep()

    def consume(self, *, everything: bool = False) -> None:
        for queue in QUEUES:
            ids = self.client.lpop(f"dramatiq:{queue}", 10_000 if everything else self.chance.randint(1, 3)) or []
            for each in ids:
                data = self.client.hget(f"dramatiq:{queue}.msgs", each)
                assert data is not None, "an id without its message"
                self.client.hdel(f"dramatiq:{queue}.msgs", each)
                frame = Frame.of(dramatiq.Message.decode(data).options)
                assert frame is not None
                self.consumed[queue] += [(payload, frame.late) for payload in _payloads(each.decode(), frame.count)]

    def pause_until_replaced(self) -> None:
        """Let the leader stand still, as by SIGSTOP, until another has taken over and enqueued something; then it goes on."""
        paused = next((node for node in self.nodes if node.runs and node.tenure.tenure), None)
        others = [node for node in self.nodes if node.runs and node is not paused]
        if paused is None or not others or self.chance.random() < 0.5:
            return
        for _ in range(20):
            self.clock.now += 2.0
            self.keep_at(others[0])
            if others[0].tenure.tenure:
                break
        for act in (self.read_at, self.step_at, self.step_at, self.step_at):
            act(others[0])
        for act in (self.step_at, self.read_at, self.step_at, self.step_at):
            act(paused)

    def stop_until_replaced(self) -> None:
        """Stop the leader with what it holds; another takes over, enqueues and stops as well, and the first is started again."""
        first = next((node for node in self.nodes if node.runs and node.tenure.tenure), None)
        others = [node for node in self.nodes if node.runs and node is not first]
        if first is None or not others or self.chance.random() < 0.9:
            return
        second = others[0]
        self.read_at(first)
        self._stop(first, steps=0)
        for _ in range(20):
            self.clock.now += 2.0
            self.keep_at(second)
            if second.tenure.tenure:
                break
        for act in (self.read_at, self.step_at, self.step_at, self.step_at):
            act(second)
        self._stop(second, steps=200)
        first.start()
        for _ in range(5):
            self.keep_at(first)
            self.step_at(first)
        if not second.runs:
            second.start()

    def _stop(self, node: Node, steps: int) -> None:
        if node.runs:
            self._bury(node)
            with self._mortal(node):
                self.lost += node.stop(steps)

    @contextmanager
    def _mortal(self, node: Node) -> Iterator[None]:
        """It may be killed while it waits for Redis, which has done what it was asked."""
        try:
            yield
        except Killed:
            self._kill(node)

    def _kill(self, node: Node) -> None:
        self._bury(node)
        self.killed |= node.unsafe()
        self.untold |= node.untold()
        if self.forgets:
            self.may_double |= node.unflushed()
        node.kill()

    def forget_scripts(self) -> None:
        if self.chance.random() < 0.2:
            self.client.script_flush()

    def pass_time(self) -> None:
        self.clock.now += self.chance.choice([0.1, 1.0, 3.0])

    def end_or_start(self) -> None:
        node = self.chance.choice(self.nodes)
        if not node.runs:
            node.start()
            return
        if self.chance.random() < 0.5:
            self._kill(node)
        else:
            self._stop(node, self.chance.choice([0, 3, 200]))

    def flush(self) -> None:
        self._note_forgetting({queue: [] for queue in QUEUES})
        self.client.flushall()

    def take_snapshot(self) -> None:
        found = {key: self.client.dump(key) for key in self.client.keys("*")}
        self.snapshot = {key: value for key, value in found.items() if value is not None}  # a key may expire in between
        self.snapshot_ids = self._queued()

    def restore_snapshot(self) -> None:
        """What a replica that was behind does when it takes over."""
        if self.snapshot is None:
            return
        self._note_forgetting(self.snapshot_ids)
        self.client.flushall()
        for key, value in self.snapshot.items():
            self.client.restore(key, 0, value)

    # What must hold.

    def check(self) -> None:
        """Check everything that is promised."""
        for queue, sent in self.sent.items():
            got = [each for each, _ in self.consumed[queue]]
            self._check_once(got)
            self._check_order(queue)
            missing = set(sent) - set(got)
            excused = self.killed | set(self.dropped) | self.flushed
            assert set(got) <= set(sent), "a message that nobody sent"
            assert missing <= excused, f"lost without a word: {sorted(missing - excused)[:3]}"
            if not self.forgets:
                # What was under way at a stop without a disk counts as lost, and may have arrived.
                given_up = {each for each, reason in self.dropped.items() if reason != "lost"}
                assert not given_up & set(got), "dropped and yet delivered"
            assert self.deepest[queue] <= QUEUES[queue].high or self.forgets, "deeper than its watermark"
        self._check_drops_are_recorded()
        self._check_forgetting_is_told()
        if not self.forgets:
            assert [event for event in self.events if type(event) is QueueForgotten] == [], "nothing was forgotten"

    def _check_once(self, got: list[str]) -> None:
        doubled = {each for each, times in Counter(got).items() if times > 1}
        assert doubled <= self.may_double, f"doubled: {sorted(doubled - self.may_double)[:3]}"

    def _check_order(self, queue: str) -> None:
        """What is not late is in the order of reading, over all supervisors; what is late, within its producer."""
        seen: set[str] = set()
        in_time, late = 0, Counter[str]()
        for each, is_late in self.consumed[queue]:
            if each in seen or self.forgets:
                continue
            seen.add(each)
            producer, seq = split_message_id(each)
            assert seq > late[producer], "out of order within a producer"
            late[producer] = seq
            if not is_late:
                assert self.numbers[each] > in_time, "out of order over the supervisors"
                in_time = self.numbers[each]

    def _check_forgetting_is_told(self) -> None:
        """After every forgetting that took a message there is a record of it, if the leader of that time lived to notice."""
        got = {each for consumed in self.consumed.values() for each, _ in consumed}
        for at, flushed, witness in self.forgettings:
            if witness is None or flushed <= got:
                continue
            assert self._told_since(at), f"forgotten without a word: {sorted(flushed - got)[:3]}"

    def _told_since(self, at: int) -> bool:
        return any(isinstance(event, GapFound) and event.cause == "forgotten" for event in self.events[at:])

    def _bury(self, node: Node) -> None:
        """A supervisor ends: what it has not told by now it never will."""
        self.forgettings = [
            (at, lost, None if witness is node and not self._told_since(at) else witness)
            for at, lost, witness in self.forgettings
        ]

    def _check_drops_are_recorded(self) -> None:
        spans = [
            (event.producer, event.last_seq, event.last_seq + _span(event))
            for event in self.events
            if isinstance(event, GapFound) and event.count is not None
        ]
        for each in self.dropped:
            producer, seq = split_message_id(each)
            recorded = any(of == producer and before < seq <= last for of, before, last in spans)
            assert recorded or each in self.untold, f"dropped without a record: {each}"

    # How.

    def _plan(self, folder: Path, nodes: int) -> Plan:
        own = [folder / str(name) for name in range(nodes)]
        shared = [folder / "shared"] * nodes
        folders: list[Path | None] = self.chance.choice([[None] * nodes, list(own), list(shared)])
        for each in folders:
            if each is not None:
                each.mkdir(exist_ok=True)
        return Plan(
            folders=folders,
            overflow=self.chance.choice(["block", "drop_oldest", "drop_newest"]),
            write_ahead=self.chance.random() < 0.5,
            delivers_late=self.chance.random() < 0.5,
            pace=Pace(window=self.chance.choice([1, 2, 4]), messages=self.chance.choice([1, 3, 8]), size=2500),
            batches=_SIZES if self.batches else (1,),
        )

    def _queued(self) -> dict[str, list[str]]:
        return {queue: self._queued_in(queue) for queue in QUEUES}

    def _queued_in(self, queue: str) -> list[str]:
        found: list[str] = []
        for each in self.client.lrange(f"dramatiq:{queue}", 0, -1):
            data = self.client.hget(f"dramatiq:{queue}.msgs", each)
            frame = Frame.of(dramatiq.Message.decode(data).options) if data is not None else None
            found += _payloads(each.decode(), frame.count if frame is not None else 1)
        return found

    def _note_forgetting(self, after: dict[str, list[str]]) -> None:
        """Note what Redis is about to lose, and what may come twice."""
        now = self._queued()
        lost = {each for queue in QUEUES for each in set(now[queue]) - set(after[queue])}
        self.flushed |= lost
        leader = next((node for node in self.nodes if node.runs and node.tenure.tenure), None)
        known = leader.confirmed() if leader is not None else set()
        self.forgettings.append((len(self.events), lost & known, leader))
        # An older state brings back older nonces: a call made under one of those, and still under way, is valid again.
        under_way = {each.decode() for commands in self.network.abandoned for one in commands for each in _ID.findall(one)}
        self.may_double |= {payload for each in under_way for payload in _payloads(each, max(_SIZES) if self.batches else 1)}
        for queue in QUEUES:
            self.may_double |= set(after[queue]) | {each for each, _ in self.consumed[queue]} & self._unconfirmed()

    def _unconfirmed(self) -> set[str]:
        """Return what publishers do not know to be in Redis, though it may be, or may have been."""
        return set(self.numbers) - self._confirmed()

    def _confirmed(self) -> set[str]:
        confirmed = {chain.producer: chain.confirmed for node in self.nodes if node.runs for chain in node.backlog.chains}
        return {each for each in self.numbers if split_message_id(each)[1] <= confirmed.get(split_message_id(each)[0], 0)}

    def _come_to_rest(self) -> None:
        self.network.calm = True
        for node in self.nodes:
            if not node.runs:
                node.start()
        for _ in range(20_000):
            self.network.execute_abandoned()
            self.consume()
            self.clock.now += 0.05
            for node in self.nodes:
                node.keep()
                node.read([])
                node.step()
                node.backlog.tidy()
            if not self.network.abandoned and self._is_at_rest():
                break
        else:
            raise AssertionError("no progress though nothing is in the way")
        for node in self.nodes:
            node.backlog._losses.end()

    def _is_at_rest(self) -> bool:
        leaders = [node for node in self.nodes if node.tenure.tenure]
        for feed in COMPANIONS:
            if sum(node.companions[feed].leads for node in self.nodes) != 1:
                return False
        if not all(len(node.backlog) == 0 and node.has_told for node in self.nodes):
            return False
        return len(leaders) == 1 and leaders[0].is_through


def _payloads(message: str, count: int) -> list[str]:
    """Return the ids that the payloads of a message would have alone."""
    producer, seq = split_message_id(message)
    return [message_id(producer, seq + at) for at in range(count)]


def _span(event: GapFound) -> int:
    """Return how many numbers a record of a drop speaks of, from its text."""
    words = event.detail.split()
    return int(words[-1]) - int(words[-3]) + 1


__all__ = ["FEED", "QUEUES", "Walk"]
