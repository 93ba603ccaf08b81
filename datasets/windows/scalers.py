"""Scaling of every series by numbers taken from its training part only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from qkan.datasets.errors import DataError

_Number = TypeVar("_Number", int, float)
_SMALLEST_RANGE = 1e-150  # below it a series counts as constant: other values, divided by it, could overflow
KINDS = ("minmax", "standard", "robust", "none", "change")


@dataclass(frozen=True)
class Scaler:
    """One affine map per series: scaled = (value - offset) / scale.

    Build it with `fit`. ``minmax`` maps the range of the training part to [-1, 1], ``standard`` its mean to 0 and its
    standard deviation to 1, ``robust`` its median to 0 and the range of its middle half (of all, where that is a single
    value) to 1, ``change`` its mean to 0 and its mean absolute change over a season to 1, the unit of MASE; ``none``
    leaves values alone. A constant training part has scale 1.

    Args:
        kind: one of ``KINDS``.
        ids: names of the series.
        offset: one finite number per series, in the unit of the values.
        scale: one positive finite number per series, in the unit of the values.
        covariates: a scaler of the same kind and series for every covariate, by its name.
        categories: the names that every column of names may hold; a code is a place among them.
        numbers: place of every series among those that a model was trained on, -1 for one that it does not know; their
            order, if it is left out.

    Raises:
        DataError: unknown kind, lengths that differ, or a number out of range.

    Examples:
        >>> from qkan.datasets import load_series, make_forecast_data
        >>> scaler = make_forecast_data(load_series("damped-shm"), window=12, horizon=1, scaler="standard").scaler
        >>> scaler.kind, len(scaler.scale)
        ('standard', 1)
    """

    kind: str
    ids: tuple[str, ...]
    offset: tuple[float, ...]
    scale: tuple[float, ...]
    covariates: Mapping[str, Scaler] = field(default_factory=dict)
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    numbers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.numbers:
            object.__setattr__(self, "numbers", tuple(range(len(self.ids))))
        if self.kind not in KINDS:
            raise DataError(f"unknown scaler {self.kind!r}; choose one of {', '.join(KINDS)}")
        if not len(self.ids) == len(self.offset) == len(self.scale):
            raise DataError(
                f"a scaler of {len(self.ids)} series has {len(self.offset)} offsets and {len(self.scale)} scales; "
                "give one of each per series"
            )
        if not np.isfinite(self.offset).all():
            raise DataError(f"the scaler offsets {self.offset} are not all finite; fit the scaler again")
        if not (np.isfinite(self.scale).all() and np.greater(self.scale, 0).all()):
            raise DataError(f"the scaler scales {self.scale} are not all positive and finite; fit the scaler again")

    @classmethod
    def fit(cls, training: Sequence[np.ndarray], ids: Sequence[str], kind: str = "minmax", season: int = 1) -> Scaler:
        """A scaler for the given training parts.

        Args:
            training: one array of finite values per series, shape (length,), at least one value each.
            ids: names of the series, as many.
            kind: one of ``KINDS``.
            season: steps of the change that ``change`` scales by; 1 for a series that does not hold it twice.

        Raises:
            DataError: unknown kind, lengths that differ, or an empty training part.
        """
        for name, values in zip(ids, training, strict=False):
            if len(values) == 0:
                raise DataError(f"the training part of series {name!r} is empty; raise the train share of the split")
        numbers = [_offset_and_scale(np.asarray(values, dtype=np.float64), kind, season) for values in training]
        offset, scale = tuple(n[0] for n in numbers), tuple(n[1] for n in numbers)
        return cls(kind, tuple(ids), offset, scale)

    def transform(self, values: npt.ArrayLike, series_index: npt.ArrayLike = 0) -> np.ndarray:
        """Scaled values.

        Args:
            values: in the unit of the series, shape (...,) or, with several indices, (N, ...).
            series_index: which series the values belong to, int or shape (N,).

        Returns:
            float64, same shape as ``values``.
        """
        values = np.asarray(values, dtype=np.float64)
        offset, scale = self._numbers(series_index, values.ndim)
        return (values - offset) / scale

    def transform_by(self, values: np.ndarray, owner: np.ndarray) -> np.ndarray:
        """Scaled values; ``owner`` is the series of every value, of a shape that broadcasts to that of ``values``."""
        offset, scale = self._arrays
        return np.asarray((np.asarray(values, dtype=np.float64) - offset[owner]) / scale[owner])

    def inverse_transform(self, values: npt.ArrayLike, series_index: npt.ArrayLike = 0) -> np.ndarray:
        """Values in the unit of the series for scaled ones; arguments and result as in `transform`."""
        values = np.asarray(values, dtype=np.float64)
        offset, scale = self._numbers(series_index, values.ndim)
        return values * scale + offset

    def _numbers(self, series_index: npt.ArrayLike, ndim: int) -> tuple[np.ndarray, np.ndarray]:
        index = np.asarray(series_index)
        shape = index.shape + (1,) * (ndim - index.ndim)
        offset, scale = self._arrays
        return offset[index].reshape(shape), scale[index].reshape(shape)

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(self.offset), np.asarray(self.scale)

    def pick(self, chosen: Sequence[int], ids: Sequence[str]) -> Scaler:
        """The scaler of some of the series only, in the order of ``chosen``, under the names ``ids``."""
        offset, scale = (tuple(numbers[i] for i in chosen) for numbers in (self.offset, self.scale))
        covariates = {name: own.pick(chosen, ids) for name, own in self.covariates.items()}
        return Scaler(
            self.kind, tuple(ids), offset, scale, covariates, self.categories, tuple(self.numbers[i] for i in chosen)
        )

    def of_unknown(self) -> Scaler:
        """The same scaler of series that no model was trained on."""
        return replace(self, numbers=(-1,) * len(self.ids))

    def with_numbers_of(self, known: Scaler) -> Scaler:
        """The same scaler with the numbers of ``known`` for the series that it knows."""
        place = {name: index for index, name in enumerate(known.ids)}

        def merged(own: tuple[_Number, ...], theirs: tuple[_Number, ...]) -> tuple[_Number, ...]:
            return tuple(
                theirs[place[name]] if name in place else number for name, number in zip(self.ids, own, strict=True)
            )

        covariates = {name: own.with_numbers_of(known.covariates[name]) for name, own in self.covariates.items()}
        offset, scale = merged(self.offset, known.offset), merged(self.scale, known.scale)
        return Scaler(
            self.kind, self.ids, offset, scale, covariates, known.categories, merged(self.numbers, known.numbers)
        )

    def shared_with(self, known: Scaler, static: Sequence[str]) -> Scaler:
        """The same scaler with what ``known`` has for all series alike: static covariates and categories."""
        count = len(self.ids)
        shared = {
            name: Scaler(self.kind, self.ids, (own.offset[0],) * count, (own.scale[0],) * count)
            for name, own in known.covariates.items()
            if name in static
        }
        return replace(self, covariates={**self.covariates, **shared}, categories=known.categories)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and strings, ready for JSON; `from_dict` reads them back without loss."""
        state: dict[str, Any] = {
            "kind": self.kind,
            "ids": list(self.ids),
            "offset": list(self.offset),
            "scale": list(self.scale),
        }
        if self.categories:
            state["categories"] = {name: list(own) for name, own in self.categories.items()}
        if not self.covariates:
            return state
        own = {name: {"offset": list(s.offset), "scale": list(s.scale)} for name, s in self.covariates.items()}
        return {**state, "covariates": own}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Scaler:
        """The scaler that `to_dict` described.

        Raises:
            DataError: a key is missing or unknown, or a value is not what `to_dict` writes.
        """
        wanted = {"kind", "ids", "offset", "scale"}
        if set(state) - {"covariates", "categories"} != wanted:
            raise DataError(f"a scaler has the keys {sorted(wanted)}, not {sorted(state)}; write it with to_dict")
        try:
            kind, ids = str(state["kind"]), tuple(map(str, state["ids"]))
            offset, scale = (tuple(map(float, state[name])) for name in ("offset", "scale"))
            covariates = {
                str(name): cls(kind, ids, tuple(map(float, own["offset"])), tuple(map(float, own["scale"])))
                for name, own in dict(state.get("covariates", {})).items()
            }
            categories = {str(name): tuple(map(str, own)) for name, own in dict(state.get("categories", {})).items()}
        except DataError:
            raise
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
            raise DataError(f"the numbers of the scaler cannot be read ({error}); write it with to_dict") from error
        return cls(kind, ids, offset, scale, covariates, categories)


