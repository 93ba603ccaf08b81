"""What a model sees at a time step: the scaled value and, where asked for, more channels beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from qkan.datasets.errors import DataError, notice, refuse, shortened, shown
from qkan.datasets.series import Series
from qkan.datasets.windows.calendar import calendar_features
from qkan.datasets.windows.phases import season_phases, step_numbers
from qkan.datasets.windows.scalers import Scaler, spike_ratio

_SPIKE = 100.0  # times the range of the middle half: a few values take nearly all of the scaled range


def fit_scaler(
    series: Series,
    train_ends: np.ndarray,
    kind: str,
    train_begins: np.ndarray | int = 0,
    *,
    only: range | None = None,
) -> Scaler:
    """A scaler for values and covariates from the training parts alone; values that were filled do not count.

    Args:
        series: the data.
        train_ends: end of the training part within every series, int64, shape (series,).
        kind: one of ``scalers.KINDS``.
        train_begins: its begin, likewise.
        only: places of the series that it is for, of data without covariates; None takes all.

    Raises:
        DataError: unknown kind, or a training part without an observed value.

    Examples:
        >>> import numpy as np
        >>> from qkan.datasets import fit_scaler, read_series
        >>> scaler = fit_scaler(read_series("traffic.csv"), np.array([300]), "minmax")
        >>> scaler.kind
        'minmax'
    """
    first, begins = series.starts[:-1], np.broadcast_to(train_begins, train_ends.shape)
    places = range(len(series.ids)) if only is None else only
    heads = [slice(first[place] + begins[place], first[place] + train_ends[place]) for place in places]
    values = [series.values_of(place)[begins[place] : train_ends[place]] for place in places]
    whole = values
    if series.observed is not None:
        seen = [series.observed[head] for head in heads]
        gaps = [np.where(own, every, np.nan) for own, every in zip(seen, values, strict=True)]
        values = [every[own] for own, every in zip(seen, values, strict=True)]
        whole = values
        if kind == "change":  # pairs a season apart stay so across a gap
            whole = [every if own.size else own for every, own in zip(gaps, values, strict=True)]
    own_kind = "standard" if kind == "change" else kind  # a flag hardly ever changes
    covariates = {
        name: replace(Scaler.fit([column[head] for head in heads], series.ids, own_kind), kind=kind)
        for name in (*series.past, *series.future)
        for column in (series.frame[name].to_numpy(),)
    }
    for name in series.static:  # one value a series: scaled by those of all series together
        pooled = replace(Scaler.fit([series.frame[name].to_numpy()[first]], ("",), own_kind), kind=kind)
        covariates[name] = pooled.pick([0] * len(series.ids), series.ids)
    season = series.mase_season or (series.season[0] if series.season else 1)
    fitted = Scaler.fit(whole, [series.ids[place] for place in places], kind, season)
    if kind in ("minmax", "standard"):
        _say_spikes(fitted.ids, values, kind)
    categories = {name: tuple(map(str, np.unique(series.frame[name].to_numpy(str)))) for name in series.categories}
    return Scaler(kind, fitted.ids, fitted.offset, fitted.scale, covariates, categories)


def _say_spikes(ids: Sequence[str], values: Sequence[np.ndarray], kind: str) -> None:
    """Say it where a few values leave nearly nothing of the scaled range to the others."""
    ratios = np.array([spike_ratio(own) for own in values])
    found = np.flatnonzero(ratios > _SPIKE)
    if found.size:
        own, others = values[found[0]], f" and {found.size - 1} more" if found.size > 1 else ""
        middle = float(np.median(own))
        far = float(own[np.argmax(np.abs(own - middle))])
        notice(
            f"series {ids[found[0]]!r}{others} has values such as {far:g}, far from the others around "
            f"{middle:g}, which scaler={kind!r} leaves no room; correct them, or use scaler='robust' with loss='mae'"
        )


class _Rows:
    """Some rows of a series, all of them for ``rows=None``.

    Args:
        series: whose rows.
        rows: of any shape; those of the last axis belong to one series.
    """

    def __init__(self, series: Series, rows: np.ndarray | None) -> None:
        self.series, self.rows = series, rows
        self.owner = series.owners(None if rows is None else rows[..., :1])

    @property
    def values(self) -> np.ndarray:
        return self.series.values if self.rows is None else self.series.values_at(self.rows)

    @property
    def times(self) -> np.ndarray:
        return self.series.times if self.rows is None else self.series.times_at(self.rows)

    def column(self, name: str) -> np.ndarray:
        values = self.series.frame[name].to_numpy()
        return values if self.rows is None else values[self.rows]

    @property
    def observed(self) -> np.ndarray:
        if self.series.observed is None:
            return np.ones(self.values.shape, dtype=bool)
        return self.series.observed if self.rows is None else self.series.observed[self.rows]

    def expand(self, values: np.ndarray) -> np.ndarray:
        """What holds for a series as a whole, in every row of it."""
        return values if self.rows is None else np.broadcast_to(values, self.rows.shape)


def observed_channels(series: Series, scaler: Scaler, rows: np.ndarray | None = None) -> np.ndarray:
    """Channels known up to now: the scaled value, with ``mask`` 1 or 0 for observed or filled, past covariates.

    Args:
        series: the data.
        scaler: of its series.
        rows: of any shape, those of the last axis of one series; None takes all, in their order.

    Returns:
        float32, shape (rows, channels) or (..., channels).

    Raises:
        DataError: a scaled value is beyond float32.
    """
    own = _Rows(series, rows)
    channels = [_scaled(own, scaler, own.values, "value")]
    if series.missing == "mask":
        channels.append(own.observed.astype(np.float32))
    channels += [_covariate(own, scaler, name) for name in series.past]
    return np.stack(channels, axis=-1)


def futr_exog_channels(
    series: Series,
    scaler: Scaler,
    calendar: Sequence[str],
    seasons: Sequence[int] = (),
    *,
    numbered: bool = False,
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """Channels that are known in advance, at their own times: future and static covariates, calendar features, codes of
    categories, season phases.

    With ``numbered``, the number of the series, as of `Scaler`, stands before the phases. ``rows`` are as of
    `observed_channels`.

    Returns:
        float32, shape (rows, channels) or (..., channels).

    Raises:
        DataError: a scaled value is beyond float32, or the times have no calendar.
    """
    own = _Rows(series, rows)
    shape = (series.points,) if rows is None else rows.shape
    if not (series.future or series.static or series.categories or calendar or seasons or numbered):
        return np.zeros((*shape, 0), dtype=np.float32)
    channels = [_covariate(own, scaler, name)[..., None] for name in (*series.future, *series.static)]
    phases: list[np.ndarray] = []
    if calendar or seasons or series.categories:
        times = own.times
        features, turns = (found.reshape(*shape, -1) for found in _of_time(series, times.ravel(), calendar, seasons))
        phases.append(turns)
        channels.append(features)
        for name in series.categories:
            owner = own.expand(own.owner).ravel()
            codes = _codes(series, scaler, name, own.column(name).ravel(), owner, times.ravel())
            channels.append(codes.reshape(*shape, 1))
    if numbered:
        channels.append(own.expand(np.asarray(scaler.numbers, dtype=np.float32)[own.owner])[..., None])
    return np.concatenate([*channels, *phases], axis=-1)


def channel_count(series: Series) -> int:
    """How many channels `observed_channels` has."""
    return 1 + (series.missing == "mask") + len(series.past)


def _codes(
    series: Series, scaler: Scaler, name: str, texts: np.ndarray, owner: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """Codes of categories, float32, shape (N,).

    Raises:
        DataError: a category that the scaler does not know.
    """
    known = scaler.categories[name]
    codes = pd.Index(known).get_indexer(pd.Index(texts, dtype=object))

    def unknown(row: int) -> str:
        place, text = int(owner[row]), texts[row]
        begin, end = series.starts[place : place + 2]
        same = np.flatnonzero(series.frame[name].to_numpy()[begin:end] == text)  # it may begin before what is read here
        time = series.times_of(place)[same[0]] if same.size else times[row]
        return (
            f"series {series.ids[place]!r} has {name}={shortened(text)} at {shown(time)}, which the forecaster was not "
            f"trained on; it knows {', '.join(map(shortened, known[:8]))}"
            f"{f' and {len(known) - 8} more' if len(known) > 8 else ''}: correct it, or train on data that has it"
        )

    refuse(codes < 0, unknown)
    return codes.astype(np.float32)


def _numbers(scaler: Scaler, owner: np.ndarray) -> np.ndarray:
    """The numbers of the series of some rows, float32 (rows, 1)."""
    return np.asarray(scaler.numbers, dtype=np.float32)[owner][:, None]


def _of_time(series: Series, times: np.ndarray, calendar: Sequence[str], seasons: Sequence[int]) -> list[np.ndarray]:
    """What follows from the times (N,) alone: calendar features and phases, float32 (N, channels) each."""
    return [calendar_features(series.wall_times(times), calendar), season_phases(series, times, seasons)]


class StepChannels(NamedTuple):
    """What a model sees of every step, one by one.

    Attributes:
        past: channels known up to now, the scaled value first, float32 (rows, channels).
        known: channels known in advance but the season phases, at their own times, float32 (rows, future channels).
        number: numbers of the steps, as of `step_numbers`, int64 (rows,); zeros where nobody asks for seasons.
        ahead, number_ahead: the same of the steps behind the last row of every series, (series, steps, ...).
    """

    past: np.ndarray
    known: np.ndarray
    number: np.ndarray
    ahead: np.ndarray
    number_ahead: np.ndarray


def step_channels(
    series: Series, scaler: Scaler, calendar: Sequence[str], steps: int, *, seasonal: bool, numbered: bool
) -> StepChannels:
    """What a model sees of every row of some series, and of ``steps`` steps behind the last ones.

    Args:
        series, scaler: the data, and a scaler of the same series.
        calendar, numbered: as of `make_forecast_data`.
        steps: future steps.
        seasonal: whether steps are numbered.

    Raises:
        DataError: as `futr_exog_channels` and `futr_exog_after`.
    """
    known = futr_exog_channels(series, scaler, calendar, numbered=numbered)
    ahead = np.zeros((len(series.ids), 0, known.shape[1]), dtype=np.float32)
    if steps:
        ahead = futr_exog_after(series, scaler, calendar, steps, numbered=numbered)
    number = np.zeros(len(series.times), dtype=np.int64)
    after = np.zeros(ahead.shape[:2], dtype=np.int64)
    if seasonal:
        whole = np.concatenate([series.times, *([series.all_future_times(steps).ravel()] if steps else [])])
        own = step_numbers(series.wall_times(whole), series.frequency, series.session, series.step or 1)
        number, after = own[: len(number)], own[len(number) :].reshape(after.shape)
    return StepChannels(observed_channels(series, scaler), known, number, ahead, after)


def futr_exog_after(
    series: Series,
    scaler: Scaler,
    calendar: Sequence[str],
    steps: int,
    seasons: Sequence[int] = (),
    *,
    numbered: bool = False,
) -> np.ndarray:
    """The channels of `futr_exog_channels` at the ``steps`` times after the end of every series.

    Returns:
        float32, shape (series, steps, channels).

    Raises:
        DataError: future rows of a series are missing, or the times have no calendar.
    """
    count = len(series.ids)
    if (
        not series.future
        and not series.static
        and not series.categories
        and not calendar
        and not seasons
        and not numbered
    ):
        return np.zeros((count, steps, 0), dtype=np.float32)
    times = series.all_future_times(steps)
    features, phases = _of_time(series, times.ravel(), calendar, seasons)
    last = series.starts[1:] - 1
    numbers = [_numbers(scaler, np.repeat(np.arange(count), steps))] if numbered else []
    parts = [features, *_future_codes(series, scaler, times), *numbers, phases]
    if series.static:
        static = [
            scaler.covariates[name].transform(series.frame[name].to_numpy()[last], np.arange(count))
            for name in series.static
        ]
        parts.insert(0, np.repeat(np.stack(static, axis=1), steps, axis=0).astype(np.float32))
    if series.future:
        given = _future_values(series, steps)
        columns = [
            scaler.covariates[name].transform(given[:, :, i], np.arange(count)) for i, name in enumerate(series.future)
        ]
        scaled = np.stack(columns, axis=2).astype(np.float32).reshape(count * steps, -1)
        parts.insert(0, scaled)
    return np.concatenate(parts, axis=1).reshape(count, steps, -1)


def _future_codes(series: Series, scaler: Scaler, times: np.ndarray) -> list[np.ndarray]:
    """Codes of categories after the end of every series, float32 (series * steps, 1) each; ``times`` (series, steps).

    Future rows say them; without, a category that never changed in its series stays.
    """
    count, steps = times.shape
    given = {} if series.futr_exog is None else dict(iter(series.futr_exog.groupby("unique_id", sort=False)))
    owner, found = np.repeat(np.arange(count), steps), []
    for name in series.categories:
        texts = np.empty((count, steps), dtype=object)
        for index, own in enumerate(series.ids):
            past = series.frame[name].to_numpy()[series.starts[index] : series.starts[index + 1]]
            texts[index] = past[-1] if (past == past[-1]).all() else None
            if own in given and name in given[own]:
                rows = given[own][name].to_numpy(dtype=object)[:steps]
                texts[index, : len(rows)] = np.where(pd.isna(rows), texts[index, : len(rows)], rows)
        missing = np.flatnonzero(pd.isna(texts.ravel()))
        if missing.size:
            at = int(missing[0])
            raise DataError(
                f"category {name!r} of series {series.ids[owner[at]]!r} changes with time, and nothing says what it is "
                f"at {shown(times.ravel()[at])}; add rows without a value at the end of the data, or give them in a "
                "table of their own (futr_df, --future)"
            )
        found.append(_codes(series, scaler, name, texts.ravel(), owner, times.ravel())[:, None])
    return found


def _future_values(series: Series, steps: int) -> np.ndarray:
    """Future covariates after the end of every series, float64, shape (series, steps, covariates)."""
    columns = list(series.future)
    rows = {} if series.futr_exog is None else dict(iter(series.futr_exog.groupby("unique_id", sort=False)))
    found = np.empty((len(series.ids), steps, len(series.future)))
    for index, name in enumerate(series.ids):
        have = len(rows[name]) if name in rows else 0
        if have < steps:
            needed = shown(series.future_times(index, have + 1)[-1])
            raise DataError(
                f"series {name!r} has {have} future rows with {', '.join(series.future)}, but {steps} steps are to be "
                f"forecast; the next one needed is {needed}: add rows without a "
                "value at the end of the data, or give them in a table of their own (futr_df, --future)"
            )
        found[index] = rows[name][columns].to_numpy(dtype=np.float64)[:steps]
    return found


def _covariate(own: _Rows, scaler: Scaler, name: str) -> np.ndarray:
    return _scaled(own, scaler.covariates[name], own.column(name), f"{name} =")


def _scaled(own: _Rows, scaler: Scaler, values: npt.NDArray, what: str) -> np.ndarray:
    with np.errstate(over="ignore"):  # what overflows is reported below, with its place
        scaled = scaler.transform_by(values, own.owner).astype(np.float32)
    if not np.isfinite(scaled).all():
        series, owner, times = own.series, own.expand(own.owner).ravel(), own.times.ravel()
        refuse(
            ~np.isfinite(scaled).ravel(),
            lambda row: (
                f"{what} {values.ravel()[row]:g} of series {series.ids[owner[row]]!r} at {shown(times[row])} is beyond "
                f"float32 after {scaler.kind!r} scaling; remove the outlier or rescale the data"
            ),
        )
    return scaled
