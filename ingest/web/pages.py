"""The pages as HTML: templates filled with what was seen.

The rule: the only importer of jinja2; everything is escaped, and whatever Redis holds is masked and free of control characters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ingest.broker.dead_letter import DeadLetter
from ingest.broker.gaps import GapRecord
from ingest.telemetry.masking import mask_text
from ingest.tools.findings import find, headline, is_well
from ingest.tools.show import duration, lag, number, printable, rate
from ingest.tools.views import FeedView, Overview
from ingest.web.charts import HEIGHT, WIDTH, charts
from ingest.web.poller import Reading

#: Characters of a text that a page shows.
LONGEST = 20_000

#: Entries of a list on a feed's page.
NEWEST = 50

#: The parts of a page that live, each a template of its own in ``sections``.
SECTIONS = {
    "index": ("spoken", "headline", "when", "findings", "feeds", "queues", "processes"),
    "feed": ("spoken", "headline", "when", "state", "charts", "happenings", "gaps"),
    "gone": ("spoken", "headline", "when"),
}

_LAST_WORD = re.compile(r"\S{0,500}\Z")

#: How bad a state is, for its colour; words say it too. Any other is a warning.
_TONES = {
    "READY": "good",
    "STANDBY": "quiet",
    "STOPPED": "quiet",
    "FAILED": "bad",
    "ABSENT": "bad",
}


class Pages:
    """Makes the pages of one server; ``redis`` is where Redis is, as people may see it."""

    def __init__(self, redis: str) -> None:
        self._templates = Environment(
            loader=PackageLoader("ingest.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals["redis"] = redis
        self._templates.filters |= {
            "clock": clock,
            "duration": duration,
            "lag": lag,
            "number": number,
            "rate": rate,
            "said": said,
            "tone": lambda state: _TONES.get(state, "warn"),
        }

    def whole(self, name: str, **values: Any) -> str:
        """Return a page by the name of its template."""
        return self._templates.get_template(f"{name}.html").render(sections=SECTIONS.get(name, ()), **values)

    def sections(self, page: str, **values: Any) -> dict[str, str]:
        """Return the parts of a page that live, by their ids."""
        return {name: self._templates.get_template(f"sections/{name}.html").render(**values) for name in SECTIONS[page]}


def seen(reading: Reading) -> dict[str, Any]:
    """Return what every page shows of the whole."""
    overview = reading.overview or Overview(at=0)
    findings = find(overview) if reading.overview is not None else []
    if reading.trouble:
        told, tone, spoken = reading.trouble, "bad", "no news at the moment"
    elif reading.overview is None:
        told, tone, spoken = "looking for the first time", "quiet", ""
    elif is_well(findings):
        told, tone, spoken = headline(overview, findings), "good", "all is well"
    else:
        # Without the times in the headline, which change every second: this is read aloud when it changes.
        told, tone, spoken = headline(overview, findings), "bad", f"something is wrong: {findings[0].subject}"
    return {
        "overview": overview,
        "findings": findings,
        "headline": told,
        "headline_tone": tone,
        "spoken": spoken,
        "stale": bool(reading.trouble),
        "silent_for": reading.silent_for,
    }


def seen_feed(reading: Reading, feed: FeedView, gaps: Sequence[GapRecord] | None) -> dict[str, Any]:
    """Return what the page of one feed shows; ``gaps`` is None where they could not be read."""
    at = reading.overview.at if reading.overview is not None else 0.0
    return {
        **seen(reading),
        "feed": feed,
        "charts": charts(feed.points, at),
        "chart_size": (WIDTH, HEIGHT),
        "happenings": feed.happenings[: -NEWEST - 1 : -1],
        "gaps": gaps[: -NEWEST - 1 : -1] if gaps is not None else None,
    }


def letter_fields(letter: DeadLetter) -> Mapping[str, Any]:
    """Return one dead letter as its page shows it."""
    content = letter.content or {}
    options = {name: value for name, value in dict(content.get("options") or {}).items() if name != "traceback"}
    parts = {"Arguments": content.get("args"), "Keyword arguments": content.get("kwargs"), "Options": options}
    return {
        "letter": letter,
        "traceback": said(letter.traceback),
        "parts": {name: said(_json(value)) for name, value in parts.items() if value},
    }


def said(text: object) -> str:
    """Return a text that others wrote, cut, masked and printable; its lines stay lines."""
    whole = str(text)
    # What is masked must be whole: the last word goes, too.
    cut = whole if len(whole) <= LONGEST else _LAST_WORD.sub("", whole[:LONGEST])
    shown = "\n".join(printable(line) for line in mask_text(cut).split("\n"))
    return shown if cut is whole else f"{shown}\n… and {len(whole) - len(cut):,} characters more"


def clock(seconds: float | None) -> str:
    """Return a wall-clock time (UTC); "-" where there is none."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}" if seconds else "-"
    except (ValueError, OverflowError, OSError):  # anybody may have written it
        return "-"


def _json(value: Any) -> str:
    try:
        return json.dumps(value, indent=2, ensure_ascii=False, default=repr)
    except (TypeError, ValueError, RecursionError) as error:
        return f"cannot be shown: {type(error).__name__}"
