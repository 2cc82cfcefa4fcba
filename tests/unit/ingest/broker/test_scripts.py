"""The scripts, as they are sent."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import ingest.broker
from ingest.broker.scripts import ENQUEUE, GAPS, LEASE, Script


@pytest.mark.parametrize(("script", "name"), [(ENQUEUE, "enqueue"), (LEASE, "lease"), (GAPS, "gaps")])
def test_is_the_file_and_its_digest_the_one_that_redis_computes(script: Script, name: str) -> None:
    source = (Path(ingest.broker.__file__).parent / f"{name}.lua").read_bytes()
    assert script.source.encode() == source
    assert script.digest == hashlib.sha1(source).hexdigest()
