"""Which intervals a forecast gets, and those that are made of errors on the validation part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qkan.forecasting.config import TrainConfig
from qkan.forecasting.evaluation.calibration import add_intervals, calibrate, units_of
from qkan.forecasting.evaluation.frames import bounds, check_levels, interval_levels
from qkan.forecasting.evaluation.intervals import as_levels
from qkan.forecasting.io.files import RunError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


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
