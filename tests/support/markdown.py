"""The documentation as a test sees it: pages, fenced snippets, links and headings.

The rule: reads Markdown no further than that; a snippet is a file where the line above is just its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))

_FENCE = re.compile(r"(?:^`([^`\n]+)`:\n\n)?^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Snippet:
    """One fenced block; ``file`` is the name that the page gives it, or empty."""

    page: Path
    line: int
    language: str
    text: str
    file: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def snippets(*languages: str) -> list[Snippet]:
    """Return every snippet in one of these languages."""
    return [snippet for page in PAGES for snippet in snippets_of(page) if snippet.language in languages]


def snippets_of(page: Path) -> Iterator[Snippet]:
    """Yield a page's snippets in order."""
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        file, language, body = found.groups()
        yield Snippet(page, text.count("\n", 0, found.start(2)) + 1, language, body, file or "")


def write_files(page: Path, directory: Path) -> list[Path]:
    """Write the files of which a page gives the content; return them."""
    written = []
    for snippet in snippets_of(page):
        if snippet.file:
            path = directory / snippet.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(snippet.text, encoding="utf-8")
            written.append(path)
    return written


def links(page: Path) -> list[str]:
    """Return the targets of a page's links, those in code left out."""
    text = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page.read_text(encoding="utf-8")))
    return _LINK.findall(text)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(text)}
