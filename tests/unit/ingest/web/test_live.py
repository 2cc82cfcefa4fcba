"""Streams to open pages: by ASGI alone, without a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ingest.broker.history import FeedId
from ingest.web import live
from ingest.web.guard import Message
from ingest.web.live import Live, Sections


class Client:
    """Takes what is sent, once it is let; ``leave`` ends its connection."""

    def __init__(self, query: str = "", method: str = "GET") -> None:
        self.scope = {"type": "http", "method": method, "path": "/events", "query_string": query.encode(), "headers": []}
        self.sent: list[Message] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self._gone = asyncio.Event()

    def leave(self) -> None:
        self._gone.set()

    async def receive(self) -> Message:
        if not self.sent:
            return {"type": "http.request", "body": b""}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self.reads.wait()
        self.sent.append(message)

    @property
    def events(self) -> list[dict[str, Any]]:
        texts = [message["body"].decode() for message in self.sent[1:]]
        return [json.loads(text.partition("data: ")[2]) for text in texts if text.startswith("event: sections")]


class Renders:
    """What there is to see, and how often it was made."""

    def __init__(self) -> None:
        self.sections: dict[str, str] = {"a": "1", "b": "1"}
        self.asked: list[FeedId | None] = []

    async def __call__(self, page: FeedId | None) -> Sections:
        self.asked.append(page)
        await asyncio.sleep(0)
        return dict(self.sections)


def in_loop(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        async def within() -> None:
            async with asyncio.timeout(10):
                await test()

        asyncio.run(within())

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def open_(stream: Live, client: Client) -> asyncio.Task[None]:
    return asyncio.create_task(stream(client.scope, client.receive, client.send))


@in_loop
async def test_a_page_gets_everything_and_then_what_has_changed() -> None:
    renders, client = Renders(), Client()
    stream = Live(renders)
    task = open_(stream, client)
    await until(lambda: len(client.events) == 1)
    renders.sections["b"] = "2"
    stream.changed()
    await until(lambda: len(client.events) == 2)
    assert client.events == [{"a": "1", "b": "1"}, {"b": "2"}]
    client.leave()
    await task
    assert stream.open == 0


@in_loop
async def test_many_who_look_at_the_same_cost_one_rendering() -> None:
    renders, clients = Renders(), [Client() for _ in range(20)]
    stream = Live(renders)
    tasks = [open_(stream, client) for client in clients]
    await until(lambda: all(client.events for client in clients))
    assert renders.asked == [None]
    stream.end()
    await asyncio.gather(*tasks)
    assert [client.sent[-1]["body"] for client in clients] == [b""] * 20  # ended in order


@in_loop
async def test_each_feed_has_its_own_page() -> None:
    renders, client = Renders(), Client("group=g&name=trades%2F1")
    task = open_(Live(renders), client)
    await until(lambda: len(client.events) == 1)
    assert renders.asked == [("g", "trades/1")]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@in_loop
async def test_who_does_not_read_gets_the_newest_only_and_holds_up_nobody() -> None:
    renders, slow, quick = Renders(), Client(), Client()
    stream = Live(renders)
    tasks = [open_(stream, client) for client in (slow, quick)]
    await until(lambda: bool(slow.events and quick.events))
    slow.reads.clear()
    for number in range(2, 30):
        renders.sections["a"] = str(number)
        stream.changed()
        await until(lambda: quick.events[-1] == {"a": str(number)})  # noqa: B023 - awaited at once
    slow.reads.set()
    await until(lambda: slow.events[-1] == {"a": "29"})
    assert len(slow.events) <= 3
    stream.end()
    await asyncio.gather(*tasks)


@in_loop
async def test_who_reads_nothing_for_long_is_let_go() -> None:
    renders, client = Renders(), Client()
    stream = Live(renders)
    before, live.SLOWEST = live.SLOWEST, 0.02
    try:
        task = open_(stream, client)
        await until(lambda: len(client.events) == 1)
        client.reads.clear()
        renders.sections["a"] = "2"
        stream.changed()
        await task
        assert stream.open == 0
    finally:
        live.SLOWEST = before


@in_loop
async def test_there_are_only_so_many_and_a_head_costs_none() -> None:
    stream = Live(Renders())
    stream.open = live.MOST
    refused, head, post = Client(), Client(method="HEAD"), Client(method="POST")
    for client in (refused, head, post):
        await stream(client.scope, client.receive, client.send)
    assert [client.sent[0]["status"] for client in (refused, head, post)] == [503, 200, 405]
    assert stream.open == live.MOST


@in_loop
async def test_what_cannot_be_rendered_is_raised_and_the_place_is_free_again() -> None:
    async def broken(page: FeedId | None) -> Sections:
        raise RuntimeError("a bug")

    client = Client()
    stream = Live(broken)
    with pytest.raises(RuntimeError, match="a bug"):
        await stream(client.scope, client.receive, client.send)
    assert stream.open == 0


@in_loop
async def test_a_long_silence_is_broken() -> None:
    client, before = Client(), live.HEARTBEAT
    live.HEARTBEAT = 0.005
    try:
        task = open_(Live(Renders()), client)
        await until(lambda: b": still here\n\n" in [message.get("body") for message in client.sent])
        client.leave()
        await task
    finally:
        live.HEARTBEAT = before


@in_loop
async def test_a_stream_does_not_live_for_ever() -> None:
    client, before = Client(), (live.HEARTBEAT, live.LONGEST)
    live.HEARTBEAT, live.LONGEST = 0.005, 0.05
    try:
        await Live(Renders())(client.scope, client.receive, client.send)
    finally:
        live.HEARTBEAT, live.LONGEST = before
    assert client.sent[-1] == {"type": "http.response.body", "body": b""}
