"""A stream: series of a trained run that go on value by value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from qkan.forecasting.data.load import series_of_frame, with_season
from qkan.forecasting.io.files import RunError
from qkan.forecasting.runs.conformal import chosen_levels
from qkan.forecasting.runs.forecast_table import check_finite, forecast_table, with_split
from qkan.forecasting.runs.run_data import scaler_for
from qkan.forecasting.streaming.engines import engine_of
from qkan.forecasting.streaming.tail import Tail

if TYPE_CHECKING:
    from qkan.datasets import Series
    from qkan.datasets.windows import StepChannels
    from qkan.forecasting.runs.run import Run
    from qkan.forecasting.streaming.rings import Engine

STATES = ("window", "carried")
_COLUMNS = (
    "time_col", "time_format", "time_zone", "target_col", "id_col", "past_cols", "future_cols", "static_cols",
    "category_cols",
)  # fmt: skip
_LARGEST = 1e38  # of scaled values: float32 ends a little above


class Stream:
    """Series of a trained run that go on value by value, each at constant work and in constant memory.

    A series has forecasts from its ``config.context``-th value on. By default (``state="window"``) they are those of
    :func:`qkan.forecasting.predict` of the same values: the cell reads the newest window again at every value, in
    compiled code. With ``state="carried"`` it reads the new value alone, from the state that it is in since the first
    window of the series: as :func:`predict` as long as the window is the whole past, and then of a longer memory than
    the training had.

    Args:
        run: The trained run.
        state: ``window`` or ``carried``; the latter takes a window that is read step by step, and the level ``season``
            or ``none``, for with every other one each new value changes what all of the window is read as.

    Attributes:
        run: As above.
        ids: Names of the series, in the order of arrays of all series.
        state: As above.

    Raises:
        ValueError: the run cannot carry its state.

    Examples:
        >>> from qkan.datasets import read_series
        >>> from qkan.forecasting import Stream, load_run
        >>> stream = Stream(load_run("runs/demo"))
        >>> stream.ids
        ('centre',)
    """

    def __init__(self, run: Run, *, state: str = "window") -> None:
        if state not in STATES:
            raise ValueError(f"state must be one of {', '.join(STATES)}, got {state!r}")
        self.run, self.state, self.ids = run, state, run.scaler.ids
        self.engine: Engine = engine_of(run, carried=state == "carried")
        self._place = {name: place for place, name in enumerate(self.ids)}
        config, count = run.config, len(self.ids)
        self.count = np.zeros(count, dtype=np.int64)
        self.number = np.zeros(count, dtype=np.int64)
        self.tail = Tail(count)
        self._largest = _LARGEST * np.array(run.scaler.scale)
        self._all = np.arange(count)
        self._full = False  # whether all series have more values than the model reads
        self._ahead = np.arange(config.horizon + 1)
        covariates = config.futr_exog_channels - len(config.seasons) - bool(config.per_series)
        self._by_frame = bool(covariates or config.past_cols)
        masked, own = config.missing == "mask", config.per_series
        self._others = np.ones((count, int(masked)), dtype=np.float32)
        self._known = np.arange(count, dtype=np.float32)[:, None] if own else np.zeros((count, 0), dtype=np.float32)

    def begin(self, data: Any) -> None:
        """Take the data that the series go on from, of which the newest window counts.

        Args:
            data: A frame as of :meth:`update`, or a :class:`~qkan.datasets.Series`.

        Raises:
            DataError, RunError: as of :meth:`update`.
        """
        series = self._whole(data)
        scaler_for(self.run, series)
        rows = np.array([self._place_of(name, series) for name in series.ids])
        channels = self._channels(series, rows, ahead=self.state == "carried")
        self.reset([self.ids[row] for row in rows])
        self._append(series, rows, channels)
        self.tail.take(series, rows)

    def push(self, values: npt.ArrayLike, series: npt.ArrayLike | None = None) -> np.ndarray:
        """Take the next value of some series and forecast what follows: the way without data frames.

        Args:
            values: In the unit of the series, one each: (B,), or a number.
            series: Which, as places in :attr:`ids`, each once: (B,), or a number; ``None`` takes all.

        Returns:
            Forecasts, float64: (B, horizon), or (B, horizon, quantiles) of a run that was trained for quantiles; NaN
            for series with too few values yet. Where numbers inside the model overflow they are not finite.

        Raises:
            RunError: the run reads covariates, or a series has no value yet: :meth:`update` takes these.
            ValueError: a value is not finite or beyond float32, or there are not as many as series. Nothing was taken.
        """
        rows = self._all if series is None else np.atleast_1d(np.asarray(series))
        taken = np.atleast_1d(np.asarray(values, dtype=np.float64))
        self._check_push(taken, rows, series is not None)
        self.tail.push(rows, taken)
        self.number[rows] += 1
        self.count[rows] += 1
        if self.tail.even or not self.run.config.seasons:
            numbers = self.number[rows, None] + self._ahead
        else:
            numbers = self.tail.numbers(rows, len(self._ahead))
            self.number[rows] = numbers[:, 0]
        known = self._known[rows]
        self.engine.append(rows, taken, self._others[rows], known, numbers)
        ahead = np.zeros((len(rows), len(self._ahead) - 1, known.shape[1]), dtype=np.float32)
        if known.shape[1]:
            ahead[:] = known[:, None]
        found = self._forecast(rows, ahead, numbers)
        return found if found.shape[2] > 1 else found[:, :, 0]

    def update(self, df: Any, futr_df: Any = None, level: Sequence[float] | float | None = None) -> Any:
        """Take new rows of one or many series and forecast what follows them.

        Rows are read by the rules of the training: sorted, missing ones filled or refused, duplicates refused, and so
        is what lies between the last row that the stream has and the first new one. Nothing is taken where anything is
        refused.

        Args:
            df: The rows, as :meth:`qkan.forecasting.Forecaster.fit` takes them. A series that has no value yet begins
                with them; then, all that there is of it may be given.
            futr_df: As of :meth:`qkan.forecasting.Forecaster.predict`.
            level: Intervals in percent: those that the quantile loss trained, or else split-conformal ones; ``None``
                takes what the quantile loss trained.

        Returns:
            A frame as of :meth:`qkan.forecasting.Forecaster.predict`, of the series that ``df`` has rows of and that
            have enough values.

        Raises:
            DataError: the rows cannot be used: one is older than the last value, say, or future covariates are missing.
            RunError: the run does not know a series, the steps are others, or there are too few errors for an interval.
            ValueError: a level is out of range.
        """
        from qkan.datasets import like

        table, series = self.take(df, futr_df, level)
        return like(df)(series.form.in_own_words(series.give_back(table)))

    def take(self, df: Any, futr_df: Any = None, level: Sequence[float] | float | None = None) -> tuple[Any, Series]:
        """Do what :meth:`update` does; return the forecasts, times and ids as inside, and the series behind them."""
        from qkan.datasets import future_frame

        own, others = chosen_levels(self.run.config, level, False)
        if others and self.run.kept_validation is None:  # else its file is read at every update
            self.run = replace(self.run, kept_validation=self.run.validation)
        series = self._read(df)
        if futr_df is not None:
            series = series.with_futr_exog(future_frame(futr_df, series, label="futr_df"))
        scaler_for(self.run, series)  # refuses unknown series and other steps
        rows = np.array([self._place_of(name, series) for name in series.ids])
        with self._restored(rows):
            table, read = self._move(series, rows, own)
            if others and len(table):
                table = with_split(self.run, read, table, others)
        self.tail.take(series, rows)
        return table, read

    def newer(self, df: Any) -> np.ndarray:
        """Which rows of a frame lie behind what the stream has: bool (rows,).

        Raises:
            DataError: the rows cannot be read.
        """
        from qkan.datasets import newer_rows

        tail = self.tail.series()
        if tail is None:
            return np.ones(len(df), dtype=bool)
        return newer_rows(df, tail, **self._columns())

    def _columns(self) -> dict[str, Any]:
        """The columns of rows, as the run's options name them."""
        return {name: getattr(self.run.config, name) for name in _COLUMNS}

    def reset(self, series: Sequence[str] | None = None) -> None:
        """Forget some series, or all: they begin anew with their next rows.

        Raises:
            RunError: a series is unknown.
        """
        names = self.ids if series is None else (series,) if isinstance(series, str) else tuple(series)
        unknown = [name for name in names if name not in self._place]
        if unknown:
            raise RunError(
                f"the stream has no series {unknown[0]!r}; it has {len(self.ids)}, {self.ids[0]!r} the first"
            )
        rows = np.array([self._place[name] for name in names], dtype=np.int64)
        self.engine.rings.clear(rows)
        self.count[rows] = self.number[rows] = 0
        self._full = False
        self.tail.clear(rows)

    def save(self, path: str | Path) -> None:
        """Write the state of the stream to a file (safetensors; nothing in it is executed when it is read).

        Raises:
            RunError: the file cannot be written.
        """
        from qkan.forecasting.streaming.state_file import write_state

        write_state(self, Path(path))

    @classmethod
    def load(cls, run: Run, path: str | Path) -> Stream:
        """Read a stream that :meth:`save` wrote; it goes on where that one was.

        Raises:
            RunError: the file is missing, damaged, of a newer version, or of another run.
        """
        from qkan.forecasting.streaming.state_file import read_state

        return read_state(cls, run, Path(path))

    def _read(self, df: Any) -> Series:
        """The new rows behind the last ones of their series."""
        from qkan.datasets import series_going_on

        tail, season = self.tail.series(), self.run.config.season
        if tail is None:
            return self._whole(df)
        expected = self.run.data["frequency"]
        return with_season(series_going_on(df, tail, expected=expected, **self._columns()), season)

    def _whole(self, data: Any) -> Series:
        """The newest window of series that begin; what lies before is of no interest."""
        from qkan.datasets import Series, last_values

        config = self.run.config
        expected = self.run.data["frequency"]
        series = data if isinstance(data, Series) else series_of_frame(config, data, expected=expected)
        return last_values(series, max(config.context, self.tail.ROWS)).with_futr_exog(series.futr_exog)

    @contextmanager
    def _restored(self, rows: np.ndarray) -> Iterator[None]:
        """Put the series back as they were if anything goes wrong inside."""
        kept = self.engine.rings.copy_rows(rows), self.count[rows], self.number[rows]
        try:
            yield
        except BaseException:
            self.engine.rings.put_back(rows, kept[0])
            self.count[rows], self.number[rows] = kept[1:]
            self._full = False
            raise

    def _place_of(self, name: str, series: Series) -> int:
        if len(self.ids) == len(series.ids) == 1 and not series.form.named:
            return 0
        return self._place[name]

    def _move(self, series: Series, rows: np.ndarray, levels: Sequence[float]) -> tuple[Any, Series]:
        from qkan.datasets import keep_series, notice

        config, channels = self.run.config, self._channels(series, rows)
        self._append(series, rows, channels)
        ready = self.count[rows] >= config.context
        if not ready.all():
            place = int(np.flatnonzero(~ready)[0])
            notice(
                f"series {series.ids[place]!r} has {self.count[rows[place]]} of the {config.context} values that the "
                "model reads, so it has no forecast yet"
            )
        there = np.flatnonzero(ready)
        read = keep_series(series, [series.ids[place] for place in there]) if len(there) else series
        numbers = np.concatenate([self.number[rows, None], channels.number_ahead], axis=1)[there]
        found = self._forecast(rows[there], channels.ahead[there], numbers, moved=False)
        if len(there):
            check_finite(self.run, read, found)
        table = forecast_table(self.run, read, found, levels) if len(there) else _empty(self.run, read, levels)
        return table, read

    def _channels(self, series: Series, rows: np.ndarray, *, ahead: bool = True) -> StepChannels:
        """What the model sees of every row of some series, and with ``ahead`` of the steps to forecast."""
        from qkan.datasets.windows import step_channels

        config = self.run.config
        scaler = self.run.scaler.pick(rows.tolist(), series.ids)
        options: dict[str, Any] = {"seasonal": bool(config.seasons), "numbered": bool(config.per_series)}
        return step_channels(series, scaler, config.calendar, config.horizon if ahead else 0, **options)

    def _append(self, series: Series, rows: np.ndarray, channels: StepChannels) -> None:
        """Put the new rows of every series behind those that it has, one step of all series at a time."""
        horizon, old = self.run.config.horizon, self.tail.lengths(rows)
        # A series that begins does so with its newest window: what lies before is of no interest.
        first = np.maximum(0, series.lengths - self.run.config.context)
        begins = series.starts[:-1] + np.where(old == 0, first, old)
        left = series.starts[1:] - begins
        for step in range(int(left.max(initial=0))):
            own = np.flatnonzero(left > step)
            at, places = begins[own] + step, rows[own]
            numbers = np.zeros((len(own), horizon + 1), dtype=np.int64)
            numbers[:, 0] = channels.number[at]
            given = channels.past[at, 1:], channels.known[at], numbers
            self.engine.append(places, series.values[at], *given)
            self.count[places] += 1
            self.number[places] = channels.number[at]
            if self.state == "carried":
                self._carry(places, own, at, left > step + 1, channels)

    def _carry(
        self, places: np.ndarray, own: np.ndarray, at: np.ndarray, more: np.ndarray, channels: StepChannels
    ) -> None:
        """Move the state of the cell on by a step: what is known of the next one is that of the next row."""
        next_known = np.where(more[own, None], channels.known[np.minimum(at + 1, len(channels.known) - 1)], 0)
        next_number = np.where(more[own], channels.number[np.minimum(at + 1, len(channels.number) - 1)], 0)
        if not more[own].all():
            last = ~more[own]
            next_known[last], next_number[last] = channels.ahead[own[last], 0], channels.number_ahead[own[last], 0]
        ahead = np.zeros((len(own), *channels.ahead.shape[1:]), dtype=np.float32)
        ahead[:, 0] = next_known
        numbers = np.zeros((len(own), channels.number_ahead.shape[1] + 1), dtype=np.int64)
        numbers[:, 0], numbers[:, 1] = channels.number[at], next_number
        self._forecast(places, ahead, numbers)

    def _forecast(self, rows: np.ndarray, ahead: np.ndarray, numbers: np.ndarray, *, moved: bool = True) -> np.ndarray:
        """Forecasts of series, NaN for those with too few values; ``moved`` by one value since the last call."""
        if self._full:
            return self.engine.forecast(rows, ahead, numbers, begin=False, moved=moved)
        found = np.full((len(rows), len(self._ahead) - 1, self.engine.quantiles), np.nan)
        if not len(rows):
            return found
        context, have = self.run.config.context, self.count[rows]
        self._full = bool(self.count.min() > context)
        if self.state == "window" or not moved:
            if have.min(initial=context) >= context:
                return self.engine.forecast(rows, ahead, numbers, begin=False, moved=moved)
            parts = [(have >= context, False)]
        else:
            parts = [(have > context, False), (have == context, True)]
        for chosen, begin in parts:
            if chosen.any():
                own = np.flatnonzero(chosen)
                found[own] = self.engine.forecast(rows[own], ahead[own], numbers[own], begin=begin, moved=moved)
        return found

    def _check_push(self, values: np.ndarray, rows: np.ndarray, chosen: bool) -> None:
        if self._by_frame:
            raise RunError(
                f"{self.run.path} reads covariates, the calendar or names; give rows with them to update(df)"
            )
        if values.shape != rows.shape or values.ndim != 1:
            raise ValueError(f"values must be one for each of {len(rows)} series, got an array of shape {values.shape}")
        if chosen and not self._are_places(rows):
            raise ValueError(
                f"series must be places among the {len(self.ids)} series, from 0 and each once, got {rows.tolist()[:6]}"
            )
        fits = np.abs(values) <= self._largest[rows]
        if not fits.all():
            at = int(np.flatnonzero(~fits)[0])
            raise ValueError(
                f"value {at + 1}, of series {self.ids[rows[at]]!r}, is {values[at]:g}, not a number that float32 holds "
                "after scaling; correct it, or leave a missing one to update(df), which fills it as the training did"
            )
        if not self.tail.has(rows):
            at = int(rows[np.flatnonzero(self.tail.lengths(rows) == 0)[0]])
            raise RunError(
                f"series {self.ids[at]!r} has no value yet, so its times are unknown; begin with rows: update(df)"
            )

    def _are_places(self, rows: np.ndarray) -> bool:
        if rows.dtype.kind not in "iu" or rows.min(initial=0) < 0 or rows.max(initial=0) >= len(self.ids):
            return False
        return len(rows) < 2 or len(np.unique(rows)) == len(rows)


def _empty(run: Run, series: Series, levels: Sequence[float]) -> Any:
    """A table of forecasts without rows."""
    shape = (len(series.ids), run.config.horizon, len(run.config.quantiles))
    return forecast_table(run, replace(series, futr_exog=None), np.full(shape, np.nan), levels).iloc[:0]
