"""``qkan compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qkan.cli.errors import interruption
from qkan.cli.lazy_groups import LazyGroup
from qkan.cli.options import FROM_THE_DATA, config_options, data_stem
from qkan.cli.sections import SectionedCommand
from qkan.forecasting.config import CELL_NAMES, LEARNING_RATES, METRIC_NAMES, CompareConfig, model_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qkan.datasets import ForecastData
    from qkan.forecasting import Comparison

_SHOWN = (
    *("model", "parameters", "MAE", "MSE", "MASE", "median MAE", "coverage of 90 %"),
    *("training s", "prediction s", "vs best baseline"),
    *("parameters vs LSTM", "MAE vs LSTM"),
)


@click.group(cls=LazyGroup, lazy={"lstm": "qkan.cli.commands.compare:lstm"})
def compare() -> None:
    """Compare forecasters on a series under one tuning budget."""


@click.command(
    cls=SectionedCommand,
    first=("data", "cells", "baselines"),
    short_help="Compare QKAN-LSTM with other cells and methods.",
    epilog="""\b
Examples:
  qkan compare lstm --data damped-shm --seeds 5
  qkan compare lstm --data telecom --cells qkan,lowrank,lstm \\
      --budget-params 125,375 --trials 2
  qkan compare lstm --data milan-24 --folds 5 \\
      --baselines lightgbm,mstl --seeds 1""",
)
@config_options(CompareConfig)
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results.  [default: runs/compare-DATA]")
@click.option("--overwrite", is_flag=True, help="Start anew where the folder holds a comparison with other options.")
def lstm(out: Path | None, overwrite: bool, **options: Any) -> None:
    """Compare QKAN-LSTM with classical recurrent cells and the methods of practitioners on a series.

    Every cell gets the same budget: for each number of parameters the largest size that fits, the same learning
    rates, chosen by the validation error, and the same seeds. The table gives the errors on the test part in the unit
    of the series, as median and range over the seeds; it is saved as CSV and Markdown, with a plot of error against
    parameters, and the verdict of a Diebold-Mariano test against the best baseline. --folds K judges by K origins
    instead of one. An interrupted comparison goes on when the same command is given again.
    """
    if options["data"] is None:
        raise click.UsageError("Missing option '--data': name a series of `qkan data list` or a file.")
    folder = out or Path("runs") / f"compare-{data_stem(options['data'])}"
    sizes = {name: options.pop(name) for name in FROM_THE_DATA if name in options}
    config = CompareConfig(
        **options, **{name: size for name, size in sizes.items() if size is not None}, out=str(folder)
    )

    from qkan import forecasting
    from qkan.cli.progress import ComparisonDisplay
    from qkan.forecasting.baselines import check_baselines
    from qkan.forecasting.comparison.folds import cut_folds
    from qkan.forecasting.data.defaults import sized
    from qkan.forecasting.data.load import as_cut, load_series_of
    from qkan.forecasting.data.reasons import chosen_parts
    from qkan.forecasting.executors import check_executor

    check_baselines(config.baselines)
    check_executor(config.executor)
    series = load_series_of(config)
    config = sized(config, series, sizes | {"loss": options["loss"]})
    folds = cut_folds(series, config)
    print_plan(config, folds, chosen_parts(config, as_cut(config, folds[0]), series, folds[0]))

    try:
        with ComparisonDisplay() as display:
            comparison = forecasting.compare(config, overwrite=overwrite, progress=display, folds=folds)
    except KeyboardInterrupt as cause:
        message = f"Interrupted. The finished runs are in {folder}: the same command goes on there."
        raise interruption(message, cause) from None
    print_comparison(comparison)


def print_plan(config: CompareConfig, folds: Sequence[ForecastData], around: str) -> None:
    """Print what will run: data, cells, what stands ``around`` them, sizes and the tuning budget."""
    from qkan.cli.tables import count, print_facts
    from qkan.forecasting.baselines import PLAIN

    more = config.seeds - config.tuning_seeds
    tuning = config.tuning_seeds_in_words()
    rates = ", ".join(f"{lr:g}" for lr in LEARNING_RATES[: config.trials])
    print_facts(
        {
            "data": f"{folds[0].series.name}: {folds[0].series.summary}",
            **({"folds": _fold_words(folds)} if len(folds) > 1 else {}),
            "baselines": f"{', '.join(map(model_name, (*PLAIN, *config.baselines)))}",
            "each of them": f"{count(config.trials, 'setting')} by the validation error, or forms by AIC",
            "cells": ", ".join(CELL_NAMES[cell] for cell in config.cells),
            "around them": around,
            "sizes": f"at most {', '.join(f'{budget:,}' for budget in config.budget_params)} parameters",
            "each": f"learning rates {rates} with {tuning}"
            + (f", then {count(more, 'more seed')} with the best" if more else ""),
            "training": f"at most {config.effort}, window {config.window}, horizon {config.horizon}, "
            f"loss {config.loss}",
            "folder": config.out,
        }
    )


def _fold_words(folds: Sequence[ForecastData]) -> str:
    sizes = [f"{len(data.test):,}" for data in folds]
    return f"{len(folds)} origins, each tuned on its own validation part; {', '.join(sizes)} test windows"


def print_comparison(comparison: Comparison) -> None:
    """Print each cell at its best size beside the forecasts that need no training, and where the rest is."""
    from qkan.cli.tables import print_rows
    from qkan.forecasting.comparison.tables import readable

    metric = comparison.config.judged_by
    table = readable(comparison.table, metric)
    own = METRIC_NAMES[metric]
    shown = [name for name in dict.fromkeys((*_SHOWN[:2], own, *_SHOWN[2:], f"{own} vs LSTM")) if name in table]
    click.echo()
    over = "median (minimum to maximum) over the seeds"
    if comparison.config.folds > 1:
        over = "mean (minimum to maximum) over the folds of the median over the seeds"
    title = f"Each cell at its best size: test errors in original units, {over}"
    print_rows(shown, table[shown].itertuples(index=False), title=title)
    if comparison.conclusion:
        click.echo(comparison.conclusion)
    for skip in comparison.skipped:
        click.echo(
            f"left out: {CELL_NAMES[skip.cell]} at {skip.budget} parameters, as its smallest model has {skip.smallest}"
        )
    for sentence in comparison.left_out:
        click.echo(f"left out: {sentence}")
    if (plot := comparison.path / "comparison.png").exists():
        click.echo(f"plot: {plot}")
    click.echo(f"all sizes: {comparison.path / 'comparison.md'}, points.csv; all runs: runs.csv")
