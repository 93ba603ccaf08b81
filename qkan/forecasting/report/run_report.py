"""The report of a run: its forecasts, baselines from the same origins, and intervals from its validation errors."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qkan.forecasting.baselines.interface import ALL_SERIES, Baseline, Fitting
from qkan.forecasting.baselines.registry import PLAIN, STATISTICAL, check_baselines, fit_baselines
from qkan.forecasting.baselines.tables import choice_table, failure_table, forecast_frame
from qkan.forecasting.config import BASELINE_NAMES, FRAME, OPTIONS
from qkan.forecasting.config.options import DEFAULT_LEVELS
from qkan.forecasting.evaluation.calibration import adapt, add_intervals, beside_name, calibrate
from qkan.forecasting.evaluation.frames import check_count, check_levels, interval_levels, join_forecasts, model_columns
from qkan.forecasting.evaluation.metrics import Accuracy, mase_scales
from qkan.forecasting.io.files import RunError, check_new_file
from qkan.forecasting.report.chart import history_of
from qkan.forecasting.report.page import write_report
from qkan.forecasting.report.run_frame import RunFrames, frames_of, settings_of, training_command
from qkan.forecasting.runs.inference import check_same_targets
from qkan.forecasting.season.profile import season_profile

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import Series
    from qkan.forecasting.runs.run import Run

MOST_SLOW_SERIES = 100
"""With more series, SARIMA (seconds per series) is left out unless it is asked for by name."""
MAX_ORIGINS = 1000
"""Default for the last origins of each series that a report covers."""


@dataclass(frozen=True)
class ReportResult:
    """What :func:`report_run` made.

    Attributes:
        path: The file.
        accuracy: The errors that it shows.
        notes: Its sentences on what was left out.
    """

    path: Path
    accuracy: Accuracy
    notes: tuple[str, ...]


def report_run(
    run: Run,
    out: str | Path | None = None,
    *,
    data: str | Path | Series | None = None,
    baselines: Sequence[str] | None = None,
    levels: Iterable[float] | None = None,
    origins: int = MAX_ORIGINS,
    workers: int = 1,
    intervals: str = "split",
    beside: Sequence[Run] = (),
    overwrite: bool = False,
) -> ReportResult:
    """Write the report of a finished run.

    The baselines are fitted on the training part, as the model was, and forecast from the same origins. Intervals are
    those that the forecaster returns: of a model that was trained for some, its own, with split-conformal ones beside
    under a name that says so; of all others split-conformal ones from their errors on the validation part.

    Args:
        run: A loaded run.
        out: The file; ``None`` writes ``report.html`` in the run folder.
        data: Name or file of other data with the same series, split as in training and scaled by the run's scaler;
            ``None`` takes the data that the run was trained on, which a forecaster of a data frame does not hold.
        baselines: Words of :data:`qkan.forecasting.config.BASELINE_NAMES`; ``None`` takes all of no extra that fit in
            reasonable time, an empty sequence none.
        levels: Levels of prediction intervals in percent; ``None`` takes those that the model was trained for, or 80
            and 90.
        origins: At most this many origins per series, the last ones of the test part.
        workers: Processes for fitting baselines.
        intervals: How conformal intervals are made, one of :data:`qkan.forecasting.config.options.INTERVALS`.
        beside: Other runs with the same test part, such as an LSTM of the same size.
        overwrite: Replace an existing file.

    Raises:
        DataError: the data cannot be used.
        RunError: the run's data has changed since, the file exists and ``overwrite`` is false, it cannot be written, or
            a run beside it is tested on other targets.
        ValueError: an argument is out of range.
    """
    import pandas as pd

    out = run.path / "report.html" if out is None else Path(out)
    check_new_file(out, overwrite)
    wanted = _check_options(run.config.interval_levels or DEFAULT_LEVELS if levels is None else levels, origins)
    OPTIONS["intervals"].check("intervals", intervals)
    frames = frames_of(run, data)
    chosen, notes = _choose(baselines, frames.test["unique_id"].nunique())
    if data is not None:
        notes.append(
            f"These are forecasts of {frames.name}, named for this report: where the forecaster was trained on some of "
            "its values, the errors say nothing about new ones."
        )
    missing: dict[str, str] = {}
    fitted = fit_baselines(frames.windows, chosen, Fitting(workers=workers, left_out=missing.__setitem__))
    names, runs = _runs_beside(run, frames, beside, data)
    test, validation = _beside(frames, [*runs, *_baseline_frames(frames, fitted, wanted)])
    last = _last_origins(test, origins)
    if last.sum() < len(test):
        notes.append(f"This report covers the last {origins:,} origins of each series, not the whole test part.")
    failures = failure_table(fitted)
    notes += [f"{BASELINE_NAMES[name]} was left out: {why}." for name, why in missing.items()] + _unfitted(failures)
    before = validation if intervals == "split" else pd.concat([validation, test[~last]], ignore_index=True)
    test, more = _with_intervals(test[last].reset_index(drop=True), before, frames, wanted, intervals)
    notes += more
    found = write_report(
        out,
        test,
        **_of_data(run, frames),
        settings=_settings(run, fitted) | {name: f"the run {other.path.name}" for name, other in names.items()},
        levels=wanted,
        failures=failures,
        trials=run.tuning,
        notes=notes,
        commands=_commands(run, _options(chosen, wanted, origins, intervals, beside), out, data),
        learned=season_profile(run, data) if run.config.seasons else None,
        coming=_coming(run, frames, wanted, intervals),
        overwrite=overwrite,
    )
    return ReportResult(out, found, tuple(notes))


def _of_data(run: Run, frames: RunFrames) -> dict[str, Any]:
    """Return what a page says of the data."""
    return {
        "title": f"{frames.model} on {frames.name}",
        "season": frames.mase_season,
        "training": frames.training,
        "facts": {"data": frames.name, "frequency": run.data.get("frequency") or "steps", "unit": frames.unit or "-"},
        "reference": frames.model,
        "unit": frames.unit,
        "history": history_of(frames.windows.series),
        "wall_times": frames.windows.series.wall_times,
    }


def _check_options(levels: Iterable[float], origins: int) -> tuple[float, ...]:
    wanted = check_levels(levels)
    if not wanted:
        raise ValueError("levels is empty; give at least one level in percent, such as 90")
    check_count("origins", origins)
    return wanted


def _choose(baselines: Sequence[str] | None, series: int) -> tuple[tuple[str, ...], list[str]]:
    if baselines is not None:
        check_baselines(baselines)
        return tuple(baselines), []
    usual = (*PLAIN, *STATISTICAL)
    if series <= MOST_SLOW_SERIES:
        return usual, []
    note = f"SARIMA was left out: {series:,} series would take long; ask for it by name among the baselines."
    return tuple(name for name in usual if name != "sarima"), [note]


def _last_origins(frame: pd.DataFrame, count: int) -> pd.Series:
    """Tell which rows are those of the last origins of every series."""
    return frame.groupby("unique_id")["cutoff"].rank(method="dense", ascending=False) <= count


def _runs_beside(
    run: Run, frames: RunFrames, beside: Sequence[Run], data: str | Path | Series | None
) -> tuple[dict[str, Run], list[tuple[pd.DataFrame, pd.DataFrame]]]:
    """Return other runs by the names that they have on the page, and their frames of the test and validation part."""
    names: dict[str, Run] = {}
    made = []
    paths = [one.path.resolve() for one in (run, *beside)]
    for place, other in enumerate(beside, 1):
        if paths[place] in paths[:place]:
            raise RunError(f"the run {other.path} is named twice; name every run once")
        own = frames_of(other, data)
        check_same_targets((run, frames.windows), (other, own.windows))
        name = own.model
        if name == frames.model or name in names:
            name = f"{name} ({other.path.name})"
        if name in names:
            name = f"{own.model} ({other.path})"
        names[name] = other
        made.append(tuple(_renamed(part, own.model, name) for part in (own.test, own.validation)))
    return names, made


def _renamed(frame: pd.DataFrame, model: str, name: str) -> pd.DataFrame:
    """Return a frame whose model, with its intervals, is called something else."""
    ends = tuple(f"{model}-{side}-" for side in ("lo", "hi"))
    own = [column for column in frame if column == model or str(column).startswith(ends)]
    return frame.rename(columns={column: name + str(column).removeprefix(model) for column in own})


def _coming(run: Run, frames: RunFrames, levels: Sequence[float], intervals: str) -> pd.DataFrame | None:
    """Return what comes after the data, without intervals where there are too few errors for them; ``None`` where it
    cannot be forecast, as without covariates of the time ahead."""
    from qkan.datasets import DataError
    from qkan.forecasting.runs.inference import forecast

    conformal = not set(levels) <= set(run.config.interval_levels or ())
    asked: dict[str, Any] = {"level": levels, "conformal": conformal, "intervals": intervals}
    for how in (asked, {}):
        with contextlib.suppress(DataError, RunError):
            return forecast(run, frames.windows.series, **how)
    return None


def _baseline_frames(
    frames: RunFrames, fitted: Sequence[Baseline], levels: Sequence[float]
) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Return the forecasts that baselines make of the test and of the validation part."""
    if not fitted:
        return []
    test = forecast_frame(frames.windows, "test", fitted, levels)
    if not len(frames.validation):
        return [(test, frames.validation)]
    return [(test, forecast_frame(frames.windows, "validation", fitted, levels))]


