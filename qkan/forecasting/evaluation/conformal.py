"""Prediction intervals from past errors, whatever the model.

Split-conformal: Papadopoulos et al. (2002); Lei et al. (2018), J. American Statistical Association 113, section 2.2.
Conformalised quantile regression: Romano, Patterson and Candes (2019), NeurIPS, eq. 7. If the calibration errors and
the new one are exchangeable, an interval of level L covers with a probability of at least L percent, and at most 1 / (n
+ 1) more if no two errors are equal. Errors of time series are not exchangeable: where the future differs from the
calibration part, so does the coverage, and only measured coverage tells.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from qkan.forecasting.evaluation.frames import (
    bounds,
    check_frame,
    check_levels,
    check_models,
    interval_levels,
    model_columns,
    require_columns,
)

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["absolute", "quantile"]
Per = Literal["series", "pooled"]


def conformal_rank(count: int, level: float) -> int:
    """Return which of ``count`` sorted scores bounds the next one: ceil((count + 1) level / 100), counted from 1.

    A result above ``count`` means that there are too few scores for the level.
    """
    return math.ceil(round((count + 1) * level / 100, 9))  # 100 * 0.9 must not become 91 by rounding


def fewest_scores(level: float) -> int:
    """Return the smallest number of scores that gives a finite interval of a level in percent: 9 for 90 %."""
    return math.ceil(round(level / (100 - level), 9))


@dataclass(frozen=True, eq=False)
class Conformal:
    """How far intervals reach, learnt from calibration errors; made by :func:`fit_conformal`.

    Attributes:
        table: Columns model, level, step, radius, n (scores), and, per series, ``unique_id``. Absolute radii reach from
            the point forecast, quantile radii from the ends of the model's own interval (below 0 they narrow it).
        kind: ``"absolute"`` or ``"quantile"``.
        per: ``"series"``, or ``"pooled"``: one radius for all series, in units of ``scales``.
        scales: Unit of every series' errors if pooled; empty otherwise.

    Examples:
        >>> import numpy as np
        >>> import pandas as pd
        >>> from qkan.forecasting.evaluation import fit_conformal
        >>> ds = np.arange(10, 40)
        >>> frame = pd.DataFrame({"unique_id": "a", "ds": ds, "cutoff": ds - 1, "y": np.sin(ds)})
        >>> frame = frame.assign(Naive=np.sin(ds - 1), Zero=0.0)
        >>> fit_conformal(frame, levels=(90,)).table.columns.tolist()
        ['unique_id', 'step', 'radius', 'n', 'model', 'level']
    """

    table: pd.DataFrame
    kind: Kind
    per: Per
    scales: Mapping[str, float]

    def apply(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return a copy of the frame with intervals for the models and levels that were calibrated.

        Existing interval columns of these levels are replaced (they are what ``"quantile"`` starts from).

        Args:
            frame: Forecasts: ``unique_id``, ``ds``, the calibrated models (and their interval columns for
                ``"quantile"``), and ``cutoff`` unless there is one origin per series; ``y`` is not looked at. A column
                ``step`` as in :mod:`qkan.forecasting.evaluation.frames`.

        Raises:
            ValueError: a column is missing, or a series or a step was not calibrated.
        """
        require_columns(frame, ("unique_id", "ds"))
        result = frame.copy()
        steps = _steps_of(result)
        series = result["unique_id"].astype(str).to_numpy()
        for (model, level), table in self.table.groupby(["model", "level"], sort=False):
            low, high = bounds(model, level)
            require_columns(result, (model,) if self.kind == "absolute" else (model, low, high))
            radius = self._radii(table, series, steps, result[model].notna().to_numpy())
            ends = (result[model], result[model]) if self.kind == "absolute" else (result[low], result[high])
            below, above = ends[0] - radius, ends[1] + radius
            if self.kind == "quantile":  # a narrowed interval may turn inside out: then it is its middle
                middle, crossed = (below + above) / 2, below > above
                below, above = below.mask(crossed, middle), above.mask(crossed, middle)
            result[low], result[high] = below, above
        return result

    def _radii(self, table: pd.DataFrame, series: np.ndarray, steps: np.ndarray, needed: np.ndarray) -> np.ndarray:
        import pandas as pd

        keys = ["unique_id", "step"] if self.per == "series" else ["step"]
        rows = pd.DataFrame({"unique_id": series, "step": steps})
        radius = rows.merge(table[[*keys, "radius"]], on=keys, how="left", validate="many_to_one")["radius"].to_numpy()
        if self.per == "pooled":
            radius = radius * rows["unique_id"].map(dict(self.scales)).to_numpy(np.float64, na_value=np.nan)
        unknown = np.flatnonzero(np.isnan(radius) & needed)
        if unknown.size:
            row = rows.iloc[int(unknown[0])]
            raise ValueError(
                f"there was no calibration error of series {row['unique_id']!r} at step {row['step']}; calibrate on "
                "the same series and horizon"
            )
        return radius


