"""Options that several commands share: those of the configuration classes, as ``OPTIONS`` describes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from qkan.forecasting.config import OPTIONS, CompareConfig, TrainConfig
from qkan.forecasting.config.kinds import (
    FLAG,
    GROUP,
    LEVEL,
    NUMBER,
    PER_SERIES,
    RATE,
    SHARE,
    Choice,
    Kind,
    Seasons,
    Several,
    Split,
    Whole,
)

Command = TypeVar("Command", bound=Callable[..., Any])


_MOST_LETTERS = 60  # of choices that stand beside the name of their option
_RANGES: dict[Kind, str] = {RATE: "  [0<x<=10]", SHARE: "  [0<=x<1]"}
FROM_THE_DATA = {
    "window": "",
    "horizon": "",
    "epochs": "  [default: 30; fewer from 20,000 windows on, at least 3]",
    "lr": "  [default: 0.03; 0.01 with a protocol]",
}
"""Options whose default is found in the data, with what the help says of it beside :data:`OPTIONS`."""


class ListType(click.ParamType):
    """Values separated by commas, as a tuple."""

    def __init__(self, item: Callable[[str], Any], noun: str, example: str) -> None:
        self.item, self.noun, self.example = item, noun, example
        self.name = f"{noun},..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        """Split the text and convert its parts."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(self.item(part.strip()) for part in value.split(","))
        except ValueError:
            self.fail(
                f"{value!r} is not a list of {self.noun}s separated by commas, such as {self.example}", param, ctx
            )


class GroupType(click.ParamType):
    """A number of circuits, or the name of a way to share them."""

    name = "name|number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        """Make a number of what looks like one."""
        return int(value) if str(value).isdecimal() else value


class SeasonType(click.ParamType):
    """``auto``, ``none``, or lengths separated by commas."""

    name = "auto|none|steps,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Make numbers of what does not look like a name."""
        if not isinstance(value, str) or value.strip().isalpha():
            return value
        return ListType(int, "whole number", "169,845").convert(value, param, ctx)


def config_options(config: type[TrainConfig] | type[CompareConfig]) -> Callable[[Command], Command]:
    """Give a command one option for every field of ``config`` but ``out``, in the order of :data:`OPTIONS`."""
    defaults = {field.name: field.default for field in fields(config) if field.name != "out"}

    def decorate(command: Command) -> Command:
        for name in reversed(OPTIONS):
            if name in defaults and not OPTIONS[name].computed:
                found_later = defaults[name] is MISSING or name in FROM_THE_DATA
                default = None if found_later else defaults[name]
                command = config_option(name, default, more=FROM_THE_DATA.get(name, ""))(command)
        return command

    return decorate


def file_options(command: Command) -> Command:
    """Give a command the options that say how a file writes its table, and what an absent value is."""
    columns = ("time_col", "time_format", "time_zone", "sep", "decimal", "encoding", "target_col", "id_col")
    command = config_option("missing", "refuse")(command)
    for name in reversed(columns):
        command = config_option(name)(command)
    return command


RUN = click.argument("run", type=click.Path(path_type=Path))
"""Decorator: the argument RUN, the folder of a trained forecaster."""

RUNS = click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
"""Decorator: the argument RUN, one or more such folders."""

OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace the file.")
"""Decorator: the option ``--overwrite`` of a command that writes one file."""


def complete_data(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Complete the name of a built-in series, or of a file."""
    from qkan.datasets import SPECS

    names = [CompletionItem(name) for name in SPECS if name.startswith(begun)]
    return [*names, CompletionItem(begun, type="file")]


def out_option(help: str) -> Callable[[Command], Command]:
    """Give a command the option ``--out``, a path."""
    return click.option("--out", type=click.Path(path_type=Path), help=help)


def data_option(purpose: str) -> Callable[[Command], Command]:
    """Give a command the option ``--data`` that takes the place of the run's own data; ``purpose`` begins its help."""
    text = f"{purpose} {OPTIONS['data'].help}  [default: the data of the run]"
    return click.option("--data", metavar="DATA", help=text, shell_complete=complete_data)


def count_option(
    flag: str, help: str, *, default: int | None = None, least: int = 1, most: int | None = None
) -> Callable[[Command], Command]:
    """Give a command an option that is a whole number from ``least`` to ``most``."""
    limits, shown = click.IntRange(least, most), default is not None
    return click.option(flag, type=limits, default=default, show_default=shown, metavar="N", help=help)


def config_option(
    name: str, default: object = None, *, as_name: str | None = None, more: str = ""
) -> Callable[[Command], Command]:
    """Give a command one of :data:`OPTIONS`.

    Args:
        name: The option.
        default: Its value where none is given; shown unless it is empty.
        as_name: The argument of the command that takes the value; ``None`` is the option's name.
        more: What its help says beside :data:`OPTIONS`.
    """
    option, flag = OPTIONS[name], "--" + name.replace("_", "-")
    settings: dict[str, Any] = {
        "help": option.help + more + _RANGES.get(option.kind, ""),
        "default": default,
        "show_default": default not in (None, ()),
    }
    if option.kind in (FLAG, PER_SERIES):
        flag = f"{flag}/--no-{flag[2:]}"
    else:
        settings["type"], settings["metavar"] = _type(option.kind, name.rpartition("_")[2].upper())
    if isinstance(option.kind, Choice) and len("|".join(option.kind.choices)) > _MOST_LETTERS:
        settings["metavar"] = name.upper()
        settings["help"] += f" Choose one of {', '.join(option.kind.choices)}."
    if name == "data":
        settings["shell_complete"] = complete_data
    return click.option(flag, *option.flags, as_name or name, **settings)


def data_stem(data: str) -> str:
    """Return the name of a series, or of a file without its folder and endings, for use in a folder's name."""
    return Path(data).name.partition(".")[0] or "data"


def _type(kind: Kind, word: str) -> tuple[click.ParamType, str | None]:
    """Return how the command line reads a kind of option, and what stands for its value in the help."""
    if isinstance(kind, Whole):
        return click.IntRange(kind.low, kind.high), "N"
    if isinstance(kind, Choice):
        return click.Choice(kind.choices), None
    if isinstance(kind, Several | Split):
        item = int if isinstance(kind.item, Whole) else float if kind.item in (LEVEL, NUMBER) else str
        return ListType(item, kind.noun, kind.example), "N,..." if item is int else None
    if isinstance(kind, Seasons):
        return SeasonType(), None
    return (
        (click.FLOAT, "X") if kind in (RATE, SHARE) else (GroupType(), None) if kind is GROUP else (click.STRING, word)
    )
