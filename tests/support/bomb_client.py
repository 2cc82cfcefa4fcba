"""``python -m tests.support.bomb_client URL LIMIT``: an echo feed in a process of its own, and what its second connection took.

The first, to ``/peace``, should end in peace. Of the other, to ``/bomb``, the code of the violation that ended it is printed, and
by how many MiB the resident memory grew at most, as JSON.
"""

from __future__ import annotations

import json
import os
import sys

from ingest.errors import ProtocolViolated
from tests.conformance.server import connect_once
from tests.support.memory import MemorySampler


def main(url: str, limit: str) -> None:
    connect_once(f"{url}peace")  # what a first connection brings into memory does not count
    with MemorySampler(os.getpid(), 0.001) as memory:
        end = connect_once(f"{url}bomb", max_message_bytes=int(limit))
    code = end.reason.code if isinstance(end.reason, ProtocolViolated) else str(end.reason)
    print(json.dumps({"code": code, "grown": memory.grown}))


if __name__ == "__main__":
    main(*sys.argv[1:])
