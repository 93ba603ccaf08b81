"""A plot of a series, drawn without a display."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qkan._util.files import save_figure
from qkan.datasets.errors import DataError
from qkan.datasets.series import Series
from qkan.datasets.windows import SplitFractions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FORMATS = (".png", ".pdf", ".svg")
_SHOWN = 5  # more lines in one panel cannot be told apart
_CLOSE_UP = 300  # steps of the lower panel when there is no season
_SHADES = {"training": "0.97", "validation": "0.90", "test": "0.82"}


def plot_series(series: Series, path: str | Path, split: SplitFractions | None = None) -> None:
    """Save a plot of a series: above the whole of it with its parts shaded, below its last two seasons.

    Args:
        series: the data; of several single series the first five are drawn.
        path: file to write, ``.png``, ``.pdf`` or ``.svg``; an existing one is replaced.
        split: shares of the parts, 70 / 10 / 20 % by default.

    Raises:
        DataError: another kind of file, or its folder does not exist.

    Examples:
        >>> from qkan.datasets import plot_series, read_series
        >>> plot_series(read_series("traffic.csv"), "traffic.png")
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = Path(path)
    if path.suffix.lower() not in _FORMATS:
        raise DataError(f"cannot draw into {str(path)!r}; the file must end in {', '.join(_FORMATS)}")
    if not path.parent.is_dir():
        raise DataError(f"the folder {str(path.parent)!r} of {path.name!r} does not exist; create it first")
    figure = Figure(figsize=(10, 6), layout="constrained")
    FigureCanvasAgg(figure)
    whole, close_up = figure.subplots(2, 1)
    shown = range(min(_SHOWN, len(series.ids)))
    steps = 2 * series.season[-1] if series.season else _CLOSE_UP
    for index in shown:
        label = series.ids[index]
        times, values = series.times_of(index), series.values_of(index)
        whole.plot(*_with_gaps(series, times, values), linewidth=0.6, label=label)
        close_up.plot(*_with_gaps(series, times[-steps:], values[-steps:]), linewidth=0.9, label=label)
    _shade(whole, series, SplitFractions() if split is None else split)
    more = f" (first {_SHOWN} of {len(series.ids)})" if len(series.ids) > _SHOWN else ""
    whole.set_title(f"{series.name}{more}: {series.summary}" if series.summary else f"{series.name}{more}")
    close_up.set_title(f"the last {min(steps, int(series.lengths.max()))} steps")
    for axes in (whole, close_up):
        axes.set_xlabel("step" if series.frequency is None else "time")
        axes.set_ylabel(series.unit or "value")
        axes.margins(x=0)
    whole.margins(y=0.15)  # the names of the parts stand above the lines
    if len(shown) > 1:
        close_up.legend(loc="upper left", fontsize="small")
    try:
        save_figure(figure, path, dpi=120)
    except OSError as error:
        raise DataError(f"cannot write {str(path)!r}: {error.strerror or error}; choose another file") from error


def _with_gaps(series: Series, times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Times and values with a missing value in every pause of the session, so that no line crosses a night."""
    if series.session is None:
        return times, values
    steps = np.diff(times)
    pauses = np.flatnonzero(steps > steps.min()) + 1
    return np.insert(times, pauses, times[pauses - 1] + steps.min()), np.insert(values, pauses, np.nan)


def _shade(axes: Axes, series: Series, split: SplitFractions) -> None:
    times: Any = series.times_of(0)
    first, second = split.boundaries(len(times))
    edges = [0, first, second, len(times) - 1]
    for (part, shade), begin, end in zip(_SHADES.items(), edges, edges[1:], strict=False):
        if begin < end:
            axes.axvspan(times[begin], times[end], color=shade, zorder=0, label=part)
            axes.annotate(
                part,
                (times[begin], 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(3, -11),
                textcoords="offset points",
            )
