"""Forecasting from Python: fit on a data frame, predict, cross-validate, save and load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from qkan.forecasting.config import CELL_NAMES, FRAME, TrainConfig
from qkan.forecasting.data.load import as_cut, cut_windows
from qkan.forecasting.io.files import RunError, only_writer, write_json
from qkan.forecasting.runs.inference import predict
from qkan.forecasting.runs.run import Run, load_run
from qkan.forecasting.runs.write import claim_folder, write_run
from qkan.forecasting.training.distributed import rank_of
from qkan.forecasting.training.fitting import fit_forecaster
from qkan.forecasting.training.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import Series

_IN_MEMORY = Path("(in memory)")
_FROM_FRAMES = ("data", "time_col", "target_col", "id_col", "series", "split")
"""Options of files and of the test part of a run, which a data frame of fixed columns has no use for."""


class Forecaster:
    """One model for all series of a long data frame, with the methods that forecasters know.

    A data frame has the columns ``unique_id``, ``ds`` (dates or whole numbers, by one regular step), ``y`` and the
    covariates that ``past_cols`` and ``future_cols`` name; sorted by time within each series. Future covariates of the
    steps to predict come as rows of the same frame, at the end of a series and without a ``y``, or as ``futr_df``.

    Args:
        cell: One of :data:`qkan.forecasting.CELLS`.
        window: Past values that the model sees, in steps.
        horizon: Future values to predict, in steps.
        freq: Step between two times, as a pandas alias such as ``"h"`` (a whole number for whole-number times);
            ``None`` finds it in the data.
        options: Any other option of :class:`qkan.forecasting.TrainConfig` but ``data``, ``time_col``, ``target_col``,
            ``id_col``, ``series`` and ``split``.

    Raises:
        TypeError: an option is unknown.
        ValueError: an option is out of its range.
    """

    def __init__(
        self,
        cell: str = "qkan",
        *,
        window: int = 24,
        horizon: int = 24,
        freq: str | int | None = None,
        **options: Any,
    ) -> None:
        known = {field.name for field in fields(TrainConfig)} - set(_FROM_FRAMES)
        strange = sorted(set(options) - known)
        if strange:
            raise TypeError(f"Forecaster has no option {strange[0]!r}; its options are {', '.join(sorted(known))}")
        self.config = TrainConfig(data=FRAME, cell=cell, window=window, horizon=horizon, **options)
        self.freq = freq
        self._run: Run | None = None
        self._series: Series | None = None
        self._history: list[dict[str, float]] = []

    @property
    def name(self) -> str:
        """What the columns of forecasts are called: the name of the cell, such as ``QKAN-LSTM``."""
        return CELL_NAMES[self.config.cell]

    @property
    def run(self) -> Run:
        """The trained model with its options, scaler and metrics.

        Raises:
            RunError: nothing was fitted or loaded.
        """
        if self._run is None:
            raise RunError("this forecaster is not fitted; call fit(df) or load a saved one first")
        return self._run

    def fit(self, df: pd.DataFrame, val_size: int | None = None, *, progress: Progress | None = None) -> Forecaster:
        """Train on all series of a data frame.

        Args:
            df: The data; see the class.
            val_size: Newest values of every series that choose the best epoch and do not train; ``None`` takes a tenth
                of each, but never less than the horizon; 0 trains all epochs on everything.
            progress: Told about every epoch.

        Returns:
            The forecaster itself.

        Raises:
            DataError: the data cannot be used.
            RunError: the training diverged.
        """
        self._fit(self._read(df), val_size, progress)
        return self

    def predict(
        self,
        df: pd.DataFrame | None = None,
        futr_df: pd.DataFrame | None = None,
        level: Sequence[float] | None = None,
    ) -> pd.DataFrame:
        """Forecast the ``horizon`` steps that follow every series.

        Args:
            df: Data to go on from, of series that the model was fitted on; ``None`` takes what it was fitted on.
            futr_df: ``unique_id``, ``ds`` and the future covariates of the steps to predict, instead of those in the
                data.
            level: Intervals in percent, of those that the quantile loss trained; ``None`` takes them all.

        Returns:
            Columns ``unique_id``, ``ds``, the model's name, and for every level such as 90 ``NAME-lo-90`` and
            ``NAME-hi-90``, sorted by series and time.

        Raises:
            DataError: the data cannot be used, or future covariates are missing.
            RunError: nothing was fitted, a series is unknown, or ``df`` is needed: a saved forecaster holds no data.
            ValueError: the model was not trained for a level.
        """
        run = self.run
        series = self._series if df is None else self._read(df)
        if futr_df is not None:
            series = self._with_future(series, futr_df)
        return self._named(predict(run, data=series, level=level))

    def cross_validate(
        self,
        df: pd.DataFrame,
        *,
        n_windows: int = 1,
        step_size: int = 1,
        refit: bool = False,
        level: Sequence[float] | None = None,
        val_size: int | None = None,
    ) -> pd.DataFrame:
        """Forecast from several past moments, each time knowing only what was known then (rolling origin).

        The last window ends with the last value of each series; the window before it ends ``step_size`` steps earlier,
        and so on. The forecaster itself stays as it is: a copy is fitted on what was known at the first of these
        moments, scaler included.

        Args:
            df: The data; see the class.
            n_windows: How many moments.
            step_size: Steps between two of them.
            refit: Whether to fit anew at each of them.
            level: As of :meth:`predict`.
            val_size: As of :meth:`fit`.

        Returns:
            Columns ``unique_id``, ``ds``, ``cutoff`` (the last time known to the model), ``y``, the model's name and
            the ends of its intervals, sorted by cutoff within each series. Steps whose ``y`` is missing have no row.

        Raises:
            DataError: the data cannot be used, or a series is too short.
            ValueError: ``n_windows`` or ``step_size`` is below 1.
        """
        import pandas as pd

        for name, value in (("n_windows", n_windows), ("step_size", step_size)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        whole, horizon = self._read(df), self.config.horizon
        copy = Forecaster.__new__(Forecaster)
        copy.__dict__.update(self.__dict__)
        tables = []
        for moment in range(n_windows):
            known = whole.lengths - horizon - step_size * (n_windows - 1 - moment)
            self._check_known(whole, known, n_windows, step_size)
            cutoffs = dict(zip(whole.ids, whole.times[whole.starts[:-1] + known - 1], strict=True))
            past = self._read(df, frequency=whole.frequency, until=cutoffs)
            if moment == 0 or refit:
                copy._fit(past, val_size, None)
            table = self._named(predict(copy.run, data=past, level=level))
            rows = ((whole.starts[:-1] + known)[:, None] + np.arange(horizon)).ravel()
            table.insert(2, "cutoff", np.repeat(list(cutoffs.values()), horizon))
            table.insert(3, "y", whole.values[rows])
            tables.append(table if whole.observed is None else table[whole.observed[rows]])
        return pd.concat(tables).sort_values(["unique_id", "cutoff", "ds"], kind="stable", ignore_index=True)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the fitted model as a run folder, which :meth:`load` and the command line read.

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
            raise RunError(f"this forecaster was loaded from {run.path} and not fitted since; copy that folder instead")
        with only_writer(folder):
            claim_folder(folder, overwrite)
            write_json(folder / "environment.json", describe_environment(torch.device("cpu")))
            write_run(folder, run, self._history)

    @classmethod
    def load(cls, folder: str | Path) -> Forecaster:
        """Read a saved forecaster, or a run of ``qkan train``; nothing in the folder is executed.

        Raises:
            RunError: the folder is missing, unfinished, written by a newer version or damaged.
        """
        run = load_run(folder)
        loaded = cls.__new__(cls)
        given = {name: None for name in _FROM_FRAMES if name.endswith("_col")}
        loaded.config = replace(run.config, data=FRAME, series=(), **given)  # type: ignore[arg-type]
        loaded.freq = run.data["frequency"]
        loaded._run, loaded._series, loaded._history = run, None, []
        return loaded

    def _read(
        self, df: pd.DataFrame, *, frequency: str | int | None = None, until: dict[str, Any] | None = None
    ) -> Series:
        from qkan.datasets import series_from_frame

        config = self.config
        return series_from_frame(
            df,
            past_cols=config.past_cols,
            future_cols=config.future_cols,
            missing=config.missing,
            frequency=self.freq if frequency is None else frequency,
            until=until,
        )

    def _fit(self, series: Series, val_size: int | None, progress: Progress | None) -> None:
        from qkan.datasets import LastSteps

        split = LastSteps(val_size, at_least=self.config.trained_horizon)
        data = cut_windows(series, self.config, split=split)
        fitted = fit_forecaster(as_cut(self.config, data), data, progress=progress)
        fitted.check_converged()
        self._run, self._series, self._history = Run.of(fitted, _IN_MEMORY), series, fitted.result.history

    def _with_future(self, series: Series | None, futr_df: pd.DataFrame) -> Series:
        from qkan.datasets import DataError, future_frame
        from qkan.forecasting.runs.inference import series_of

        if not self.config.future_cols:
            raise DataError("futr_df was given, but the model uses no covariate known in advance (future_cols)")
        series = series_of(self.run, series)
        rows = future_frame(futr_df, series, label="futr_df", time_col="ds", id_col="unique_id")
        return series.with_futr_exog(rows)

    def _named(self, table: pd.DataFrame) -> pd.DataFrame:
        """The forecasts under the name of the model."""
        return table.rename(columns={column: column.replace("yhat", self.name, 1) for column in table.columns[2:]})

    def _check_known(self, series: Series, known: np.ndarray, n_windows: int, step_size: int) -> None:
        from qkan.datasets import DataError

        short = np.flatnonzero(known < self.config.window)
        if short.size:
            index = int(short[0])
            raise DataError(
                f"series {series.ids[index]!r} has {series.lengths[index]} values, too few for n_windows={n_windows} "
                f"with step_size={step_size}, horizon={self.config.horizon} and window={self.config.window}; "
                "use fewer windows or drop the series"
            )
