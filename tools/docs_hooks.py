"""What `mkdocs build` does besides: one tree of the package for the API pages, which are read and not imported."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


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
