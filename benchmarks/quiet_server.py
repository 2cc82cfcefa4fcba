"""A server that says nothing but pongs, to any number of clients, over TLS: ``quiet_server.py CERTIFICATE`` prints its port."""

from __future__ import annotations

import asyncio
import ssl
import sys

from websockets.asyncio.server import ServerConnection, serve


async def quiet(connection: ServerConnection) -> None:
    await connection.wait_closed()


async def main(certificate: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with serve(quiet, "127.0.0.1", 0, ssl=context, ping_interval=None, compression=None, backlog=1000) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
