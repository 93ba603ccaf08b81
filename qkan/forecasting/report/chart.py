"""The numbers behind the forecasts that a page lets its reader zoom and hover, small enough to travel inside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qkan.forecasting.evaluation.frames import bounds, interval_levels
from qkan.forecasting.report.page_plots import clean

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import Series

MOST_SERIES = 24
"""Series that a reader can choose from."""
_MOST_NUMBERS = 40_000  # of all series together, about 300 kB: a whole page has less than 1 MB
_MOST_COMING = 12_000  # the same of what comes next
_MOST_STEPS = 2_000  # of one series
_LEAST_STEPS = 120
_DIGITS = 4  # of the range of a series: finer than a screen


def choose_series(per_series: pd.DataFrame, reference: str) -> list[str]:
    """Return the series to show, in the order of the data; of many some from that with the smallest error to the
    largest.

    Args:
        per_series: ``Accuracy.per_series``.
        reference: The model whose errors they are, in units of the seasonal change where every series has one.
    """
    names = [str(name) for name in dict.fromkeys(per_series["unique_id"])]
    if len(names) <= MOST_SERIES:
        return names
    own = per_series[per_series["model"] == reference]
    if not len(own):
        return names[:MOST_SERIES]
    ordered = own.sort_values("mase" if own["mase"].notna().all() else "mae", kind="stable")["unique_id"].astype(str)
    places = np.unique(np.linspace(0, len(ordered) - 1, MOST_SERIES).round().astype(int))
    kept = set(ordered.iloc[places])
    return [name for name in names if name in kept]


def judged_chart(frame: pd.DataFrame, series: Sequence[str], models: Sequence[str], unit: str) -> dict[str, Any]:
    """Return what was forecast and what came of it, for ``report.js``.

    Args:
        frame: A checked cross-validation frame.
        series: The series to show.
        models: The models to show; the intervals are those of the first.
        unit: Unit of the values.
    """
    columns = 1 + len(models) + 2 * len(interval_levels(frame, models[0]))
    most = int(np.clip(_MOST_NUMBERS // (columns * max(len(series), 1)), _LEAST_STEPS, _MOST_STEPS))
    parts = []
    for name in series:
        own = without_overlap(frame[frame["unique_id"] == name], most).tail(most)
        parts.append(_part(name, own["ds"], own["y"], {model: own[model] for model in models}, _bands(own, models[0])))
    return {"unit": clean(unit or "value"), "models": [clean(model) for model in models], "series": parts}


def history_of(series: Series) -> pd.DataFrame:
    """Return columns unique_id, ds, y of what was observed; values that were filled are NaN."""
    frame = series.frame
    return frame if series.observed is None else frame.assign(y=frame["y"].where(series.observed))


def coming_chart(
    history: pd.DataFrame, coming: pd.DataFrame, series: Sequence[str], model: str, unit: str
) -> dict[str, Any]:
    """Return the end of the known values and the forecast of what comes next, for ``report.js``.

    Args:
        history: Columns unique_id, ds, y.
        coming: Columns unique_id, ds, ``model`` and the ends of its intervals.
        series: The series to show.
        model: What forecasts.
        unit: Unit of the values.
    """
    import pandas as pd

    parts = []
    for name in series:
        ahead = coming[coming["unique_id"].astype(str) == name]
        columns = 2 + 2 * len(interval_levels(ahead, model))
        most = int(np.clip(4 * len(ahead), _LEAST_STEPS, max(_MOST_COMING // (columns * len(series)), _LEAST_STEPS)))
        known = history[history["unique_id"].astype(str) == name].tail(most)
        times = pd.concat([known["ds"], ahead["ds"]], ignore_index=True)
        before, after = np.full(len(known), np.nan), np.full(len(ahead), np.nan)
        before[-1:] = known["y"].to_numpy()[-1:]  # so that the line of the forecast begins at the last value
        bands = [
            {"level": band["level"], "low": np.append(before, band["low"]), "high": np.append(before, band["high"])}
            for band in _bands(ahead, model)
        ]
        y = np.append(known["y"].to_numpy(), after)
        parts.append(_part(name, times, y, {model: np.append(before, ahead[model].to_numpy())}, bands))
    return {"unit": clean(unit or "value"), "models": [clean(model)], "series": parts}


def without_overlap(own: pd.DataFrame, steps: int) -> pd.DataFrame:
    """Return about the last ``steps`` rows of one series in the order of time, one forecast for every time at most.

    With several steps ahead, origins are taken so that their forecasts follow each other.
    """
    spans = own.groupby("cutoff", sort=True)["ds"].agg(["min", "max", "size"])
    kept: list[object] = []
    begin, count = None, 0
    for cutoff, first, last, size in reversed(list(spans.itertuples(name=None))):
        if begin is None or last < begin:
            kept.append(cutoff)
            begin, count = first, count + size
        if count >= steps:
            break
    return own[own["cutoff"].isin(kept)].reset_index(drop=True)


def _bands(own: pd.DataFrame, model: str) -> list[dict[str, Any]]:
    """The intervals of a model that has some, the widest first."""
    found = []
    for level in reversed(interval_levels(own, model)):
        low, high = (own[name].to_numpy(np.float64) for name in bounds(model, level))
        if np.isfinite(low).any():
            found.append({"level": f"{level:g}", "low": low, "high": high})
    return found


def _part(
    name: str, times: pd.Series, y: Any, models: Mapping[str, Any], bands: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    lines = {clean(model): np.asarray(own, dtype=np.float64) for model, own in models.items()}
    lines = {model: own for model, own in lines.items() if np.isfinite(own).any()}
    values = np.asarray(y, dtype=np.float64)
    digits = _decimals([values, *lines.values()])
    return {
        "name": clean(name),
        **_times(times),
        "y": _numbers(values, digits),
        "models": {model: _numbers(own, digits) for model, own in lines.items()},
        "bands": [
            {"level": band["level"], **{end: _numbers(band[end], digits) for end in ("low", "high")}} for band in bands
        ],
    }


def _times(times: pd.Series) -> dict[str, Any]:
    """Times as seconds since 1970, or as steps; only the first and the distance where they are even."""
    dated = np.issubdtype(times.dtype, np.datetime64)
    whole = times.to_numpy().astype("datetime64[us]" if dated else np.int64).astype(np.int64)
    size = 1_000_000 if dated else 1

    def told(value: int) -> float | int:
        return value / size if value % size else value // size

    apart = np.unique(np.diff(whole)).tolist()
    even = {"begin": told(int(whole[0])), "apart": told(apart[0])} if len(apart) == 1 else None
    return {"dated": bool(dated), "count": len(whole), **(even or {"at": [told(value) for value in whole.tolist()]})}


def _decimals(values: Sequence[np.ndarray]) -> int:
    """How many decimals tell values apart on a screen."""
    known = np.concatenate([own[np.isfinite(own)] for own in values])
    spread = float(np.ptp(known)) if len(known) else 0.0
    spread = spread or float(np.abs(known).max(initial=0.0)) or 1.0
    return max(-290, min(290, _DIGITS - math.floor(math.log10(spread))))


def _numbers(values: np.ndarray, decimals: int) -> list[float | int | None]:
    rounded = [round(float(value), decimals) if np.isfinite(value) else None for value in values]
    return [int(value) if value is not None and decimals <= 0 and abs(value) < 2**53 else value for value in rounded]
