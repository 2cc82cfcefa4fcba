"""Opens the spools of the feeds that have one.

The rule: all of them or none: what cannot be used is told of every feed at once, and nothing stays open then.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ingest.delivery.spool import Spool
from ingest.delivery.spool_folder import SpoolFolder
from ingest.delivery.spool_lock import Listing
from ingest.errors import SpoolError
from ingest.service.threads import in_parallel
from settings.model import FeedSettings, Settings
from settings.problems import Problem, SettingsError


def owner_of(settings: Settings) -> str:
    """Return whose feeds these are, of all that may have one of the same name, as a spool keeps it."""
    group = settings.supervisor.group
    return f"namespace {settings.broker.namespace}" + (f", group {group}" if group else "")


class OpenSpool(NamedTuple):
    """A feed's spool, and the folder in which others may be found."""

    spool: Spool
    folder: SpoolFolder


def open_spools(feeds: Sequence[FeedSettings], owner: str) -> dict[str, OpenSpool]:
    """Return the spools of the feeds that have one; `SettingsError` with every one that cannot be used."""
    listings: dict[str, Listing] = {}
    folders: dict[str, SpoolFolder] = {}
    for feed in feeds:
        if feed.spool is not None:
            directory = feed.spool.directory
            listing = listings.setdefault(directory, Listing(Path(directory)))
            folders[feed.name] = SpoolFolder(
                listing, feed.name, max_bytes=feed.spool.max_bytes, fsync=feed.spool.fsync, owner=owner
            )
    opened = dict(zip(folders, in_parallel(_acquire, list(folders.values())), strict=True))
    spools = {name: OpenSpool(spool, folders[name]) for name, spool in opened.items() if isinstance(spool, Spool)}
    if len(spools) < len(folders):
        for spool in spools.values():
            spool.spool.close()
        failed = ((name, error) for name, error in opened.items() if isinstance(error, SpoolError))
        raise SettingsError([Problem(f"feeds.{name}.spool.directory", str(error)) for name, error in failed])
    return spools


def _acquire(folder: SpoolFolder) -> Spool | SpoolError:
    try:
        return folder.acquire()
    except SpoolError as error:
        return error
