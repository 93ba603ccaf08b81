"""The README's commands are real."""

import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from documents import pages

from qkan.cli.main import cli

ROOT = Path(__file__).parents[2]
DOCUMENTS = pages()


def shell_lines(document: Path) -> list[str]:
    """Return the commands of all fenced shell blocks of ``document``, continued lines joined."""
    blocks = re.findall(r"^```(?:bash|sh|shell|console)\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ").split("#")[0].strip() for line in lines if line.strip()]


def qkan_options(arguments: list[str]) -> tuple[list[str], set[str]]:
    """Split ``arguments`` of the command line into the commands that lead the way and the options used."""
    path = []
    for word in arguments:
        if word.startswith("-") or len(path) == 3:
            break
        path.append(word)
    return path, {word.split("=")[0] for word in arguments if word.startswith("--")}


QKAN_LINES = sorted({line for document in DOCUMENTS for line in shell_lines(document) if line.startswith("qkan ")})
MAKE_LINES = sorted({line for document in DOCUMENTS for line in shell_lines(document) if line.startswith("make ")})


def test_readme_gives_the_two_commands() -> None:
    assert {"make demo", "make test"} <= set(shell_lines(ROOT / "README.md"))


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


def test_python_of_the_readme_runs_as_one_session() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    session: dict[str, object] = {}
    for block in blocks:
        exec(block, session)
    shapes = [tuple(session["output"].shape), tuple(session["h"].shape)]  # type: ignore[attr-defined]
    assert shapes == [(16, 50, 32), (2, 16, 32)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text())
    missing = [t for t in targets if not t.startswith("http") and not (document.parent / t).exists()]
    assert missing == []