def _offset_and_scale(values: np.ndarray, kind: str, season: int = 1) -> tuple[float, float]:
    """Offset and scale of one training part, without overflow for values near the limits of float64."""
    if kind == "none":
        return 0.0, 1.0
    whole, values = values, values[~np.isnan(values)]
    low, high = float(values.min()), float(values.max())
    half_range = high / 2 - low / 2
    if half_range < _SMALLEST_RANGE:
        return low, 1.0
    if kind == "minmax":
        return low + half_range, half_range
    inside = (values - (low + half_range)) / half_range  # in [-1, 1]: its squares neither overflow nor vanish
    if kind == "robust":
        lower, middle, upper = np.quantile(inside, (0.25, 0.5, 0.75))
        spread = (upper - lower) * half_range
        return float(middle) * half_range + low + half_range, float(spread) or half_range
    scale = float(inside.std())
    if kind == "change":
        lag, spread = season if len(whole) >= 2 * season else 1, (whole - (low + half_range)) / half_range
        changes = np.abs(spread[lag:] - spread[:-lag])
        changes = changes[~np.isnan(changes)]
        scale = (float(changes.mean()) if changes.size else 0.0) or scale
    return float(inside.mean()) * half_range + low + half_range, scale * half_range


def spike_ratio(values: np.ndarray) -> float:
    """By how much the range of some values exceeds that of their middle half; 0 where the latter is a single value."""
    lower, upper = np.quantile(values / 2, (0.25, 0.75))  # halves: differences must not overflow
    return float((values.max() / 2 - values.min() / 2) / (upper - lower)) if upper - lower > _SMALLEST_RANGE else 0.0
