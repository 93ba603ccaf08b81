"""Complaints about data, what is said of it, and how values stand in such sentences."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd


class DataError(ValueError):
    """Every complaint about data: unknown names, unreadable files, values or times that cannot be used.

    Examples:
        >>> from qkan.datasets import DataError, load_series
        >>> try:
        ...     load_series("telekom")
        ... except DataError as error:
        ...     print(str(error).partition(";")[0])
        unknown data 'telekom' (did you mean 'telecom'?)
    """


class DataNotice(UserWarning):
    """What was decided about data for its user, in one sentence.

    Examples:
        >>> import warnings
        >>> from qkan.datasets import DataNotice, read_series
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore", DataNotice)  # what is decided about the data is not said
        ...     series = read_series("traffic.csv")
    """


def notice(sentence: str) -> None:
    """Say what was decided about data, as a warning; the command line prints it on a line of its own.

    Examples:
        >>> import warnings
        >>> from qkan.datasets import notice
        >>> with warnings.catch_warnings(record=True) as said:
        ...     warnings.simplefilter("always")
        ...     notice("24 steps are the season")
        >>> print(said[0].message)
        24 steps are the season
    """
    warnings.warn(sentence, DataNotice, stacklevel=2)


_LONGEST_SHOWN = 80


def shortened(value: object) -> str:
    """The text of a value for a message, quoted, the middle of a long one left out."""
    text = str(value)
    if len(text) > _LONGEST_SHOWN:
        text = f"{text[: _LONGEST_SHOWN // 2]}...{text[-_LONGEST_SHOWN // 2 :]}"
    return repr(text)


def refuse(bad: npt.ArrayLike, message: Callable[[int], str]) -> None:
    """Raise a DataError about the first place where ``bad`` (bool, shape (N,)) is true, which ``message`` is told.

    Raises:
        DataError: there is such a place.
    """
    places = np.flatnonzero(bad)
    if places.size:
        raise DataError(message(int(places[0])))


def shown(time: Any) -> str:
    """A time of a series for a message: ``2024-01-31 07:05:00``, or a number of steps."""
    return str(pd.Timestamp(time)) if isinstance(time, np.datetime64) else str(time)
