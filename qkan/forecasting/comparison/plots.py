"""The plot of a comparison: errors against parameters, with Pareto fronts; of one size of every cell, their ranking."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qkan.forecasting.config import CELL_NAMES, METRIC_NAMES, model_name
from qkan.forecasting.runs.plots import BLACK, GREY, new_figure, save_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


_COLOURS = {
    "qkan": "#d55e00",
    "hqkan": "#cc79a7",
    "lowrank": "#009e73",
    "lstm": "#0072b2",
    "gru": "#56b4e9",
    "qlstm": "#e69f00",
    "fwp": "#0044aa",
    "fwp-linear": "#66aaee",
    "gr-kan": "#882255",
    "fourier": "#117733",
    "rff": "#999933",
    "spline": "#332288",
    "chebyshev": "#aa4499",
    "mlp": "#661100",
    "linear": "#888888",
    "cycle": "#44aa99",
    "sparse": "#ddcc77",
}
_FAMILIES = {"LSTM and GRU": ("lstm", "gru"), "QKAN-LSTM and HQKAN-LSTM": ("qkan", "hqkan")}


def pareto_front(parameters: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return the indices of the points that no other one beats in both size and error, smallest size first."""
    front: list[int] = []
    for index in np.lexsort((errors, parameters)):
        if np.isfinite(errors[index]) and (not front or errors[index] < errors[front[-1]]):
            front.append(int(index))
    return np.array(front, dtype=int)


def save_comparison_plot(
    path: Path, points: pd.DataFrame, baselines: pd.DataFrame, *, title: str, unit: str, metric: str = "mae"
) -> None:
    """Draw the test error of every cell against its parameters, with the Pareto fronts and the naive errors.

    Where every cell has one size, cells and baselines stand below each other instead, the lowest error first.

    Args:
        path: The file to write.
        points: Columns cell, parameters, seconds, predict_seconds, and ``median``, ``min`` and ``max`` behind the name
            of the metric, such as mae_median; diverged points (infinite errors) are left out.
        baselines: The same columns; the errors of the naive forecast, of ridge and of the best baseline are drawn as
            lines, or named with their values where lines so far up would squeeze the cells together.
        title: Name of the data.
        unit: Unit of the series.
        metric: The error that is drawn.
    """
    points, baselines = (_errors_of(own, metric) for own in (points, baselines))
    points = points[np.isfinite(points["highest"])]
    axis = f"test {METRIC_NAMES[metric]}{_in_unit(unit, metric)}"
    if len(points) > 1 and points["cell"].is_unique:
        save_figure(_ranking(points, baselines, title, axis), path)
        return
    figure, axes = new_figure(9.0, 5.5)
    for cell, own in points.groupby("cell", sort=False):
        own = own.sort_values("parameters")
        spread = np.abs(own[["lowest", "highest"]].to_numpy().T - own["error"].to_numpy())
        colour = _COLOURS[str(cell)]
        axes.errorbar(
            own["parameters"],
            own["error"],
            yerr=spread,
            label=f"{CELL_NAMES[str(cell)]} {_seconds(own)}",
            color=colour,
            marker="o",
            ms=5,
            capsize=3,
        )
    fronts = {"front of all": tuple(_COLOURS), **_FAMILIES}
    styles = {"front of all": ("o", 13, BLACK), "LSTM and GRU": ("s", 10, "#0072b2")}
    for name, cells in fronts.items():
        own = points[points["cell"].isin(cells)]
        front = own.iloc[pareto_front(own["parameters"].to_numpy(), own["error"].to_numpy())]
        marker, size, colour = styles.get(name, ("D", 10, "#d55e00"))
        line = "none" if name == "front of all" else "--"
        label = name if name == "front of all" else f"front, {name}"
        axes.plot(
            front["parameters"], front["error"], ls=line, lw=3, marker=marker, ms=size, mfc="none", mec=colour,
            color=colour, alpha=0.5, label=label,
        )  # fmt: skip
    _draw_baselines(axes, points, baselines)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="trained parameters",
        ylabel=axis,
    )
    heading = f"{title}: test error against parameters (legend: seconds of training + of prediction)"
    axes.set_title(heading, loc="left")  # wider than the axes: only the legend leaves room
    _plain_log_ticks(axes.xaxis, axes.yaxis)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save_figure(figure, path)


