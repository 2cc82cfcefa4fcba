"""Fuzz one target, beginning with the cases of tests/conformance: ``python -m tests.fuzz.run TARGET SECONDS``.

What it finds is written to a file ``crash-…`` in the current directory; its name instead of the seconds plays it again.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ingest.connection", "ingest.errors"]):
    from tests.fuzz import inflater, parser

from tests.conformance import closing, framing, utf8
from tests.support.frames import Deflater

TARGETS = {"parser": parser.check, "inflater": inflater.check}
#: Larger than the longest limit of the parser, and than the memory of zlib's largest window.
LONGEST_INPUT, MEMORY_MB = 80_000, 512


def seeds(target: str) -> list[bytes]:
    """Return inputs to begin with: for the parser with no cuts, once for each kind of it."""
    if target == "inflater":
        messages = [b"", b"{}" * 200, bytes(range(256)), "äöü".encode() * 30]
        return [bytes([kind, 0, 5]) + Deflater(9).payload(message) for message in messages for kind in range(8)]
    cases = (*framing.CASES, *utf8.CASES, *closing.CASES)
    streams = [b"".join(write for one in case.rounds() for write in one.writes) for case in cases]
    streams += [Deflater().frame(b"compressed " * n) + Deflater().frame(b"again") for n in (1, 20, 900)]
    return [bytes([kind, limit, 0]) + stream for stream in streams if len(stream) < 300 for kind in (0, 1) for limit in (1, 3)]


def main(target: str, what: str) -> None:
    check = TARGETS[target]
    if not what.isdigit():
        check(Path(what).read_bytes())
        return
    with tempfile.TemporaryDirectory(prefix="fuzz-") as corpus:
        for index, seed in enumerate(seeds(target)):
            (Path(corpus) / str(index)).write_bytes(seed)
        options = [f"-max_total_time={what}", f"-max_len={LONGEST_INPUT}", f"-rss_limit_mb={MEMORY_MB}", "-timeout=10"]
        atheris.Setup([sys.argv[0], corpus, *options, "-print_final_stats=1"], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
