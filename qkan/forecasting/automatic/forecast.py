"""The table of a search: forecasts of all series, and intervals of the errors from the rolling origins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from qkan.forecasting.automatic.lowest import lowest_forecasts
from qkan.forecasting.evaluation.calibration import add_intervals, calibrate
from qkan.forecasting.evaluation.frames import bounds, check_levels
from qkan.forecasting.evaluation.window_frame import window_frame

if TYPE_CHECKING:
    import pandas as pd

    from qkan.forecasting.automatic.trials import Search


def forecast_table(found: Search, levels: Sequence[float] = ()) -> tuple[pd.DataFrame, list[str]]:
    """Return what follows every series, and sentences about what the table lacks.

    Series that are too short to be judged repeat their last value and have no intervals.

    Args:
        found: The search.
        levels: Of split-conformal intervals, in percent.

    Returns:
        Columns ``unique_id``, ``ds``, the name of the forecast and the ends of intervals, ids as text and times as
        inside, sorted by series and time.

    Raises:
        ValueError: a level is out of range.
    """
    import pandas as pd

    levels = check_levels(levels)
    series, name, horizon = found.series, found.name, found.config.train.horizon
    future = np.repeat(series.values[series.starts[1:] - 1, None], horizon, axis=1)
    known = () if found.parts is None else found.parts.final.ids
    places = {one: place for place, one in enumerate(series.ids)}
    future[[places[one] for one in known]] = found.future if len(known) else future[:0]
    table = pd.DataFrame(
        {
            "unique_id": np.repeat(np.array(series.ids, dtype=object), horizon),
            "ds": series.all_future_times(horizon).ravel(),
            name: future.ravel(),
            "step": np.tile(np.arange(1, horizon + 1), len(series.ids)),
        }
    )
    notes = []
    short = len(series.ids) - len(known)
    if short and known:
        notes.append(f"{short:,} of {len(series.ids):,} series are too short to be judged and repeat their last value.")
    table = _with_intervals(found, table, levels)
    columns, lowest = list(table)[2:-1], np.repeat(lowest_forecasts(series, found.config.nonnegative), horizon)
    raised = table.loc[(table[columns].min(axis=1) <= lowest), "unique_id"].nunique()
    table[columns] = table[columns].clip(lower=lowest, axis=0)
    if raised and found.config.nonnegative is None:
        whose = "all values are" if len(series.ids) == 1 else f"the values of {raised:,} series are all"
        notes.append(f"No forecast and no interval reaches below 0, as {whose} counts.")
    empty = [level for level in levels if table[bounds(name, level)[0]].isna().all()]
    if empty:
        listed = " and ".join(f"{level:g} %" for level in empty)
        notes.append(f"There are too few origins for intervals of {listed}; they are left empty.")
    return table.drop(columns="step"), notes


def _with_intervals(found: Search, table: pd.DataFrame, levels: Sequence[float]) -> pd.DataFrame:
    """Add intervals that reach as far as the errors from the origins did; NaN where there were too few."""
    name, ends = found.name, [end for level in levels for end in bounds(found.name, level)]
    if found.parts is not None and levels:
        frame = window_frame(found.parts.judged, "test", {name: found.judged})
        units = dict(zip(found.parts.judged.ids, found.parts.units, strict=True))
        made, _ = calibrate(frame, (name,), levels, units)
        table = add_intervals(table, made, (name,))
    return table.assign(**{end: np.nan for end in ends if end not in table})[["unique_id", "ds", name, *ends, "step"]]
