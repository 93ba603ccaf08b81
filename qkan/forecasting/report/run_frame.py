"""From a run folder to cross-validation frames: the only place where a report knows how runs keep their data."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from qkan.forecasting.config import CELL_NAMES
from qkan.forecasting.evaluation.intervals import interval_columns, median
from qkan.forecasting.evaluation.metrics import mase_season
from qkan.forecasting.evaluation.window_frame import values_of, window_frame

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import ForecastData
    from qkan.datasets.windows import Part
    from qkan.forecasting.runs.run import Run


@dataclass(frozen=True, eq=False)
class RunFrames:
    """What a report needs of a run.

    Attributes:
        model: Name of the run's model, a column of both frames.
        test: Cross-validation frame of the test part, with the model's own intervals if it was trained for some.
        validation: That of the validation part, to calibrate intervals with; empty if the split has none.
        values: Columns unique_id, ds, y: everything, for the baselines.
        training: The same up to the end of each training part, for MASE; values that were filled are NaN.
        seasons: Seasonal periods in steps, shortest first.
        mase_season: The one of them that MASE compares with; 1 if none fits.
        unit: Unit of y, empty if it has none.
        horizon: Steps ahead.
    """

    model: str
    test: pd.DataFrame
    validation: pd.DataFrame
    values: pd.DataFrame
    training: pd.DataFrame
    seasons: tuple[int, ...]
    mase_season: int
    unit: str
    horizon: int


def frames_of(run: Run) -> RunFrames:
    """Return the forecasts of a run on the test and the validation part of its data.

    Raises:
        DataError: the data cannot be used.
        RunError: the run's data has changed since.
    """
    import pandas as pd

    from qkan.forecasting.runs.inference import windows_for

    data = windows_for(run).with_validation_horizon(run.config.horizon)
    name = CELL_NAMES[run.config.cell]
    values = values_of(data)
    position = values.groupby("unique_id", sort=False).cumcount().to_numpy()
    training = values[position < np.repeat(data.boundaries[:, 0], data.series.lengths)]
    if data.series.observed is not None:
        training = training.assign(y=training["y"].where(data.series.observed[training.index]))
    return RunFrames(
        model=name,
        test=_part(run, data, "test", name),
        validation=_part(run, data, "validation", name) if len(data.validation) else pd.DataFrame(),
        values=values,
        training=training,
        seasons=tuple(data.series.season),
        mase_season=mase_season(data),
        unit=data.series.unit,
        horizon=data.horizon,
    )


def settings_of(run: Run) -> dict[str, str]:
    """Return what a run was made with, in words: its results in numbers first, then every option."""
    options = {
        name.replace("_", " "): _as_word(value) for name, value in run.config.to_dict().items() if value is not None
    }
    return {
        "trained parameters": f"{run.metrics['parameters']:,}",
        "trained epochs": f"{run.metrics['epochs']}, best {run.metrics['best_epoch']}",
        "fingerprint of the data": run.data["fingerprint"][:16],
        **options,
    }


def training_command(run: Run) -> str:
    """Return the command that trains the run again: all options that are not the default."""
    words = ["qkan", "train", "lstm"]
    for option in fields(run.config):
        value = getattr(run.config, option.name)
        flag = option.name.replace("_", "-")
        if value == option.default:
            continue
        words += (
            [f"--{flag}" if value else f"--no-{flag}"] if isinstance(value, bool) else [f"--{flag}", _as_word(value)]
        )
    return shlex.join([*words, "--out", str(run.path)])


def _as_word(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _part(run: Run, data: ForecastData, part: Part, name: str) -> pd.DataFrame:
    from qkan.forecasting.runs.inference import forecast_quantiles

    quantiles = forecast_quantiles(run.model, data, part)
    ends = {f"{name}{ending}": quantiles[:, :, place] for ending, place in interval_columns(run.config).items()}
    return window_frame(data, part, {name: median(quantiles), **ends})
