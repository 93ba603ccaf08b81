"""``qkan completion``, and what ``qkan`` prints alone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from qkan.cli.commands.completion import SHELLS
from qkan.cli.main import START, cli


@pytest.mark.parametrize("shell", SHELLS)
def test_19_completion_prints_a_script_for_every_shell(shell: str, qkan) -> None:
    done = qkan("completion", shell)
    assert done.exit_code == 0
    assert f"_QKAN_COMPLETE={shell}_complete" in done.stdout
    assert f"qkan completion {shell}" in qkan("completion", "--help").output


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_19_one_line_of_bash_completes_commands() -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    code = (
        'eval "$(qkan completion bash)"; COMP_WORDS=(qkan fore); COMP_CWORD=1; _qkan_completion qkan; '
        'echo "${COMPREPLY[*]}"'
    )
    done = subprocess.run(["bash", "-c", code], env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("forecast\n", "")


@pytest.mark.parametrize(
    ("given", "begun", "found"),
    [
        (["train"], "", ["lstm"]),
        (["train", "lstm"], "--ce", ["--cell"]),
        (["train", "lstm", "--cell"], "h", ["hqkan"]),
        (["train", "lstm", "--data"], "tele", ["telecom", "tele"]),
        (["forecast"], "lor", ["lorenz", "lor"]),
        (["data", "show"], "no", ["no"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_19_options_values_and_series_are_completed(given: list[str], begun: str, found: list[str]) -> None:
    complete = ShellComplete(cli, {}, "qkan", "_QKAN_COMPLETE")
    assert [item.value for item in complete.get_completions(given, begun)] == found


def test_19_qkan_alone_shows_five_commands_and_how_to_see_the_rest(qkan) -> None:
    done = qkan()
    assert (done.exit_code, done.output) == (0, f"{START}\n")
    shown = [line.split("  ")[1] for line in done.output.splitlines() if line.startswith("  qkan ")]
    assert shown == [
        "qkan data show FILE", "qkan forecast FILE", "qkan train lstm --data FILE", "qkan report RUN",
        "qkan predict RUN",
    ]  # fmt: skip
    assert "qkan --help" in done.output
    assert "qkan doctor" in done.output
