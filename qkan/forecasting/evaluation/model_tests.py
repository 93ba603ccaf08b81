"""Is one forecast better than another by more than chance? Tests of Diebold and Mariano.

Diebold and Mariano (1995), J. Business and Economic Statistics 13, 253-263; the correction for small samples is that of
Harvey, Leybourne and Newbold (1997), Int. J. Forecasting 13, 281-291; the variance that of Newey and West (1987),
Econometrica 55, 703-708; many comparisons are corrected by Holm (1979), Scand. J. Statistics 6, 65-70.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from qkan.forecasting.evaluation.frames import check_count, check_frame, check_models, unit_of

if TYPE_CHECKING:
    import pandas as pd

Loss = Literal["absolute", "squared"]
LOSSES: tuple[Loss, ...] = ("absolute", "squared")
POOLED = "(all series)"
"""What stands in column ``unique_id`` for the test of the average over series."""


@dataclass(frozen=True)
class DieboldMariano:
    """One test of equal accuracy; NaN where the differences do not vary or are too few.

    Attributes:
        difference: Mean of the loss differences: below 0 where the first forecast is better.
        statistic: The corrected statistic, compared with Student's t of n - 1 degrees of freedom.
        p_value: Two-sided.
        n: Number of differences.
        bandwidth: Autocovariances that count, with the weights of Bartlett.

    Examples:
        >>> from qkan.forecasting.evaluation import diebold_mariano
        >>> found = diebold_mariano([0.2, -0.1, 0.4, 0.1, 0.3, -0.2, 0.2, 0.1])
        >>> found.n, found.difference > 0
        (8, True)
    """

    difference: float
    statistic: float
    p_value: float
    n: int
    bandwidth: int


def diebold_mariano(
    differences: npt.ArrayLike, *, horizon: int = 1, bandwidth: int | Literal["auto"] | None = None
) -> DieboldMariano:
    """Test whether loss differences have mean zero.

    With d_t the differences, g_k their autocovariance at lag k (divisor n) and M the bandwidth, the variance of the
    mean is V = (g_0 + 2 sum_(k=1)^M (1 - k / (M + 1)) g_k) / n and the statistic is
    sqrt((n + 1 - 2 h + h (h - 1) / n) / n) mean(d) / sqrt(V).

    Args:
        differences: Loss of the first forecast less that of the second, origin by origin in the order of time, (n,).
        horizon: Steps ahead, h: h - 1 is how far errors of origins one step apart overlap.
        bandwidth: M; ``None`` means h - 1, ``"auto"`` the larger of that and floor(4 (n / 100)^(2/9)), the rule of
            Newey and West (1994).

    Returns:
        The test; its statistic and p-value are NaN if n is not above the horizon and at least 2, or if all
        differences are equal (up to rounding).

    Raises:
        ValueError: the differences are not one finite row, or horizon or bandwidth is out of range.

    Examples:
        >>> import numpy as np
        >>> from qkan.forecasting.evaluation import diebold_mariano
        >>> differences = np.random.default_rng(0).normal(0.5, 1.0, 200)  # errors of one model less those of another
        >>> diebold_mariano(differences).p_value < 0.01
        True
    """
    from scipy.stats import t as student

    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"differences must be one row of numbers, got shape {values.shape}; test one series at a time")
    if not np.isfinite(values).all():
        place = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"difference {place} is {values[place]}, and all must be finite; drop what is missing")
    check_count("horizon", horizon)
    n = len(values)
    lags = _bandwidth(bandwidth, int(horizon), n)
    unit = unit_of(values)
    values = values / unit  # the test does not depend on it, and squares neither overflow nor vanish
    mean = float(values.mean()) if n else math.nan
    undefined = DieboldMariano(mean * unit, math.nan, math.nan, n, lags)
    if n < 2 or n <= horizon:
        return undefined
    centred = values - mean
    variance = float(centred @ centred)
    if variance <= (1e-12 * float(np.abs(values).max())) ** 2 * n:
        return undefined
    for lag in range(1, min(lags, n - 1) + 1):
        variance += 2 * (1 - lag / (lags + 1)) * float(centred[lag:] @ centred[:-lag])
    variance /= n * n
    if variance <= 0:  # Bartlett's weights forbid it, rounding does not
        return undefined
    correction = (n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n
    statistic = math.sqrt(correction) * mean / math.sqrt(variance)
    return DieboldMariano(mean * unit, statistic, float(2 * student.sf(abs(statistic), n - 1)), n, lags)


def _bandwidth(bandwidth: int | Literal["auto"] | None, horizon: int, n: int) -> int:
    if bandwidth is None:
        return horizon - 1
    if bandwidth == "auto":
        return max(horizon - 1, math.floor(4 * (n / 100) ** (2 / 9)))
    if isinstance(bandwidth, bool) or not isinstance(bandwidth, int | np.integer) or bandwidth < 0:
        raise ValueError(f"bandwidth must be a whole number of at least 0, 'auto' or None, got {bandwidth!r}")
    return int(bandwidth)


def compare_models(
    frame: pd.DataFrame,
    reference: str,
    *,
    models: Sequence[str] | None = None,
    loss: Loss = "absolute",
    step: int | None = None,
    scales: Mapping[str, float] | None = None,
    bandwidth: int | Literal["auto"] | None = None,
    per_series: bool = False,
) -> pd.DataFrame:
    """Test the reference model against the others of a cross-validation frame.

    The loss of an origin is the mean over its steps (or that of one step). Pooled, the loss difference is averaged over
    the series of each origin first and the averages are tested: series that move together then count as one
    observation, as they must. Holm's correction covers all tests of the returned table.

    Args:
        frame: Forecasts and values; see :mod:`qkan.forecasting.evaluation.frames`.
        reference: The model that the others are compared with.
        models: The others; ``None`` takes all.
        loss: ``"absolute"`` or ``"squared"``.
        step: The one step ahead to compare; ``None`` averages over all steps.
        scales: Divides the errors of each series (see ``mase_scales``), so that large series do not decide alone.
            Series without a finite scale are left out.
        bandwidth: As in :func:`diebold_mariano`; the horizon is the largest step compared.
        per_series: Test every series for itself instead of the average.

    Returns:
        Columns ``model``, ``reference``, ``unique_id`` (:data:`POOLED` for the average), ``series``, ``n``,
        ``difference`` (loss of the reference less that of the model: below 0 where the reference is better),
        ``statistic``, ``p_value``, ``p_holm``. NaN where there is no test.

    Raises:
        TypeError, ValueError: as :func:`check_frame`; the reference is not in the frame or the only model, or loss or
            step is unknown.

    Examples:
        >>> import numpy as np
        >>> import pandas as pd
        >>> from qkan.forecasting.evaluation import compare_models
        >>> ds = np.arange(10, 40)
        >>> frame = pd.DataFrame({"unique_id": "a", "ds": ds, "cutoff": ds - 1, "y": np.sin(ds)})
        >>> frame = frame.assign(Naive=np.sin(ds - 1), Zero=0.0)
        >>> compare_models(frame, "Naive")["n"]
        0    30
        Name: n, dtype: int64
    """
    import pandas as pd

    others = _others(frame, reference, models)
    if loss not in LOSSES:
        raise ValueError(f"unknown loss {loss!r}; choose one of {', '.join(LOSSES)}")
    checked = check_frame(frame, (reference, *others))
    if step is not None:
        if step not in set(checked["step"]):
            raise ValueError(f"there is no step {step!r} in the frame; it has 1 to {checked['step'].max()}")
        checked = checked[checked["step"] == step]
    horizon = int(checked["step"].max())
    rows = []
    for name in others:
        differences, unit = _differences(checked, reference, name, loss, scales)
        for series, count, own in _groups(differences, per_series):
            test = diebold_mariano(own, horizon=horizon, bandwidth=bandwidth)
            mean = test.difference * unit * (unit if loss == "squared" else 1)
            rows.append((name, reference, series, count, test.n, mean, test.statistic, test.p_value))
    names = ["model", "reference", "unique_id", "series", "n", "difference", "statistic", "p_value"]
    table = pd.DataFrame(rows, columns=names)
    return table.assign(p_holm=holm(table["p_value"]))


def _groups(differences: pd.DataFrame, per_series: bool) -> list[tuple[str, int, np.ndarray]]:
    """Return name, number of series and differences in the order of time for every test."""
    if per_series:
        return [(str(name), 1, own["d"].to_numpy()) for name, own in differences.groupby("unique_id", sort=True)]
    averaged = differences.groupby("cutoff", sort=True)["d"].mean().to_numpy()
    return [(POOLED, differences["unique_id"].nunique(), averaged)]


def holm(p_values: npt.ArrayLike) -> np.ndarray:
    """Return p-values corrected for many tests by Holm's method, float64 (tests,); NaN stays and counts for nothing."""
    from statsmodels.stats.multitest import multipletests

    given = np.asarray(p_values, dtype=np.float64)
    corrected = np.full(given.shape, np.nan)
    known = np.isfinite(given)
    if known.any():
        corrected[known] = multipletests(given[known], method="holm")[1]
    return corrected


