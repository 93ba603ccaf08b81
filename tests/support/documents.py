"""The pages that people wrote, and how what they show is run.

Python blocks of a page are one session, run from top to bottom; so are the commands in blocks marked ``sh``. Commands
in blocks marked ``bash`` take long, and only their options are checked. A block with a comment ``<!-- needs: ... -->``
in front of it runs where that is at hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
#: Installed in an environment of its own, in which tests/ecosystem runs such blocks.
ECOSYSTEM = ("timm", "transformers", "neuralforecast", "darts", "sktime")
#: What a block may need.
NEEDS = (*ECOSYSTEM, "gpu", "network", "the original package", "pykan")
_BLOCK = re.compile(r"^(?:<!-- needs: ([^\n]+?) -->\n)?```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text and what it needs beyond this package, if anything."""

    language: str
    text: str
    needs: str | None


@dataclass
class Done:
    """What running a page left: the names of its session, and what each command printed."""

    session: dict[str, Any] = field(default_factory=dict)
    printed: dict[str, str] = field(default_factory=dict)


def pages() -> list[Path]:
    """README, and what of ``docs/`` people wrote (the tables below ``docs/results/`` are written by commands)."""
    return [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("*/*.md"))]


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [Block(language, text, needs or None) for needs, language, text in found]


def shell_lines(page: Path) -> list[str]:
    """The commands of all shell blocks of a page, continued lines joined, without comments."""
    text = "".join(block.text for block in blocks(page) if block.language in ("bash", "sh", "shell", "console"))
    lines = text.replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ").split("#")[0].strip() for line in lines if line.strip()]


def run_page(page: Path, quicker: Mapping[str, str], needs: str | None = None) -> Done:
    """Run a page's Python, and its commands in ``sh`` blocks, in the working folder.

    Args:
        page: the page.
        quicker: what to put in the place of texts that make it slow; each must be there.
        needs: run the blocks that need this, and no others; None runs those that need nothing.
    """
    chosen = [block for block in blocks(page) if block.needs == needs and block.language in ("python", "sh")]
    done = Done()
    for slow in quicker:
        assert any(slow in block.text for block in chosen), f"{page.name} has no {slow!r}"
    for block in chosen:
        text = block.text
        for slow, quick in quicker.items():
            text = text.replace(slow, quick)
        if block.language == "python":
            exec(compile(text, str(page), "exec"), done.session)
            continue
        for line in text.splitlines():
            done.printed[line] = _command(line)
    return done


def _command(line: str) -> str:
    from click.testing import CliRunner

    from qkan.cli.main import cli

    program, *arguments = line.split("#")[0].split()
    assert program == "qkan", line
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout
