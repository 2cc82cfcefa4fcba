"""A feed's last hour as small pictures (SVG) with the same in words beside them.

The rule: pure; no script and no style sheet is needed to read them, colours are the page's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ingest.broker.history import KEPT, Point
from ingest.tools.show import duration, lag, number

WIDTH, HEIGHT = 300, 56

#: Seconds that a picture spans at least; it grows with the history, up to an hour.
SHORTEST = 300.0

#: Points further apart (seconds) have a hole between them: nobody told anything.
HOLE = 45.0


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture: ``lines`` are the ``points`` attributes of SVG polylines, one for each stretch without a hole."""

    title: str
    unit: str
    seconds: float
    lines: Sequence[str]
    newest: str
    peak: str
    words: str


def charts(points: Sequence[Point], now: float) -> list[Chart]:
    """Return rate, depth and lag of the last hour before ``now`` (wall-clock seconds); what nobody told is left out."""
    drawn = [
        _chart("rate", "frames/s", points, now, lambda point: point.frames),
        _chart("depth", "messages", points, now, lambda point: float(point.depth)),
        _chart("lag p99", "", points, now, lambda point: point.lag_p99, lag),
    ]
    return [chart for chart in drawn if chart is not None]


def _chart(
    title: str,
    unit: str,
    points: Sequence[Point],
    now: float,
    value: Callable[[Point], float | None],
    shown: Callable[[float], str] | None = None,
) -> Chart | None:
    shown = shown or _shown
    told = [(point.at, found) for point in points if now - point.at <= KEPT and (found := value(point)) is not None]
    if not told:
        return None
    peak, lowest, newest = max(v for _, v in told), min(v for _, v in told), told[-1][1]
    seconds = min(float(KEPT), max(SHORTEST, now - told[0][0]))
    words = (
        f"{title}, last {duration(seconds)}: now {f'{shown(newest)} {unit}'.rstrip()}, between {shown(lowest)} and {shown(peak)}"
    )
    return Chart(title, unit, seconds, _lines(told, now, seconds, peak), shown(newest), shown(peak), words)


def _lines(told: Sequence[tuple[float, float]], now: float, seconds: float, peak: float) -> list[str]:
    stretches: list[list[str]] = []
    before = float("-inf")
    for at, value in told:
        x = min(WIDTH, WIDTH * (1 - (now - at) / seconds))  # clocks differ
        y = HEIGHT - (HEIGHT - 2) * (value / peak if peak else 0) - 1
        if at - before > HOLE:
            stretches.append([])
        stretches[-1].append(f"{x:.1f},{y:.1f}")
        before = at
    # A stretch of one point would not be seen.
    return [" ".join(stretch if len(stretch) > 1 else [*stretch, *stretch]) for stretch in stretches]


def _shown(value: float) -> str:
    return number(round(value)) if value >= 10 or value == int(value) else f"{value:.1f}"
