"""The cross-validation frame: one row for every value that was forecast from every origin.

Columns: ``unique_id`` (str), ``ds`` (datetime64 or int64), ``cutoff`` (the last time that the models knew, type of
``ds``), ``y`` (float64), one column per model with its point forecast, and for a model ``M`` optional columns
``M-lo-90`` and ``M-hi-90`` with the ends of its central 90 % interval. A column ``step`` (1 is the first value after
the cutoff) is optional: without it, the rows of an origin are numbered in the order of time, which is right only if
none of them is missing. All values have the unit of ``y``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

MAX_MAGNITUDE = 1e100
"""Values beyond it are refused, as in all data: their squares, summed, must be numbers."""
KEYS = ("unique_id", "ds", "cutoff")
_OWN = (*KEYS, "y", "step")
_BOUND = re.compile(r"(?P<model>.+)-(?P<side>lo|hi)-(?P<level>\d+(?:\.\d+)?)")


def model_columns(frame: pd.DataFrame) -> tuple[str, ...]:
    """Return the names of the models of a frame, in the order of its columns.

    Examples:
        >>> import numpy as np
        >>> import pandas as pd
        >>> from qkan.forecasting.evaluation import model_columns
        >>> ds = np.arange(10, 40)
        >>> frame = pd.DataFrame({"unique_id": "a", "ds": ds, "cutoff": ds - 1, "y": np.sin(ds)})
        >>> frame = frame.assign(Naive=np.sin(ds - 1), Zero=0.0)
        >>> model_columns(frame)
        ('Naive', 'Zero')
    """
    return tuple(str(name) for name in frame.columns if name not in _OWN and not _BOUND.fullmatch(str(name)))


def interval_levels(frame: pd.DataFrame, model: str) -> tuple[float, ...]:
    """Return the levels in percent, ascending, for which a model has both ends of an interval."""
    found: dict[float, set[str]] = {}
    for name in frame.columns:
        match = _BOUND.fullmatch(str(name))
        if match and match["model"] == model:
            found.setdefault(float(match["level"]), set()).add(match["side"])
    return tuple(sorted(level for level, sides in found.items() if len(sides) == 2))


def interval_levels_of_all(frame: pd.DataFrame) -> tuple[float, ...]:
    """Return the levels in percent, ascending, that any model of a frame has."""
    return tuple(sorted({level for model in model_columns(frame) for level in interval_levels(frame, model)}))


def bounds(model: str, level: float) -> tuple[str, str]:
    """Return the names of the columns with the lower and the upper end of an interval."""
    return f"{model}-lo-{level:g}", f"{model}-hi-{level:g}"


def check_levels(levels: Iterable[float]) -> tuple[float, ...]:
    """Return levels in percent, ascending and each once.

    Raises:
        ValueError: a level is not a number of percent from 1 to below 100; 0.9 is hardly meant as such.
    """
    found = set()
    for level in levels:
        number = isinstance(level, int | float | np.number) and not isinstance(level, bool)
        if not number or not 1 <= level < 100:
            raise ValueError(f"level {level!r} is out of range; give percent from 1 to below 100, such as 90")
        found.add(float(level))
    return tuple(sorted(found))


def check_count(name: str, value: object) -> None:
    """Raise a ValueError unless the value is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")


def check_season(season: object) -> None:
    """Raise a ValueError unless the season is a whole number of steps."""
    if isinstance(season, bool) or not isinstance(season, int | np.integer) or season < 1:
        raise ValueError(f"season {season!r} must be a whole number of steps, at least 1 (1 means no season)")


def check_models(frame: pd.DataFrame, models: Sequence[str] | None) -> tuple[str, ...]:
    """Return the models asked for, or all of a frame.

    Raises:
        ValueError: the frame has no model, or none of that name.
    """
    known = model_columns(frame)
    if not known:
        raise ValueError("the frame has no column with forecasts; add one column per model beside unique_id, ds, y")
    if models is None:
        return known
    unknown = [name for name in models if name not in known]
    if unknown:
        raise ValueError(f"there is no model {unknown[0]!r} in the frame; it has {', '.join(known)}")
    if not models:
        raise ValueError("models is empty; name at least one, or leave it out to take all of the frame")
    return tuple(dict.fromkeys(models))


