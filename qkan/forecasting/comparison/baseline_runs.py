"""The baselines of a comparison: fitted in every fold, scored on the targets of the cells, and kept."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qkan.forecasting.baselines import PLAIN, Fitting, fit_baselines
from qkan.forecasting.baselines.tables import forecast_part
from qkan.forecasting.comparison.panel_scores import panel_scores
from qkan.forecasting.comparison.significance import origin_losses, read_losses, squares, write_losses
from qkan.forecasting.config import BASELINE_NAMES
from qkan.forecasting.evaluation.metrics import score
from qkan.forecasting.evaluation.protocols import official_scores
from qkan.forecasting.executors import worker_count
from qkan.forecasting.io.files import RunError, read_json, write_json

if TYPE_CHECKING:
    from qkan.datasets import ForecastData
    from qkan.forecasting.baselines import Baseline
    from qkan.forecasting.config import CompareConfig
    from qkan.forecasting.training.progress import CompareProgress

BASELINES, LOSSES = "baselines.json", "losses"
"""Where a comparison keeps the scores of its baselines, and the losses of all forecasts."""


def run_baselines(
    out: Path, config: CompareConfig, folds: Sequence[ForecastData], progress: CompareProgress
) -> list[dict[str, Any]]:
    """Return one record for every fold and baseline that was asked for; those that are in the folder are not fitted.

    Args:
        out: Folder of the comparison.
        config: What is compared.
        folds: The data.
        progress: Told about every fit.

    Returns:
        Dictionaries of ``fold`` and ``asked``, and of ``rows``: for each baseline that this gave, its ``model``,
        metrics by name, ``parameters``, ``seconds``, ``predict_seconds``, ``choices`` and ``failures``; ``reason`` says
        why there are none, and is empty where there are.
    """
    names = tuple(dict.fromkeys((*PLAIN, *config.baselines)))
    done = {(one["fold"], one["asked"]): one for one in _kept(out)}
    reasons: dict[str, str] = {}
    fitting = Fitting(config.trials, worker_count(config.workers), progress.baseline, left_out=reasons.__setitem__)
    found = []
    for fold, data in enumerate(folds, start=1):
        for asked in names:
            if (fold, asked) not in done:
                reasons.clear()
                fitted = fit_baselines(data, (asked,), fitting)
                rows = [_row(out, data, fold, own, config) for own in fitted]
                done[fold, asked] = {"fold": fold, "asked": asked, "rows": rows, "reason": reasons.get(asked, "")}
                write_json(out / BASELINES, {"baselines": list(done.values())})
            found.append(done[fold, asked])
    return found


def left_out(baselines: Sequence[Mapping[str, Any]], folds: int) -> list[str]:
    """Say which baselines are missing, in which folds, and why; see :func:`run_baselines`."""
    found: dict[tuple[str, str], list[int]] = {}
    for one in baselines:
        if not one["rows"]:
            found.setdefault((BASELINE_NAMES[one["asked"]], one["reason"]), []).append(one["fold"])
    where = [f" in fold {', '.join(map(str, own))}" if len(own) < folds else "" for own in found.values()]
    return [f"{name}{place}: {reason}" for (name, reason), place in zip(found, where, strict=True)]


def losses_path(out: Path, fold: int, model: str) -> Path:
    """Return where the losses of a run or a baseline are kept."""
    return out / LOSSES / f"fold{fold}-{model}.npy"


def losses_of(out: Path, fold: int, model: str) -> np.ndarray | None:
    """Return the losses of a run or a baseline; ``None`` if it has none."""
    return read_losses(losses_path(out, fold, model))


def _kept(out: Path) -> list[dict[str, Any]]:
    if not (out / BASELINES).exists():
        return []
    kept = read_json(out / BASELINES).get("baselines")
    whole = isinstance(kept, list) and all(
        isinstance(one, dict)
        and {"fold", "asked", "rows", "reason"} <= set(one)
        and all(isinstance(row, dict) and {"model", "scores", "failures"} <= set(row) for row in one["rows"])
        for one in kept
    )
    if not whole:
        raise RunError(f"{out / BASELINES} holds no baselines; delete it to fit them again")
    return list(kept or [])


def _row(out: Path, data: ForecastData, fold: int, baseline: Baseline, config: CompareConfig) -> dict[str, Any]:
    whole = data.with_validation_horizon(data.horizon)
    validation = forecast_part(baseline, whole, "validation").mean
    begin = time.perf_counter()
    test = forecast_part(baseline, data, "test").mean
    seconds = time.perf_counter() - begin
    scores: dict[str, Any] = dict(score(data, {baseline.name: test})[baseline.name])
    scores |= official_scores(config.protocol, data, {baseline.name: test}).get(baseline.name, {})
    if len(data.ids) > 1:
        scores |= panel_scores(whole, {baseline.name: (validation, test)})[baseline.name]
    write_losses(losses_path(out, fold, baseline.name), origin_losses(data, test, squared=squares(config)))
    return {
        "model": baseline.name,
        "scores": {name: None if value is None or np.isnan(value) else float(value) for name, value in scores.items()},
        "parameters": baseline.parameters,
        "seconds": round(baseline.seconds, 3),
        "predict_seconds": round(seconds, 6),
        "choices": baseline.choices,
        "failures": baseline.failures,
    }
