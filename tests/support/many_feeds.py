"""Many feeds in one supervisor, which share a few connections to Redis: a numbered stream for each, compared feed by feed."""

from __future__ import annotations

import json
import shutil
import struct
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import redis

from ingest.testing import ScriptedServer
from ingest.testing.script import ScriptedConnection
from tests.support import noting
from tests.support.fault_feeds import FEED
from tests.support.fault_report import Fault
from tests.support.memory import MemorySampler
from tests.support.noting import FILE, LAYOUT
from tests.support.numbered import NumberedStream, number_of, numbered_server
from tests.support.queue_content import Comparison, messages_in
from tests.support.redis_server import Valkey
from tests.support.supervisor import SupervisorProcess
from tests.support.waiting import wait_until

#: Feeds, and the connections that their publishers share.
FEEDS, CONNECTIONS = 12, 4

#: Numbers per second, of each feed.
RATE = 400

#: Feeds go to these by turns.
QUEUES = ("even", "odd")

#: The latest messages of a queue among which a feed's newest is looked for.
LATEST = 4000

#: What the numbers of two feeds differ by where they are compared together: more than one feed ever sends.
APART = 10**9

NOTING = 'session = "noting:Noting"\nsession_args = {{ file = "{name}.noted" }}\n'


class ManyFeeds:
    """The streams of ``feed00``, ``feed01``, …, by name, and what is in their queues; `serving` serves them.

    A feed's queue is every other's of ``queues``. What `Fleet` says of one feed's member is said here of all feeds.
    """

    def __init__(self, valkey: Valkey, *, count: int = FEEDS, rate: float | None = RATE, queues: Sequence[str] = QUEUES) -> None:
        self.streams = {f"feed{number:02}": NumberedStream(rate=rate) for number in range(count)}
        self.queues = {name: queues[number % len(queues)] for number, name in enumerate(self.streams)}
        self.client: redis.Redis = valkey.client()
        self.redis_url = valkey.url
        self.url = ""
        #: What `take` took, by feed.
        self.taken: defaultdict[str, list[int]] = defaultdict(list)

    # -- the server

    @contextmanager
    def serving(self) -> Iterator[ScriptedServer]:
        """Serve every stream on the path of its feed's name."""
        with numbered_server(self) as server:  # type: ignore[arg-type]  # like a stream, it is a script
            self.url = server.url
            yield server

    def __call__(self, client: ScriptedConnection) -> None:
        self.streams[client.recording.path.removeprefix("/")](client)

    @property
    def sent(self) -> dict[str, int]:
        """The last number of each feed so far."""
        return {name: stream.last for name, stream in self.streams.items()}

    def pause(self) -> None:
        """Send no more; whatever is sent now has been sent."""
        for stream in self.streams.values():
            stream.pause()

    def wait_for(self, more: int, timeout: float = 60.0) -> None:
        """Wait until every feed has sent so many more numbers."""
        targets = {name: last + more for name, last in self.sent.items()}
        wait_until(lambda: reached(self.sent, targets), timeout, f"{more} more numbers of every feed (sent: {self.sent})")

    # -- the supervisor

    def toml(self, *, extra: str = "", top: str = "", connections: int = CONNECTIONS) -> str:
        """Return the settings; ``extra`` are further keys of every feed (replacing ours), in which ``{name}`` is its name."""
        replaced = tomllib.loads(extra.format(name=""))
        queues = [f"[queues.{queue}]\nhigh_watermark = 10_000_000\n" for queue in sorted(set(self.queues.values()))]
        keys = "\n".join(f"{key} = {value}" for key, value in FEED.items() if key != "queue" and key not in replaced)
        feeds = [
            f'[feeds.{name}]\nurl = "{self.url}{name}"\nqueue = "{queue}"\n{keys}\n{extra.format(name=name)}'
            for name, queue in self.queues.items()
        ]
        given = [text for text in queues if text.splitlines()[0] not in top]
        return "\n".join([f"[broker]\nmax_connections = {connections}", dedent(top), *given, *feeds])

    @contextmanager
    def supervised(
        self, folder: Path, *, extra: str = "", top: str = "", connections: int = CONNECTIONS, redis_url: str | None = None
    ) -> Iterator[tuple[SupervisorProcess, MemorySampler]]:
        """Run a supervisor of all feeds in a folder; it may have ended at the end of the block, or is killed."""
        folder.mkdir(exist_ok=True)
        shutil.copy(noting.__file__, folder)
        settings = self.toml(extra=extra, top=top, connections=connections)
        with (
            SupervisorProcess(folder, settings, redis_url or self.redis_url) as supervisor,
            MemorySampler(supervisor.pid) as memory,
        ):
            yield supervisor, memory

    def noted(self, folder: Path, name: str) -> tuple[int, int]:
        """Return the last number that a feed's session saw, and the last that it handed on, as `NOTING` keeps them."""
        path = folder / f"{name}.{FILE}"
        data = path.read_bytes() if path.exists() else b""
        read, kept = struct.unpack(LAYOUT, data) if data else (0, 0)
        return read, kept

    def connected(self) -> int:
        """Return how many connections Redis has, without our own."""
        return len(self.client.client_list()) - 1

    # -- the queues

    def newest(self) -> dict[str, int]:
        """Return every feed's newest number in its queue; 0 where there is none among the `LATEST`."""
        found = dict.fromkeys(self.streams, 0)
        for queue in set(self.queues.values()):
            key = f"dramatiq:{queue}"
            ids = self.client.lrange(key, -LATEST, -1)
            for data in self.client.hmget(f"{key}.msgs", ids) if ids else []:
                if data is not None:
                    message = json.loads(data)
                    found[message["options"]["frame"]["feed"]] = number_of(message["args"][0])
        return found

    def flows(self, beyond: Mapping[str, int] | None = None, timeout: float = 60.0) -> None:
        """Wait until of every feed a number beyond this one is in its queue."""
        targets = {name: number + 1 for name, number in (beyond or dict.fromkeys(self.streams, 0)).items()}
        wait_until(lambda: reached(self.newest(), targets), timeout, f"numbers of every feed beyond {beyond}", 0.05)

    def take(self, queue: str) -> None:
        """Take all that is in a queue out of it, as workers would; `numbers` still knows of it."""
        messages = messages_in(self.client, queue)
        if messages:
            with self.client.pipeline(transaction=True) as pipe:
                pipe.ltrim(f"dramatiq:{queue}", len(messages), -1)
                pipe.hdel(f"dramatiq:{queue}.msgs", *[message["options"]["redis_message_id"] for message in messages])
                pipe.execute()
        self._note(queue, messages, self.taken)

    def numbers(self) -> dict[str, list[int]]:
        """Return all numbers that were taken, and those in the queues, of each feed in their order."""
        found = defaultdict(list, {name: list(numbers) for name, numbers in self.taken.items()})
        for queue in sorted(set(self.queues.values())):
            self._note(queue, messages_in(self.client, queue), found)
        return {name: found[name] for name in self.streams}

    def _note(self, queue: str, messages: Sequence[dict[str, Any]], found: defaultdict[str, list[int]]) -> None:
        for message in messages:
            name = message["options"]["frame"]["feed"]
            assert self.queues[name] == queue, f"a message of {name} in {queue}"
            found[name].append(number_of(message["args"][0]))

    def compared(self, fault: Fault, delivered: Mapping[str, Sequence[int]], *, whole: bool = False) -> Comparison:
        """Compare number by number, every feed by itself, as `Fault.compared` does; ``whole``: all of every connection came."""
        all_delivered: list[int] = []
        all_sent: list[list[int]] = []
        for place, (name, stream) in enumerate(self.streams.items()):
            assert delivered[name], f"nothing of {name} came"
            all_delivered += [place * APART + number for number in delivered[name]]
            all_sent += [[place * APART + number for number in sent] for sent in stream.connections]
        return fault.compared(all_delivered, all_sent, whole=range(len(all_sent)) if whole else ())


def reached(have: Mapping[str, int], targets: Mapping[str, int]) -> bool:
    return all(have[name] >= target for name, target in targets.items())