def check_frame(frame: pd.DataFrame, models: Sequence[str] | None = None) -> pd.DataFrame:
    """Return a checked copy of a cross-validation frame, sorted by series, origin and time, with a column ``step``.

    A model may have no forecast (NaN) for a whole series, as baselines have where they cannot be fitted.

    Args:
        frame: A cross-validation frame; see the module.
        models: The models to keep, with their intervals; ``None`` keeps all.

    Returns:
        Columns unique_id, ds, cutoff, step (int64), y (float64), then the models and their interval columns (float64);
        index 0, 1, ...

    Raises:
        TypeError: not a data frame.
        ValueError: the frame is empty, lacks a column, repeats a (unique_id, ds, cutoff), holds a missing or infinite
            value, has times of different types or not after their cutoff, a step that is not a whole number of at
            least 1, a value beyond +-1e100, or an interval whose lower end is above its upper end.

    Examples:
        >>> import numpy as np
        >>> import pandas as pd
        >>> from qkan.forecasting.evaluation import check_frame
        >>> ds = np.arange(10, 40)
        >>> frame = pd.DataFrame({"unique_id": "a", "ds": ds, "cutoff": ds - 1, "y": np.sin(ds)})
        >>> frame = frame.assign(Naive=np.sin(ds - 1), Zero=0.0)
        >>> check_frame(frame, ["Naive"]).shape
        (30, 6)
    """
    import pandas as pd

    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"the forecasts must be a pandas DataFrame, got {type(frame).__name__}; build a long frame")
    require_columns(frame, (*KEYS, "y"))
    chosen = check_models(frame, models)
    _check_keys(frame)
    ends = [name for model in chosen for level in interval_levels(frame, model) for name in bounds(model, level)]
    kept = [*KEYS, *(["step"] if "step" in frame else []), "y", *chosen, *ends]
    checked = frame[kept].copy()
    checked["unique_id"] = checked["unique_id"].astype(str)
    checked = checked.sort_values(["unique_id", "cutoff", "ds"], kind="stable", ignore_index=True)
    if "step" not in checked:
        checked.insert(3, "step", checked.groupby(["unique_id", "cutoff"]).cumcount() + 1)
    _check_steps(checked)
    for name in ("y", *chosen, *ends):
        checked[name] = _as_floats(checked, name)
        _check_values(checked, name, may_lack_series=name != "y")
    _check_order(checked, chosen)
    return checked


def require_columns(frame: pd.DataFrame, names: Sequence[str]) -> None:
    """Raise a ValueError that names the first column that is missing, or that says that there are no rows."""
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ValueError(f"the frame has no column {missing[0]!r}; it must have {', '.join(names)}")
    if len(frame) == 0:
        raise ValueError("the frame has no rows; give at least one value")


def _check_keys(frame: pd.DataFrame) -> None:
    from pandas.api import types

    for name in KEYS:
        if frame[name].isna().any():
            raise ValueError(f"column {name!r} has a missing value in row {_first(frame[name].isna())}; drop the row")
    kinds = [types.is_datetime64_any_dtype(frame[name]) or types.is_integer_dtype(frame[name]) for name in KEYS[1:]]
    mixed = types.is_integer_dtype(frame["ds"]) != types.is_integer_dtype(frame["cutoff"])
    if not all(kinds) or mixed:
        raise ValueError(
            f"columns 'ds' and 'cutoff' are {frame['ds'].dtype} and {frame['cutoff'].dtype}; "
            "both must be datetime64, or both integer"
        )
    repeated = frame.duplicated(list(KEYS))
    if repeated.any():
        row = frame[repeated].iloc[0]
        raise ValueError(
            f"the forecast of series {str(row['unique_id'])!r} at {row['ds']} from {row['cutoff']} is there twice; "
            "keep one row for every unique_id, ds and cutoff"
        )
    early = frame["ds"] <= frame["cutoff"]
    if early.any():
        row = frame[early].iloc[0]
        raise ValueError(
            f"series {str(row['unique_id'])!r} has a forecast for {row['ds']} whose cutoff is {row['cutoff']}; "
            "a cutoff is the last time that the model knew, so it must lie before ds"
        )


def _check_steps(frame: pd.DataFrame) -> None:
    from pandas.api import types

    step = frame["step"]
    must = "must hold whole numbers of at least 1 (1 is the first value after the cutoff)"
    if not types.is_integer_dtype(step) or step.isna().any():
        raise ValueError(f"column 'step' is {step.dtype} and {must}; number the rows of an origin 1, 2, ...")
    if (step < 1).any():
        raise ValueError(f"column 'step' has {step.min()} and {must}; number the rows of an origin 1, 2, ...")
    repeated = frame.duplicated(["unique_id", "cutoff", "step"])
    if repeated.any():
        row = frame[repeated].iloc[0]
        raise ValueError(
            f"column 'step' repeats {row['step']} within one origin, {row['cutoff']} of series {row['unique_id']!r}; "
            "number the rows of an origin 1, 2, ..."
        )
    frame["step"] = step.astype(np.int64)


