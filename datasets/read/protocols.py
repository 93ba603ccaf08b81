"""Files of public benchmarks, with the parts that their papers prescribe: which values train, validate and test.

``ltsf``: a wide file with a column ``date`` and one column a channel (long-term forecasting, Zhou et al. 2021): 12, 4
and 4 months of 30 days of an ETT file, else 70, 10 and 20 %. ``m4``: the official file of training values, beside it
the one of test values (Makridakis et al. 2020): the newest horizon of the training values validates.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from qkan.datasets.errors import DataError, notice, shortened
from qkan.datasets.read.cells import numbers_of
from qkan.datasets.read.columns import Columns
from qkan.datasets.read.csv_form import CsvForm
from qkan.datasets.read.file import read_table
from qkan.datasets.read.select import keep_series
from qkan.datasets.read.table import table_series
from qkan.datasets.series import Series

PROTOCOLS = {
    "ltsf": "wide files with a column date, as of ETT, exchange, weather, traffic and electricity: parts and "
    "standardised errors of the papers on long-term forecasting",
    "m4": "the files of the M4 competition, such as Hourly-train.csv beside Hourly-test.csv: official test part, MASE "
    "and sMAPE",
}
"""What the protocols read, by name.

Examples:
    >>> from qkan.datasets import PROTOCOLS
    >>> sorted(PROTOCOLS)
    ['ltsf', 'm4']
