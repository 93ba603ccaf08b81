"""Real telephone traffic: the calls that a large North American bank's call centre handled, every 5 minutes of 2003."""

from __future__ import annotations

from importlib.resources import as_file, files

import pandas as pd

from qkan.datasets.series import Session

SESSION = Session("07:00", "21:00")
STEPS_A_DAY = 169  # 07:00, 07:05, ..., 21:00
STEPS_A_WEEK = 5 * STEPS_A_DAY


def telecom() -> pd.DataFrame:
    """Handled calls of 164 working days: 27,716 rows with the bank's local wall-clock time in ``ds``.

    A row follows its predecessor by one trading step: 5 minutes within a day, and from 21:00 straight to 07:00 of the
    next working day (the source leaves out six working days). Provenance: ``data/README.md``.
    """
    with as_file(files("qkan.datasets") / "data" / "bank_calls.csv.gz") as path:
        calls = pd.read_csv(path, index_col="date")
    days = pd.to_datetime(calls.index, format="%Y-%m-%d").to_numpy()
    hours = pd.to_timedelta(calls.columns + ":00").to_numpy()
    times = (days[:, None] + hours[None, :]).ravel().astype("datetime64[ns]")
    return pd.DataFrame({"unique_id": "telecom", "ds": times, "y": calls.to_numpy("float64").ravel()})
