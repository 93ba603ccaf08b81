"""Pictures and tables of runs and comparisons. Matplotlib draws without a screen and without global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qkan.forecasting.io.files import write_atomic

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from qkan.datasets import ForecastData
    from qkan.forecasting.runs.inference import Scores

_LOSSES = {
    "mse": "mean squared error",
    "mae": "mean absolute error",
    "huber": "Huber loss",
    "quantile": "pinball loss",
}
_SHOWN_STEPS = 200  # of the end of the test part
_BLACK, _BLUE, _ORANGE, _GREY = "#222222", "#0072b2", "#d55e00", "#999999"


def _figure(width: float = 9.0, height: float = 4.5) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    write_atomic(path, lambda file: figure.savefig(file, format="png", dpi=130))


def save_loss_plot(path: Path, history: Sequence[Mapping[str, float]], best_epoch: int, *, loss: str = "mse") -> None:
    """Draw training and validation loss over the epochs, on a log scale, and mark the epoch whose weights were kept."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = _figure()
    epochs = [row["epoch"] for row in history]
    marker = "o" if len(history) < 40 else None
    axes.plot(epochs, [row["train_loss"] for row in history], label="training", color=_GREY, marker=marker, ms=4)
    if "val_loss" in history[-1]:
        axes.plot(epochs, [row["val_loss"] for row in history], label="validation", color=_BLUE, marker=marker, ms=4)
    axes.axvline(best_epoch, color=_ORANGE, linestyle="--", label=f"kept weights (epoch {best_epoch})")
    axes.set(xlabel="epoch", ylabel=f"{_LOSSES[loss]} (scaled values)", yscale="log", title="Loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    _save(figure, path)


def save_forecast_plot(path: Path, data: ForecastData, predictions: np.ndarray) -> None:
    """Draw the end of the test part of the first series that has one with the model's and the naive forecast of it.

    With a horizon above 1, windows are taken so that their forecasts follow each other without overlap.

    Args:
        path: The picture to write.
        data: The windows.
        predictions: Original units, (N, horizon), one row per test window.
    """
    from qkan.forecasting.baselines.simple import naive

    name = data.ids[data.test.series[0]]
    own = np.flatnonzero(data.test.series == data.test.series[0])
    chosen = own[:: -data.horizon][: max(1, _SHOWN_STEPS // data.horizon)][::-1]
    position = (data.test.target_index[chosen][:, None] + np.arange(data.horizon)).ravel()
    figure, axes = _figure()
    axes.plot(position, naive(data)[chosen].ravel(), label="naive", color=_BLUE, lw=1, ls=":")
    axes.plot(position, data.target_values("test")[chosen].ravel(), label="observed", color=_BLACK, lw=1.2)
    axes.plot(position, predictions[chosen].ravel(), label="model", color=_ORANGE, lw=1.4)
    times = data.target_times("test")[chosen].ravel()
    axes.set(
        xlabel=_time_label(data, times),
        ylabel=data.series.unit or "value",
        title=f"{name}: end of the test part, {data.horizon} step{'s' * (data.horizon > 1)} ahead",
    )
    axes.legend(frameon=False, ncols=3, loc="upper right")
    axes.margins(x=0.01, y=0.15)
    _save(figure, path)


def save_noise_plot(
    path: Path, strengths: Sequence[float], errors: Sequence[float], *, naive: float, noise: str, unit: str
) -> None:
    """Draw the error of a forecaster against the noise of its circuits, with that of the naive forecast.

    Args:
        path: The picture to write.
        strengths: Parts of the noise, from 0 to 1.
        errors: Mean absolute error at each.
        naive: Mean absolute error of the naive forecast.
        noise: What strength 1 stands for.
        unit: Unit of the error.
    """
    figure, axes = _figure(7.0, 4.0)
    axes.plot(strengths, errors, "o-", label="model", color=_ORANGE)
    axes.axhline(naive, label="naive", color=_BLUE, ls=":")
    axes.set(xlabel=f"strength of the noise (1 is {noise})", ylabel=f"mean absolute error ({unit})")
    axes.legend(frameon=False)
    _save(figure, path)


def _time_label(data: ForecastData, times: np.ndarray) -> str:
    if data.series.frequency is None:
        return "step"
    first, last = (str(time.astype("datetime64[m]")).replace("T", " ") for time in (times[0], times[-1]))
    return f"step of {data.series.frequency}, from {first} to {last}"


def markdown_table(frame: pd.DataFrame) -> str:
    """Return a frame of strings and numbers as a Markdown table; what is missing shows as a dash."""

    def cell(value: Any) -> str:
        missing = value is None or value != value
        return "-" if missing else f"{value:.4g}" if isinstance(value, float) else str(value)

    rows = [[cell(value) for value in row] for row in frame.itertuples(index=False)]
    lines = [list(frame.columns), ["---"] * len(frame.columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


_COLOURS = {
    "qkan": "#d55e00",
    "hqkan": "#cc79a7",
    "lowrank": "#009e73",
    "lstm": "#0072b2",
    "gru": "#56b4e9",
    "qlstm": "#e69f00",
    "gr-kan": "#882255",
}
_FAMILIES = {"classical (lstm, gru)": ("lstm", "gru"), "circuit (qkan, hqkan)": ("qkan", "hqkan")}


def save_comparison_plot(path: Path, points: pd.DataFrame, baselines: Scores, *, title: str, unit: str) -> None:
    """Draw the test error of every cell against its parameters, with the Pareto fronts and the naive errors.

    Args:
        path: The picture to write.
        points: Columns cell, parameters, mae_median, mae_min, mae_max; diverged points (infinite errors) are left out.
        baselines: Metrics by name; the naive and the best seasonal naive error are drawn as lines, or named with
            their values where lines so far up would squeeze the cells together.
        title: Name of the data.
        unit: Unit of the error.
    """
    from qkan.forecasting.comparison.tables import pareto_front

    figure, axes = _figure(9.0, 5.5)
    points = points[np.isfinite(points["mae_max"])]
    for cell, own in points.groupby("cell", sort=False):
        own = own.sort_values("parameters")
        spread = np.abs(own[["mae_min", "mae_max"]].to_numpy().T - own["mae_median"].to_numpy())
        colour = _COLOURS[str(cell)]
        axes.errorbar(
            own["parameters"], own["mae_median"], yerr=spread, label=cell, color=colour, marker="o", ms=5, capsize=3
        )
    fronts = {"front of all": tuple(_COLOURS), **_FAMILIES}
    styles = {"front of all": ("o", 13, _BLACK), "classical (lstm, gru)": ("s", 10, "#0072b2")}
    for name, cells in fronts.items():
        own = points[points["cell"].isin(cells)]
        front = own.iloc[pareto_front(own["parameters"].to_numpy(), own["mae_median"].to_numpy())]
        marker, size, colour = styles.get(name, ("D", 10, "#d55e00"))
        line = "none" if name == "front of all" else "--"
        label = name if name == "front of all" else f"front, {name}"
        axes.plot(
            front["parameters"], front["mae_median"], ls=line, lw=3, marker=marker, ms=size, mfc="none", mec=colour,
            color=colour, alpha=0.5, label=label,
        )  # fmt: skip
    _draw_baselines(axes, points, baselines)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="trained parameters",
        ylabel=f"test MAE{f' [{unit}]' if unit else ''}",
        title=f"{title}: test error against parameters, median and range of seeds",
    )
    _plain_log_ticks(axes)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _save(figure, path)


def _draw_baselines(axes: Axes, points: pd.DataFrame, baselines: Scores) -> None:
    """Draw naive errors as lines where they leave room for the cells; else the legend says how far up they are."""
    low, high = points["mae_min"].min(), points["mae_max"].max()
    ceiling = high * (high / low) ** 0.5 * 1.05
    for name, style in _baseline_lines(baselines).items():
        value = float(baselines[name]["mae"] or np.nan)
        if value > ceiling:
            axes.plot([], [], color=_GREY, ls=style, lw=1.2, label=f"{name}: {value:.4g}, above the picture")
        else:
            axes.axhline(value, color=_GREY, ls=style, lw=1.2, label=name)


def _baseline_lines(baselines: Scores) -> dict[str, str]:
    lines = {"naive": "-"}
    seasonal = [name for name in baselines if name.startswith("seasonal")]
    if seasonal:
        lines[min(seasonal, key=lambda name: baselines[name]["mae"] or np.inf)] = ":"
    return lines


def _plain_log_ticks(axes: Axes) -> None:
    """Label log axes with plain numbers, also where they span less than a decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        steps = (1.0,) if high / low > 300 else (1.0, 2.0, 5.0) if high / low > 4 else tuple(np.arange(1, 10, 0.5))
        axis.set_major_locator(LogLocator(subs=steps))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(LogLocator(subs=[]))
