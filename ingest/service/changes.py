"""What a new version of the settings file changes for a supervisor that runs.

The rule: pure; a change that only a new process can take up is a problem, so that what runs is always what one file says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from settings.model import FeedSettings, Settings
from settings.problems import Problem, SettingsError

#: Tables that a supervisor reads once, when it starts.
_FIXED = ("broker", "supervisor", "telemetry")


@dataclass(frozen=True, slots=True)
class Changes:
    """Names of feeds to stop, to begin, and to stop and begin anew; names of queues whose limits are others now."""

    removed: Sequence[str] = ()
    added: Sequence[str] = ()
    changed: Sequence[str] = ()
    queues: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.removed or self.added or self.changed or self.queues)


def changes_between(old: Settings, new: Settings, only: Sequence[str] = (), ended: Sequence[str] = ()) -> Changes:
    """Return what leads from the settings that run to new ones.

    `SettingsError` with everything that cannot be changed while the process runs.

    Parameters:
      only: the feeds that this process runs, where it was told; all others are none of its business.
      ended: feeds that have given up; they begin anew, whether their table has changed or not.
    """
    before, after = _mine(old, only), _mine(new, only)
    problems = [*_fixed(old, new), *_vanished(new, only), *_moved(before, after)]
    if problems:
        raise SettingsError(problems)
    return Changes(
        removed=[name for name in before if name not in after],
        added=[name for name in after if name not in before],
        changed=[name for name in before if name in after and (before[name] != after[name] or name in ended)],
        queues=[name for name in sorted({*old.queues, *new.queues}) if old.queue(name) != new.queue(name)],
    )


def _mine(settings: Settings, only: Sequence[str]) -> dict[str, FeedSettings]:
    return {name: feed for name, feed in settings.feeds.items() if not only or name in only}


def _fixed(old: Settings, new: Settings) -> Iterator[Problem]:
    for table in _FIXED:
        before, after = getattr(old, table), getattr(new, table)
        for key in type(before).model_fields:
            if getattr(before, key) != getattr(after, key):
                yield Problem(f"{table}.{key}", "this cannot change while the supervisor runs; restart it to let it count")


def _moved(before: Mapping[str, FeedSettings], after: Mapping[str, FeedSettings]) -> Iterator[Problem]:
    for name, feed in before.items():
        spool, kept = feed.spool, after[name].spool if name in after else feed.spool
        if spool is not None and spool.persistent and (kept is None or Path(kept.directory) != Path(spool.directory)):
            yield Problem(
                f"feeds.{name}.spool.directory",
                f"this cannot change while the supervisor runs, or what waits in {spool.directory} would stay there; "
                "restart it when the feed's backlog is empty",
            )


def _vanished(new: Settings, only: Sequence[str]) -> Iterator[Problem]:
    for name in only:
        if name not in new.feeds:
            yield Problem("feeds", f"the feed {name!r} of --only is not in the file any more; restart without it")
    if not only and not new.feeds:
        yield Problem("feeds", "no feed is left; stop the supervisor if that is what you want")
