"""Real mobile traffic, a panel: records of 24 squares of Milan, every hour of November and December 2013."""

from __future__ import annotations

from importlib.resources import as_file, files

import pandas as pd

HOURS_A_DAY = 24
HOURS_A_WEEK = 7 * HOURS_A_DAY


def milan_24() -> pd.DataFrame:
    """Hourly counts of 24 squares: 24 x 1,488 rows, from 2013-11-01 00:00, the square's number in ``unique_id``.

    Squares are sorted as text, as ids are everywhere. Provenance and licence (ODbL): ``data/README.md``.
    """
    with as_file(files("qkan.datasets") / "data" / "milan_24.csv.gz") as path:
        counts = pd.read_csv(path, index_col="square", dtype={"square": str}).sort_index()
    times = pd.to_datetime(counts.columns, format="%Y-%m-%dT%H").to_numpy().astype("datetime64[ns]")
    return pd.DataFrame(
        {
            "unique_id": counts.index.repeat(len(times)),
            "ds": list(times) * len(counts),
            "y": counts.to_numpy("float64").ravel(),
        }
    ).astype({"ds": "datetime64[ns]"})
