"""The pages as HTML: templates filled with what was seen.

The rule: the only importer of jinja2; everything is escaped, and whatever Redis holds is masked and free of control characters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from ingest.broker.dead_letter import DeadLetter
from ingest.broker.gaps import GapRecord
from ingest.telemetry.masking import mask_text
from ingest.tools.findings import find, headline, is_well
from ingest.tools.show import brief, duration, lag, number, printable, rate
from ingest.tools.views import FeedView, Overview
from ingest.web.charts import HEIGHT, WIDTH, charts
from ingest.web.eye import Sight

#: Characters of a text that a page shows.
LONGEST = 20_000

#: How bad a state is, for its colour; words say it too.
_TONES = {
    "READY": "good",
    "STANDBY": "quiet",
    "STOPPED": "quiet",
    "FAILED": "bad",
    "ABSENT": "bad",
}


class Pages:
    """Makes the pages of one server.

    Parameters:
      redis: where Redis is, as people may see it.
    """

    def __init__(self, redis: str) -> None:
        self._redis = redis
        self._templates = Environment(
            loader=PackageLoader("ingest.web"),
            autoescape=select_autoescape(default=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "clock": _clock,
            "duration": duration,
            "lag": lag,
            "number": number,
            "rate": rate,
            "brief": brief,
            "said": said,
            "tone": lambda state: _TONES.get(state, "warn"),
        }

    def whole(self, name: str, **values: Any) -> str:
        """Return a page by the name of its template."""
        return self._templates.get_template(f"{name}.html").render(redis=self._redis, **values)

    def sections(self, page: str, **values: Any) -> dict[str, str]:
        """Return the parts of a page that live, by their ids: its template's blocks whose names begin with ``live_``."""
        template = self._templates.get_template(f"{page}.html")
        context = template.new_context({"redis": self._redis, **values})
        return {
            name.removeprefix("live_"): "".join(block(context))
            for name, block in template.blocks.items()
            if name.startswith("live_")
        }


def seen(sight: Sight) -> dict[str, Any]:
    """Return what every page shows of the whole."""
    overview = sight.overview or Overview(at=0)
    findings = find(overview) if sight.overview is not None else []
    if sight.trouble:
        silent = f" for {duration(sight.silent_for)}" if sight.silent_for >= 1 else ""
        told, tone = f"Redis does not answer{silent}: {sight.trouble}", "bad"
    elif sight.overview is None:
        told, tone = "looking for the first time", "quiet"
    else:
        told, tone = headline(overview, findings), "good" if is_well(findings) else "bad"
    return {"overview": overview, "findings": findings, "headline": told, "headline_tone": tone, "stale": bool(sight.trouble)}


def seen_feed(sight: Sight, feed: FeedView, gaps: Sequence[GapRecord]) -> dict[str, Any]:
    """Return what the page of one feed shows."""
    at = sight.overview.at if sight.overview is not None else 0.0
    return {
        **seen(sight),
        "feed": feed,
        "charts": charts(feed.points, at),
        "chart_size": (WIDTH, HEIGHT),
        "happenings": list(reversed(feed.happenings))[:50],
        "gaps": list(reversed(gaps))[:50],
    }


def letter_fields(letter: DeadLetter) -> Mapping[str, Any]:
    """Return one dead letter as its page shows it."""
    content = dict(letter.content or {})
    options = dict(content.get("options") or {})
    options.pop("traceback", None)
    return {
        "letter": letter,
        "traceback": said(letter.traceback),
        "arguments": said(repr(content.get("args", ""))) if letter.content is not None else "",
        "options": said(repr(options)) if letter.content is not None else "",
    }


def said(text: object) -> str:
    """Return a text that others wrote, cut, masked and printable; its lines stay lines."""
    lines = mask_text(str(text)[:LONGEST]).split("\n")
    return "\n".join(printable(line) for line in lines)


def _clock(seconds: float) -> str:
    """Return a wall-clock time (UTC)."""
    if not seconds:
        return "-"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
