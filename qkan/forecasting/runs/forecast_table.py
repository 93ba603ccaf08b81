"""Forecasts as a table: columns, intervals, and what is refused or said of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from qkan.forecasting.evaluation.intervals import interval_columns
from qkan.forecasting.runs.conformal import with_conformal
from qkan.forecasting.runs.run_data import Trained, known_ids

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import Series


def forecast_table(run: Trained, series: Series, forecasts: np.ndarray, levels: Sequence[float]) -> pd.DataFrame:
    """Return forecasts of what follows some series, ids as text and times as inside, sorted by series and time.

    Args:
        run: What forecast.
        series: What it went on from.
        forecasts: In the unit of the series, ascending, (series, steps, quantiles); those of steps beyond the trained
            horizon lose their intervals.
        levels: Of the model's own intervals, in percent.
    """
    import pandas as pd

    config, steps = run.config, forecasts.shape[1]
    columns, name = interval_columns(config, levels), config.model_name
    forecasts[:, config.trained_horizon :, list(columns.values())] = np.nan
    names = {name: len(config.quantiles) // 2, **{f"{name}{ending}": place for ending, place in columns.items()}}
    return pd.DataFrame(
        {
            "unique_id": [own for own in series.ids for _ in range(steps)],
            "ds": series.all_future_times(steps).ravel(),
            **{column: forecasts[:, :, place].ravel() for column, place in names.items()},
        }
    )


def with_split(run: Trained, series: Series, table: pd.DataFrame, levels: Sequence[float]) -> pd.DataFrame:
    """Return a table of forecasts with split-conformal intervals; raises as :func:`with_conformal`."""
    steps = len(table) // len(series.ids)
    known = np.repeat(np.array(known_ids(run, series), dtype=object), steps)
    return with_conformal(run.path, run.validation, table, levels, known)


def say_where_intervals_end(steps: int, last: int) -> None:
    """Say it where the steps after ``last`` have no intervals."""
    from qkan.datasets import notice

    if steps > last:
        notice(
            f"intervals end with step {last} of {steps}: later steps go on from forecasts that were fed back, whose "
            f"errors nobody measured; for intervals of all, train with horizon={steps}"
        )


def check_finite(run: Trained, series: Series, scaled: np.ndarray) -> None:
    """Refuse forecasts (series, steps, quantiles) that are no numbers; programs give NaN beyond their domain."""
    from qkan.datasets import DataError

    series_index, steps, _ = np.nonzero(~np.isfinite(scaled))
    if not series_index.size:
        return
    first = f"the forecast of series {series.ids[series_index[0]]!r} is not a finite number at step {steps[0] + 1}"
    if run.margin is None:
        raise DataError(
            f"{first}: the numbers inside the model overflow; check whether the last {run.config.window} values of "
            "the series are like those that the model was trained on, or train on newer data"
        )
    raise DataError(
        f"{first}: the last {run.config.window} values, or forecasts that were fed back, go beyond what {run.path} was "
        f"exported for, {run.margin:g} times the largest values of its data; check the values, export the run again "
        "with a larger margin=..., or predict with the run itself"
    )
