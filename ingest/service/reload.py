"""SIGHUP: brings the feeds that run to what the settings file says now.

The rule: everything that can be wrong with the new file is found before the first feed is touched; a file that is refused
changes nothing. Feeds are stopped and begun one after the other, and those that have not changed go on meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import TIMEOUT_MAX

from ingest.clock import Deadline
from ingest.service.changes import Changes, changes_between
from ingest.service.plant import Plant
from ingest.service.references import References, resolve_all
from ingest.service.runner import FeedRunner, Kept
from ingest.service.spools import OpenSpool, open_spools, owner_of
from ingest.telemetry.log import log_event
from ingest.telemetry.masking import hide_secrets_of
from settings.model import FeedSettings, Settings
from settings.problems import SettingsError

#: Seconds that closing a feed's connection may take; a callback that hangs is left behind.
CLOSING = 3.0

#: Waits for a condition to come true, until a deadline or the end of the process; tells whether it did.
Wait = Callable[[Callable[[], bool], Deadline], bool]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What the new settings need, opened and imported before anything is stopped."""

    settings: Settings
    changes: Changes
    references: References
    spools: dict[str, OpenSpool]


class Reloader:
    """Applies new settings to one supervisor; the main thread alone calls it.

    Parameters:
      only: the feeds that this process runs, where it was told.
      load: reads the settings anew; `SettingsError`.
      wait: what the main loop does instead of standing still.
    """

    def __init__(self, plant: Plant, settings: Settings, only: Sequence[str], load: Callable[[], Settings], wait: Wait) -> None:
        self._plant = plant
        self._settings = settings
        self._only = only
        self._load = load
        self._wait = wait

    def reload(self) -> bool:
        """Take up what has changed; tell whether the new settings are in use."""
        try:
            new = self._prepare()
        except SettingsError as error:
            for problem in error.problems:
                log_event(logging.ERROR, "reload_refused", {"path": problem.path, "detail": problem.text})
            return False
        return self._apply(new)

    def _prepare(self) -> _Prepared:
        settings = self._load()
        ended = [runner.settings.name for runner in self._plant.runners if runner.ended]
        changes = changes_between(self._settings, settings, self._only, ended)
        hide_secrets_of(settings)
        references = resolve_all(settings)
        # Beside those that still run: a spool takes the next free slot, and what the old one leaves is adopted.
        begun = [settings.feeds[name] for name in (*changes.changed, *changes.added)]
        return _Prepared(settings, changes, references, open_spools(begun, owner_of(settings)))

    def _apply(self, new: _Prepared) -> bool:
        plant, changes = self._plant, new.changes
        plant.set_limits(new.settings, changes.queues)
        for name in (*changes.removed, *changes.changed):
            runner = plant.runners.named(name)
            if not self._stop(runner):
                for spool in new.spools.values():
                    spool.spool.close()
                return False
            kept = plant.remove(runner)
            if name in changes.changed:
                self._begin(new, name, kept)
        for name in changes.added:
            self._begin(new, name, None)
        plant.watch_queues(new.settings)
        self._settings = new.settings
        self._tell(changes)
        return True

    def _stop(self, runner: FeedRunner) -> bool:
        """Let one feed end in order; False if the whole process is to end before that: it is stopped with the others then.

        What waits is handed over; with a spool, the rest is left for the feed's next life after a time. Without one that life
        waits for as long as it takes, as nothing may be lost.
        """
        settings = runner.settings
        self._plant.keeper.end(settings.name)
        runner.stop_reading()
        self._wait(runner.reading_ended, Deadline(CLOSING))
        runner.drain(Deadline(self._settings.supervisor.shutdown_timeout if _keeps(settings) else TIMEOUT_MAX))
        if not self._wait(runner.publishing_ended, Deadline(TIMEOUT_MAX)):
            return False
        runner.finish()
        return True

    def _begin(self, new: _Prepared, name: str, kept: Kept | None) -> None:
        """Start a feed, with what its sessions remembered where they are of the same class."""
        feed, code = new.settings.feeds[name], new.references.feeds[name]
        memory = kept.memory if kept is not None and kept.session_class is code.session_class else None
        spool = new.spools.pop(name, None)
        runner = self._plant.add(feed, code, spool, memory=memory, before=kept.producer if kept is not None else "")
        self._plant.pauses.look()  # it may be paused, and is not to connect before that is known
        runner.start()

    def _tell(self, changes: Changes) -> None:
        shown = {"changed": changes.changed, "added": changes.added, "removed": changes.removed, "queues": changes.queues}
        log_event(logging.INFO, "settings_reloaded", {key: ", ".join(names) or None for key, names in shown.items()})


def _keeps(feed: FeedSettings) -> bool:
    """Whether what a feed could not hand over is found by its next life."""
    return feed.spool is not None and feed.spool.persistent