def _beside(
    frames: RunFrames, others: Iterable[tuple[pd.DataFrame, pd.DataFrame]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the forecasts of the test and of the validation part with those of others beside them."""
    test, validation = frames.test, frames.validation
    for own in others:
        test = join_forecasts(test, own[0])
        validation = join_forecasts(validation, own[1]) if len(validation) else validation
    return test, validation


def _with_intervals(
    test: pd.DataFrame, validation: pd.DataFrame, frames: RunFrames, levels: Sequence[float], intervals: str
) -> tuple[pd.DataFrame, list[str]]:
    """Give conformal intervals to the models that have none, and beside the intervals of a model that has some.

    They are those of ``qkan predict --level``.
    """
    needing = [name for name in model_columns(test) if not interval_levels(test, name) and test[name].notna().any()]
    own: list[str] = []
    if frames.model not in needing:
        beside = beside_name(frames.model)
        test, validation = (
            part.assign(**{beside: part[frames.model]}) if len(part) else part for part in (test, validation)
        )
        needing.insert(0, beside)
        own = [f"Intervals of {frames.model} are its own, which the quantile loss trained."]
    if intervals == "adaptive":
        found, words = adapt(validation, test, needing, levels)
        return found, own + words
    made, words = calibrate(validation, needing, levels, mase_scales(frames.training, frames.mase_season))
    return add_intervals(test, made, needing), own + words


def _unfitted(failures: pd.DataFrame) -> list[str]:
    """Say which baselines are missing; the page has the reasons for every series."""
    return [
        f"{model} could not be fitted to {len(own):,} series, for example: {own['reason'].iloc[0]}."
        for model, own in failures.groupby("model", sort=False)
    ]


def _settings(run: Run, fitted: Sequence[Baseline]) -> dict[str, str]:
    from qkan import __version__

    shown = {"version of qkan": __version__, **settings_of(run)}
    if not fitted:
        return shown
    shown["baselines"] = "fitted once on the training part, then moved forward with fixed parameters"
    for model, own in choice_table(fitted).groupby("model", sort=False):
        shared = own["unique_id"].iloc[0] == ALL_SERIES
        counts = own["choice"].value_counts()
        shown[str(model)] = ", ".join(name if shared else f"{name} ({count} series)" for name, count in counts.items())
    return shown


def _commands(run: Run, options: Sequence[str], out: Path, data: object) -> list[str]:
    """Return the commands that make the report again, of what is on disk; files by their names."""
    given = ["--data", Path(data).name] if isinstance(data, str | Path) else []
    words = ["qkan", "report", run.path.name, *given, "--out", out.name, *options, "--overwrite"]
    trained = [] if run.config.data == FRAME else [training_command(run)]
    return [*trained, shlex.join(words)]


def _options(
    chosen: Sequence[str], levels: Sequence[float], origins: int, intervals: str, beside: Sequence[Run]
) -> list[str]:
    options = ["--levels", ",".join(f"{level:g}" for level in levels), "--baselines", ",".join(chosen) or "none"]
    options += ["--intervals", intervals] if intervals != "split" else []
    options += [word for other in beside for word in ("--beside", other.path.name)]
    return [*options, "--origins", str(origins)] if origins != MAX_ORIGINS else options
