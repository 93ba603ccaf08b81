"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from qkan.forecasting.config import METRIC_NAMES

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from qkan.forecasting import Run
    from qkan.forecasting.evaluation.metrics import Scores

WIDTH_WITHOUT_TERMINAL = 200
_COLUMN_GAP = 3  # between columns, with half of it at the edges


def make_console() -> Console:
    """Return the console on standard output; a file or a pipe is wide enough for every table."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=WIDTH_WITHOUT_TERMINAL)


def print_facts(facts: Mapping[str, str], *, title: str | None = None) -> None:
    """Print names and what they stand for, one a line."""
    from rich.table import Table

    table = Table.grid(padding=(0, 3))
    _print(table, facts.items(), title)


def print_rows(head: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> None:
    """Print a table whose first column names the rows; the others hold numbers.

    On a terminal too narrow for it, the columns go on in a table below instead of being broken up.
    """
    from rich import box
    from rich.table import Table

    rows = [tuple(row) for row in rows]
    widths = [max(len(row[index]) for row in (tuple(head), *rows)) for index in range(len(head))]
    for group in _groups_of_columns(widths, make_console().width):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for index in group:
            table.add_column(head[index], justify="right" if index else "left")
        _print(table, [[row[index] for index in group] for row in rows], title)
        title = None


def _groups_of_columns(widths: Sequence[int], space: int) -> list[list[int]]:
    """Distribute columns over tables of at most ``space`` characters, each with the first column and one other."""
    groups = [[0]]
    for index in range(1, len(widths)):
        group = [*groups[-1], index]
        if len(group) > 2 and sum(widths[i] for i in group) + _COLUMN_GAP * len(group) > space:
            groups.append([0, index])
        else:
            groups[-1] = group
    return groups


def print_scores(
    scores: Scores,
    run: Run,
    medians: Scores | None = None,
    without_mase: int = 0,
    models: Sequence[str] | None = None,
) -> None:
    """Print the errors on the test part: the trained cells first (``None``: that of the run), then the simple methods.

    With several series, all their errors together come first, then the median over the series; ``without_mase`` of
    them have none.
    """
    unit = run.data.get("unit") or "the unit of the series"
    together = "" if medians is None else ", all series together"
    _score_table(scores, run.config.judged_by, f"Test part{together}, errors in {unit}")
    if medians is not None:
        _score_table(medians, run.config.judged_by, f"Test part, median over the series, errors in {unit}")
    if without_mase and medians is not None:
        total = len(run.scaler.ids)
        click.echo(f"MASE is that of {total - without_mase:,} series; the training part of the others repeats itself.")
    for line in _verdicts(scores, [run.config.model_name] if models is None else models, run.config.judged_by):
        click.echo(line)


_OF_PROTOCOLS = {
    "ltsf": ("standardised by the training part", {"mse": "MSE", "mae": "MAE"}),
    "m4": ("as M4 computes them, the mean over the series", {"mase": "MASE", "smape": "sMAPE %"}),
}


def print_protocol(run: Run) -> None:
    """Print the errors that papers on the benchmark of a run give; nothing for a run without a protocol."""
    protocol, scores = run.config.protocol, run.metrics.get("protocol")
    if protocol is None or not scores:
        return
    how, head = _OF_PROTOCOLS[protocol]
    rows = [[name, *(number(values[metric]) for metric in head)] for name, values in scores.items()]
    print_rows(["forecast", *head.values()], rows, title=f"Test part, protocol {protocol}: errors {how}")


_METRICS = ("mae", "rmse", "mse", "r2", "smape", "mase")


def _score_table(scores: Scores, metric: str, title: str) -> None:
    shown = list(dict.fromkeys((metric, *_METRICS)))
    rows = [[name, *(number(values[own]) for own in shown)] for name, values in scores.items()]
    print_rows(["forecast", *(METRIC_NAMES[own] for own in shown)], rows, title=title)


def _verdicts(scores: Scores, models: Sequence[str], metric: str) -> list[str]:
    """Say how far every trained cell is from the best simple method."""
    own = {name: values[metric] for name, values in scores.items()}
    errors = {name: value for name, value in own.items() if value is not None}
    if not set(models) < set(errors):
        return []
    best = min((name for name in errors if name not in models), key=lambda name: errors[name])
    if errors[best] == 0:
        return [f"The forecast {best} makes no error at all."]
    lines = []
    for model in models:
        change = 100 * (errors[model] / errors[best] - 1)
        place = "below" if change < 0 else "above"
        lines.append(
            f"{METRIC_NAMES[metric]} of {model}: {abs(change):.1f} % {place} that of {best}, the best simple method."
        )
    return lines


def _print(table: Table, rows: Iterable[Sequence[str]], title: str | None) -> None:
    from rich.text import Text

    console = make_console()
    if title is not None:
        console.print(Text(title, style="bold"))
    for row in rows:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    console.print(table)


def count(number: int, noun: str) -> str:
    """Return ``1 epoch`` or ``30 epochs``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def number(value: float | None) -> str:
    """Format a metric with four significant digits, without an exponent where it stays short; ``None`` is a dash."""
    if value is None:
        return "-"
    return f"{value:#.4g}".rstrip(".") if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.2e}"