def _others(frame: pd.DataFrame, reference: str, models: Sequence[str] | None) -> tuple[str, ...]:
    check_models(frame, (reference,))
    others = tuple(name for name in check_models(frame, models) if name != reference)
    if not others:
        raise ValueError(f"{reference!r} is the only model; a comparison needs another one in the frame")
    return others


def _differences(
    frame: pd.DataFrame, reference: str, model: str, loss: Loss, scales: Mapping[str, float] | None
) -> tuple[pd.DataFrame, float]:
    """Return columns unique_id, cutoff, d, the mean loss difference of every series and origin that both forecast.

    Second is the unit that errors are counted in.
    """
    import pandas as pd

    scale = 1.0 if scales is None else frame["unique_id"].map(dict(scales)).to_numpy(np.float64, na_value=np.nan)
    errors = [np.abs(frame["y"] - frame[name]) / scale for name in (reference, model)]
    unit = unit_of(errors)
    errors = [error / unit for error in errors]
    lost = [error if loss == "absolute" else np.square(error) for error in errors]
    differences = pd.DataFrame({"unique_id": frame["unique_id"], "cutoff": frame["cutoff"], "d": lost[0] - lost[1]})
    return differences.dropna().groupby(["unique_id", "cutoff"], sort=True)["d"].mean().reset_index(), unit
