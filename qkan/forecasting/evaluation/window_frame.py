"""From windows and forecasts to the cross-validation frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import ForecastData
    from qkan.datasets.windows import Part


def values_of(data: ForecastData) -> pd.DataFrame:
    """Return all values of the data: columns ``unique_id``, ``ds``, ``y``."""
    return data.series.frame[["unique_id", "ds", "y"]]


def window_frame(data: ForecastData, part: Part, forecasts: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return the cross-validation frame of one part; the cutoff is the last time that a window shows.

    Targets that nobody observed are left out.

    Args:
        data: The windows.
        part: The part whose targets were forecast.
        forecasts: By model, original units, (N, horizon): one row per window of the part.
    """
    frame = _keys(data, part).assign(
        y=data.target_values(part).ravel(), **{name: np.asarray(values).ravel() for name, values in forecasts.items()}
    )
    return frame[data.target_observed(part).ravel()].reset_index(drop=True)


def _keys(data: ForecastData, part: Part) -> pd.DataFrame:
    import pandas as pd

    rows = data.target_rows(part)
    return pd.DataFrame(
        {
            "unique_id": np.repeat(np.array(data.ids, dtype=object)[data.part(part).series], data.horizon),
            "ds": data.target_times(part).ravel(),
            "cutoff": np.repeat(data.series.times_at(rows[:, 0] - 1), data.horizon),
            "step": np.tile(np.arange(1, data.horizon + 1, dtype=np.int64), len(rows)),
        }
    )
