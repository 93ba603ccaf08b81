"""Every baseline by the word that asks for it; those of optional packages are imported when they are asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from qkan.forecasting.baselines.interface import Baseline, CannotFit, Fitting, NotInstalled, Origins
from qkan.forecasting.config.names import BASELINE_NAMES, BASELINE_PACKAGES

if TYPE_CHECKING:
    import numpy as np

    from qkan.datasets import ForecastData
    from qkan.datasets.windows import Part

Builder = Callable[["ForecastData", Fitting], list[Baseline]]

PLAIN = ("naive", "drift", "seasonal-naive", "seasonal-mean", "ridge")
"""What stands beside every model without being asked for.

Examples:
    >>> from qkan.forecasting.baselines import PLAIN
    >>> "ridge" in PLAIN
    True
"""
STATISTICAL = ("ets", "sarima", "theta")
"""What is fitted to every series by itself, without an extra."""
DOUBLE = ("double-sarima",)
"""What else is fitted to every series by itself, where it is asked for."""
AUTOMATIC = ("autoarima", "autoets", "mstl")
"""What is fitted to every series by itself, with statsforecast."""
NEURAL = ("dlinear", "nhits", "patchtst")
"""Networks of neuralforecast."""
_MODULE = "qkan.forecasting.baselines"
_PLACES = {
    **{name: ("simple", f"fit_{name.replace('-', '_')}") for name in PLAIN[:-1]},
    "ridge": ("ridge", "fit_ridge"),
    "lightgbm": ("boosting", "fit_lightgbm"),
}


def check_baselines(names: Sequence[str]) -> None:
    """Refuse names that are no baselines, and those whose package is not installed.

    Raises:
        NotInstalled: a package is missing; the sentence ends with the line that installs it.
        ValueError: a name is unknown.

    Examples:
        >>> from qkan.forecasting.baselines import check_baselines
        >>> check_baselines(["naive", "ridge"])
    """
    unknown = [name for name in names if name not in BASELINE_NAMES]
    if unknown:
        raise ValueError(f"unknown baseline {unknown[0]!r}; choose from {', '.join(BASELINE_NAMES)}")
    check_installed(names)


def check_installed(names: Sequence[str]) -> None:
    """Refuse baselines whose package is not installed.

    Raises:
        NotInstalled: a package is missing; the sentence ends with the line that installs it.
    """
    for name in names:
        package, extra = BASELINE_PACKAGES.get(name, ("", ""))
        if package and find_spec(package) is None:
            raise NotInstalled(
                f"the baseline {name!r} needs {package}, which is not installed: pip install 'qkan-seq[{extra}]'"
            )


def fit_baselines(data: ForecastData, names: Sequence[str] = PLAIN, fitting: Fitting | None = None) -> list[Baseline]:
    """Fit baselines on the training part of some windows.

    A baseline that the data do not allow at all is left out, and ``fitting`` tells why: a season that no training part
    holds, a regression without a window to learn from. One that some series do not allow says so in its ``failures``.

    Args:
        data: The windows, whose validation part, if they have one, chooses settings.
        names: Which, in the order of the result; a baseline of every season gives one for each.
        fitting: How many trials and processes there are, and who is told.

    Raises:
        ValueError: as :func:`check_baselines`.

    Examples:
        >>> from qkan.datasets import load_series, make_forecast_data
        >>> from qkan.forecasting.baselines import fit_baselines
        >>> data = make_forecast_data(load_series("damped-shm"), window=12, horizon=2)
        >>> [baseline.name for baseline in fit_baselines(data, ("naive", "ridge"))]
        ['Naive', 'Ridge']
    """
    check_baselines(names)
    fitting = fitting or Fitting()
    found: list[Baseline] = []
    for name in dict.fromkeys(names):
        begin = time.perf_counter()
        try:
            own = builder(name)(data, fitting)
        except CannotFit as error:
            fitting.left_out(name, str(error))
            continue
        for baseline in own:
            baseline.seconds = (time.perf_counter() - begin) / len(own)
        found += own
    return found


def plain_forecasts(data: ForecastData, *parts: Part) -> dict[Part, dict[str, np.ndarray]]:
    """Forecast parts with every baseline that needs no asking for.

    Returns:
        By part and by name: original units, float64 (N, horizon).
    """
    fitted = fit_baselines(data, PLAIN)
    return {part: {own.name: own.forecast(Origins.of(data, part)).mean for own in fitted} for part in parts}


def builder(name: str) -> Builder:
    """Return what fits a baseline."""
    if name in (*STATISTICAL, *DOUBLE, *AUTOMATIC):
        from qkan.forecasting.baselines.per_series import fit_per_series

        return partial(fit_per_series, name)
    if name in NEURAL:
        from qkan.forecasting.baselines.neural import fit_neural

        return partial(fit_neural, name)
    module, function = _PLACES[name]
    found: Builder = getattr(import_module(f"{_MODULE}.{module}"), function)
    return found
