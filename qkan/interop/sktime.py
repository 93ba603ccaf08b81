"""Our forecaster with the interface of sktime: ``QKANForecaster().fit(y, fh=[1, 2, 3]).predict()``.

All series of a panel or a hierarchy train one network. Columns of ``X`` are known in advance, unless the options say
otherwise; intervals are those of :meth:`qkan.forecasting.Forecaster.predict`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from qkan._util.optional import require_release

require_release("sktime", "1.2", extra="sktime")

from sklearn.utils import check_random_state  # noqa: E402  (the check above must come first)
from sktime.forecasting.base import BaseForecaster  # noqa: E402

from qkan.forecasting import Forecaster  # noqa: E402

__all__ = ["QKANForecaster"]

#: Columns of the frames that the forecaster gets, with names that columns of ``X`` do not have.
_ID, _TIME, _TARGET = "(series)", "(time)", "(value)"
_OWN = ("cell", "window", "horizon", "hidden_size", "epochs", "lr", "freq", "seed", "id_col", "time_col", "target_col")
_ROLES = ("past_cols", "future_cols", "static_cols", "category_cols")


class QKANForecaster(BaseForecaster):
    """A recurrent network of QKANs, or another cell of :class:`qkan.forecasting.Forecaster`, as a forecaster of sktime.

    Series of a panel or a hierarchy train one network together, and each is forecast from its own end; those that are
    too short for it are left out with a `DataNotice`, and their forecasts are NaN. Several columns of ``y`` are
    forecast one by one. ``update`` trains anew on all that is known by then, with ``update_params=False``
    it only goes on from the new values.

    Args:
        cell: One of :data:`qkan.forecasting.CELLS`, or ``linear``, ``cycle`` or ``sparse``.
        window: Past values that the network sees; ``None`` finds it in the data.
        horizon: Steps that the network itself predicts; ``None`` takes the farthest of the ``fh`` that ``fit`` gets,
            and what the data suggest without one. Farther steps are reached by feeding forecasts back.
        hidden_size, epochs, lr: As of :class:`qkan.forecasting.TrainConfig`; ``None`` takes the defaults there.
        val_size: Newest values of every series that choose the best epoch and measure the intervals: a number, a share
            of the shortest series in (0, 1), or ``None`` for a tenth. Intervals of 90 % need nine errors.
        freq: Step between two times; ``None`` finds it in the data.
        random_state: An int, a ``numpy.random.RandomState``, or ``None`` for another start every time.
        options: Any other option of :class:`qkan.forecasting.Forecaster`, by name. ``past_cols``, ``static_cols`` and
            ``category_cols`` name columns of ``X``. All others are known in advance: numbers as ``future_cols``, names
            as ``category_cols``; ``predict`` needs them for every step up to the last one of its ``fh``.

    Attributes:
        forecaster_: The fitted :class:`qkan.forecasting.Forecaster`; its ``save`` writes a run folder.

    Examples:
        >>> import pandas as pd
        >>> from qkan.interop.sktime import QKANForecaster
        >>> y = pd.Series(range(30), index=pd.period_range("2024-01", periods=30, freq="M"), dtype=float)
        >>> model = QKANForecaster("linear", window=3, epochs=1, options={"season": "none"})
        >>> model.fit(y, fh=[1, 2, 3]).predict().index[-1]
        Period('2026-09', 'M')
    """

    _tags = {  # noqa: RUF012  (sktime reads it from the class)
        "authors": ["The qkan-seq authors"],
        "maintainers": ["The qkan-seq authors"],
        "python_dependencies": "torch",
        "y_inner_mtype": ["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"],
        "X_inner_mtype": ["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"],
        "capability:multivariate": False,
        "capability:exogenous": True,
        "capability:categorical_in_X": True,
        "capability:non_contiguous_X": False,
        "capability:insample": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:update": True,
        "capability:missing_values": False,
        "capability:random_state": True,
        "property:randomness": "derandomized",
        "requires-fh-in-fit": False,
        "X-y-must-have-same-index": False,
    }

    _config = {"remember_data": False}  # noqa: RUF012  (this class keeps the data itself)

    def __init__(
        self,
        cell: str = "qkan",
        window: int | None = None,
        horizon: int | None = None,
        hidden_size: int | None = None,
        epochs: int | None = None,
        lr: float | None = None,
        val_size: float | None = None,
        freq: Any = None,
        random_state: Any = 0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.cell = cell
        self.window = window
        self.horizon = horizon
        self.hidden_size = hidden_size
        self.epochs = epochs
        self.lr = lr
        self.val_size = val_size
        self.freq = freq
        self.random_state = random_state
        self.options = options
        super().__init__()
        self._y = self._X = None  # which the class above makes only where it keeps the data
        if (options or {}).get("missing", "refuse") != "refuse":
            self.set_tags(**{"capability:missing_values": True})

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return the smallest forecasters, for sktime's own checks: one that is fast, and one with a recurrent cell."""
        bare = {"season": "none", "level": "none", "lbfgs_steps": 0}
        small = {"window": 3, "epochs": 1, "val_size": 0.4, "options": bare}
        return [{**small, "cell": "linear"}, {**small, "cell": "lstm", "hidden_size": 1, "horizon": 2}]

    def _fit(self, y: pd.DataFrame, X: pd.DataFrame | None, fh: Any) -> QKANForecaster:
        self._roles = _roles(X, self.options or {})
        self._known = self._joined(y, X)
        farthest = self.horizon if fh is None else max(1, _last_step(fh, self.cutoff))
        self._train(farthest if self.horizon is None else self.horizon)
        return self

    def _update(self, y: pd.DataFrame, X: pd.DataFrame | None = None, update_params: bool = True) -> QKANForecaster:
        new = self._joined(y, X)
        self._known = pd.concat([self._known[~self._known.index.isin(new.index)], new]).sort_index()
        if update_params:
            self._train(self.forecaster_.config.horizon)
        return self

    def _predict(self, fh: Any, X: pd.DataFrame | None) -> pd.DataFrame:
        table = self._forecast(fh, X, [])
        return table[[self.forecaster_.name]].set_axis(self._get_varnames(), axis=1)

    def _predict_interval(self, fh: Any, X: pd.DataFrame | None, coverage: Sequence[float]) -> pd.DataFrame:
        levels = [round(100 * share, 9) for share in coverage]
        table, name = self._forecast(fh, X, [level for level in levels if level > 0]), self.forecaster_.name
        ends = [f"{name}-{end}-{level:g}" if level > 0 else name for level in levels for end in ("lo", "hi")]
        columns = pd.MultiIndex.from_product([self._get_varnames(), coverage, ["lower", "upper"]])
        return table[ends].set_axis(columns, axis=1)

    def _train(self, horizon: int | None) -> None:
        """Fit a new forecaster of some steps to all that is known.

        Raises:
            TypeError: an option is unknown, or an argument of this class.
            ValueError: an option is out of its range, or the data cannot be used.
        """
        options = dict(self.options or {})
        for name in sorted(set(options) & set(_OWN)):
            raise TypeError(f"options holds {name!r}, which QKANForecaster sets from its own arguments and the data")
        for name in ("hidden_size", "epochs", "lr"):
            if getattr(self, name) is not None:
                options[name] = getattr(self, name)
        state = self.random_state
        seed = int(state if isinstance(state, Integral) else check_random_state(state).randint(2**31))
        frame = _long(self._known)
        forecaster = Forecaster(
            self.cell,
            window=self.window,
            horizon=horizon,
            freq=self.freq,
            seed=seed,
            id_col=_ID,
            time_col=_TIME,
            target_col=_TARGET,
            **{**options, **self._roles},
        )
        self.forecaster_ = forecaster.fit(frame, val_size=self._validation(frame))
        self._left_out = set(frame[_ID]) - set(self.forecaster_.run.scaler.ids)

    def _validation(self, frame: pd.DataFrame) -> int | None:
        size = self.val_size
        if not isinstance(size, float):
            return size
        if not 0 < size < 1:
            raise ValueError(f"val_size {size!r} must be a whole number, a share in (0, 1), or None for a tenth")
        return int(size * frame.groupby(_ID).size().min())

    def _joined(self, y: pd.DataFrame, X: pd.DataFrame | None) -> pd.DataFrame:
        """Values and the columns of ``X`` beside them.

        Raises:
            ValueError: ``X`` is missing, or lacks columns.
        """
        frame = y.set_axis([_TARGET], axis=1)
        return frame.join(self._columns_of(X, "beside y").reindex(frame.index)) if any(self._roles.values()) else frame

    def _columns_of(self, X: pd.DataFrame | None, purpose: str, without: str = "") -> pd.DataFrame:
        columns = [column for role, names in self._roles.items() if role != without for column in names]
        named = pd.DataFrame() if X is None else X.set_axis([str(column) for column in X.columns], axis=1)
        for column in columns:
            if column not in named.columns:
                raise ValueError(
                    f"X has no column {column!r} {purpose}, which the forecaster was fitted with; give it, or fit "
                    "without it"
                )
        return named[columns]

    def _forecast(self, fh: Any, X: pd.DataFrame | None, levels: list[float]) -> pd.DataFrame:
        """Forecasts of the steps of ``fh``: a row for every step of every series, the forecaster's columns."""
        known, index = self._known, pd.Index(fh.to_absolute_index(self.cutoff))
        if isinstance(known.index, pd.MultiIndex):
            index = fh.get_expected_pred_idx(y=known).set_names(known.index.names)
        frame = self._kept(known)
        steps = _last_step(fh, self.cutoff) + _steps_behind(frame, fh.is_relative)
        if any(names for role, names in self._roles.items() if role != "past_cols"):
            ahead = self._columns_of(X, "for the steps to predict", without="past_cols")
            frame = pd.concat([frame, self._kept(ahead[~ahead.index.isin(known.index)])], ignore_index=True)
            _check_ahead(frame, steps)
        table = self.forecaster_.predict(frame, h=steps, level=levels or None).set_index([_ID, _TIME])
        wanted = _long(pd.DataFrame(index=index))
        return table.reindex(pd.MultiIndex.from_frame(wanted)).set_axis(index)

    def _kept(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A frame without the series that were too short to train on, whose forecasts are NaN."""
        columns = _long(frame)
        return columns[~columns[_ID].isin(self._left_out)]


def _roles(X: pd.DataFrame | None, options: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """What the columns of ``X`` are to the forecaster, by the name of its option."""
    given = {role: options.get(role) or () for role in _ROLES}
    roles = {role: (names,) if isinstance(names, str) else tuple(names) for role, names in given.items()}
    named = {column for names in roles.values() for column in names}
    for column, kind in () if X is None else zip(map(str, X.columns), X.dtypes, strict=True):
        if column not in named:
            role = "future_cols" if pd.api.types.is_numeric_dtype(kind) else "category_cols"
            roles[role] += (column,)
    return roles


def _long(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame of sktime, series and times in its index, as one with columns of both."""
    times = frame.index.get_level_values(-1)
    if isinstance(times, pd.PeriodIndex):
        times = times.to_timestamp()
    ids: Any = "y"
    if isinstance(frame.index, pd.MultiIndex):
        numbers, labels = pd.factorize(frame.index.droplevel(-1))
        texts = ["/".join(map(str, label)) if isinstance(label, tuple) else str(label) for label in labels]
        ids = np.array(texts, dtype=object)[numbers]
    columns = frame.reset_index(drop=True)
    columns.insert(0, _ID, ids)
    columns.insert(1, _TIME, times)
    return columns


def _last_step(fh: Any, cutoff: Any) -> int:
    """The farthest step of a forecasting horizon, counted from the last time that is known."""
    return int(max(fh.to_relative(cutoff).to_pandas()))


def _check_ahead(frame: pd.DataFrame, steps: int) -> None:
    """Refuse a frame that has fewer rows than steps are to predict behind the last value of a series.

    Raises:
        ValueError: it has; the sentence names the series.
    """
    ends = frame[frame[_TARGET].notna()].groupby(_ID)[_TIME].max()
    rows = frame[frame[_TIME] > frame[_ID].map(ends)].groupby(_ID).size().reindex(ends.index, fill_value=0)
    if rows.min() < steps:
        raise ValueError(
            f"X has {rows.min()} rows behind the last value of series {rows.idxmin()!r}, and {steps} steps are to "
            "predict; give a row for each of them, or name columns that nobody knows in advance in past_cols"
        )


def _steps_behind(frame: pd.DataFrame, relative: bool) -> int:
    """Most steps by which the last value of a series lies behind what a forecasting horizon counts from.

    That is the last time of the series itself where the horizon is relative, and else the last time of all of them.
    """
    ends = frame[frame[_TARGET].notna()].groupby(_ID)[_TIME].max()
    later = frame[frame[_TIME] > (frame[_ID].map(ends) if relative else ends.min())]
    return int(later.groupby(_ID).size().max()) if relative and len(later) else later[_TIME].nunique()