def fit_conformal(
    calibration: pd.DataFrame,
    *,
    models: Sequence[str] | None = None,
    levels: Iterable[float] = (80, 90),
    kind: Kind = "absolute",
    per: Per = "series",
    scales: Mapping[str, float] | None = None,
) -> Conformal:
    """Learn from calibration errors how far intervals must reach, for every step ahead.

    The radius is the k-th smallest of n scores, k = ceil((n + 1) level / 100). Scores are |y - forecast|
    (``kind="absolute"``) or max(low - y, y - high) of the model's own interval of that level (``"quantile"``).

    Args:
        calibration: A cross-validation frame whose values the models were not trained on.
        models: Some of the models; ``None`` takes all (that have intervals, for ``"quantile"``). A model that lacks a
            series gets no interval there.
        levels: Levels in percent.
        kind: ``"absolute"`` or ``"quantile"``.
        per: ``"series"`` takes the errors of each series by themselves, ``"pooled"`` those of all series in units of
            ``scales``: for series too short to have enough errors.
        scales: Unit of the errors of every series, for ``"pooled"``; ``None`` takes 1 for all. Take it from the
            training part (``mase_scales``), because a scale from the calibration errors would use them twice.

    Raises:
        TypeError, ValueError: as :func:`check_frame`; kind or per is unknown, a scale is missing or not above 0, a
            model has no interval of a level, or there are too few errors for a level.

    Examples:
        >>> import numpy as np
        >>> import pandas as pd
        >>> from qkan.forecasting.evaluation import fit_conformal
        >>> ds = np.arange(10, 40)
        >>> frame = pd.DataFrame({"unique_id": "a", "ds": ds, "cutoff": ds - 1, "y": np.sin(ds)})
        >>> frame = frame.assign(Naive=np.sin(ds - 1), Zero=0.0)
        >>> intervals = fit_conformal(frame[:20], levels=(80,))
        >>> list(intervals.apply(frame[20:]).columns)[-4:]
        ['Naive-lo-80', 'Naive-hi-80', 'Zero-lo-80', 'Zero-hi-80']
    """
    import pandas as pd

    for name, value, allowed in (("kind", kind, ("absolute", "quantile")), ("per", per, ("series", "pooled"))):
        if value not in allowed:
            raise ValueError(f"unknown {name} {value!r}; choose one of {', '.join(allowed)}")
    wanted = check_levels(levels)
    if not wanted:
        raise ValueError("levels is empty; give at least one level in percent, such as 90")
    checked = check_frame(calibration, models)
    names = check_models(checked, models)
    if models is None and kind == "quantile":
        names = tuple(name for name in model_columns(checked) if interval_levels(checked, name))
    unit = _units(checked, per, scales)
    tables = [
        _radii_of(checked, _scores(checked, name, level, kind) / unit, name, level, per)
        for name in names
        for level in wanted
    ]
    if not tables:
        raise ValueError("no model of the calibration frame has an interval; use kind='absolute' for point forecasts")
    kept = dict(zip(checked["unique_id"], unit, strict=True)) if per == "pooled" else {}
    return Conformal(pd.concat(tables, ignore_index=True), kind, per, kept)


def _units(frame: pd.DataFrame, per: Per, scales: Mapping[str, float] | None) -> np.ndarray:
    if per == "series" or scales is None:
        return np.ones(len(frame))
    unit = frame["unique_id"].map(dict(scales)).to_numpy(np.float64, na_value=np.nan)
    bad = np.flatnonzero(~((unit > 0) & np.isfinite(unit)))
    if bad.size:
        name = frame["unique_id"].iloc[int(bad[0])]
        raise ValueError(f"series {name!r} has no scale above 0 ({unit[bad[0]]}); give one for every series")
    return unit


def _scores(frame: pd.DataFrame, model: str, level: float, kind: Kind) -> np.ndarray:
    y = frame["y"].to_numpy()
    if kind == "absolute":
        return np.abs(y - frame[model].to_numpy())
    names = bounds(model, level)
    missing = [name for name in names if name not in frame]
    if missing:
        raise ValueError(
            f"the calibration frame has no column {missing[0]!r}; kind='quantile' starts from intervals of that level"
        )
    low, high = (frame[name].to_numpy() for name in names)
    return np.maximum(low - y, y - high)


def _radii_of(frame: pd.DataFrame, scores: np.ndarray, model: str, level: float, per: Per) -> pd.DataFrame:
    """Return one row for every step (and series) with the score that bounds ``level`` percent of the next ones."""
    import pandas as pd

    keys = ["unique_id", "step"] if per == "series" else ["step"]
    table = frame[keys].assign(radius=scores)
    table = table[table["radius"].notna()].sort_values([*keys, "radius"], ignore_index=True)
    sizes = table.groupby(keys, sort=True).size()
    few = sizes[sizes < fewest_scores(level)]
    if len(few):
        where = few.index[0]
        place = f"series {where[0]!r}, step {where[1]}" if per == "series" else f"step {where}"
        more = "calibrate on more origins" + (", pool the series (per='pooled')" if per == "series" else "")
        raise ValueError(
            f"level {level:g} needs at least {fewest_scores(level)} calibration errors, {model} has {few.iloc[0]} of "
            f"{place}; {more} or lower the level"
        )
    counts = sizes.to_numpy()
    ranks = np.array([conformal_rank(int(count), level) for count in counts], dtype=np.int64)
    rows = np.cumsum(counts) - counts + ranks - 1
    kept = table.iloc[rows].reset_index(drop=True)
    return pd.concat([kept.assign(n=counts), pd.DataFrame({"model": [model] * len(kept), "level": level})], axis=1)


def _steps_of(frame: pd.DataFrame) -> np.ndarray:
    """Return the step of every row of a frame of forecasts, which need not be sorted."""
    if "step" in frame:
        return frame["step"].to_numpy()
    keys = ["unique_id", "cutoff"] if "cutoff" in frame else ["unique_id"]
    return frame.groupby(keys)["ds"].rank(method="first").to_numpy().astype(np.int64)
