"""The search from Python: fit on a data frame, predict, save."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qkan.forecasting.automatic.forecast import forecast_table
from qkan.forecasting.automatic.options import DEFAULT_BUDGET, DEFAULT_CANDIDATES, AutoConfig
from qkan.forecasting.automatic.record import write_search
from qkan.forecasting.automatic.summary import verdict
from qkan.forecasting.automatic.trials import Search, SearchProgress, search, with_sizes
from qkan.forecasting.config import FRAME, TrainConfig
from qkan.forecasting.config.parameters import Parameters
from qkan.forecasting.data.load import series_of_frame
from qkan.forecasting.io.files import RunError

if TYPE_CHECKING:
    import pandas as pd

_OPTIONS = (
    *("time_col", "time_format", "time_zone", "target_col", "id_col", "past_cols", "future_cols", "static_cols"),
    *("category_cols", "calendar", "missing", "season", "epochs", "seed", "device"),
)


class AutoForecaster(Parameters):
    """The forecast of what turns out best within a time budget, for all series of a long data frame.

    It tries simple rules, ridge, statistical models and networks over rolling origins of the newest known values, fits
    what is good on everything, and weighs it by its error at the origins. The data frame is as of
    :class:`qkan.forecasting.Forecaster`.

    Args:
        horizon: Future values to predict, in steps; ``None`` takes the shortest season of up to 48 steps, or 24.
        budget: Seconds that fitting should take; ``None`` for no limit.
        candidates: What is tried; see :data:`qkan.forecasting.automatic.options.CANDIDATES`.
        freq: As of :class:`qkan.forecasting.Forecaster`.
        nonnegative: Whether no forecast and no end of an interval is below 0; ``None`` decides for every series: where
            all known values are counts (whole numbers, none below 0).
        options: Those of :class:`qkan.forecasting.TrainConfig` that name columns, and ``calendar``, ``missing``,
            ``season``, ``epochs``, ``seed`` and ``device``.

    Raises:
        TypeError: an option is unknown.
        ValueError: an option is out of its range.

    Examples:
        >>> import pandas as pd
        >>> from qkan.forecasting import AutoForecaster
        >>> frame = pd.read_csv("traffic.csv")
        >>> model = AutoForecaster(horizon=12, candidates=("drift", "ridge")).fit(frame)
        >>> len(model.predict())
        12
    """

    def __init__(
        self,
        horizon: int | None = None,
        *,
        budget: float | None = DEFAULT_BUDGET,
        candidates: Sequence[str] = DEFAULT_CANDIDATES,
        freq: Any = None,
        nonnegative: bool | None = None,
        **options: Any,
    ) -> None:
        strange = sorted(set(options) - set(_OPTIONS))
        if strange:
            raise TypeError(f"AutoForecaster has no option {strange[0]!r}; its options are {', '.join(_OPTIONS)}")
        train = TrainConfig(data=FRAME, window=24, horizon=24 if horizon is None else horizon, loss="mae", **options)
        self.config = AutoConfig(train=train, budget=budget, candidates=tuple(candidates), nonnegative=nonnegative)
        self.horizon, self.freq = horizon, freq
        own = {"horizon": horizon, "budget": budget, "candidates": candidates, "freq": freq, "nonnegative": nonnegative}
        self._params = {**own, **options}
        self._found: Search | None = None
        self._like: Callable[[pd.DataFrame], Any]

    @property
    def found(self) -> Search:
        """What was tried, and what came of it.

        Raises:
            RunError: nothing was fitted.
        """
        if self._found is None:
            raise RunError("this forecaster is not fitted; call fit(df) first")
        return self._found

    @property
    def name(self) -> str:
        """What the column of forecasts is called: the method that won, or ``Combination`` of several."""
        return self.found.name

    @property
    def verdict(self) -> list[str]:
        """What won, by how much over naive and ridge, and what it cost: three lines."""
        return verdict(self.found, self.found.series.unit)

    def fit(self, df: Any, *, progress: SearchProgress | None = None) -> AutoForecaster:
        """Search, and fit the choice on all values of a data frame.

        Args:
            df: The data; rows without a value at the end of a series hold its future covariates.
            progress: Told about every candidate.

        Returns:
            The forecaster itself.

        Raises:
            DataError: the data cannot be used.
            TypeError: ``df`` is no data frame.
        """
        from qkan.datasets import like

        series = series_of_frame(self.config.train, df, self.freq)
        self._found = search(series, with_sizes(self.config, series, self.horizon), progress=progress)
        self._like = like(df)
        return self

    def predict(self, level: Sequence[float] | float | None = None) -> Any:
        """Return what follows every series of the data that was fitted.

        Args:
            level: Split-conformal intervals in percent, from the errors of the rolling origins.

        Returns:
            A frame like the data: columns ``unique_id``, ``ds`` (or what the data calls them), the name of the forecast
            and for every level such as 90 ``NAME-lo-90`` and ``NAME-hi-90``; NaN where there were too few origins.

        Raises:
            RunError: nothing was fitted.
            ValueError: a level is out of range.
        """
        levels = (
            () if level is None else (float(level),) if isinstance(level, int | float | np.number) else tuple(level)
        )
        table, _ = forecast_table(self.found, levels)
        series = self.found.series
        return self._like(series.form.in_own_words(series.give_back(table)))

    def save(self, folder: str | Path, *, level: Sequence[float] = (80, 90), overwrite: bool = False) -> None:
        """Write a folder with the forecast, all candidates, their forecasts from the origins, and a report.

        Raises:
            RunError: nothing was fitted, or the folder holds something already or cannot be written.
        """
        write_search(Path(folder), self.found, level, overwrite=overwrite)
