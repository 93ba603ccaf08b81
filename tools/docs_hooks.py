"""What `mkdocs build` does besides: one tree of the package for the API pages, which are not imported; and tables."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_LONG_CODE, _LONG_CELL = (
    28,
    40,
)  # letters of a table beyond which a name may break, and a column is kept from being thin


def on_startup(**_: Any) -> None:
    """Copy the four folders to where an installation has them, before mkdocstrings looks for them."""
    tree = ROOT / "build" / "docs-tree" / "qkan"
    shutil.rmtree(tree, ignore_errors=True)
    for folder, place in (("qkan", ""), ("kernels", "kernels"), ("datasets", "datasets"), ("cli", "cli")):
        ignored = shutil.ignore_patterns("__pycache__", "data")
        shutil.copytree(ROOT / folder, tree / place, ignore=ignored, dirs_exist_ok=True)


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Leave tables that commands wrote out of the search, which would find numbers in them."""
    if page.file.src_uri.endswith("/comparison.md"):
        page.meta["search"] = {"exclude": True}
    return markdown


def on_page_content(html: str, **_: Any) -> str:
    """Mark what is long in tables, so that one option of many words does not take the room of all columns."""
    return re.sub(r"<table>.*?</table>", lambda found: _marked(found[0]), html, flags=re.DOTALL)


def _marked(table: str) -> str:
    table = table.replace("\\|", "|")  # GitHub needs the backslash within code, and Python-Markdown shows it

    def marked(least: int) -> Callable[[re.Match[str]], str]:
        def mark(found: re.Match[str]) -> str:
            name, given, text = found.groups()
            if len(re.sub(r"<[^>]*>", "", text)) <= least:
                return found[0]
            text = text.replace("|", "|<wbr>") if name == "code" else text
            return f"<{name}{given} class=long>{text}</{name}>"

        return mark

    table = re.sub(r"<(code)()>(.*?)</code>", marked(_LONG_CODE), table, flags=re.DOTALL)
    return re.sub(r"<(td)([^>]*)>(.*?)</td>", marked(_LONG_CELL), table, flags=re.DOTALL)
