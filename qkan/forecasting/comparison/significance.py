"""Is a cell better than the best baseline by more than chance?

The test is that of Diebold and Mariano, over the origins of all folds in the order of time. The loss of a cell at an
origin is the mean over its seeds, so it is that of a typical training and not of a lucky one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from qkan.forecasting.evaluation.metrics import mase_scale
from qkan.forecasting.evaluation.model_tests import diebold_mariano
from qkan.forecasting.io.files import RunError, make_folder, write_atomic

if TYPE_CHECKING:
    from qkan.datasets import ForecastData
    from qkan.forecasting.config import DataAndTrainingOptions
    from qkan.forecasting.runs.run import Run

LEVEL = 0.05
"""Below this p-value a difference counts as more than chance."""


class Verdict(NamedTuple):
    """How a model stands to a baseline.

    Args:
        word: ``better``, ``level`` or ``worse``.
        p_value: Two-sided; NaN where there is no test.
    """

    word: str
    p_value: float


def squares(config: DataAndTrainingOptions) -> bool:
    """Return whether forecasts are tested by their squared errors: by the absolute ones unless asked otherwise."""
    return config.judged_by in ("mse", "rmse")


def origin_losses(data: ForecastData, forecasts: np.ndarray, *, squared: bool = False) -> np.ndarray | None:
    """Return the absolute or squared error of every moment of the test part: a mean over its steps and its series.

    Errors of several series are in units of their mean seasonal change, as in MASE, so that large ones do not decide
    alone; series without one are left out.

    Args:
        data: The windows.
        forecasts: Original units, (N, horizon).
        squared: Whether errors are squared.

    Returns:
        float64 (moments,), in the order of time; ``None`` if a forecast is missing, or so far off that its loss is no
        number.
    """
    seen, series = data.target_observed("test"), data.test.series
    scales = mase_scale(data) if len(data.ids) > 1 else np.ones(1)
    scales = np.ones(len(scales)) if np.isnan(scales).all() else scales
    with np.errstate(over="ignore"):
        errors = np.abs(forecasts - data.target_values("test")) / scales[series][:, None]
        errors = np.where(seen, np.square(errors) if squared else errors, 0.0)
        mean = errors.sum(axis=1) / seen.sum(axis=1)
    kept = np.isfinite(scales[series])
    if np.isnan(forecasts).any() or not np.isfinite(mean[kept]).all():
        return None
    cutoffs = data.series.times_at(data.target_rows("test")[kept, 0] - 1)
    moments, place = np.unique(cutoffs, return_inverse=True)
    sums = np.bincount(place, mean[kept], len(moments))
    return sums / np.bincount(place, minlength=len(moments))


def verdict_of(own: Sequence[np.ndarray], others: Sequence[np.ndarray], horizon: int) -> Verdict | None:
    """Compare the losses of a model with those of a baseline, fold by fold; ``None`` where too few origins tell."""
    differences = np.concatenate(own) - np.concatenate(others)
    test = diebold_mariano(differences, horizon=horizon)
    if np.isnan(test.p_value) and differences.any():
        return None
    if not test.p_value < LEVEL:
        return Verdict("level", test.p_value)
    return Verdict("better" if test.difference < 0 else "worse", test.p_value)


def write_losses(path: Path, losses: np.ndarray | None) -> None:
    """Keep the losses of a run or a baseline; without any, those of an earlier comparison go."""
    if losses is None:
        path.unlink(missing_ok=True)
        return
    make_folder(path.parent)
    write_atomic(path, lambda file: np.save(file, losses, allow_pickle=False))


def read_losses(path: Path) -> np.ndarray | None:
    """Return what :func:`write_losses` kept; ``None`` if there is no file.

    Raises:
        RunError: the file holds something else.
    """
    if not path.exists():
        return None
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RunError(f"cannot read {path}: {error}; delete it to compute it again") from error
    if not isinstance(found, np.ndarray) or found.ndim != 1 or found.dtype != np.float64:
        raise RunError(f"{path} holds no losses; delete it to compute them again")
    return found


def simple_verdicts(
    runs: Sequence[Run], names: Sequence[str], data: Any = None, new_series: str = "refuse"
) -> list[str]:
    """Say, for each of some runs on the same test part, which simple method would have done as well.

    Args:
        runs: Loaded runs.
        names: What they are called.
        data, new_series: As of :func:`qkan.forecasting.evaluate`.
    """
    from qkan.forecasting.baselines.registry import PLAIN, fit_baselines
    from qkan.forecasting.baselines.tables import forecast_part
    from qkan.forecasting.runs.evaluation import forecast_windows
    from qkan.forecasting.runs.inference import windows_for

    windows = windows_for(runs[0], data, new_series=new_series)
    squared = squares(runs[0].config)
    losses = {
        own.name: origin_losses(windows, forecast_part(own, windows).mean, squared=squared)
        for own in fit_baselines(windows, PLAIN)
    }
    whole = {name: found for name, found in losses.items() if found is not None}
    if not whole:
        return []
    best = min(whole, key=lambda name: float(whole[name].mean()))
    lines = []
    for run, name in zip(runs, names, strict=True):
        forecasts = forecast_windows(run.model, windows_for(run, data, new_series=new_series))
        own = origin_losses(windows, forecasts, squared=squared)
        if own is not None:
            verdict = verdict_of([own], [whole[best]], windows.horizon)
            lines.append(
                in_words(verdict, name, best)
                if verdict is not None
                else f"{name} could not be tested against {best}, the best simple method: too few origins."
            )
    return lines


def in_words(verdict: Verdict, name: str, simple: str) -> str:
    """Say whether a simple method would have done as well as a model."""
    test = "" if np.isnan(verdict.p_value) else f" (Diebold-Mariano, p = {verdict.p_value:.2g})"
    if verdict.word == "better":
        return f"No simple method would have done as well as {name}; {simple} comes closest{test}."
    if verdict.word == "worse":
        return f"{simple} would have done better than {name}{test}."
    return f"{simple} would have done as well as {name}: the difference is no more than chance{test}."
