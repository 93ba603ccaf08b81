"""Which data a run forecasts, and how its series are scaled."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from qkan.forecasting.config import FRAME, OPTIONS
from qkan.forecasting.data.load import load_series_of, split_of
from qkan.forecasting.io.files import RunError

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import Scaler, Series
    from qkan.forecasting.config import TrainConfig
    from qkan.forecasting.data.batches import Forward


class Trained(Protocol):
    """What can forecast: a :class:`~qkan.forecasting.Run` or an :class:`~qkan.forecasting.Exported` program.

    Attributes:
        path: Where it was read from.
        config: The options it was trained with.
        model: The forecaster itself.
        scaler: Scales every series as in training.
        data: What is known of the data that it was trained on, with its ``fingerprint``.
        margin: Up to how many times the largest values of that data the model holds; ``None`` for any.
        validation: Its forecasts of the validation part, as of :func:`validation_frame`; ``None`` if it holds none.
    """

    @property
    def path(self) -> Path: ...  # noqa: D102
    @property
    def config(self) -> TrainConfig: ...  # noqa: D102
    @property
    def model(self) -> Forward: ...  # noqa: D102
    @property
    def scaler(self) -> Scaler: ...  # noqa: D102
    @property
    def data(self) -> dict[str, Any]: ...  # noqa: D102
    @property
    def margin(self) -> float | None: ...  # noqa: D102
    @property
    def validation(self) -> pd.DataFrame | None: ...  # noqa: D102


def series_of(run: Trained, data: str | Path | Series | None, *, grown: bool = False) -> Series:
    """Return the series to forecast: the given one, the one that is named, or that of the run.

    Args:
        run: What was trained.
        data: The series, or where it is; ``None`` for that of the run. Series of it that the training left out are left
            out here, too.
        grown: What to return where the run's file has got more values since, behind those that it had: all of them,
            to go on from, or only those that it had.

    Raises:
        DataError: the data cannot be used.
        RunError: the run's data has changed since, or is not there any more.
    """
    from qkan.datasets import DataNotice, Series, keep_series, names_file, notice

    if isinstance(data, Series):
        return data
    own = run.config.data
    if data is None and own == FRAME:
        raise RunError(f"{run.path} was trained on a data frame, which it does not hold; give the data: data=...")
    if data is None and names_file(own) and not Path(own).exists():
        raise RunError(
            f"the file {own!r} that {run.path} was trained on is not there any more; "
            "to use other values, name them: data=..."
        )
    with warnings.catch_warnings():
        if data is None:  # the training said what was decided about it
            warnings.simplefilter("ignore", DataNotice)
        series = load_series_of(run.config, data, None if data is None else run.data["frequency"])
    if data is not None:
        return series
    if series.ids != run.scaler.ids:
        ids = set(series.ids)
        series = keep_series(series, [name for name in run.scaler.ids if name in ids])
    if series.fingerprint() == run.data["fingerprint"]:
        return series
    before = _before_it_grew(run, series)
    if before is None:
        raise RunError(
            f"the data {run.config.data!r} has changed since {run.path} was trained; "
            "to use the new values, name them: data=..."
        )
    more = len(series.frame) - len(before.frame)
    what = "the forecast goes on from its end" if grown else "only the values of the training are looked at"
    notice(f"{run.config.data!r} has {more:,} more values than when {run.path} was trained: {what}")
    return series if grown else before


def _before_it_grew(run: Trained, series: Series) -> Series | None:
    """Return the data as the run was trained on it, if it has only got more values behind them."""
    from qkan.datasets import first_values

    lengths = run.data.get("lengths")
    if series.ids != run.scaler.ids or not isinstance(lengths, list) or len(lengths) != len(series.ids):
        return None
    if not all(isinstance(one, int) and 0 < one <= now for one, now in zip(lengths, series.lengths, strict=True)):
        return None
    before = first_values(series, lengths)
    return before if before.fingerprint() == run.data["fingerprint"] else None


def scaler_for(run: Trained, series: Series, new_series: str = "refuse", *, last: int | None = None) -> Scaler:
    """Return the run's scaler in the order of the series' ids, after a check of the step between their times.

    Args:
        run: What was trained.
        series: What it is to forecast.
        new_series: ``"refuse"`` series that the run does not know and steps of another size; or ``"scale"`` such series
            by values of their own.
        last: How many of the newest values; ``None`` takes the training part.

    Raises:
        RunError: the run does not know a series, or the step is another one.
    """
    from qkan.datasets import fit_scaler

    OPTIONS["new_series"].check("new_series", new_series)
    known = run.scaler
    if new_series == "refuse" and not _has_step_of(run, series):
        trained, found = run.data["frequency"], series.frequency
        raise RunError(
            f"the run {run.path} was trained on {_in_words(trained, run.data.get('step'))}, but the data has "
            f"{_in_words(found, series.step)}; "
            "resample the data, train on it, or forecast it all the same with new_series='scale'"
        )
    own = known_ids(run, series)
    unknown = [name for name, there in zip(series.ids, own, strict=True) if there is None]
    if not unknown:
        place = {name: index for index, name in enumerate(known.ids)}
        return known.pick([place[str(there)] for there in own], series.ids)
    if new_series == "refuse":
        raise RunError(
            f"the run {run.path} was not trained on series {unknown[0]!r}; it knows {len(known.ids)} series, "
            f"{known.ids[0]!r} the first of them: leave out the others, train on them, or scale each by its own last "
            "window with new_series='scale'"
        )
    lengths = series.lengths
    if last is None:
        split = split_of(run.config, series)
        ends, begins = np.array([split.boundaries(int(length))[0] for length in lengths]), np.zeros_like(lengths)
    else:
        ends, begins = lengths, np.maximum(lengths - last, 0)
    scaler = fit_scaler(series, ends, known.kind, begins).of_unknown()
    scaler = scaler.with_numbers_of(known) if _has_step_of(run, series) else scaler
    return scaler.shared_with(known, series.static)


def known_ids(run: Trained, series: Series) -> list[str | None]:
    """Return what the run calls each of some series; ``None`` for one that it was not trained on.

    A series whose data names no ids belongs to a run of one series. Steps of another size make other series.
    """
    known = run.scaler.ids
    if not _has_step_of(run, series):
        return [None] * len(series.ids)
    if len(known) == len(series.ids) == 1 and not series.form.named:
        return [known[0]]
    there = set(known)
    return [name if name in there else None for name in series.ids]


def _has_step_of(run: Trained, series: Series) -> bool:
    """Whether the times have a step of the size that those of the run's data have."""
    from qkan.datasets import step_size

    trained, found = run.data["frequency"], series.frequency
    numbers = run.data.get("step"), series.step
    if trained is None and found is None:
        return None in numbers or numbers[0] == numbers[1]
    return step_size(trained) == step_size(found)


def _in_words(frequency: str | None, number: int | None) -> str:
    return (
        f"steps of {frequency}" if frequency is not None else f"whole-number steps of {1 if number is None else number}"
    )
