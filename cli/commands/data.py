"""``qkan data``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qkan.cli.lazy_groups import LazyGroup
from qkan.cli.options import complete_data, config_option, file_options
from qkan.forecasting.config import model_name

if TYPE_CHECKING:
    from rich.table import Table

    from qkan.datasets import Series


@click.group(
    cls=LazyGroup,
    lazy={
        "list": "qkan.cli.commands.data:list_series",
        "show": "qkan.cli.commands.data:show",
        "prepare": "qkan.cli.commands.data_prepare:prepare",
        "fetch": "qkan.cli.commands.data_milan:fetch",
        "import": "qkan.cli.commands.data_milan:import_data",
    },
)
def data() -> None:
    """List, draw, prepare, download or import series and data sets."""


@click.command("list")
def list_series() -> None:
    """List the built-in series."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    from qkan.cli.tables import make_console
    from qkan.datasets import PROTOCOLS, SPECS

    table = Table(box=SIMPLE_HEAD)
    table.add_column("Name", no_wrap=True, style="bold")
    table.add_column("Points", justify="right", no_wrap=True)
    for heading in ("Step", "Seasons", "Summary and source"):
        table.add_column(heading)
    for spec in SPECS.values():
        seasons = ", ".join(map(str, spec.season)) or "none"
        text = f"{escape(spec.summary)} [dim]({escape(spec.source)})[/dim]"
        table.add_row(spec.name, f"{spec.points:,}", spec.frequency or "1", seasons, text)
    make_console().print(table)
    for name, text in PROTOCOLS.items():
        click.echo(f"--data FILE --protocol {name}: {text}.")
    click.echo("milan: the squares of the Milan grid, after `qkan data import milan` (see its --help).")


@click.command(
    short_help="Describe a built-in series or a file, and draw it.",
    epilog="""\b
Examples:
  qkan data show telecom
  qkan data show calls.csv --time-col hour --target-col calls --out calls.png""",
)
@click.argument("name_or_path", metavar="NAME|FILE|PANEL", shell_complete=complete_data)
@file_options
@config_option("series", (), as_name="kept")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Plot to write (.png, .pdf, .svg).  [default: NAME-series.png]"
)
def show(name_or_path: str, kept: tuple[str, ...], missing: str, out: Path | None, **columns: str | None) -> None:
    """Describe a built-in series, a .csv, .csv.gz, .parquet or .xlsx file or a prepared panel, and draw it.

    The errors of the naive forecasts are those of the next step on the newest 20% of the values: what any model has to
    beat. An existing plot is replaced.
    """
    from qkan.cli.tables import make_console
    from qkan.datasets import plot_series, resolve_series

    series = resolve_series(name_or_path, **columns, series=kept, missing=missing)
    out = Path(f"{series.name}-series.png") if out is None else out
    console = make_console()
    console.print(_described(series))
    plot_series(series, out)
    console.print(f"Plot: {out}", highlight=False, markup=False)


def _described(series: Series) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(series.name), show_header=False)
    table.add_column(style="bold")
    table.add_column()
    for fact, value in (*_facts(series), *_numbers(series)):
        table.add_row(fact, escape(value))
    return table


def _facts(series: Series) -> list[tuple[str, str]]:
    hours = "" if series.session is None else f", working days {series.session.first} to {series.session.last}"
    shortest, longest = int(series.lengths.min()), int(series.lengths.max())
    lengths = f"{shortest:,}" if shortest == longest else f"{shortest:,} to {longest:,}"
    return [
        ("summary", series.summary),
        ("source", series.source),
        ("licence", series.licence),
        ("series", f"{len(series.ids):,}"),
        ("points", f"{series.points:,} ({lengths} per series)" if len(series.ids) > 1 else lengths),
        ("step", f"{series.frequency or 'row order or whole-number steps'}{hours}"),
        ("time", _span(series)),
        ("seasons", ", ".join(f"{season} steps" for season in series.season) or "none"),
        ("unit", series.unit or "none"),
    ]


def _span(series: Series) -> str:
    import pandas as pd

    first, last = series.times_at(series.starts[:-1]).min(), series.times_at(series.starts[1:] - 1).max()
    return f"{first} to {last}" if series.frequency is None else f"{pd.Timestamp(first)} to {pd.Timestamp(last)}"


def _numbers(series: Series) -> list[tuple[str, str]]:
    from qkan.datasets import autocorrelation, naive_test_mae

    values = series.values
    statistics = {"mean": values.mean(), "standard deviation": values.std(), "min": values.min(), "max": values.max()}
    rows = [(name, f"{number:.6g}") for name, number in statistics.items()]
    filled = 0 if series.observed is None else int((~series.observed).sum())
    none = "0 (a series with missing values is refused)" if series.missing == "refuse" else "0"
    rows.append(("missing", f"{filled:,}, filled" if filled else none))
    lags = [(1, "1 step"), *((season, f"season {season}") for season in series.season)]
    for lag, name in lags:
        rows.append((f"autocorrelation, {name}", _number(autocorrelation(series, lag), ".3f")))
    for lag, _ in lags:
        title = f"test MAE, {model_name('naive') if lag == 1 else model_name('seasonal-naive', lag)}"
        rows.append((title, _number(naive_test_mae(series, lag), ".6g")))
    return rows


def _number(value: float | None, form: str) -> str:
    return "too short or constant" if value is None else format(value, form)
