"""What the one-step errors of a model still hold: bias and autocorrelation.

The errors of a good one-step forecast are as unpredictable as noise; what can be predicted from them is what the model
has missed. Ljung and Box (1978), Biometrika 65, 297-303.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from qkan.forecasting.evaluation.frames import check_count, check_frame, check_models, unit_of

if TYPE_CHECKING:
    import pandas as pd


def residual_diagnostics(
    frame: pd.DataFrame, *, models: Sequence[str] | None = None, lags: int | None = None, season: int = 1
) -> pd.DataFrame:
    """Test the one-step errors y - forecast of every model and series for bias and autocorrelation.

    Args:
        frame: Forecasts and values; see :mod:`qkan.forecasting.evaluation.frames`. Only rows of step 1 count; their
            origins should follow each other without gaps.
        models: Some of the models; ``None`` takes all.
        lags: Autocorrelations in the Ljung-Box test. ``None`` takes 10 or two seasons, but at most a fifth of the
            errors (Hyndman and Athanasopoulos, Forecasting: Principles and Practice, section 5.4).
        season: Period in steps, for that choice.

    Returns:
        Columns ``model``, ``unique_id``, ``n``, ``bias`` (mean error, unit of y), ``bias_p`` (two-sided t-test of mean
        zero), ``acf1`` (autocorrelation at lag 1), ``lags``, ``ljung_box``, ``p_value``. NaN where errors are fewer
        than 3 or do not vary. A p-value counts no estimated parameters off its degrees of freedom: the errors are out
        of sample.

    Raises:
        TypeError, ValueError: as :func:`check_frame`; there is no row of step 1, or lags or season is out of range.

    Examples:
        >>> import numpy as np
        >>> import pandas as pd
        >>> from qkan.forecasting.evaluation import residual_diagnostics
        >>> ds = np.arange(10, 40)
        >>> frame = pd.DataFrame({"unique_id": "a", "ds": ds, "cutoff": ds - 1, "y": np.sin(ds)})
        >>> frame = frame.assign(Naive=np.sin(ds - 1), Zero=0.0)
        >>> residual_diagnostics(frame, lags=5).shape[0]
        2
    """
    import pandas as pd

    for name, value in (("lags", lags), ("season", season)):
        if value is not None:
            check_count(name, value)
    rows = []
    for model, series, errors in _one_step_errors(frame, models):
        chosen = min(lags or max(10, 2 * season if season > 1 else 10), max(len(errors) // 5, 1))
        if lags is not None:
            chosen = min(int(lags), max(len(errors) - 1, 1))
        rows.append((model, series, len(errors), *_test(errors, chosen)))
    names = ["model", "unique_id", "n", "bias", "bias_p", "acf1", "lags", "ljung_box", "p_value"]
    return pd.DataFrame(rows, columns=names)


def _test(errors: np.ndarray, lags: int) -> tuple[float, float, float, int, float, float]:
    from scipy.stats import ttest_1samp
    from statsmodels.stats.diagnostic import acorr_ljungbox

    unit = unit_of(errors)
    errors = errors / unit
    bias = float(errors.mean())
    if len(errors) < 3 or np.ptp(errors) <= 1e-12 * np.abs(errors).max():
        return bias * unit, np.nan, np.nan, lags, np.nan, np.nan
    test = acorr_ljungbox(errors, lags=[lags])
    centred = errors - bias
    return (
        bias * unit,
        float(ttest_1samp(errors, 0.0).pvalue),
        float(centred[1:] @ centred[:-1] / (centred @ centred)),
        lags,
        float(test["lb_stat"].iloc[0]),
        float(test["lb_pvalue"].iloc[0]),
    )


def residual_acf(frame: pd.DataFrame, *, models: Sequence[str] | None = None, lags: int = 40) -> pd.DataFrame:
    """Return the autocorrelation of the one-step errors, averaged over series.

    Args:
        frame: As in :func:`residual_diagnostics`.
        models: Some of the models; ``None`` takes all.
        lags: Largest lag; less where the errors are fewer.

    Returns:
        Columns ``model``, ``lag`` (1, 2, ...), ``acf`` (mean over the series), ``band``: 1.96 / sqrt(n) with n the mean
        number of errors per series. Noise of one series is outside of it at 5 % of the lags, an average of many series
        less often.

    Raises:
        TypeError, ValueError: as :func:`residual_diagnostics`.

    Examples:
        >>> import numpy as np
        >>> import pandas as pd
        >>> from qkan.forecasting.evaluation import residual_acf
        >>> ds = np.arange(10, 40)
        >>> frame = pd.DataFrame({"unique_id": "a", "ds": ds, "cutoff": ds - 1, "y": np.sin(ds)})
        >>> frame = frame.assign(Naive=np.sin(ds - 1), Zero=0.0)
        >>> residual_acf(frame, lags=3).shape
        (6, 4)
    """
    import pandas as pd
    from statsmodels.tsa.stattools import acf

    check_count("lags", lags)
    found: dict[str, list[np.ndarray]] = {}
    for model, _, errors in _one_step_errors(frame, models):
        if len(errors) >= 3 and np.ptp(errors) > 1e-12 * np.abs(errors).max():
            found.setdefault(model, []).append(errors / unit_of(errors))
    parts = []
    for model, own in found.items():
        depth = min(int(lags), *(len(errors) - 1 for errors in own))
        mean = np.mean([acf(errors, nlags=depth, fft=True)[1:] for errors in own], axis=0)
        band = 1.96 / np.sqrt(np.mean([len(errors) for errors in own]))
        parts.append(pd.DataFrame({"model": model, "lag": np.arange(1, depth + 1), "acf": mean, "band": band}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["model", "lag", "acf", "band"])


def _one_step_errors(frame: pd.DataFrame, models: Sequence[str] | None) -> list[tuple[str, str, np.ndarray]]:
    """Return model, series and errors in the order of time; a series that the model lacks is left out."""
    checked = check_frame(frame, models)
    checked = checked[checked["step"] == 1]
    if checked.empty:
        raise ValueError("the frame has no forecast of step 1; residuals are errors one step ahead")
    groups = list(checked.groupby("unique_id", sort=True))
    found = []
    for model in check_models(checked, models):
        for series, own in groups:
            errors = (own["y"] - own[model]).to_numpy()
            if np.isfinite(errors).all():
                found.append((model, str(series), errors))
    return found
