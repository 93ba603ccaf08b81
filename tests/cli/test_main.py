"""The outermost command: help, version, and what becomes of errors."""

import pickle
import re
import runpy
import secrets
import sys
import warnings
from collections.abc import Iterator
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from qkan import __version__
from qkan.cli.lazy_groups import RootGroup
from qkan.cli.main import COMMANDS, cli, main
from qkan.datasets import notice
from qkan.kernels.common import numba_cache

TRACEBACK = click.Option(["--traceback"], is_flag=True)


def root_that_raises(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> click.Group:
    """Return a root group whose command ``fail`` raises ``error``."""

    @click.command()
    def fail() -> None:
        raise error

    monkeypatch.setitem(sys.modules, "failing", SimpleNamespace(fail=fail))
    return RootGroup("qkan", lazy={"fail": "failing:fail"}, params=[TRACEBACK])


def test_warnings_of_this_package_are_plain_lines_and_said_once(monkeypatch) -> None:
    @click.command()
    def warn() -> None:
        numba_cache._say_not_kept("/cache", OSError(28, "No space left on device"))
        warnings.warn("of others", stacklevel=1)
        for _ in range(2):
            numba_cache._say_once(secrets.token_hex(2), "a \x1b[31mred budget_params=3")

    told: list[str] = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *place: told.append(str(message)))
    monkeypatch.setattr(numba_cache, "_said", set())
    monkeypatch.setitem(sys.modules, "warning", SimpleNamespace(warn=warn))
    done = CliRunner().invoke(RootGroup("qkan", lazy={"warn": "warning:warn"}, params=[TRACEBACK]), ["warn"])
    assert (done.exit_code, done.stdout, told) == (0, "", ["of others"])
    assert done.stderr == (
        "Warning: machine code cannot be kept in '/cache' (No space left on device), so kernels are compiled in every "
        "process, which takes up to a minute\nWarning: a \\x1b[31mred --budget-params 3\n"
    )