def _as_floats(frame: pd.DataFrame, name: str) -> pd.Series:
    try:
        return frame[name].astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"column {name!r} is {frame[name].dtype}; convert it to float64") from None


def _check_values(frame: pd.DataFrame, name: str, *, may_lack_series: bool) -> None:
    values = frame[name].to_numpy()
    bad = ~np.isfinite(values)
    if may_lack_series and bad.any():
        lacking = frame[name].isna().groupby(frame["unique_id"]).transform("all").to_numpy()
        bad &= ~lacking
    if bad.any():
        row = frame.iloc[int(np.flatnonzero(bad)[0])]
        whole = "; a model may lack whole series only" if may_lack_series else ""
        raise ValueError(
            f"column {name!r} is {row[name]} for series {row['unique_id']!r} at {row['ds']}: values must be finite, "
            f"so fill it or drop the row{whole}"
        )
    large = np.abs(values) > MAX_MAGNITUDE
    if large.any():
        row = frame.iloc[int(np.flatnonzero(large)[0])]
        raise ValueError(
            f"column {name!r} is {row[name]:g} for series {row['unique_id']!r} at {row['ds']}, outside "
            f"+-{MAX_MAGNITUDE:g}; choose a larger unit"
        )


def _check_order(frame: pd.DataFrame, models: Sequence[str]) -> None:
    for model in models:
        for level in interval_levels(frame, model):
            low, high = bounds(model, level)
            crossed = frame[low] > frame[high]
            if crossed.any():
                row = frame[crossed].iloc[0]
                raise ValueError(
                    f"{low} is {row[low]:g} and above {high} ({row[high]:g}) for series {row['unique_id']!r} at "
                    f"{row['ds']}; swap or sort the ends"
                )


def join_forecasts(frame: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Return the first frame with the models of the second beside its own.

    Args:
        frame: A cross-validation frame.
        other: Another one with forecasts of the same values from the same origins; it may hold more rows.

    Raises:
        ValueError: a frame is not valid, a model is in both, the second lacks a row of the first, or the two
            disagree on a value of ``y``.

    Examples:
        >>> import numpy as np
        >>> import pandas as pd
        >>> from qkan.forecasting.evaluation import join_forecasts
        >>> ds = np.arange(10, 40)
        >>> frame = pd.DataFrame({"unique_id": "a", "ds": ds, "cutoff": ds - 1, "y": np.sin(ds)})
        >>> frame = frame.assign(Naive=np.sin(ds - 1), Zero=0.0)
        >>> other = frame[["unique_id", "ds", "cutoff", "y"]].assign(Drift=1.0)
        >>> list(join_forecasts(frame, other).columns)[-2:]
        ['Zero', 'Drift']
    """
    left, right = check_frame(frame), check_frame(other)
    shared = [name for name in model_columns(right) if name in model_columns(left)]
    if shared:
        raise ValueError(f"both frames have a model {shared[0]!r}; rename or drop one of them")
    added = right.drop(columns="step").rename(columns={"y": "y of the other"})
    joined = left.merge(added, on=list(KEYS), how="left", validate="one_to_one")
    lost = joined["y of the other"].isna()
    if lost.any():
        row = joined[lost].iloc[0]
        raise ValueError(
            f"the second frame has no row for series {row['unique_id']!r} at {row['ds']} from {row['cutoff']}; "
            "forecast the same values from the same origins"
        )
    apart = ~np.isclose(joined["y"], joined["y of the other"], rtol=1e-9, atol=0)
    if apart.any():
        row = joined[apart].iloc[0]
        raise ValueError(
            f"the frames disagree on y of series {row['unique_id']!r} at {row['ds']}: {row['y']:g} and "
            f"{row['y of the other']:g}; take both from the same data"
        )
    return joined.drop(columns="y of the other")


def unit_of(values: npt.ArrayLike) -> float:
    """Return the power of two next to the largest of some numbers, 1 for none: divided by it, squares keep digits.

    Errors of 1e-170 have squares that no float64 holds; a power of two rounds nothing.
    """
    sizes = np.abs(np.asarray(values, dtype=np.float64))
    largest = float(sizes[np.isfinite(sizes)].max(initial=0.0))
    return float(np.ldexp(1.0, np.frexp(largest)[1] - 1)) if largest > 0 else 1.0


def _first(flags: pd.Series) -> int:
    return int(np.flatnonzero(flags.to_numpy())[0])
