"""Which intervals a forecast gets, and those that are made of errors on the validation part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qkan.forecasting.config import FRAME, TrainConfig
from qkan.forecasting.evaluation.calibration import adapt, add_intervals, calibrate, units_of
from qkan.forecasting.evaluation.frames import bounds, check_levels, interval_levels
from qkan.forecasting.evaluation.intervals import as_levels, median
from qkan.forecasting.evaluation.window_frame import window_frame
from qkan.forecasting.io.files import RunError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from qkan.datasets import ForecastData
    from qkan.forecasting.runs.run_data import Trained


def chosen_levels(
    config: TrainConfig, level: Sequence[float] | float | None, conformal: bool
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the levels of the model's own intervals, and those of conformal ones; one of them is empty.

    Args:
        config: Of the model.
        level: In percent; ``None`` takes those that the model was trained for.
        conformal: Whether all are conformal.

    Raises:
        ValueError: a level is out of range, or conformal intervals are asked for without one.
    """
    wanted = config.interval_levels if level is None else check_levels(as_levels(level) or ())
    if conformal and level is None and not wanted:
        raise ValueError("conformal=True needs the levels that it is about, such as level=[80, 90]")
    if conformal or not set(wanted) <= set(config.interval_levels):
        return (), wanted  # never some of each: their ends could cross
    return wanted, ()


def with_conformal(
    source: Path, validation: pd.DataFrame | None, table: pd.DataFrame, levels: Sequence[float], known: np.ndarray
) -> pd.DataFrame:
    """Return forecasts with split-conformal intervals.

    Args:
        source: Where the model was read from, for messages.
        validation: The model's forecasts of the validation part; see
            :func:`qkan.forecasting.runs.inference.validation_frame`.
        table: Columns unique_id, ds and the model's forecasts, sorted by series and time.
        levels: In percent.
        known: What ``validation`` calls the series of every row; ``None`` for one that it does not hold, whose
            intervals are NaN.

    Raises:
        RunError: there are no errors, or too few for a level.
    """
    if validation is None or not len(validation):
        raise RunError(
            f"{source} holds no errors on a validation part to make intervals from; predict with a run whose split "
            "has one, or train it with loss='quantile'"
        )
    if all(name is None for name in known):
        raise RunError(
            f"{source} was trained on none of these series, so it holds no errors of theirs to make intervals from; "
            "ask for a forecast without them"
        )
    model = str(table.columns[2])
    made, words = calibrate(validation, (model,), levels, units_of(validation))
    if len(made) < len(levels):
        raise RunError(f"{words[-1].partition(': ')[2].capitalize().removesuffix('.')}; ask for lower levels")
    keys = table.assign(step=table.groupby("unique_id", sort=False).cumcount() + 1)
    keys["unique_id"] = known
    found = add_intervals(keys, made, (model,)).assign(unique_id=table["unique_id"])
    ends = [end for one in sorted(interval_levels(found, model)) for end in bounds(model, one)]
    return found[["unique_id", "ds", model, *ends]]


def with_adaptive(run: Trained, data: ForecastData, table: pd.DataFrame, levels: Sequence[float]) -> pd.DataFrame:
    """Return forecasts of what follows the data with adaptive intervals, from errors on all behind its training part.

    Args:
        run: What forecasts.
        data: The windows of what was gone on from.
        table: Columns unique_id, ds and the model's forecasts, sorted by series and time.
        levels: In percent.

    Raises:
        RunError: the model is an exported program, or no series has enough errors for a level.
    """
    import pandas as pd
    from torch import nn

    from qkan.forecasting.data.batches import predict_windows
    from qkan.forecasting.data.load import tensors
    from qkan.forecasting.runs.run_data import known_ids

    if not isinstance(run.model, nn.Module):
        raise RunError(f"{run.path} is an exported program; ask the run that it comes from for adaptive intervals")
    model, whole = str(table.columns[2]), data.with_validation_horizon(data.horizon)
    parts = []
    for part in ("validation", "test"):
        windows = whole.part(part)
        if len(windows):
            scaled = median(predict_windows(run.model, tensors(windows)).numpy())
            parts.append(window_frame(whole, part, {model: whole.inverse(scaled, windows.series)}))
    steps = table.groupby("unique_id", sort=False).cumcount() + 1
    last = {name: data.series.times_of(index)[-1] for index, name in enumerate(data.ids)}
    rows = table[["unique_id", "ds", model]].assign(cutoff=table["unique_id"].map(last), step=steps, y=0.0)
    known = rows[rows["unique_id"].isin(data.ids)]  # the value of a row is not looked at before its time
    errors = pd.concat(parts, ignore_index=True) if parts else rows[:0]
    if run.config.data == FRAME and len(errors):  # without a split: the training ends where the validation part begins
        if run.validation is None:
            raise RunError(
                f"{run.path} was trained on all of its data, so no errors are left; fit it with val_size above 0"
            )
        own = errors["unique_id"].map(dict(zip(data.ids, known_ids(run, data.series), strict=True)))
        begins = own.map(run.validation.groupby("unique_id")["ds"].min())
        errors = errors[own.isna() | (errors["ds"] >= begins)]
    given, _ = adapt(errors, known, (model,), levels, whole=False)
    ends = [end for one in sorted(levels) for end in bounds(model, one)]
    if not set(ends) <= set(given) or given[ends].isna().all(axis=None):
        raise RunError(
            f"the data that {run.path} goes on from has too few values behind its training part for adaptive intervals "
            f"of {max(levels):g} %; give more, ask for lower levels, or take intervals='split'"
        )
    return table.merge(given[["unique_id", "ds", *ends]], on=["unique_id", "ds"], how="left")
