"""Numbers and texts as people read them, the same on every screen.

The rule: pure; whatever a server or Redis said leaves here without control characters.
"""

from __future__ import annotations

from collections.abc import Sequence

#: What stands where nothing is known.
NOTHING = "-"

_BARS = "▁▂▃▄▅▆▇█"


def printable(text: str) -> str:
    """Replace what would move the cursor or colour the screen."""
    return "".join(char if char.isprintable() else " " if char.isspace() else "�" for char in text)


def duration(seconds: float | None) -> str:
    """Return a time in its two largest units: ``7 s``, ``2 min 5 s``, ``3 h 12 min``, ``4 d 2 h``."""
    if seconds is None:
        return NOTHING
    whole = int(seconds)
    for unit, size, below, smaller in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {below}" if rest else "")
    return f"{whole} s"


def brief_duration(seconds: float | None) -> str:
    """Return the same within four characters: ``7s``, ``2m``, ``3h``, ``400d``."""
    if seconds is None:
        return NOTHING
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


def rate(value: float | None) -> str:
    """Return a number per second: ``0``, ``0.3``, ``1,234``."""
    if value is None:
        return NOTHING
    return f"{value:.1f}" if 0 < value < 9.95 else f"{value:,.0f}"


def number(value: int) -> str:
    return f"{value:,}"


def brief(value: float | None) -> str:
    """Return a number within five characters: ``0``, ``0.3``, ``9999``, ``12.3k``, ``456k``, ``1.2M``."""
    if value is None:
        return NOTHING
    if isinstance(value, int) and value < 10_000:
        return str(value)
    if value < 9999.5:
        return f"{value:.1f}" if 0 < value < 9.95 else f"{value:.0f}"
    for unit, size in (("k", 1e3), ("M", 1e6), ("G", 1e9)):
        scaled = value / size
        if scaled < 99.95:
            return f"{scaled:.1f}{unit}"
        if scaled < 999.5:
            return f"{scaled:.0f}{unit}"
    return f"{value / 1e12:.1f}T"


def lag(milliseconds: float | None) -> str:
    """Return a lag: ``0.8 ms``, ``25 ms``, ``1.4 s``, ``12 min``."""
    if milliseconds is None:
        return NOTHING
    if milliseconds < 9.95:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 99_950:
        return f"{milliseconds / 1000:.1f} s"
    return duration(milliseconds / 1000)


def size(count: float) -> str:
    """Return bytes: ``512 B``, ``1.5 kB``, ``20 MB``."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            scaled = count / scale
            return f"{scaled:.1f} {unit}" if scaled < 9.95 else f"{scaled:,.0f} {unit}"
    return f"{count:.0f} B"


def sparkline(values: Sequence[float | None], width: int) -> str:
    """Return the last ``width`` values as bars between 0 and the largest of them; a blank where nothing is known."""
    shown = list(values)[-width:] if width > 0 else []
    top = max((value for value in shown if value is not None), default=0.0)
    bars = "".join(" " if value is None else _BARS[_step(value, top)] for value in shown)
    return bars.rjust(width)


def _step(value: float, top: float) -> int:
    """Return the height of a bar; only nothing at all is as low as nothing."""
    if value <= 0 or top <= 0:
        return 0
    return max(1, min(len(_BARS) - 1, round(value / top * (len(_BARS) - 1))))
