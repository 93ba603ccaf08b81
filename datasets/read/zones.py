"""Times that name no zone, in a zone that the user names: the hour that comes twice is told apart by its order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from qkan.datasets.errors import DataError
from qkan.datasets.read.cells import refuse_cell

HINT = "say the zone with time_zone='Europe/Rome' or the like"
"""What to do where clocks are put back or forward."""
_CHANGES = {*(2, 3, 4), *(8, 9, 10, 11)}  # months in which clocks are put forward or back somewhere
_NIGHT = 3  # the last hour that comes twice, or the first after one that is skipped


class AssumedZone(NamedTuple):
    """A zone that times have and do not name.

    Attributes:
        name: such as ``Europe/Rome``.
        owner: series of every row, integers (rows,).
    """

    name: str
    owner: np.ndarray

    def moments(self, times: pd.DatetimeIndex, column: str) -> pd.DatetimeIndex:
        """The moments at times without a zone: of two rows of a series with one time, the first is the earlier one.

        Raises:
            DataError: there is no such zone, or its clocks skip a time.
        """
        try:
            pd.Timestamp(0).tz_localize(self.name)
        except (KeyError, ValueError, TypeError, OSError) as error:
            raise DataError(
                f"time_zone={self.name!r} is no time zone; give a name such as 'Europe/Rome' or 'UTC'"
            ) from error
        rows = pd.DataFrame({"owner": self.owner, "time": times})
        earlier = ~rows.duplicated(["owner", "time"]).to_numpy()
        ends = rows.groupby("owner", sort=False)["time"].agg(["first", "last"])
        backwards = ends.index[ends["first"] > ends["last"]]
        newest_first = rows["owner"].isin(backwards).to_numpy()
        twice = rows.duplicated(["owner", "time"], keep=False).to_numpy()
        earlier = np.where(newest_first & twice, ~earlier, earlier)
        found = times.tz_localize(self.name, ambiguous=earlier, nonexistent="NaT")
        skipped = f", a time that the clocks of {self.name} skip; correct it, or leave time_zone out"
        refuse_cell(found.isna(), f"time column {column!r}", pd.Series(times.map(str)), skipped)
        return found


def may_be_clock_change(time: np.ndarray, usual: int) -> bool:
    """Whether something odd at a time without a zone, datetime64 of shape (), looks like a change of clocks.

    Args:
        time: the time.
        usual: the usual step, in nanoseconds.
    """
    moment = pd.Timestamp(time)
    return 0 < usual <= pd.Timedelta(hours=1).value and moment.hour <= _NIGHT and moment.month in _CHANGES


def check_no_zone_given(zone: AssumedZone | None, column: str, what: str) -> None:
    """Refuse a zone for times that have one, or that are no times.

    Raises:
        DataError: one was given.
    """
    if zone is not None:
        raise DataError(f"time_zone={zone.name!r} was given, but time column {column!r} holds {what}; leave it out")
