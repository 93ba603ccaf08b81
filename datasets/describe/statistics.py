"""Numbers that describe a series before anything is trained on it."""

from __future__ import annotations

import numpy as np

from qkan.datasets.errors import DataError
from qkan.datasets.series import Series
from qkan.datasets.windows import SplitFractions


def autocorrelation(series: Series, lag: int) -> float | None:
    """Sample autocorrelation at ``lag`` steps, averaged over the single series.

    Args:
        series: the data.
        lag: at least 1.

    Returns:
        a number in [-1, 1]; None if every series is constant or not longer than ``lag``.

    Raises:
        DataError: ``lag`` is below 1.

    Examples:
        >>> from qkan.datasets import autocorrelation, load_series
        >>> round(autocorrelation(load_series("telecom"), 169), 1)
        0.9
    """
    _check_lag(lag)
    found = []
    for index in range(len(series.ids)):
        values = series.values_of(index)
        deviation = values - values.mean()
        power = deviation @ deviation
        if len(values) > lag and power > 0:
            found.append(deviation[lag:] @ deviation[:-lag] / power)
    return float(np.mean(found)) if found else None


def naive_test_mae(series: Series, lag: int = 1, split: SplitFractions | None = None) -> float | None:
    """Mean absolute error, on the test parts, of the forecast "as ``lag`` steps before".

    A lag of 1 is the naive forecast of the next step, a season the seasonal naive one. Errors of all series are pooled;
    values that were filled are not forecast.

    Args:
        series: the data.
        lag: at least 1.
        split: shares of the parts, 70 / 10 / 20 % by default.

    Returns:
        the error in the unit of the series; None if a test part is empty or starts before ``lag`` values are known.

    Raises:
        DataError: ``lag`` is below 1.

    Examples:
        >>> from qkan.datasets import load_series, naive_test_mae
        >>> round(naive_test_mae(load_series("telecom")), 2)
        15.42
    """
    _check_lag(lag)
    split = SplitFractions() if split is None else split
    errors = []
    for index in range(len(series.ids)):
        values = series.values_of(index)
        _, begin = split.boundaries(len(values))
        if begin < lag or begin == len(values):
            return None
        own = np.abs(values[begin:] - values[begin - lag : len(values) - lag])
        if series.observed is not None:
            own = own[series.observed[series.starts[index] + begin : series.starts[index + 1]]]
        errors.append(own)
    pooled = np.concatenate(errors)
    return float(pooled.mean()) if len(pooled) else None


def _check_lag(lag: int) -> None:
    if lag < 1:
        raise DataError(f"lag is {lag}; it must be at least 1 step")
