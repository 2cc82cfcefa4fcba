"""What MkDocs is told beyond mkdocs.yml: the menu is the index page's lists, and examples are part of the site.

The rule: pages read the same in the repository and on the site; what must differ is changed here, while the site is built.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent

_HEADING = re.compile(r"^## (.+)$")
_PAGE = re.compile(r"^\* \[([^\]]+)\]\(([\w./-]+\.md)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the menu of what the index lists, section by section."""
    menu: list[dict[str, list[dict[str, str]]]] = []
    for line in (Path(config.docs_dir) / "index.md").read_text(encoding="utf-8").splitlines():
        if heading := _HEADING.match(line):
            menu.append({heading[1]: []})
        elif page := _PAGE.match(line):
            next(iter(menu[-1].values())).append({page[1]: page[2]})
    config.nav = [{"Home": "index.md"}, *menu]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Bring the examples to where the pages' links lead."""
    for path in sorted((ROOT / "examples").glob("*.py")):
        files.append(File.generated(config, f"examples/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to the examples, which lie beside docs/ in the repository, stay inside the site."""
    up = "../" * page.file.src_uri.count("/")
    return markdown.replace(f"](../{up}examples/", f"]({up}examples/")
