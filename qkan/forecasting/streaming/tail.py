"""The last rows of every series of a stream: what new rows go on from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from qkan.datasets import Series


class Tail:
    """The last rows of S series, as the data has them, and what tells the times behind them.

    Values that are pushed without times are kept beside the rows until somebody asks for these.
    """

    ROWS = 3
    """Of every series; so many show their step."""

    def __init__(self, count: int) -> None:
        self._rows: Series | None = None
        self._places = np.zeros(0, dtype=np.int64)
        self._length = np.zeros(count, dtype=np.int64)
        self._values = np.zeros((self.ROWS, count))
        self._pushed = np.zeros(count, dtype=np.int64)
        self._complete = False
        self.even = True

    @property
    def is_empty(self) -> bool:
        """Whether no series has a value."""
        return self._rows is None

    @property
    def places(self) -> np.ndarray:
        """Places of the series of :meth:`series`, int64."""
        return self._places

    def restore(self, rows: Series, places: np.ndarray) -> None:
        """Take rows as :meth:`series` gave them, and the places of their series."""
        self._set(rows, places)

    def has(self, rows: np.ndarray) -> bool:
        """Whether all of some series have a value."""
        return self._complete or bool((self._length[rows] > 0).all())

    def lengths(self, rows: np.ndarray) -> np.ndarray:
        """How many rows there are of some series."""
        return self._length[rows]

    def push(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Take the next value of some series, (B,)."""
        pushed = self._pushed[rows]
        self._values[pushed % self.ROWS, rows] = values
        self._pushed[rows] = pushed + 1

    def take(self, series: Series, rows: np.ndarray) -> None:
        """Take rows of series at some places, in front of them those that were there."""
        import pandas as pd

        from qkan.datasets import keep_series, last_values

        new, places = last_values(series, self.ROWS), rows
        settled = self.series()
        if settled is not None:
            gone, place_of = set(rows.tolist()), dict(zip(settled.ids, self._places.tolist(), strict=True))
            others = [name for name, place in place_of.items() if place not in gone]
            if others:
                kept = np.array([place_of[name] for name in others])
                frame = pd.concat([new.frame, keep_series(settled, others).frame])
                order = np.argsort(np.array([*new.ids, *others], dtype=object), kind="stable")
                places = np.concatenate([rows, kept])[order]
                frame = frame.sort_values(["unique_id", "ds"], kind="stable", ignore_index=True)
                new = replace(new, frame=frame, observed=None, form=replace(new.form, ids=None, order=None))
        self._set(replace(new, observed=None, form=replace(new.form, ids=None, order=None)), places)

    def _set(self, rows: Series, places: np.ndarray) -> None:
        self._rows, self._places = rows, places
        self._length[:] = 0
        self._length[places] = rows.lengths
        self._pushed[:] = 0
        self._complete = bool((self._length > 0).all())
        clock = rows.form.clock
        self.even = clock.zone is None or clock.wall or rows.frequency is None

    def clear(self, rows: np.ndarray) -> None:
        """Forget some series."""
        from qkan.datasets import keep_series

        settled = self.series()
        if settled is None:
            return
        gone = set(rows.tolist())
        kept = [index for index, place in enumerate(self._places) if place not in gone]
        if kept:
            self._set(keep_series(settled, [settled.ids[index] for index in kept]), self._places[kept])
        else:
            self._rows, self._places, self._complete, self.even = None, np.zeros(0, dtype=np.int64), False, True
            self._length[:] = self._pushed[:] = 0

    def series(self) -> Series | None:
        """The last rows of all series that have some, those that were pushed among them."""
        if self._rows is None or not self._pushed.any():
            return self._rows
        import pandas as pd

        rows = self._rows
        times = rows.all_future_times(int(self._pushed.max()))
        parts = []
        for index, place in enumerate(self._places):
            pushed, frame = int(self._pushed[place]), rows.frame.iloc[rows.starts[index] : rows.starts[index + 1]]
            if pushed:
                last = frame.iloc[[-1] * min(pushed, self.ROWS)].copy()
                last["ds"] = times[index, max(0, pushed - self.ROWS) : pushed]
                last["y"] = self._values[np.arange(pushed - len(last), pushed) % self.ROWS, place]
                frame = pd.concat([frame, last]).tail(self.ROWS)
            parts.append(frame)
        self._set(replace(rows, frame=pd.concat(parts, ignore_index=True), observed=None), self._places)
        return self._rows

    def numbers(self, rows: np.ndarray, steps: int) -> np.ndarray:
        """Numbers of the last step of some series and of those behind it, (B, steps), by the clock on the wall."""
        from qkan.datasets.windows import step_numbers

        settled = self.series()
        if settled is None:
            raise ValueError("a series without a value has no times")
        index = {place: at for at, place in enumerate(self._places)}
        at = np.array([index[row] for row in rows.tolist()])
        ahead = settled.all_future_times(steps - 1)[at]
        times = np.concatenate([settled.times[settled.starts[1:] - 1][at, None], ahead], axis=1)
        own = step_numbers(settled.wall_times(times.ravel()), settled.frequency, settled.session, settled.step or 1)
        return own.reshape(times.shape)
