"""The corpus of malformed input: each is answered with one clear sentence and exit status 2, and changes nothing."""

import os
import re
import signal
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner
from malformed import Case, every_case

from qkan.cli.main import cli

TRAINING = "qkan.forecasting.training.loop._Module.training_step", "qkan.forecasting.comparison.workers.trainer"
CASES = every_case()
LONGEST = 400
SECONDS = 60
FIXES = re.compile(
    r"\b(allow|check|choose|convert|correct|create|did you mean|download|drop|fill|finish|get|give|import|it has|"
    r"its columns are|leave (it )?out|lower|make|must|name|needs?|only|pass|raise|rename|repeat|requires|restore|"
    r"resume|rewrite|save|sort|start|swap|their names|train|unpack|update|use|write)\b"
)


class Hang(BaseException):
    """A command went on for longer than any answer takes; no Exception, so that no handler can swallow it."""


def trains(*arguments: object) -> None:
    """Stand in for training, which malformed input must not reach."""
    raise AssertionError("this input was accepted, and training began")


def everything(folder: Path) -> dict[str, object]:
    """Kind and content of all that lies in a folder, links not followed."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        facts = path.lstat()
        if stat.S_ISLNK(facts.st_mode):
            found[str(path)] = os.readlink(path)
        elif stat.S_ISREG(facts.st_mode):
            found[str(path)] = (facts.st_mode, path.read_bytes())
        else:
            found[str(path)] = facts.st_mode
    return found


@pytest.fixture
def in_time():
    """Raise Hang in a test that takes too long."""

    def late(*arguments):
        raise Hang

    old = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)


def test_the_corpus_is_large_and_every_case_has_a_name_of_its_own():
    assert len(CASES) >= 200
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name[:60])
def test_malformed_input_is_answered_with_one_sentence(case: Case, tmp_path, monkeypatch, in_time):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QKAN_DATA", str(tmp_path / "cache"))
    for step in TRAINING:
        monkeypatch.setattr(step, trains)
    arguments = case.build(tmp_path)
    before = everything(tmp_path)

    done = CliRunner().invoke(cli, [str(word) for word in arguments])

    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    assert done.exit_code == case.code, done.output
    assert "Traceback" not in done.output
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, done.stderr
    assert done.stderr.rstrip("\n").endswith(errors[0]), f"more than one line: {done.stderr!r}"
    assert len(errors[0]) <= LONGEST, errors[0]
    assert re.search(case.says, errors[0]), f"{case.says!r} is not in {errors[0]!r}"
    assert done.stderr.startswith("Usage:") or FIXES.search(errors[0]), errors[0]
    after = everything(tmp_path)
    assert {path: found for path, found in after.items() if path in before} == before
    assert {os.path.relpath(path, tmp_path) for path in set(after) - set(before)} == set(case.adds)
