"""Settings files of a test's own, and what the loader says of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from settings import Settings, SettingsError, load

#: A whole file with one feed; what a test adds goes into that feed's table.
FEED = '[feeds.trades]\nurl = "wss://stream.test/v1"\nactor = "handle_trade"\n'


def load_text(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Settings:
    """Load a file with this text, in an environment of these variables alone."""
    path = folder / "feeds.toml"
    path.write_text(text)
    return load(path, environ or {})


def problems_of(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """Return what is wrong with a file, one line each; an empty list if nothing is."""
    try:
        load_text(folder, text, environ)
    except SettingsError as error:
        return str(error).splitlines()
    return []
