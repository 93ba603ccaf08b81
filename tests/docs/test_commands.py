"""The commands that pages show are real."""

import re
import subprocess

import pytest
from click.testing import CliRunner
from documents import ROOT, pages, shell_lines

from qkan.cli.main import cli


def qkan_options(arguments: list[str]) -> tuple[list[str], set[str]]:
    """Split ``arguments`` of the command line into the commands that lead the way and the options used."""
    path = []
    for word in arguments:
        if word.startswith("-") or len(path) == 3:
            break
        path.append(word)
    return path, {word.split("=")[0] for word in arguments if word.startswith("--")}


QKAN_LINES = sorted({line for page in pages() for line in shell_lines(page) if line.startswith("qkan ")})
MAKE_LINES = sorted({line for page in pages() for line in shell_lines(page) if line.startswith("make ")})


def test_readme_gives_the_two_commands() -> None:
    assert {"make demo", "make test"} <= set(shell_lines(ROOT / "README.md"))


def test_19_the_readme_is_short() -> None:
    assert (ROOT / "README.md").read_text().count("\n") <= 120


def test_readme_marks_one_test_command() -> None:
    text = (ROOT / "README.md").read_text()
    assert re.findall(r"<!-- test-command -->\s*^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL) == ["make test\n"]


@pytest.mark.parametrize("line", MAKE_LINES)
def test_make_targets_exist(line: str) -> None:
    done = subprocess.run(["make", "--dry-run", *line.split()[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", QKAN_LINES)
def test_qkan_commands_and_options_exist(line: str) -> None:
    path, options = qkan_options(line.split()[1:])
    for words in (3, 2, 1):  # the other words of a path are arguments
        shown = CliRunner().invoke(cli, [*path[:words], "--help"])
        if shown.exit_code == 0:
            break
    assert shown.exit_code == 0, shown.output
    assert {option for option in options if option not in shown.output} == set()
