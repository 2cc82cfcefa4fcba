"""Fixtures for pytest; ask for them with ``pytest_plugins = ["ingest.testing.pytest_plugin"]`` in a ``conftest.py``.

The rule: the only module of `ingest.testing` that needs pytest.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ingest.testing.recorded import OpenRecordedFeed, RecordedFeed


@pytest.fixture
def recorded_feed() -> Iterator[OpenRecordedFeed]:
    """Return a function ``(path, *, speed, expects, timeout) -> RecordedFeed`` whose servers end with the test."""
    with ExitStack() as opened:

        def start(path: str | Path, **options: Any) -> RecordedFeed:
            return opened.enter_context(RecordedFeed(path, **options))

        yield start
