"""Forecasting from Python: fit on a data frame, predict, cross-validate, save and load."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from qkan.forecasting.config import FRAME, TrainConfig
from qkan.forecasting.config.idle import SEASONAL_OPTIONS, VALIDATED_OPTIONS, asked_for
from qkan.forecasting.config.kinds import Whole, plain
from qkan.forecasting.config.options import HORIZON
from qkan.forecasting.config.parameters import Parameters, chosen
from qkan.forecasting.data.defaults import sized
from qkan.forecasting.data.load import as_cut, cut_windows, long_enough, series_of_frame
from qkan.forecasting.io.files import RunError, only_writer, write_json
from qkan.forecasting.runs.inference import forecast, predict
from qkan.forecasting.runs.run import Run, load_run
from qkan.forecasting.runs.run_data import series_of
from qkan.forecasting.runs.write import claim_folder, write_run
from qkan.forecasting.streaming.forecaster_stream import GoesOn
from qkan.forecasting.training.distributed import rank_of
from qkan.forecasting.training.fitting import fit_forecaster
from qkan.forecasting.training.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import Series
    from qkan.forecasting.season.profile import SeasonProfile

_WITHOUT_SEASON = 24  # steps of window and horizon
_COUNT, _VAL_SIZE = Whole(1, 1_000_000), Whole(0, 1_000_000_000)
_IN_MEMORY = Path("(in memory)")
_OF_FILES = ("data", "protocol", "sep", "decimal", "encoding", "series", "split", "category_sizes")
"""Options of files and of the test part of a run, which a data frame has no use for."""


class Forecaster(GoesOn, Parameters):
    """One model for all series of a long data frame, with the methods that forecasters know.

    A data frame, of pandas, polars or pyarrow, has the columns ``unique_id``, ``ds`` (dates or whole numbers, by one
    regular step), ``y`` and the covariates that ``past_cols`` and ``future_cols`` name; ``id_col``, ``time_col`` and
    ``target_col`` give the first three other names. ``static_cols`` have one number or one name a series,
    ``category_cols`` names that may change with time and are known in advance. Rows are sorted by time within each
    series. Future covariates of the steps to predict come as rows of the same frame, at the end of a series and without
    a ``y``, or as ``futr_df``.
    Forecasts come back as a frame of the same package, under the same names, ids and times in the types, the time zone
    and the order of the data.

    Args:
        cell: One of :data:`qkan.forecasting.CELLS`, or a linear forecaster: ``linear``, ``cycle`` or ``sparse``.
        window: Past values that the model sees, in steps; ``None`` takes two of the shortest season of the data,
            if it has one of up to 48 steps, or 24, or one of the longest season where several series are read by
            periods; fewer where the series do not hold them.
        horizon: Future values to predict, in steps; ``None`` takes that season, or 24, or fewer. Every fit takes
            its own.
        freq: Step between two times, as an alias of pandas or polars such as ``"h"`` or ``"1mo"``, or an offset such as
            ``pd.DateOffset(months=1)`` (a whole number for whole-number times); ``None`` finds it in the data.
        options: Any other option of :class:`qkan.forecasting.TrainConfig` but ``data``, ``series`` and ``split``.

    Raises:
        TypeError: an option is unknown.
        ValueError: an option is out of its range.

    Examples:
        >>> import pandas as pd
        >>> from qkan.forecasting import Forecaster
        >>> frame = pd.read_csv("traffic.csv")
        >>> model = Forecaster("qkan", window=24, horizon=12, epochs=1).fit(frame)
        >>> model.predict().shape
        (12, 3)
    """

    def __init__(
        self,
        cell: str = "qkan",
        *,
        window: int | None = None,
        horizon: int | None = None,
        freq: Any = None,
        **options: Any,
    ) -> None:
        known = _options()
        strange = sorted(set(options) - set(known))
        if strange:
            raise TypeError(f"Forecaster has no option {strange[0]!r}; its options are {', '.join(sorted(known))}")
        if cell == "auto":
            raise ValueError("'auto' is no cell; AutoForecaster(horizon) tries cells and simpler methods, and chooses")
        sizes = [_WITHOUT_SEASON if size is None else size for size in (window, horizon)]
        self.config = TrainConfig(data=FRAME, cell=cell, window=sizes[0], horizon=sizes[1], **options)
        self._given = {"window": window, "horizon": horizon, **{name: options.get(name) for name in ("epochs", "loss")}}
        self._asked = self.config
        self._params = {"cell": cell, "window": window, "horizon": horizon, "freq": freq, **options}
        self.freq = freq
        self._run: Run | None = None
        self._series: Series | None = None
        self._like: Callable[[pd.DataFrame], Any]
        self._history: list[dict[str, float]] = []

    @property
    def name(self) -> str:
        """What the columns of forecasts are called: the name of the cell, such as ``QKAN-LSTM``."""
        return self.config.model_name

    @property
    def run(self) -> Run:
        """The trained model with its options, scaler and metrics.

        Raises:
            RunError: nothing was fitted or loaded.
        """
        if self._run is None:
            raise RunError("this forecaster is not fitted; call fit(df) or load a saved one first")
        return self._run

    def fit(self, df: Any, val_size: int | None = None, *, progress: Progress | None = None) -> Forecaster:
        """Train on all series of a data frame, or of a panel.

        Args:
            df: The data, see the class; or the folder of a panel that ``qkan data prepare`` made.
            val_size: Newest values of every series that choose the best epoch and do not train; ``None`` takes a tenth
                of each, but never less than the horizon; 0 trains all epochs on everything.
            progress: Told about every epoch.

        Returns:
            The forecaster itself.

        Raises:
            DataError: the data cannot be used.
            RunError: the training diverged.
            TypeError: ``df`` is no data frame.
        """
        from qkan.datasets import like

        self._fit(self._read(df), val_size, progress)
        self._like = like(df)
        return self

    def predict(
        self,
        df: Any = None,
        futr_df: Any = None,
        level: Sequence[float] | float | None = None,
        *,
        h: int | None = None,
        intervals: str = "split",
        new_series: str = "refuse",
    ) -> Any:
        """Forecast the steps that follow every series.

        Args:
            df: Data to go on from, of series and by the step that the model was fitted on; ``None`` takes what it was
                fitted on.
            futr_df: ``unique_id``, ``ds`` and the future covariates of the steps to predict, instead of those in the
                data.
            level: Intervals in percent: those that the quantile loss trained, or else split-conformal ones from the
                errors on the validation part; ``None`` takes what the quantile loss trained.
            h: How many; ``None`` takes the ``horizon`` of the training. More of them are reached by feeding forecasts
                back.
            intervals: ``"adaptive"`` makes conformal intervals of the last errors on all values behind the training
                part, so that coverage holds when the level has moved.
            new_series: ``"scale"`` forecasts series that the model was not fitted on, and other steps, too: each scaled
                by its own last window. They have no conformal intervals.

        Returns:
            A frame like the data: columns ``unique_id``, ``ds`` (or what the data calls them), the model's name, and
            for every level such as 90 ``NAME-lo-90`` and ``NAME-hi-90``; series in the order of the data.

        Raises:
            DataError: the data cannot be used, or future covariates are missing.
            RunError: nothing was fitted, a series is unknown, or ``df`` is needed: a saved forecaster holds no data.
            ValueError: a level is out of range.
        """
        from qkan.datasets import like

        run = self.run
        h = _checked("h", h, HORIZON)
        series = self._series if df is None else self._read(df, expected=run.data["frequency"])
        if futr_df is not None:
            series = self._with_future(series, futr_df)
        table = predict(run, data=series, horizon=h, level=level, intervals=intervals, new_series=new_series)
        return (self._like if df is None else like(df))(series_of(run, series).form.in_own_words(table))

    def season_profile(self, df: Any = None, *, series: Sequence[str] = ()) -> SeasonProfile:
        """Return what the model believes of its seasons, beside the mean seasons of the training part.

        Args:
            df: The data that it was fitted on, which a loaded forecaster does not hold; ``None`` takes that.
            series: Names of some of the series; empty takes all, of more than 50 so many, evenly spread.

        Returns:
            Its ``table`` has a row for every step of every season and series, its ``formulas`` the closed forms of what
            is added to a forecast; see :class:`qkan.forecasting.season.profile.SeasonProfile`. Drawn by
            :func:`qkan.forecasting.save_season_plot`.

        Raises:
            DataError: the data cannot be used.
            RunError: nothing was fitted, it has no season, a series is unknown, or ``df`` is needed.
        """
        from qkan.forecasting.season.profile import season_profile

        run = self.run
        data = self._series if df is None else self._read(df, expected=run.data["frequency"])
        return season_profile(run, data, series=series)

    def cross_validate(
        self,
        df: Any,
        *,
        n_windows: int = 1,
        h: int | None = None,
        step_size: int = 1,
        refit: bool = False,
        level: Sequence[float] | float | None = None,
        val_size: int | None = None,
    ) -> Any:
        """Forecast from several past moments, each time knowing only what was known then (rolling origin).

        The last window ends with the last value of each series; the window before it ends ``step_size`` steps earlier,
        and so on. The forecaster itself stays as it is: a copy is fitted on what was known at the first of these
        moments, scaler included.

        Args:
            df: The data; see the class.
            n_windows: How many moments.
            h: Steps to forecast from each; ``None`` takes the ``horizon`` of the training.
            step_size: Steps between two of them.
            refit: Whether to fit anew at each of them.
            level: As of :meth:`predict`.
            val_size: As of :meth:`fit`.

        Returns:
            A frame like ``df``: columns ``unique_id``, ``ds``, ``cutoff`` (the last time known to the model), ``y``,
            the model's name and the ends of its intervals, sorted by cutoff within each series. Steps whose ``y`` is
            missing have no row.

        Raises:
            DataError: the data cannot be used, or all series are too short; a `DataNotice` counts those that are left
                out.
            ValueError: ``n_windows``, ``step_size`` or ``h`` is out of range.
        """
        import pandas as pd

        from qkan.datasets import as_pandas, first_values, keep_series, like

        h = _checked("h", h, HORIZON)
        n_windows, step_size = _checked("n_windows", n_windows, _COUNT), _checked("step_size", step_size, _COUNT)
        frame = as_pandas(df)
        whole = self._read(frame)
        val_size, horizon = _checked("val_size", val_size, _VAL_SIZE), h or self._given["horizon"] or 1
        for _ in range(2):  # what comes after the first moment has no say in the sizes, which the moment depends on
            ahead = horizon + step_size * (n_windows - 1)
            sizes = self._sized(first_values(whole, np.clip(whole.lengths - ahead, 1, None).tolist()), val_size)
            horizon = h or sizes.horizon
        copy = Forecaster.__new__(Forecaster)
        copy.__dict__.update(self.__dict__)
        copy._given = {**self._given, **{name: getattr(sizes, name) for name in ("window", "horizon", "epochs")}}
        ends, tables = dict(zip(whole.ids, whole.times_at(whole.starts[1:] - 1), strict=True)), []
        whole = _known_at_first(whole, sizes, horizon, n_windows, step_size)
        for moment in range(n_windows):
            known = whole.lengths - horizon - step_size * (n_windows - 1 - moment)
            cutoffs = dict(zip(whole.ids, whole.times_at(whole.starts[:-1] + known - 1), strict=True))
            past = keep_series(self._read_past(frame, whole.frequency, ends | cutoffs), whole.ids)
            if moment == 0 or refit:
                copy._fit(past, val_size, None)
            if len(copy.run.scaler.ids) < len(whole.ids):  # the fit left out, and said so, what is too short for it
                whole = keep_series(whole, copy.run.scaler.ids)
                known = whole.lengths - horizon - step_size * (n_windows - 1 - moment)
                past, cutoffs = keep_series(past, whole.ids), {name: cutoffs[name] for name in whole.ids}
            table = forecast(copy.run, past, horizon=horizon, level=level)
            rows = ((whole.starts[:-1] + known)[:, None] + np.arange(horizon)).ravel()
            table.insert(2, "cutoff", np.repeat(list(cutoffs.values()), horizon))
            table.insert(3, "y", whole.values[rows])
            tables.append(table if whole.observed is None else table[whole.observed[rows]])
        together = pd.concat(tables).sort_values(["unique_id", "cutoff", "ds"], kind="stable", ignore_index=True)
        return like(df)(whole.form.in_own_words(whole.give_back(together)))

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the fitted model, and where :meth:`update` left its series, as a run folder for :meth:`load` and the
        command line. One that was loaded from that folder writes its series alone.

        Of several processes that trained it, the first one writes. The data is not saved; a loaded forecaster is given
        some to go on from.

        Raises:
            RunError: nothing was fitted, or the folder holds something already or cannot be written.
        """
        from qkan.forecasting.runs.environment import describe_environment

        run, folder = self.run, Path(folder)
        if rank_of(run.config):
            return
        if not self._history:
            if self._kept_stream(folder):
                return
            raise RunError(f"this forecaster was loaded from {run.path} and not fitted since; copy that folder instead")
        with only_writer(folder):
            claim_folder(folder, overwrite)
            write_json(folder / "environment.json", describe_environment(torch.device("cpu")))
            write_run(folder, run, self._history)
            self._write_stream(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Forecaster:
        """Read a saved forecaster, or a run of ``qkan train``; nothing in the folder is executed.

        Raises:
            RunError: the folder is missing, unfinished, written by a newer version or damaged.
        """
        from qkan.datasets import like

        run = load_run(folder)
        loaded = cls.__new__(cls)
        loaded.config = loaded._asked = replace(run.config, data=FRAME, series=())
        loaded.freq = run.data["frequency"]
        loaded._given = {name: getattr(run.config, name) for name in ("window", "horizon", "epochs", "loss")}
        loaded._params = {"freq": loaded.freq, **chosen(loaded.config, _options(), loaded._given)}
        loaded._run, loaded._series, loaded._history = run, None, []
        loaded._like = like(run.config.data)  # of a run: without a frame it forecasts the file that it was trained on
        return loaded

    def _read(self, df: Any, *, expected: str | None = None) -> Series:
        """The series of a frame; with ``expected``, those to predict, whose step is checked against the run's."""
        if self._run is None or expected is None:
            return series_of_frame(self.config, df, self.freq, expected=expected)
        trained = self._run.config  # the training says which of these columns hold names
        own = {name: getattr(trained, name) for name in ("season", *SEASONAL_OPTIONS, "static_cols", "category_cols")}
        config = replace(self.config, **own)
        return series_of_frame(config, df, expected=expected)

    def _read_past(self, df: pd.DataFrame, frequency: str | None, until: dict[str, Any]) -> Series:
        """The series of a frame up to some of its times; what was said about it is not said again."""
        from qkan.datasets import DataNotice

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataNotice)
            return series_of_frame(self.config, df, expected=frequency, until=until)

    def _fit(self, series: Series, val_size: int | None, progress: Progress | None) -> None:
        from qkan.datasets import LastSteps

        val_size = _checked("val_size", val_size, _VAL_SIZE)
        for name in asked_for(self.config, VALIDATED_OPTIONS if val_size == 0 else ()):
            raise ValueError(
                f"{name}={getattr(self.config, name)} has no effect: val_size=0 leaves no validation part to stop by; "
                "leave one of them out"
            )
        self.config = self._sized(series, val_size)
        split = LastSteps(val_size, at_least=self.config.trained_horizon)
        data = cut_windows(series, self.config, split=split)
        fitted = fit_forecaster(as_cut(self.config, data), data, progress=progress)
        fitted.check_converged()
        self._run, self._series, self._history = Run.of(fitted, _IN_MEMORY), data.series, fitted.result.history
        self._stream = None

    def _sized(self, series: Series, val_size: int | None) -> TrainConfig:
        """The options with what was given, and else what the series suggest."""
        from qkan.datasets import LastSteps

        given = {name: self._given[name] for name in ("window", "horizon")}
        sizes: dict[str, Any] = {name: _WITHOUT_SEASON if size is None else size for name, size in given.items()}
        return sized(replace(self._asked, **sizes), series, self._given, LastSteps(val_size))

    def _with_future(self, series: Series | None, futr_df: Any) -> Series:
        from qkan.datasets import DataError, future_frame

        if not self.config.future_cols and not self.config.category_cols:
            raise DataError(
                "futr_df was given, but the model uses no covariate known in advance; leave it out, or name "
                "future_cols and fit again"
            )
        series = series_of(self.run, series)
        rows = future_frame(futr_df, series, label="futr_df")
        return series.with_futr_exog(rows)


def _options() -> list[str]:
    """The options of a training that :class:`Forecaster` takes beside its own arguments, or instead of them."""
    return [field.name for field in fields(TrainConfig) if field.name not in (*_OF_FILES, "freq")]


def _checked(name: str, value: Any, kind: Whole) -> Any:
    """A whole number, of Python or numpy, or ``None`` but for counts; raises as :meth:`Whole.check`."""
    value = plain(value)
    if value is not None or kind is _COUNT:
        kind.check(name, value)
    return value


def _known_at_first(whole: Series, sizes: TrainConfig, horizon: int, n_windows: int, step_size: int) -> Series:
    """Return the series that have enough values before the first moment for a window and its targets."""
    from qkan.datasets import DataError

    needed = sizes.window + sizes.trained_horizon
    short = whole.lengths - horizon - step_size * (n_windows - 1) < needed
    why = f"n_windows={n_windows} with step_size={step_size}, horizon={horizon} and window={sizes.window}"
    if short.all():
        raise DataError(
            f"series {whole.ids[0]!r} has {whole.lengths[0]} values, too few for {why}; use fewer windows, or sizes "
            "that fit"
        )
    return long_enough(whole, short, f"too short for {why}")[0]