"""

_ETT = frozenset({"HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"})
_MONTH = 30  # days
_ETT_MONTHS = (12, 16, 20)  # where the parts of an ETT file end


class _Group(NamedTuple):
    """A group of M4: the horizon, the season of MASE, and the seasons that a model may know."""

    horizon: int
    mase_season: int
    seasons: tuple[int, ...]


_GROUPS = {
    "hourly": _Group(48, 24, (24, 168)),
    "daily": _Group(14, 1, (7,)),
    "weekly": _Group(13, 1, ()),
    "monthly": _Group(18, 12, (12,)),
    "quarterly": _Group(8, 4, (4,)),
    "yearly": _Group(6, 1, ()),
}


def protocol_series(
    protocol: str,
    path: str | Path,
    *,
    series: Sequence[str] = (),
    sep: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
) -> Series:
    """The series of a benchmark's file, with the parts that its protocol prescribes.

    Args:
        protocol: one of :data:`PROTOCOLS`.
        path: the file.
        series: which to keep of them; all if it is empty.
        sep, decimal, encoding: as of :func:`qkan.datasets.read.file.read_series`.

    Raises:
        DataError: the file cannot be read, or is not of the shape that the protocol is for.

    Examples:
        >>> import pandas as pd
        >>> from qkan.datasets import protocol_series
        >>> date = pd.date_range("2026-01-01", periods=200, freq="h")
        >>> pd.DataFrame({"date": date, "OT": range(200)}).to_csv("loads.csv", index=False)
        >>> protocol_series("ltsf", "loads.csv").ids
        ('OT',)
    """
    form = CsvForm(sep, decimal, encoding)
    read = {"ltsf": _ltsf, "m4": _m4}[protocol]
    return keep_series(read(Path(path), form), series)


def _ltsf(path: Path, form: CsvForm) -> Series:
    frame = read_table(path, form=form)
    name = path.name.partition(".")[0]
    dates = [column for column in frame.columns if str(column).lower() == "date"]
    channels = [column for column in frame.columns if column not in dates]
    if len(dates) != 1 or not channels:
        listed = ", ".join(map(str, frame.columns[:8]))
        raise DataError(
            f"{path.name} is no file of protocol 'ltsf', which has a column date and one column a channel; its columns "
            f"are {listed}: rename the column of times, or leave the protocol out"
        )
    for column in channels:
        if not pd.api.types.is_numeric_dtype(frame[column]):
            strange = frame[column][pd.to_numeric(frame[column], errors="coerce").isna()]
            first = (strange if len(strange) else frame[column]).iloc[0]
            raise DataError(
                f"column {str(column)!r} of {path.name} holds {shortened(first)}, which is no number; with protocol "
                "'ltsf' every column but date is a channel, so drop the others"
            )
        lacking = np.flatnonzero(frame[column].isna())
        if lacking.size:
            raise DataError(
                f"row {lacking[0] + 1} of column {str(column)!r} of {path.name} is missing or NaN, and benchmarks of "
                "protocol 'ltsf' have every value; fill it first, or leave the protocol out, with one row a value and "
                "missing='mask'"
            )
        numbers_of(frame[column], f"column {str(column)!r} of {path.name}", "drop it", missing=False)
    times = pd.to_datetime(frame[dates[0]], errors="coerce", format="mixed")
    if times.isna().any():
        row = int(np.flatnonzero(times.isna())[0])
        raise DataError(
            f"{shortened(frame[dates[0]].iloc[row])} in row {row + 1} of {path.name} is no time; "
            "write it as 2016-07-01 00:00"
        )
    summary = f"{len(channels)} channels of {path.name}"
    parts = [pd.DataFrame({"unique_id": str(own), "ds": times, "y": frame[own]}) for own in channels]
    whole = pd.concat(parts, ignore_index=True)
    try:
        found = _table(whole, path, name, summary)
    except DataError:
        rows = np.tile(np.arange(len(frame)), len(channels))
        found = _table(whole.assign(ds=rows), path, name, summary)  # what else may be wrong is so still
        notice(f"the times of {path.name} are irregular, so its rows are taken as steps, as the papers do")
    if set(map(str, channels)) != _ETT:
        length = len(frame)
        return replace(found, borders=(int(0.7 * length), length - int(0.2 * length)))
    step = {"h": 24, "15min": 96}.get(str(found.frequency))
    if step is None:
        raise DataError(
            f"{path.name} has steps of {found.frequency or 'no regular size'}, but ETT files have steps of h or 15min; "
            "give the file as it is published, or leave the protocol out"
        )
    ends = [months * _MONTH * step for months in _ETT_MONTHS]
    if len(frame) < ends[2]:
        raise DataError(
            f"{path.name} has {len(frame):,} rows, but protocol 'ltsf' takes 20 months of 30 days of an ETT file, "
            f"{ends[2]:,} rows; give the whole file, or leave the protocol out"
        )
    kept = (found.frame.groupby("unique_id").cumcount() < ends[2]).to_numpy()
    return replace(found, frame=found.frame[kept].reset_index(drop=True), borders=(ends[0], ends[1]))


def _m4(path: Path, form: CsvForm) -> Series:
    if "train" not in path.name.lower():
        raise DataError(
            f"protocol 'm4' takes the file of training values, whose name has the word train, got {path.name}; the one "
            "of test values lies beside it, with the word test"
        )
    beside = _beside(path)
    train, test = _wide(path, form), _wide(beside, form)
    if set(train) != set(test):
        strange = sorted(set(train) ^ set(test))[0]
        raise DataError(f"series {strange!r} is in only one of {path.name} and {beside.name}; give both files whole")
    sizes = {len(values) for values in test.values()}
    group = _group_in(path.name) or _group_of(list(train))
    if group is None or sizes != {_GROUPS[group].horizon}:
        known = ", ".join(f"{name} ({own.horizon})" for name, own in _GROUPS.items())
        raise DataError(
            f"{beside.name} has {', '.join(map(str, sorted(sizes)))} test values a series, and "
            f"{path.name} is of group {group or 'unknown'}; the groups of M4 and their horizons are {known}: name the "
            "file after its group, as Hourly-train.csv"
        )
    own = _GROUPS[group]
    both = {name: np.concatenate([values, test[name]]) for name, values in train.items()}
    parts = [
        pd.DataFrame({"unique_id": name, "ds": np.arange(1, len(values) + 1), "y": values})
        for name, values in both.items()
    ]
    found = _table(pd.concat(parts, ignore_index=True), path, f"m4-{group}", f"{len(train):,} series of {path.name}")
    borders = (-2 * own.horizon, -own.horizon)
    return replace(found, season=own.seasons, mase_season=own.mase_season, borders=borders)


def _table(frame: pd.DataFrame, path: Path, name: str, summary: str) -> Series:
    found = table_series(frame, Columns.named(), name=name, label=path.name, source=str(path), missing="refuse")
    return replace(found, summary=summary)


def _wide(path: Path, form: CsvForm) -> dict[str, np.ndarray]:
    """The values of every row of a file, by its first column; what is empty at the end of a row is no value."""
    frame = read_table(path, form=form)
    rows = frame.iloc[:, 1:].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    there = np.isfinite(rows)
    counts = there.sum(axis=1)
    bad = np.flatnonzero((counts == 0) | (there.cumprod(axis=1).sum(axis=1) != counts))
    if bad.size or frame.shape[1] < 2 or frame.iloc[:, 0].duplicated().any():
        place = int(bad[0]) if bad.size else 0
        raise DataError(
            f"{path.name} is no file of protocol 'm4': every row has the name of a series and its values, without "
            f"a gap; row {place + 1} ({shortened(frame.iloc[place, 0])}) has not"
        )
    return {str(name): row[:count] for name, row, count in zip(frame.iloc[:, 0], rows, counts, strict=True)}


def _beside(path: Path) -> Path:
    """The file of test values beside one of training values."""
    name = re.sub("train", lambda found: "Test" if found[0][0] == "T" else "test", path.name, flags=re.IGNORECASE)
    plain = name.removesuffix(".gz")
    found = [path.with_name(own) for own in (name, plain, f"{plain}.gz") if path.with_name(own).exists()]
    if not found:
        raise DataError(
            f"protocol 'm4' needs the test values beside {path.name}: there is no {path.with_name(name)}; "
            "put that file there, or leave the protocol out"
        )
    return found[0]


def _group_in(name: str) -> str | None:
    return next((group for group in _GROUPS if group in name.lower()), None)


def _group_of(ids: list[str]) -> str | None:
    letters = {name[:1].lower() for name in ids}
    return next((group for group in _GROUPS if letters == {group[0]}), None)
