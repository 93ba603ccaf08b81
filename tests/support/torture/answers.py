"""What a command may answer: a result, or one sentence with exit code 2."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner

from qkan.cli.main import cli

LONGEST = 400
_PLAIN = re.compile(r"(Note|Warning): \S|\d+ forecasts? written to |Usage: |Try '|$")


def ask(*words: object) -> tuple[int, str]:
    """Run ``qkan WORDS`` in this process; its exit code, and its output or its one sentence."""
    done = CliRunner().invoke(cli, [str(word) for word in words])
    error = done.exception
    assert error is None or isinstance(error, SystemExit), f"{type(error).__name__}: {error}"
    assert "Traceback" not in done.output, done.output[-1000:]
    *lines, last = done.stderr.splitlines() or [""]
    rest = lines if done.exit_code else [*lines, last]
    assert all(_PLAIN.match(line) for line in rest), f"not a plain line: {done.stderr[-1000:]!r}"
    if done.exit_code == 0:
        return 0, done.stdout
    assert done.exit_code == 2, f"exit code {done.exit_code}: {done.stderr[-1000:]!r}"
    assert last.startswith("Error: "), done.stderr[-1000:]
    assert len(last) <= LONGEST, last
    return 2, last


def content(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