def _ranking(points: pd.DataFrame, baselines: pd.DataFrame, title: str, axis: str) -> Figure:
    """Errors of cells of one size and of baselines, the lowest on top: the median and the range of the seeds."""
    shown = list(_baseline_lines(baselines))
    simple = baselines[baselines["cell"].isin(shown)]
    rows = [
        (row.error, row.lowest, row.highest, f"{CELL_NAMES[row.cell]} ({row.parameters:,})", _COLOURS[row.cell])
        for row in points.itertuples()
    ]
    rows += [(row.error, row.error, row.error, row.cell, GREY) for row in simple.itertuples()]
    rows.sort(key=lambda row: row[0])
    figure, axes = new_figure(8.0, 1.3 + 0.32 * len(rows))
    for place, (error, lowest, highest, _, colour) in enumerate(rows):
        axes.plot([lowest, highest], [place, place], color=colour, lw=2.5, alpha=0.5, solid_capstyle="butt")
        axes.plot([error], [place], marker="s" if colour == GREY else "o", ms=6, color=colour, ls="none")
    axes.set(xscale="log", xlabel=axis)
    axes.set_yticks(range(len(rows)), [f"{name}  {error:.3g}" for error, _, _, name, _ in rows])
    axes.invert_yaxis()
    axes.set_title(f"{title}: median and range of the seeds (trained parameters)", loc="left")
    _plain_log_ticks(axes.xaxis)
    return figure


def _errors_of(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A table whose columns ``error``, ``lowest`` and ``highest`` are those of a metric."""
    names = {"median": "error", "min": "lowest", "max": "highest"}
    return table.rename(columns={f"{metric}_{own}": name for own, name in names.items()})


def _in_unit(unit: str, metric: str) -> str:
    """The unit of an error, in brackets; nothing where it has none."""
    return "" if not unit or metric == "mase" else f" [{unit}{'^2' if metric == 'mse' else ''}]"


def _seconds(rows: pd.DataFrame) -> str:
    """Seconds of training and of prediction, for a legend."""
    return f"({rows['seconds'].median():.3g} s + {rows['predict_seconds'].median():.2g} s)"


def _draw_baselines(axes: Axes, points: pd.DataFrame, baselines: pd.DataFrame) -> None:
    """Draw errors of baselines as lines where they leave room for the cells; else the legend says where they are."""
    low, high = points["lowest"].min(), points["highest"].max()
    ceiling = high * (high / low) ** 0.5 * 1.05
    for name, style in _baseline_lines(baselines).items():
        own = baselines[baselines["cell"] == name]
        value, label = float(own["error"].iloc[0]), f"{name} {_seconds(own)}"
        if value > ceiling or value < low / 1.5:
            axes.plot([], [], color=GREY, ls=style, lw=1.2, label=f"{label}: {value:.4g}, outside of the plot")
        else:
            axes.axhline(value, color=GREY, ls=style, lw=1.2, label=label)


def _baseline_lines(baselines: pd.DataFrame) -> dict[str, str]:
    whole = baselines[baselines["error"].notna()]
    best = {} if not len(whole) else {str(whole.loc[whole["error"].idxmin(), "cell"]): "--"}
    usual = {model_name("naive"): "-", model_name("ridge"): ":"}
    return {**{name: style for name, style in usual.items() if name in set(whole["cell"])}, **best}


def _plain_log_ticks(*axes: Axis) -> None:
    """Label log axes with plain numbers, also where they span less than a decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    for axis in axes:
        low, high = axis.get_view_interval()
        steps = (1.0,) if high / low > 300 else (1.0, 2.0, 5.0) if high / low > 4 else tuple(np.arange(1, 10, 0.5))
        axis.set_major_locator(LogLocator(subs=steps))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(LogLocator(subs=[]))
