"""How errors reach the terminal."""

from __future__ import annotations

import contextlib
import os
import re
import traceback
import warnings
from collections.abc import Iterator
from typing import IO, Any

import click

from qkan._util.own_warnings import print_own_warnings
from qkan._util.signals import Terminated

LONGEST = 380
"""Characters of a message; of a longer one, which quotes what is in a file, the middle is left out."""


class UserError(click.ClickException):
    """Something the user can mend: one line, exit code 2."""

    exit_code = 2


class Unexpected(click.ClickException):
    """An error that nothing here explains: one line with its kind and place, exit code 1; never the user's mistake."""

    def __init__(self, error: Exception) -> None:
        said = f"{type(error).__name__}: {printable(str(error))}".removesuffix(": ")
        super().__init__(
            f"unexpected {cut(said, LONGEST // 2)}, {_place_of(error)}; this is a bug of qkan, or a file damaged in a "
            "way it does not know: see all of it with qkan --traceback ..., and report that"
        )


class Interrupted(click.ClickException):
    """Ctrl-C: one line, and the exit code that shells expect (128 + the number of the signal)."""

    def __init__(self, message: str, exit_code: int = 130) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click declares one number for a class

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line without calling it an error, below whatever the interrupted command was printing."""
        click.echo(f"\n{self.message}", err=file is None, file=file)


def interruption(message: str, cause: KeyboardInterrupt) -> Interrupted:
    """Return how a command ends that ``cause`` has stopped: with the line ``message``, and 128 + the signal."""
    return Interrupted(message, 128 + cause.number) if isinstance(cause, Terminated) else Interrupted(message)


@contextlib.contextmanager
def warnings_on_lines() -> Iterator[None]:
    """Print the warnings of this package on lines of their own, and once; of several processes the first speaks."""

    def say(line: str) -> None:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            click.echo(printable(as_options(line)), err=True)

    with warnings.catch_warnings():
        print_own_warnings(say)
        yield


@contextlib.contextmanager
def short_messages() -> Iterator[None]:
    """Cut long messages of click's own, which quote what the user typed."""
    try:
        yield
    except (click.UsageError, click.FileError) as error:
        message = error.format_message()
        short = cut(printable(message))
        if short == message:
            raise
        if isinstance(error, click.UsageError):
            raise click.UsageError(short, error.ctx) from error
        raise UserError(short) from error


def explain(error: Exception) -> str | None:
    """Return the sentence for an error that the user can mend, or ``None`` for one that only a developer can."""
    sentence = _sentence(error)
    return None if sentence is None else cut(printable(sentence))


def cut(text: str, longest: int = LONGEST) -> str:
    """Leave out the middle of a long text: its ends say what is wrong, and how to mend it."""
    return text if len(text) <= longest else f"{text[: longest // 2]} ... {text[-longest // 2 :]}"


def printable(text: str) -> str:
    """Join the lines of a text, and write out what would move a terminal's cursor or change its colours."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in " ".join(text.split())
    )


def _place_of(error: Exception) -> str:
    """Return the innermost line of this package that an error passed."""
    place = "outside of its files"
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] == "qkan":
            place = f"in {module}, line {line}"
    return place


def _sentence(error: Exception) -> str | None:
    if _ran_out_of_memory(error):
        return "not enough memory for this; choose a smaller --hidden-size, --batch-size or --window"
    if isinstance(error, RuntimeError):
        return None
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.strerror}: {error.filename}"
    return as_options(str(error)) or None


def as_options(message: str) -> str:
    """Turn the arguments that a message of the library speaks of into options.

    ``lr=0.1`` becomes ``--lr 0.1``, and ``hidden_size`` becomes ``--hidden-size``.
    """
    from qkan.forecasting.config import OPTIONS

    names = set(OPTIONS)
    known = "|".join(sorted(names | {"overwrite", "resume", "margin"}))

    def option(match: re.Match[str]) -> str:
        name, value = match["name"].replace("_", "-"), match["value"]
        value = value[1:-1] if value[0] in "'\"" else value.strip("'\"(),")
        if value in ("True", "False"):
            return f"--{name}" if value == "True" else f"--no-{name}"
        return f"--{name} {value.replace(', ', ',')}"

    value = r"""'[^']*'|"[^"]*"|\([^()]*\)|\.\.\.|[\w.+-]*\w"""
    spelt_out = r"(?: \(--[^)]*\))?"  # some messages name the option as well
    message = re.sub(rf"\b(?P<name>{known})=(?P<value>{value}){spelt_out}", option, message)
    # A name of two words is no English; quoted or in a path it is the user's own.
    two_words = "|".join(sorted(name for name in names if "_" in name))
    return re.sub(rf"(?<![\w/.'-])({two_words})(?![\w/.'-])", lambda m: f"--{m[1].replace('_', '-')}", message)


def _ran_out_of_memory(error: Exception) -> bool:
    """Tell whether memory ran out. PyTorch has a class for that on devices, but on the CPU only a text."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )
