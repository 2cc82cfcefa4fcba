"""A bad day on the simulated exchange: clients see drops, stalls, restarts and refusals, and it recovers from each."""

import time
from collections import Counter

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Response

from tests.integration.test_simulate import dial, exchange
from tests.support.kraken import Replica, request


def test_every_fault_comes_and_the_market_goes_on():
    seen: Counter[str] = Counter()
    responses: list[Response] = []
    deadline = time.monotonic() + 180
    with exchange(rate=200, symbols=["BTC/USD"], seed=3, faults=True, fault_interval=1.0) as venue:
        while not {"reset", "restart", "refused", "silence"} <= seen.keys() or seen["updates"] <= 50:
            assert time.monotonic() < deadline, seen
            try:
                seen += watch(venue.url)
            except InvalidStatus as refusal:
                responses.append(refusal.response)
                seen["refused"] += 1
                time.sleep(0.05)  # between two attempts, not to wait for anything
    assert {response.status_code for response in responses} == {503}
    assert all(int(response.headers["Retry-After"]) >= 1 for response in responses)


def watch(url: str) -> Counter[str]:
    """Follow one connection to its end, and return what it showed; the book must hold together all the while."""
    seen: Counter[str] = Counter()
    with dial(url) as client:
        replica, last = Replica(10), time.monotonic()
        try:
            client.send(request("subscribe", "book"))
            while True:
                text = str(client.recv(timeout=10))
                seen["silence"] += time.monotonic() - last > 0.2  # 200 messages a second are expected
                last = time.monotonic()
                if text.startswith('{"channel":"book"'):
                    replica.apply(text)
                    seen["updates"] += 1
        except ConnectionClosed as closed:
            seen["restart" if closed.rcvd is not None and closed.rcvd.code == 1012 else "reset"] += 1
    return +seen
