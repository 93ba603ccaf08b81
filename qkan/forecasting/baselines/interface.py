"""What every baseline is: fitted on the training part once, it forecasts from any moment of the same series."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    from qkan.datasets import ForecastData, Series
    from qkan.datasets.windows import Part

_Settings = TypeVar("_Settings")

ALL_SERIES = "(all series)"
"""Whose a choice is that is made once for all series."""


class NotInstalled(ValueError):  # noqa: N818  (it is an answer with a way out, not a fault)
    """A baseline needs a package that is not there; the message ends with the line that installs it.

    Examples:
        >>> from qkan.forecasting.baselines import NotInstalled
        >>> issubclass(NotInstalled, Exception)
        True
    """


class CannotFit(ValueError):  # noqa: N818  (it is an answer to report, not a fault)
    """A baseline cannot be fitted to a series; the message is the reason in a few words.

    Examples:
        >>> from qkan.forecasting.baselines import CannotFit
        >>> issubclass(CannotFit, ValueError)
        True
    """


class Interrupted(Exception):  # noqa: N818  (an answer to report, not a fault)
    """Who watches a fit has ended it; the message is the reason in a few words.

    Examples:
        >>> from qkan.datasets import load_series, make_forecast_data
        >>> from qkan.forecasting.baselines import Fitting, Interrupted, fit_baselines
        >>> data = make_forecast_data(load_series("damped-shm"), window=12, horizon=2)
        >>> def stop():
        ...     raise Interrupted("ten seconds are over")
        >>> try:
        ...     fit_baselines(data, ("ets",), Fitting(step=stop))
        ... except Interrupted as reason:
        ...     print(reason)
        ten seconds are over
    """


class Origins(NamedTuple):
    """Moments to forecast from, each of one series.

    Args:
        series: Number of the series, int64 (N,).
        known: How many of its values are known, so the position of the first one to forecast; int64 (N,). The whole
            length asks for what follows the series.

    Examples:
        >>> from qkan.datasets import load_series, make_forecast_data
        >>> from qkan.forecasting.baselines import Origins
        >>> data = make_forecast_data(load_series("damped-shm"), window=12, horizon=2)
        >>> len(Origins.of(data, "test").known) == len(data.test)
        True
        >>> Origins.at_end(data.series).known
        array([240])
    """

    series: np.ndarray
    known: np.ndarray

    @classmethod
    def of(cls, data: ForecastData, part: Part = "test") -> Origins:
        """Those of the windows of a part, in their order."""
        return cls(np.asarray(data.part(part).series), np.asarray(data.part(part).target_index))

    @classmethod
    def at_end(cls, series: Series) -> Origins:
        """The end of every series."""
        return cls(np.arange(len(series.ids)), series.lengths)

    def rows(self, series: Series) -> np.ndarray:
        """Row of the first value to forecast among those of all series, int64 (N,)."""
        return series.starts[self.series] + self.known


class Forecasts(NamedTuple):
    """What a baseline forecasts, in original units.

    Args:
        mean: float64 (N, horizon); NaN in the rows of a series that the baseline does not have.
        error: Standard errors of normal intervals, float64 (N, horizon); ``None`` for a baseline that gives none.

    Examples:
        >>> from qkan.datasets import load_series, make_forecast_data
        >>> from qkan.forecasting.baselines import Origins, fit_baselines
        >>> data = make_forecast_data(load_series("damped-shm"), window=12, horizon=2)
        >>> (naive,) = fit_baselines(data, ("naive",))
        >>> forecasts = naive.forecast(Origins.at_end(data.series))
        >>> forecasts.mean.shape, forecasts.error is None
        ((1, 2), True)
    """

    mean: np.ndarray
    error: np.ndarray | None = None


class Baseline(ABC):
    """A fitted baseline of one data set.

    Its parameters stay what the training part made them; at a later moment it sees the values up to it, as a trained
    network does.

    Attributes:
        name: What tables and columns call it.
        parameters: Numbers that were estimated, of all series together; 0 for a rule, ``None`` where nobody counts
            them (trees).
        seconds: Time that fitting took, with all trials.
        settings: What was chosen for all series, by name; it can be given to a later fit in place of a search.
        choices: What was chosen or estimated in words, by series or for :data:`ALL_SERIES`.
        failures: Why a series has no forecast, by series.

    Examples:
        >>> from qkan.datasets import load_series, make_forecast_data
        >>> from qkan.forecasting.baselines import fit_baselines
        >>> data = make_forecast_data(load_series("damped-shm"), window=12, horizon=2)
        >>> (drift,) = fit_baselines(data, ("drift",))
        >>> drift.name, drift.parameters
        ('Drift', 0)
    """

    def __init__(self, name: str, parameters: int | None = 0) -> None:
        self.name, self.parameters, self.seconds = name, parameters, 0.0
        self.settings: dict[str, Any] = {}
        self.choices: dict[str, str] = {}
        self.failures: dict[str, str] = {}

    @abstractmethod
    def forecast(self, origins: Origins) -> Forecasts:
        """Forecast the ``horizon`` values of the data from every origin."""


Step = Callable[[], None]
"""Called after every step of an optimiser."""


def say_nothing(*told: object) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Fitting:
    """How baselines are fitted.

    Args:
        trials: Choices that each may try on the validation part; the first of them is the library's own default.
            Statistical models choose by AIC on the training part instead.
        workers: Processes that fit series at the same time.
        told: Called with the name of a baseline, the steps done (series or trials) and all of them.
        left_out: Called with the word for a baseline that the data do not allow at all, and the reason in a few words.
        settings: By baseline, what an earlier fit chose: it is taken as it is, and nothing is tried.
        step: Called after every step of an optimiser of a model of one series, unless other processes fit; it may raise
            :class:`Interrupted`, which ends the fit.

    Examples:
        >>> from qkan.datasets import load_series, make_forecast_data
        >>> from qkan.forecasting.baselines import Fitting, fit_baselines
        >>> data = make_forecast_data(load_series("damped-shm"), window=12, horizon=2)
        >>> (ridge,) = fit_baselines(data, ("ridge",), Fitting(trials=1))
        >>> ridge.failures
        {}
    """

    trials: int = 3
    workers: int = 1
    told: Callable[[str, int, int], None] = say_nothing
    left_out: Callable[[str, str], None] = say_nothing
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    step: Step = say_nothing


class Tuned(Baseline):
    """A baseline whose settings are chosen on the validation part.

    Attributes:
        error: On the validation part; comparable between settings only, 0 without such a part.
    """

    error: float = 0.0


def best_of_trials(
    name: str, tried: Sequence[_Settings], fit: Callable[[_Settings], Tuned], data: ForecastData, fitting: Fitting
) -> list[Baseline]:
    """Fit with as many settings as there are trials, one where nothing can choose, and keep the smallest error."""
    tried = tried[: fitting.trials if len(data.validation) else 1]

    def trials() -> Iterator[Tuned]:
        for done, settings in enumerate(tried):
            fitting.told(name, done, len(tried))
            yield fit(settings)
        fitting.told(name, len(tried), len(tried))

    return [min(trials(), key=lambda own: own.error)]


def validation_origins(data: ForecastData) -> tuple[Origins, np.ndarray, np.ndarray] | None:
    """Return the origins of the validation part, the targets and which of them were observed, (N, horizon) each.

    ``None`` where the part holds no whole horizon.
    """
    whole = data.with_validation_horizon(data.horizon)
    if not len(whole.validation):
        return None
    return Origins.of(whole, "validation"), whole.target_values("validation"), whole.target_observed("validation")


def known_values(data: ForecastData, index: int) -> np.ndarray:
    """Return the values of a series; what was filled repeats the last value before, so it knows nothing of later ones.

    Returns:
        float64 (length,); NaN where nothing is known yet.
    """
    values = data.series.values_of(index)
    if data.series.observed is None:
        return values
    seen = data.series.observed[data.series.starts[index] : data.series.starts[index + 1]]
    last = np.maximum.accumulate(np.where(seen, np.arange(len(values)), -1))
    return np.where(last < 0, np.nan, values[last])