def test_of_several_processes_the_first_warns(monkeypatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setitem(sys.modules, "warning", SimpleNamespace(warn=click.command(lambda: notice("2 rows"))))
    group = RootGroup("qkan", lazy={"warn": "warning:warn"}, params=[TRACEBACK])
    assert CliRunner().invoke(group, ["warn"]).stderr == ""
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert CliRunner().invoke(group, ["warn"]).stderr == "Note: 2 rows\n"


def test_help_lists_every_command(qkan) -> None:
    output = qkan("--help").output
    listed = [line.split()[0] for line in output.split("Commands:")[1].splitlines() if line.startswith("  ")]
    assert listed[: len(COMMANDS)] == list(COMMANDS)


def commands_of(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command."""
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from commands_of(command.get_command(context, name), (*path, name))


def test_every_help_fits_a_terminal_of_80_letters(qkan) -> None:
    """Examples, names and choices included, so that no line of it is broken by the terminal."""
    pages = {path: qkan(*path, "--help", env={"COLUMNS": "80"}).output for path in commands_of(cli)}
    assert {path: line for path, text in pages.items() for line in text.splitlines() if len(line) > 80} == {}
    assert len(pages) > 20


@pytest.mark.parametrize("group", ["", "train", "compare", "plot", "data", "data fetch", "data import"])
def test_no_line_of_the_help_is_cut_short(group: str, qkan) -> None:
    assert "..." not in qkan(*group.split(), "--help", env={"COLUMNS": "80"}).output.split("Commands:")[1]


def test_version_names_the_program(qkan) -> None:
    assert qkan("--version").output == f"qkan, version {__version__}\n"


@pytest.mark.parametrize(
    "command",
    ["train lstm", "compare lstm", "predict", "evaluate", "report", "data show", "doctor", "completion"],
)
def test_every_command_shows_an_example(command: str, qkan) -> None:
    output = qkan(*command.split(), "--help").output
    assert f"\n  qkan {command}" in output.replace("Example:  ", "Example:\n  ").replace("    qkan", "  qkan")


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["trian"], "Error: No such command 'trian'. Did you mean 'train'?"),
        (["train", "lsmt"], "Error: No such command 'lsmt'. Did you mean 'lstm'?"),
        (["train", "lstm", "--ansatx", "pz"], "Error: No such option '--ansatx'. Did you mean '--ansatz'?"),
        (["predict"], "Error: Missing argument 'RUN'."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_misspelt_words_get_a_suggestion(arguments: list[str], answer: str, qkan) -> None:
    done = qkan(*arguments)
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1] == answer


def test_bare_group_shows_its_help(qkan) -> None:
    done = qkan("train")
    assert done.exit_code == 2
    assert "Commands:" in done.output


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (ValueError("size must be positive,\n  got -1"), "Error: size must be positive, got -1\n"),
        (
            FileNotFoundError(2, "No such file or directory", "calls.csv"),
            "Error: No such file or directory: calls.csv\n",
        ),
        (OSError("the disk is gone"), "Error: the disk is gone\n"),
        (
            MemoryError(),
            "Error: not enough memory for this; choose a smaller --hidden-size, --batch-size or --window\n",
        ),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
            "Error: not enough memory for this; choose a smaller --hidden-size, --batch-size or --window\n",
        ),
    ],
    ids=["value", "file", "disk", "memory", "torch memory"],
)
def test_errors_of_the_user_end_in_one_line(error: Exception, answer: str, monkeypatch) -> None:
    done = CliRunner().invoke(root_that_raises(error, monkeypatch), ["fail"])
    assert (done.exit_code, done.stderr) == (2, answer)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("shapes differ"), "RuntimeError: shapes differ"),
        (KeyError("mae"), "KeyError: 'mae'"),
        (TypeError("no\x1b[31m red\nlines"), "TypeError: no\\x1b[31m red lines"),
        (EOFError(), "EOFError"),
        (pickle.UnpicklingError("bad"), "UnpicklingError: bad"),
        (ValueError(""), "ValueError"),
    ],
    ids=repr,
)
def test_errors_that_nothing_explains_are_one_line_with_a_way_to_see_more(error, said, monkeypatch) -> None:
    done = CliRunner().invoke(root_that_raises(error, monkeypatch), ["fail"])
    assert done.exit_code == 1
    assert re.sub(r"line \d+", "line N", done.stderr) == (
        f"Error: unexpected {said}, in qkan.cli.lazy_groups, line N; this is a bug of qkan, or a file damaged in a way "
        "it does not know: see all of it with qkan --traceback ..., and report that\n"
    )


@pytest.mark.parametrize("error", [ValueError("size must be positive"), KeyError("mae"), EOFError()], ids=repr)
def test_traceback_option_lets_errors_through(error, monkeypatch) -> None:
    root = root_that_raises(error, monkeypatch)
    with pytest.raises(type(error)):
        root.invoke(root.make_context("qkan", ["--traceback", "fail"]))


@pytest.mark.parametrize(
    "arguments",
    [
        ["x" * 5000],
        ["--" + "x" * 5000],
        ["train", "y" * 5000],
        ["train", "lstm", "--data", "damped-shm", "--epochs", "z" * 5000],
        ["train", "lstm", "--data", "damped-shm", "--no-" + "x" * 5000],
        ["train", "lstm", "--data", "x" * 5000],
        ["predict", "x" * 5000],
        ["report", "run", "--levels", "x" * 5000],
    ],
    ids=lambda arguments: " ".join(arguments)[:40],
)
def test_what_a_user_typed_is_quoted_no_longer_than_a_message(arguments: list[str], qkan) -> None:
    done = qkan(*arguments)
    assert done.exit_code == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: ")
    assert " ... " in last
    assert len(last) <= 400


def test_control_characters_are_written_out(qkan) -> None:
    done = qkan("train", "lstm", "--data", "damped-shm", "--epochs", "\x1b[31mred")
    assert "'\\x1b[31mred'" in done.stderr


def test_interrupt_ends_with_130_and_one_line(monkeypatch) -> None:
    done = CliRunner().invoke(root_that_raises(KeyboardInterrupt(), monkeypatch), ["fail"])
    assert (done.exit_code, done.stderr) == (130, "\nInterrupted.\n")


def test_closed_pipe_is_no_error_of_the_user(monkeypatch) -> None:
    done = CliRunner().invoke(root_that_raises(BrokenPipeError(32, "Broken pipe"), monkeypatch), ["fail"])
    assert (done.exit_code, done.stderr) == (1, "")


def test_console_script_reads_the_command_line(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["anything", "--version"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    assert capsys.readouterr().out == f"qkan, version {__version__}\n"


def test_module_runs_like_the_console_script(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["anything", "--version"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("qkan.cli", run_name="__main__")
    assert end.value.code == 0
    assert capsys.readouterr().out == f"qkan, version {__version__}\n"


def test_worker_processes_may_import_the_module(capsys) -> None:
    runpy.run_module("qkan.cli", run_name="__mp_main__")
    assert capsys.readouterr().out == ""
