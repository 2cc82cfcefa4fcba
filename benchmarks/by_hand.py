"""What one writes first: websocket-client's ``recv`` and one ``actor.send`` a frame (``by_hand.py URL REDIS_URL COUNT``)."""

from __future__ import annotations

import sys

import dramatiq
import websocket
from dramatiq.brokers.redis import RedisBroker


def main(url: str, redis_url: str, count: int) -> None:
    broker = RedisBroker(url=redis_url)
    dramatiq.set_broker(broker)

    @dramatiq.actor(queue_name="trades")
    def handle(payload: str) -> None:
        """Never run here: only its ``send`` is measured."""

    connection = websocket.create_connection(url)
    for _ in range(count):
        handle.send(connection.recv())
    connection.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
