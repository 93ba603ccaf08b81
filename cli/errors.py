"""How errors reach the terminal."""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Iterator
from typing import IO, Any

import click

LONGEST = 380
"""Characters of a message; of a longer one, which quotes what is in a file, the middle is left out."""


class UserError(click.ClickException):
    """Something the user can mend: one line, exit code 2."""

    exit_code = 2


class Interrupted(click.ClickException):
    """Ctrl-C: one line, exit code 130 as shells expect (128 + SIGINT)."""

    exit_code = 130

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line without calling it an error, below whatever the interrupted command was printing."""
        click.echo(f"\n{self.message}", err=file is None, file=file)


@contextlib.contextmanager
def notes_on_lines() -> Iterator[None]:
    """Print what was decided about data, a warning of class ``DataNotice``, on a line of its own and once."""
    said: set[str] = set()
    other = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if category.__name__ != "DataNotice":  # the class itself would import pandas
            other(message, category, *place, **more)
        elif str(message) not in said and os.environ.get("LOCAL_RANK", "0") == "0":
            said.add(str(message))
            click.echo(f"Note: {as_options(str(message))}", err=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def explain(error: Exception) -> str | None:
    """Return the sentence for an error that the user can mend, or ``None`` for one that only a developer can."""
    sentence = _sentence(error)
    if sentence is None or len(sentence) <= LONGEST:
        return sentence
    return f"{sentence[: LONGEST // 2]} ... {sentence[-LONGEST // 2 :]}"  # what is wrong, and how to mend it


def _sentence(error: Exception) -> str | None:
    if _ran_out_of_memory(error):
        return "not enough memory for this; choose a smaller --hidden-size, --batch-size or --window"
    if isinstance(error, RuntimeError):
        return None
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.strerror}: {error.filename}"
    return as_options(" ".join(str(error).split())) or None


def as_options(message: str) -> str:
    """Turn the arguments that a message of the library speaks of into options.

    ``lr=0.1`` becomes ``--lr 0.1``, and ``hidden_size`` becomes ``--hidden-size``.
    """
    from qkan.forecasting.config import OPTIONS

    names = set(OPTIONS)
    known = "|".join(sorted(names | {"overwrite", "resume"}))

    def option(match: re.Match[str]) -> str:
        name, value = match["name"].replace("_", "-"), match["value"].strip("'\"(),")
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
