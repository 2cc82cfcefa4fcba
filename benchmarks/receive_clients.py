"""The clients of `receive`, each as its users write it: ``receive_clients NAME URL COUNT WARM_UP [CA_FILE]``.

Every client turns each frame into a ``str``. Printed are the seconds and the CPU seconds (user and system, `getrusage`) from the
end of the warm-up to the last frame, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import resource
import ssl
import sys
import time
from collections.abc import Callable


class Meter:
    """Counts frames; begins to measure once ``warm_up`` of them have come."""

    def __init__(self, count: int, warm_up: int) -> None:
        self._count, self._warm_up = count, warm_up
        self._seen = self._skipped = 0
        self._began = self._spent = 0.0

    def add(self, frames: int) -> bool:
        """Count frames; False once all have come."""
        self._seen += frames
        if not self._skipped and self._seen >= self._warm_up:
            self._skipped, self._began, self._spent = self._seen, time.perf_counter(), cpu()
        return self._seen < self._count

    def report(self) -> str:
        """Return what was measured: at once, since the clock runs on until then."""
        seconds, spent = time.perf_counter() - self._began, cpu() - self._spent
        frames = self._seen - self._skipped
        return json.dumps({"frames": frames, "seconds": seconds, "cpu": spent})


def cpu() -> float:
    """Return the CPU seconds of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def websocket_client(url: str, meter: Meter, ca_file: str | None, *, validate: bool = True) -> str:
    import websocket

    connection = websocket.create_connection(url, skip_utf8_validation=not validate, sslopt={"ca_certs": ca_file})
    while meter.add(len([connection.recv()])):
        pass
    return meter.report()


def without_validation(url: str, meter: Meter, ca_file: str | None) -> str:
    return websocket_client(url, meter, ca_file, validate=False)


def websockets(url: str, meter: Meter, ca_file: str | None) -> str:
    from websockets.asyncio.client import connect

    async def receive() -> str:
        async with connect(url, ssl=context(ca_file), compression=None, max_size=None, ping_interval=None) as connection:
            while meter.add(len([await connection.recv()])):
                pass
            report = meter.report()
            connection.transport.abort()
            return report

    return asyncio.run(receive())


def aiohttp(url: str, meter: Meter, ca_file: str | None) -> str:
    from aiohttp import ClientSession

    async def receive() -> str:
        async with ClientSession() as session:
            connection = await session.ws_connect(url, ssl=context(ca_file) or True, max_msg_size=0)
            while meter.add(len([await connection.receive_str()])):
                pass
            return meter.report()

    return asyncio.run(receive())


def picows(url: str, meter: Meter, ca_file: str | None) -> str:
    import picows as library

    reports: list[str] = []

    class Listener(library.WSListener):  # type: ignore[misc]  # the library has no types
        def on_ws_frame(self, transport: library.WSTransport, frame: library.WSFrame) -> None:
            frame.get_payload_as_utf8_text()
            if not meter.add(1) and not reports:
                reports.append(meter.report())
                transport.disconnect(False)

    async def receive() -> None:
        transport, _ = await library.ws_connect(Listener, url, ssl_context=context(ca_file))
        await transport.wait_disconnected()

    asyncio.run(receive())
    return reports[0]


def ours(url: str, meter: Meter, ca_file: str | None) -> str:
    from ingest.connection.transport import connect
    from ingest.connection.wakeup import Wakeup
    from settings.model import FeedSettings

    settings = {"name": "bench", "url": url, "actor": "none", "tls": {"ca_file": ca_file} if ca_file else {}}
    wakeup = Wakeup()
    transport = connect(FeedSettings.model_validate(settings), url, {}, wakeup=wakeup, stopping=lambda: False)
    while meter.add(len(transport.receive(10.0))):
        pass
    return meter.report()


def context(ca_file: str | None) -> ssl.SSLContext | None:
    """Return what asyncio's clients want for a URL of wss."""
    return ssl.create_default_context(cafile=ca_file) if ca_file else None


CLIENTS: dict[str, Callable[[str, Meter, str | None], str]] = {
    "websocket-client": websocket_client,
    "websocket-client, no validation": without_validation,
    "websockets": websockets,
    "aiohttp": aiohttp,
    "picows": picows,
    "ours": ours,
}


def main(name: str, url: str, count: str, warm_up: str, ca_file: str | None = None) -> None:
    print(CLIENTS[name](url, Meter(int(count), int(warm_up)), ca_file))


if __name__ == "__main__":
    main(*sys.argv[1:])
