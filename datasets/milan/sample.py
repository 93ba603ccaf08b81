"""Invented daily files in the official format of the Milan grid, to try and to test an import without the real ones."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from qkan._util.files import write_atomic
from qkan.datasets.milan.grid import SIGNALS, STEP_MS, ZONE, day_bounds

CODES = np.array([0, 39, 33, 49, 44, 41, 40, 1, 86, 20, 34, 7])
"""Country codes, the most frequent first."""

_SHARES = np.array([0.4, 1, *0.35 * 0.72 ** np.arange(10)])


def file_name(day: dt.date) -> str:
    """The official name of a day's file."""
    return f"sms-call-internet-mi-{day.isoformat()}.txt"


def sample_rows(day: dt.date, squares: Sequence[int], *, codes: int = 4, seed: int = 0) -> pd.DataFrame:
    """Rows of a day: a daily cycle, quieter weekends, absent intervals and empty fields.

    Args:
        day: the day in Milan.
        squares: numbers of the squares.
        codes: country codes in use, 1 to 12; the rarer ones have fewer rows.
        seed: with day and squares it decides every number.

    Returns:
        the eight columns of a daily file, sorted by square, time and country code; float64 NaN is an empty field.
    """
    first, last = day_bounds(day)
    times = np.arange(first, last, STEP_MS)
    local = pd.DatetimeIndex(times.astype("datetime64[ms]")).tz_localize("UTC").tz_convert(str(ZONE))
    hours = (local.hour + local.minute / 60).to_numpy()
    busy = (0.15 + np.exp(-(((hours - 15) / 5) ** 2))) * (0.6 if day.weekday() >= 5 else 1.0)
    random = np.random.default_rng([seed, day.toordinal(), len(squares)])
    size = random.lognormal(0.0, 0.8, len(squares))
    level = size[:, None, None] * busy[None, :, None] * _SHARES[None, None, :codes]
    there = random.random(level.shape) < np.clip(0.25 + 3 * level, 0, 0.97)
    square, interval, code = np.nonzero(there)
    rows = {
        "square_id": np.asarray(squares)[square],
        "time_ms": times[interval],
        "country_code": CODES[code],
    }
    for weight, signal in zip((1.0, 0.8, 0.7, 0.7, 9.0), SIGNALS, strict=True):
        values = weight * level[there] * random.gamma(3.0, 1 / 3, len(square))
        rows[signal] = np.where(random.random(len(square)) < 0.35, np.nan, np.round(values, 15))
    return pd.DataFrame(rows).sort_values(["square_id", "time_ms", "country_code"], ignore_index=True)


def write_sample(
    folder: Path, days: Sequence[dt.date], squares: Sequence[int], *, codes: int = 4, seed: int = 0
) -> list[Path]:
    """Write one uncompressed file a day, named as the official ones; their paths.

    Args:
        folder: where to write; made if missing.
        days: the days in Milan.
        squares: numbers of the squares.
        codes: see `sample_rows`.
        seed: see `sample_rows`.

    Examples:
        >>> import datetime as dt
        >>> from pathlib import Path
        >>> from qkan.datasets.milan import write_sample
        >>> files = write_sample(Path("grid"), [dt.date(2013, 11, 4)], squares=[5160, 5161])
        >>> files[0].name
        'sms-call-internet-mi-2013-11-04.txt'
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / file_name(day) for day in days]
    for path, day in zip(paths, days, strict=True):
        rows = sample_rows(day, squares, codes=codes, seed=seed)
        _write(path, rows.to_csv(sep="\t", header=False, index=False).encode())
    return paths


def _write(path: Path, content: bytes) -> None:
    write_atomic(path, lambda file: file.write(content))
