"""What one writes first: ``recv`` and one ``actor.send`` a frame, without end (``by_hand.py CLIENT URL [CA_FILE]``)."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Iterator

import dramatiq
from dramatiq.brokers.redis import RedisBroker


def websocket_client(url: str, ca_file: str | None) -> Iterator[str | bytes]:
    import websocket

    connection = websocket.create_connection(url, sslopt={"ca_certs": ca_file} if ca_file else None)
    while True:
        yield connection.recv()


def websockets(url: str, ca_file: str | None) -> Iterator[str | bytes]:
    from websockets.sync.client import connect

    context = ssl.create_default_context(cafile=ca_file) if ca_file else None
    with connect(url, ssl=context, compression=None) as connection:
        yield from connection


CLIENTS = {"websocket-client": websocket_client, "websockets": websockets}


def main(client: str, url: str, ca_file: str | None = None) -> None:
    broker = RedisBroker(url=os.environ["REDIS_URL"])
    dramatiq.set_broker(broker)

    @dramatiq.actor(queue_name="trades")
    def handle(payload: str) -> None:
        """Never run here: only its ``send`` is measured."""

    for payload in CLIENTS[client](url, ca_file):
        handle.send(payload)


if __name__ == "__main__":
    main(*sys.argv[1:])
