"""Conformal intervals as a run gives them: the same for its forecasts, its report and the baselines beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from qkan.forecasting.evaluation.adaptive import WINDOW, adaptive_conformal
from qkan.forecasting.evaluation.conformal import Conformal, fewest_scores, fit_conformal
from qkan.forecasting.evaluation.frames import bounds

if TYPE_CHECKING:
    import pandas as pd

_BESIDE = " (conformal)"


def beside_name(model: str) -> str:
    """Return what a model with intervals of its own is called where conformal ones stand beside them."""
    return f"{model}{_BESIDE}"


def without_beside(models: Iterable[str]) -> list[str]:
    """Return the models whose forecasts are not those of another one of them."""
    names = list(models)
    return [name for name in names if name.removesuffix(_BESIDE) == name or name.removesuffix(_BESIDE) not in names]


def calibrate(
    validation: pd.DataFrame, models: Sequence[str], levels: Sequence[float], units: Mapping[str, float]
) -> tuple[list[Conformal], list[str]]:
    """Learn intervals from errors on the validation part, for each level by itself.

    A level takes the errors of each series alone where they are enough, and else those of all series, in ``units``.
    Series without a unit get none there.

    Args:
        validation: A cross-validation frame of the validation part; empty if there is none.
        models: Columns of it.
        levels: In percent.
        units: By series the mean seasonal change of its training part (``mase_scales``), NaN where there is none.

    Returns:
        What gives the intervals, one for every level that has any, and sentences about how they are made.
    """
    names = ", ".join(models)
    if not len(validation):
        return [], [f"{names}: no intervals, because the split has no validation part to calibrate with."]
    made, words = [], dict[str, list[str]]()
    counts = validation.groupby(["unique_id", "step"]).size()
    scaled = {name for name, unit in units.items() if unit > 0}
    known = validation[validation["unique_id"].isin(scaled)]
    pooled = known.groupby("step").size().min() if len(known) else 0
    for level in levels:
        needed = fewest_scores(level)
        if counts.min() >= needed:
            made.append(fit_conformal(validation, models=models, levels=(level,)))
            how = f"are split-conformal, from the {counts.min():,} or more errors of each series and step"
        elif pooled >= needed:
            made.append(fit_conformal(known, models=models, levels=(level,), per="pooled", scales=units))
            how = (
                "are split-conformal, from the errors of all series, in units of their mean seasonal change "
                f"({pooled:,} for each step)"
            )
            none = validation["unique_id"].nunique() - known["unique_id"].nunique()
            if none:
                how += f"; {none:,} of {len(counts.groupby(level=0)):,} series have none, as their training part "
                how += "repeats itself and gives no unit"
        else:
            words.setdefault("", []).append(f"{level:g} %")
            continue
        words.setdefault(how, []).append(f"{level:g} %")
    return made, [_sentence(names, how, own) for how, own in words.items()]


def _sentence(names: str, how: str, levels: Sequence[str]) -> str:
    listed = " and ".join(levels)
    if not how:
        return f"{names}: no intervals of {listed}, because the validation part has too few errors for them."
    return f"Intervals of {names} ({listed}) {how}, on the validation part."


def add_intervals(frame: pd.DataFrame, made: Sequence[Conformal], models: Sequence[str]) -> pd.DataFrame:
    """Return a frame of forecasts with the intervals of :func:`calibrate`.

    Where nothing was calibrated they are NaN: series without a unit, and steps beyond those of the validation part,
    whose forecasts are fed back and would need wider intervals than any that were measured.

    Args:
        frame: Columns unique_id, ds, step and the models.
        made: From :func:`calibrate`.
        models: Columns of the frame.
    """
    import pandas as pd

    for conformal in made:
        table = conformal.table
        rows = frame["step"] <= table["step"].max()
        if conformal.per == "series":
            rows &= frame["unique_id"].isin(table["unique_id"].unique())
        else:
            rows &= frame["unique_id"].isin([name for name, unit in conformal.scales.items() if unit > 0])
        given = conformal.apply(frame[rows]) if rows.any() else frame[rows]
        added = [name for name in given if name not in frame]
        frame = pd.concat([frame, given[added].reindex(frame.index)], axis=1)
    return frame


def adapt(
    calibration: pd.DataFrame,
    frame: pd.DataFrame,
    models: Sequence[str],
    levels: Sequence[float],
    *,
    whole: bool = True,
) -> tuple[pd.DataFrame, list[str]]:
    """Give adaptive intervals to forecasts; see :func:`qkan.forecasting.evaluation.adaptive.adaptive_conformal`.

    Args:
        calibration: A cross-validation frame of all earlier origins that the models were not trained on; it may be
            empty.
        frame: The forecasts; their values become known one by one.
        models: Columns of both.
        levels: In percent.
        whole: Whether a series has intervals everywhere or nowhere, as tables want it.

    Returns:
        The frame with intervals, NaN where too few errors are known yet, and a sentence about them.
    """
    names = ", ".join(models)
    if not len(calibration):
        return frame, [f"{names}: no adaptive intervals, because no errors come before the forecasts."]
    given = adaptive_conformal(calibration, frame, models=models, levels=levels)
    without = sorted(
        {
            str(name)
            for name in models
            for level in levels
            if given.loc[given[name].notna(), bounds(name, level)[0]].isna().any()
        }
    )
    for name in models if whole else ():
        for level in levels:
            ends = list(bounds(name, level))
            lacking = given[ends[0]].isna().groupby(given["unique_id"]).transform("any")
            given.loc[lacking, ends] = np.nan
    listed = " and ".join(f"{level:g} %" for level in levels)
    words = [
        f"Intervals of {names} ({listed}) are adaptive: from the last {WINDOW:,} errors of each series and step that "
        "were known when each forecast was made, with a level that follows how many values were inside."
    ]
    if without:
        words.append(f"{', '.join(without)}: no adaptive intervals where a series has too few errors before.")
    return given, words


def units_of(validation: pd.DataFrame) -> dict[str, float]:
    """Return by series what the column ``unit`` of a run's validation frame holds."""
    own = validation.groupby("unique_id")["unit"].first()
    return {str(name): float(unit) if np.isfinite(unit) else np.nan for name, unit in own.items()}
