"""Docstrings as Markdown: roles such as :class:`qkan.QKAN` become links to the API pages, or code."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from griffe import Extension

API = Path(__file__).parents[1] / "docs" / "api"
_CODE = re.compile(r"(``.*?``|`.*?`)", re.DOTALL)
_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):`(~?)([\w.]+)`")


@cache
def documented() -> frozenset[str]:
    """What the API pages show."""
    return frozenset(
        name for page in API.glob("*.md") for name in re.findall(r"^::: ([\w.]+)$", page.read_text(), re.MULTILINE)
    )


def as_markdown(text: str) -> str:
    """``text`` with its roles replaced."""

    def replaced(found: re.Match[str]) -> str:
        shortened, name = found.groups()
        shown = name.rpartition(".")[2] if shortened else name
        return f"[`{shown}`][{name}]" if name in documented() else f"`{shown}`"

    parts = _CODE.split(_ROLE.sub(replaced, text))  # <Z> is no tag of HTML
    return "".join(part if i % 2 else re.sub(r"<(?=[A-Za-z])", "&lt;", part) for i, part in enumerate(parts))


class MarkdownDocstrings(Extension):
    """Rewrites every docstring when it is read."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Called for modules, classes, functions and attributes."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
