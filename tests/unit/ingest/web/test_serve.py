"""Where the page listens, and what is said where it cannot."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from ingest.web import serve
from ingest.web.serve import AddressUnusable, address_url, listen


def test_a_free_port_is_found_and_told() -> None:
    with listen("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        assert address_url(sock) == f"http://127.0.0.1:{port}"
        with pytest.raises(AddressUnusable, match=f"127.0.0.1 port {port}: another process listens there"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("198.51.100.7", "that is no address of this machine"),
        ("no such name", "there is no such address"),
    ],
)
def test_an_address_of_others_is_a_sentence(host: str, says: str) -> None:
    with pytest.raises(AddressUnusable, match=says):
        listen(host, 0)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6_addresses_are_in_brackets() -> None:
    try:
        sock = listen("::1", 0)
    except AddressUnusable:
        pytest.skip("no IPv6 loopback here")
    with sock:
        assert address_url(sock).startswith("http://[::1]:")


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_connection_on_which_no_request_comes_is_closed(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(serve, "FIRST_REQUEST", 0.05)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("there was no request")

    async def run() -> bytes:
        config = uvicorn.Config(app, log_config=None, lifespan="off")
        config.load()
        loop = asyncio.get_running_loop()
        make = partial(serve._Protocol, config=config, server_state=ServerState(), app_state={})
        async with await loop.create_server(make, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(said)
            async with asyncio.timeout(10):
                told = await reader.read()
            writer.close()
            await writer.wait_closed()
        return told

    assert asyncio.run(run()) == b""
