"""``qkan train``."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from qkan.cli.errors import interruption
from qkan.cli.lazy_groups import LazyGroup
from qkan.cli.options import FROM_THE_DATA, config_option, config_options, data_stem
from qkan.cli.sections import SectionedCommand
from qkan.forecasting.config import CELL_OPTIONS, LEARNING_RATES, LINEAR_CELLS, TrainConfig, Tuning

if TYPE_CHECKING:
    from qkan.datasets import ForecastData

_WHERE = ("workers", "executor")


@click.group(cls=LazyGroup, lazy={"lstm": "qkan.cli.commands.train:lstm"})
def train() -> None:
    """Train a forecaster on a series and report its errors."""


@click.command(
    cls=SectionedCommand,
    first=("data",),
    epilog="""\b
Examples:
  qkan train lstm --data telecom
  qkan train lstm --data calls.csv \\
      --time-col hour --target-col calls --horizon 24
  qkan train lstm --data telecom --tune 3 --workers 2
  qkan train lstm --out runs/telecom-qkan-seed0 --resume""",
)
@config_options(TrainConfig)
@config_option("tune")
@config_option("workers")
@config_option("executor", "processes")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder.  [default: runs/DATA-CELL-seedSEED]")
@click.option("--resume", is_flag=True, help="Go on with the interrupted run in the folder, with its options.")
@click.option("--overwrite", is_flag=True, help="Replace the run in the folder.")
@click.pass_context
def lstm(
    ctx: click.Context,
    out: Path | None,
    resume: bool,
    overwrite: bool,
    tune: int | None,
    **options: Any,
) -> None:
    """Train a QKAN-LSTM or another recurrent cell on a series.

    --data is enough: what is left out follows from the data, or has a default that was measured. The weights of the
    epoch with the lowest validation loss are kept; --patience stops when it no longer falls. --tune tries several
    learning rates first, at the same time where --workers or a Ray cluster allow. The errors on the test
    part are given in the unit of the series, next to those of forecasts that need no training. Options, weights,
    history, metrics, predictions and plots go to the run folder.
    """
    if resume and overwrite:
        raise click.UsageError("--resume and --overwrite exclude each other: go on with the run, or replace it.", ctx)
    if options["data"] is None and not (resume and out):
        raise click.UsageError("Missing option '--data': name a series of `qkan data list` or a file.", ctx)
    where = {name: options.pop(name) for name in _WHERE}
    config, out, given = _config_and_folder(ctx, out, resume, options)

    from qkan import forecasting
    from qkan.cli.progress import TrainingDisplay
    from qkan.forecasting.data.defaults import sized
    from qkan.forecasting.data.load import as_cut, cut_windows, load_series_of
    from qkan.forecasting.data.reasons import chosen_parts
    from qkan.forecasting.executors import check_executor
    from qkan.forecasting.runs.tuning import check_tuning
    from qkan.forecasting.training.distributed import children_end_on_failure, rank_of, sharing_of

    tuning, trials = _tuning(ctx, out if resume else None, tune, where)
    if tuning is not None:
        check_executor(tuning.executor)
        check_tuning(config)
    sharing = sharing_of(config)
    series = load_series_of(config)
    series = series if sharing is None else sharing.own(series)
    config = sized(config, series, given)
    if rank := rank_of(config):
        _follow(rank, lambda: forecasting.train(config, out, resume=resume, overwrite=overwrite))
        return
    try:
        with TrainingDisplay() as display, children_end_on_failure():
            data = cut_windows(series, config, sharing=sharing)
            cut = as_cut(config, data)
            print_plan(cut, data, out, chosen_parts(config, cut, series, data), trials)
            how: dict[str, Any] = {"resume": resume, "overwrite": overwrite, "tune": tuning}
            run = forecasting.train(config, out, progress=display, data=data, **how)
    except KeyboardInterrupt as cause:
        command = f"qkan train lstm --out {shlex.quote(str(out))} --resume"
        hint = f"Go on with: {command}" if (out / "config.json").exists() else "Nothing was trained yet."
        raise interruption(f"Interrupted. {hint}", cause) from None
    print_result(run)


def _tuning(
    ctx: click.Context, resumed: Path | None, tune: int | None, where: dict[str, Any]
) -> tuple[Tuning | None, int]:
    """Return what was asked for of trials, and how many the run has: a resumed one goes on with its own.

    Raises:
        click.UsageError: an option has no effect.
    """
    from qkan.forecasting.runs.tuning import planned_trials

    trials = tune or (planned_trials(resumed) if resumed is not None else None)
    asked = [name for name in where if _given(ctx, name)]
    if trials is None:
        if asked:
            raise click.UsageError(f"--{asked[0]} says where trials run, and there are none; add --tune N.", ctx)
        return None, 0
    if _given(ctx, "lr"):
        raise click.UsageError(f"--lr is what the {trials} trials are to find; leave out --lr or --tune.", ctx)
    return Tuning(trials=trials, **where) if tune or asked else None, trials


def _given(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is not ParameterSource.DEFAULT


def _follow(rank: int, train: Callable[[], object]) -> None:
    """Train in one of the further processes, which say nothing but what went wrong."""
    try:
        train()
    except KeyboardInterrupt as cause:
        raise click.exceptions.Exit(interruption("", cause).exit_code) from None
    except ValueError as error:
        raise ValueError(f"process {rank} of the training: {error}") from error


def _config_and_folder(
    ctx: click.Context, out: Path | None, resume: bool, options: dict[str, Any]
) -> tuple[TrainConfig, Path, dict[str, Any]]:
    """Return the options to train with, the run folder, and what of them is not to be found in the data.

    A resumed run keeps the options that it was started with.
    """
    if resume and out is not None and (options["data"] is None or (out / "config.json").exists()):
        from qkan.forecasting import read_config

        given = {name for name in options if _given(ctx, name)}
        config = replace(read_config(out), **{name: options[name] for name in given})
        return config, out, {name: getattr(config, name) for name in FROM_THE_DATA}
    sizes = {name: options.pop(name) for name in FROM_THE_DATA}
    config = TrainConfig(**options, **{name: size for name, size in sizes.items() if size is not None})
    sizes["loss"] = options["loss"]
    out = out or Path("runs") / f"{data_stem(config.data)}-{config.cell}-seed{config.seed}"
    return config, out, sizes


def print_plan(config: TrainConfig, data: ForecastData, out: Path, around: str, trials: int = 0) -> None:
    """Print what will run: data, split, cell, what stands ``around`` it, parameters, training and run folder."""
    from qkan.cli.tables import print_facts
    from qkan.forecasting.data.loaders import resolve_batch_size
    from qkan.forecasting.model.build import check_size
    from qkan.forecasting.training.distributed import training_device
    from qkan.forecasting.training.lbfgs import finish_steps

    parameters = check_size(config)
    steps = finish_steps(config, parameters, len(data.train)) if len(data.validation) else 0
    device = str(training_device(config))
    most, patience = ("", "") if config.patience is None else ("at most ", f"patience {config.patience}, ")
    if config.processes > 1:
        device = f"{device.partition(':')[0]} with {config.processes} processes"
    series = data.series
    batch_size = resolve_batch_size(config.batch_size, len(data.train))
    rates = ", ".join(f"{lr:g}" for lr in LEARNING_RATES[:trials])
    rate = f"the best lr of {rates} by validation error" if trials else f"lr {config.lr:g}"
    linear = config.cell in LINEAR_CELLS
    shape = {} if linear else {"hidden size": config.hidden_size, "layers": config.num_layers}
    chosen = {name: getattr(config, name) for name in sorted(CELL_OPTIONS[config.cell])}
    own = {name.replace("_", " "): value for name, value in chosen.items() if value not in (None, False)}
    of = f" of {len(series.ids)} series" if len(series.ids) > 1 else ""
    print_facts(
        {
            "data": f"{series.name}: {series.summary}",
            "values": f"{len(series.frame):,}{of}, {series.span[0]} to {series.span[1]}",
            "windows": f"{len(data.train):,} training, {len(data.validation):,} validation, {len(data.test):,} test; "
            f"{config.window} steps in, {config.horizon} out{_order(config)}",
            **({"channels": _channels(config)} if config.channels > 1 else {}),
            "cell": ", ".join([config.cell, *(f"{name} {value}" for name, value in (shape | own).items())]),
            "around it": around,
            "parameters": f"{parameters:,}",
            "training": f"{most}{replace(config, lbfgs_steps=steps).effort}, batch {batch_size}, {rate}, "
            f"{patience}loss {config.loss}, seed {config.seed}, on {device}",
            "run folder": str(out),
        }
    )


def _order(config: TrainConfig) -> str:
    """Say how the window is read, unless that is step by step."""
    kind = "periods" if config.cell == "sparse" else config.order
    return "" if config.segment is None else f", read by {kind} of {config.segment}"


def _channels(config: TrainConfig) -> str:
    """Name the input channels beside the value itself."""
    named = {
        "observed or not": config.missing == "mask",
        f"past {', '.join(config.past_cols)}": config.past_cols,
        f"future {', '.join(config.future_cols)}": config.future_cols,
        f"static {', '.join(config.static_cols)}": config.static_cols,
        f"categories {', '.join(config.category_cols)}": config.category_cols,
        f"calendar {', '.join(config.calendar)}": config.calendar,
        f"season {', '.join(map(str, config.seasons))}": config.seasons,
    }
    return f"{config.channels}: " + "; ".join(["value", *(name for name, there in named.items() if there)])


def print_result(run: Any) -> None:
    """Print the errors on the test part, and what can be done with the run."""
    from qkan.cli.tables import count, print_protocol, print_scores

    metrics = run.metrics
    kept = f"of epoch {metrics['best_epoch']}" if metrics["best_epoch"] else "of the start: a regression on the window"
    trained = f"trained {count(metrics['epochs'], 'epoch')} in {metrics['train_seconds']:.1f} s"
    click.echo(f"\n{trained}; the weights are those {kept}{_found(metrics)}\n")
    if run.tuning is not None:
        click.echo(
            f"lr {run.config.lr:g} had the lowest validation error of {len(run.tuning)} (tuning.csv); the run is what "
            f"--lr {run.config.lr:g} in the place of --tune makes\n"
        )
    if metrics.get("gate") == "closed":
        click.echo(
            f"The validation part shows no gain of {run.config.model_name} over the last value, so the forecasts "
            "repeat that value; --no-gate forecasts with the model all the same.\n"
        )
    print_scores(metrics["test"], run, metrics.get("test_median"), metrics["without_mase"])
    print_protocol(run)
    click.echo(f"run folder: {run.path}  (plots: loss.png, forecast.png)")
    click.echo(f"next: qkan predict {shlex.quote(str(run.path))}{_hint(run)}")


def _found(metrics: dict[str, Any]) -> str:
    """Say what the finish and the restarts found."""
    from qkan.cli.tables import count

    said, finish = "", metrics.get("lbfgs")
    if finish is not None and finish["steps"]:
        said = (
            f" and {count(finish['steps'], 'step')} of LBFGS, which took the validation loss from "
            f"{finish['before']:.4g} to {finish['after']:.4g}"
        )
    elif finish is not None:
        said = ", since LBFGS found none with a lower validation loss"
    starts = metrics.get("starts")
    best = metrics["best_validation_loss"]
    return said if starts is None else f"{said}, of start {1 + starts.index(best)} of {len(starts)}"


def _hint(run: Any) -> str:
    """Return the options for a first forecast: as far as the run was trained for, or a season of single steps."""
    config = run.config
    future = " --future FILE" if config.future_cols else ""
    if config.horizon > 1:
        return future
    return f" --horizon {min([*run.data['season'], 12])}{future}"
