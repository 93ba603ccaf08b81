"""``qkan forecast``."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from qkan.cli.options import ListType, complete_data, config_option, data_stem
from qkan.cli.sections import SectionedCommand
from qkan.forecasting.automatic.options import CANDIDATES, DEFAULT_CANDIDATES, AutoConfig, parse_budget
from qkan.forecasting.config import TrainConfig

_OF_DATA = (
    *("time_col", "time_format", "time_zone", "sep", "decimal", "encoding", "target_col", "id_col", "series"),
    *("past_cols", "future_cols", "static_cols", "category_cols", "calendar", "missing", "freq", "season"),
)
_MORE = ("epochs", "seed", "device")
_NONNEGATIVE = {"auto": None, "yes": True, "no": False}
_OF_FUTURE = ("time_col", "id_col", "sep", "decimal", "encoding")


class DurationType(click.ParamType):
    """``30s``, ``2min``, ``1h``, or ``none``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        """Make seconds of the text."""
        try:
            return parse_budget(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _shared(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give the command the options of training that a search has."""
    for name in reversed((*_OF_DATA, *_MORE)):
        command = config_option(name, getattr(TrainConfig, name, None))(command)
    return command


@click.command(
    cls=SectionedCommand,
    first=("horizon",),
    short_help="Try methods for two minutes and forecast with the best of them.",
    epilog="""\b
Examples:
  qkan forecast sales.csv --horizon 12
  qkan forecast telecom --horizon 1 --budget 30s
  qkan forecast visitors.csv --horizon 14 \\
      --future-cols holiday --future holidays.csv --level 90""",
)
@click.argument("data", shell_complete=complete_data)
@config_option("horizon")
@click.option(
    "--budget",
    type=DurationType(),
    default="2min",
    show_default=True,
    metavar="TIME",
    help="Time for the search, such as 30s, 2min or 1h; none for no limit. A method that would not fit into "
    "what is left of it is left out.",
)
@click.option(
    "--level",
    type=ListType(float, "percentage", "80,90"),
    default="80,90",
    show_default=True,
    help="Prediction intervals in percent, separated by commas, from the errors of the rolling origins.",
)
@click.option(
    "--candidates",
    type=ListType(str, "candidate", "ridge,hqkan"),
    default=",".join(DEFAULT_CANDIDATES),
    help=f"Some of {', '.join(CANDIDATES)}; naive is always tried.  [default: all, lightgbm where it is installed]",
)
@click.option(
    "--nonnegative",
    type=click.Choice(list(_NONNEGATIVE)),
    default="auto",
    show_default=True,
    help="Whether no forecast and no end of an interval is below 0; auto decides for every series: where all known "
    "values are counts (whole numbers, none below 0).",
)
@_shared
@click.option(
    "--future",
    metavar="FILE",
    help="File with the covariates that are known in advance, one row for every step to forecast.  [default: the rows "
    "without a value at the end of the data]",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results.  [default: runs/forecast-DATA]")
@click.option("--overwrite", is_flag=True, help="Replace the forecast in the folder.")
def forecast(
    data: str,
    horizon: int | None,
    budget: float | None,
    level: tuple[float, ...],
    candidates: tuple[str, ...],
    nonnegative: str,
    future: str | None,
    out: Path | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Forecast what follows DATA, a file or a series of `qkan data list`, with the method that turns out best.

    Rules, a ridge regression, statistical models, an LSTM and quantum-inspired networks are judged by how they would
    have forecast the newest known values, from many moments and knowing only what came before. What is good is fitted
    on everything, and the forecast is its mean, in which smaller errors weigh much more.

    The forecast (forecast.csv: unique_id, ds, the method or Combination, and the ends of its intervals), all errors and
    options, and a report go to a folder.
    """
    sizes: dict[str, Any] = {} if horizon is None else {"horizon": horizon}
    train = TrainConfig(data=data, loss="mae", **options, **sizes)
    config = AutoConfig(
        train=train,
        budget=budget,
        candidates=candidates,
        future=future and os.path.abspath(future),
        nonnegative=_NONNEGATIVE[nonnegative],
    )
    folder = out or Path("runs") / f"forecast-{data_stem(data)}"

    from qkan.cli.progress import SearchDisplay
    from qkan.datasets import read_future
    from qkan.forecasting.automatic import check_folder, search, verdict, with_sizes, write_search
    from qkan.forecasting.data.load import load_series_of, with_whole_path
    from qkan.forecasting.evaluation.frames import check_levels

    check_levels(level)
    check_folder(folder, overwrite)
    series = load_series_of(config.train)
    if future is not None:
        given = {name: options[name] for name in _OF_FUTURE}
        series = series.with_futr_exog(read_future(future, series, **given))
    config = with_sizes(replace(config, train=with_whole_path(config.train)), series, horizon)
    with SearchDisplay() as display:
        found = search(series, config, progress=display)
    notes = write_search(folder, found, level, overwrite=overwrite)
    lines = verdict(found, series.unit)
    for line in lines:
        click.echo(line)
    for note in notes:
        if note not in lines:  # too few values are the verdict, too
            click.echo(note, err=True)
    click.echo(f"forecast: {shlex.quote(str(folder / 'forecast.csv'))}")
    if (folder / "report.html").exists():  # a series that is too short is not judged
        click.echo(f"report, with a picture of it: {shlex.quote(str(folder / 'report.html'))}")
