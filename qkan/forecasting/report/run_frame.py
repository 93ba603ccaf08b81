"""From a run folder to cross-validation frames: the only place where a report knows how runs keep their data."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qkan.forecasting.config import FRAME, OPTIONS, without_effect
from qkan.forecasting.config.idle import VALIDATED_OPTIONS
from qkan.forecasting.evaluation.intervals import interval_columns, median
from qkan.forecasting.evaluation.metrics import mase_season
from qkan.forecasting.evaluation.window_frame import values_of, window_frame

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import ForecastData, Series
    from qkan.datasets.windows import Part
    from qkan.forecasting.config import TrainConfig
    from qkan.forecasting.runs.run import Run


@dataclass(frozen=True, eq=False)
class RunFrames:
    """What a report needs of a run.

    Attributes:
        name: Of the data.
        model: Name of the run's model, a column of both frames.
        test: Cross-validation frame of the test part, with the model's own intervals if it was trained for some.
        validation: That of the validation part, to calibrate intervals with; empty if the split has none.
        windows: The data, for the baselines; its validation windows have the whole horizon.
        training: The same up to the end of each training part, for MASE; values that were filled are NaN.
        mase_season: The one of them that MASE compares with; 1 if none fits.
        unit: Unit of y, empty if it has none.
    """

    name: str
    model: str
    test: pd.DataFrame
    validation: pd.DataFrame
    windows: ForecastData
    training: pd.DataFrame
    mase_season: int
    unit: str


def frames_of(run: Run, data: str | Path | Series | None = None) -> RunFrames:
    """Return the forecasts of a run on the test and the validation part of its data, or of other ``data``.

    Raises:
        DataError: the data cannot be used.
        RunError: the run's data has changed since.
    """
    import pandas as pd

    from qkan.forecasting.runs.inference import windows_for

    windows = windows_for(run, data).with_validation_horizon(run.config.horizon)
    model = run.config.model_name
    values = values_of(windows)
    position = values.groupby("unique_id", sort=False).cumcount().to_numpy()
    training = values[position < np.repeat(windows.boundaries[:, 0], windows.series.lengths)]
    if windows.series.observed is not None:
        training = training.assign(y=training["y"].where(windows.series.observed[training.index]))
    return RunFrames(
        name=windows.series.name,
        model=model,
        test=_part(run, windows, "test", model),
        validation=_part(run, windows, "validation", model) if len(windows.validation) else pd.DataFrame(),
        windows=windows,
        training=training,
        mase_season=mase_season(windows),
        unit=windows.series.unit,
    )


def settings_of(run: Run) -> dict[str, str]:
    """Return what a run was made with, in words: its results in numbers first, then every option that it has.

    Files are named without their folders: a page is shared with others.
    """
    options = {
        name.replace("_", " "): _as_word(_shared(name, value))
        for name, value in run.config.to_dict().items()
        if value not in (None, [], FRAME) and _applies(run.config, name)
    }
    return {
        "trained parameters": f"{run.metrics['parameters']:,}",
        "trained epochs": f"{run.metrics['epochs']}, best {run.metrics['best_epoch'] or 'the start'}",
        "fingerprint of the data": run.data["fingerprint"][:16],
        **options,
    }


def _applies(config: TrainConfig, name: str) -> bool:
    """Tell whether an option had a part in the training."""
    if name in without_effect(config.cell):
        return False
    if name == "strategy":
        return config.horizon > 1
    if name in ("devices", "num_nodes", "shards"):
        return config.processes > 1 or config.shards > 1
    return name not in VALIDATED_OPTIONS or (getattr(config, name) is not None and config.split[1] > 0)


def _shared(name: str, value: Any) -> Any:
    """Return the value of an option as a page for others shows it."""
    return Path(value).name if name == "data" and isinstance(value, str) else value


def training_command(run: Run) -> str:
    """Return the command that trains the run again: all options that are not the default, files by their names."""
    words = ["qkan", "train", "lstm"]
    config = run.config
    plain = type(config)(data=config.data, protocol=config.protocol, metric=config.metric)
    for option in fields(config):
        value, usual = getattr(config, option.name), getattr(plain, option.name)
        flag = option.name.replace("_", "-")
        follows = value == usual and option.name not in ("data", "protocol", "metric", "loss")
        if follows or value is None or OPTIONS[option.name].computed:
            continue
        if option.name == "seasonal_lags" and not value and len(run.scaler.ids) == 1:
            continue  # only of several series the data decide
        value = _shared(option.name, value)
        on_or_off = isinstance(value, bool) or option.name == "per_series"  # how many series is what the data say
        words += [f"--{flag}" if value else f"--no-{flag}"] if on_or_off else [f"--{flag}", _as_word(value)]
    return shlex.join([*words, "--out", run.path.name])


def _as_word(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _part(run: Run, data: ForecastData, part: Part, name: str) -> pd.DataFrame:
    from qkan.forecasting.runs.evaluation import forecast_quantiles

    quantiles = forecast_quantiles(run.model, data, part)
    ends = {f"{name}{ending}": quantiles[:, :, place] for ending, place in interval_columns(run.config).items()}
    return window_frame(data, part, {name: median(quantiles), **ends})
