"""The Python that documents show."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def python_sections(document: Path) -> dict[str, str]:
    """The Python blocks under every heading of ``document`` (level 2), joined; headings without any are left out."""
    found = {}
    for section in re.split(r"^## ", document.read_text(), flags=re.MULTILINE)[1:]:
        blocks = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
        if blocks:
            found[section.splitlines()[0]] = "\n".join(blocks)
    return found


def pages() -> list[Path]:
    """README, and what of ``docs/`` people wrote (the tables below ``docs/results/`` are written by commands)."""
    return [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("*/*.md"))]
