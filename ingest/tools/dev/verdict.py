"""Whether a run was good: nothing lost, and something done.

The rule: pure, and every message is looked for. A run is bad if one of these holds:

* a process ended unasked, did not end when asked, or ended with another exit code than 0;
* a feed says that it lost frames, or emitted more than it enqueued, dropped by its own policy and lost;
* the last numbers of the supervisor or of a worker never came;
* on a server of our own: something was enqueued that was neither processed, nor waits, nor is a dead letter
  (on a shared server, others may have taken it);
* the run ended by itself and nothing was processed.

What still waits in the queue is no loss, but it is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingest.tools.dev.crew import Ended
from ingest.tools.dev.progress import FeedNumbers, Totals
from ingest.tools.dev.readings import Left


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that is known at the end.

    ``supervisor_told`` and ``workers_told``: whether their last numbers came. ``left`` is None on a shared server, or where it
    did not answer; ``most``: the payloads that one of its messages may carry; ``timed``: the run ended because its time was up.
    """

    feeds: Sequence[FeedNumbers]
    totals: Totals
    ended: Sequence[Ended]
    supervisor_told: bool
    workers_told: bool
    left: Left | None
    timed: bool
    most: int = 1


def problems(outcome: Outcome) -> list[str]:
    """Return what was wrong, in words; nothing if the run was good."""
    found = [str(end) for end in outcome.ended if not end.clean]
    if not found and not (outcome.supervisor_told and outcome.workers_told):
        found.append(f"the last numbers of the {'workers' if outcome.supervisor_told else 'supervisor'} never came")
    found += [said for feed in outcome.feeds for said in _of_feed(feed, outcome.supervisor_told)]
    # A worker that was killed has taken its last counts with it: what it did in its last second would look like a loss.
    if outcome.left is not None and outcome.workers_told:
        gone = outcome.totals.enqueued - outcome.totals.processed - outcome.left.total * outcome.most
        if gone > 0:
            found.append(f"{gone} frames were enqueued, and are neither processed nor in the queue")
    if outcome.timed and not outcome.totals.processed:
        found.append("nothing was processed")
    return found


def remarks(outcome: Outcome) -> list[str]:
    """Return what is worth knowing and no fault."""
    left = outcome.left or Left()
    named = {"still waiting in the queue": left.waiting, "waiting for another try": left.delayed, "dead letters": left.dead}
    return [f"{count} messages: {what}" for what, count in named.items() if count]


def _of_feed(feed: FeedNumbers, told: bool) -> list[str]:
    found = []
    if feed.lost:
        found.append(f"feed {feed.name}: {feed.lost} frames were lost")
    unknown = feed.emitted - feed.enqueued - feed.dropped - feed.lost
    if told and unknown:
        found.append(f"feed {feed.name}: the fate of {unknown} of {feed.emitted} emitted frames is unknown")
    return found
