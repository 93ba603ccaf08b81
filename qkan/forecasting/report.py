"""Pictures and tables of runs and comparisons. Matplotlib draws without a screen and without global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qkan.forecasting.files import write_atomic

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from qkan.datasets import ForecastData

_SHOWN_STEPS = 200  # of the end of the test part, unless a season says otherwise
_MOST_SHOWN_STEPS = 600
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


def save_loss_plot(path: Path, history: Sequence[Mapping[str, float]], best_epoch: int) -> None:
    """Draw training and validation loss over the epochs, on a log scale, and mark the epoch whose weights were kept."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = _figure()
    epochs = [row["epoch"] for row in history]
    marker = "o" if len(history) < 40 else None
    axes.plot(epochs, [row["train_loss"] for row in history], label="training", color=_GREY, marker=marker, ms=4)
    if "val_loss" in history[-1]:
        axes.plot(epochs, [row["val_loss"] for row in history], label="validation", color=_BLUE, marker=marker, ms=4)
    axes.axvline(best_epoch, color=_ORANGE, linestyle="--", label=f"kept weights (epoch {best_epoch})")
    axes.set(xlabel="epoch", ylabel="mean squared error (scaled values)", yscale="log", title="Loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    _save(figure, path)


def save_forecast_plot(path: Path, data: ForecastData, predictions: np.ndarray) -> None:
    """Draw the end of the first series' test part with the model's and the naive forecast of it.

    With a horizon above 1, windows are taken so that their forecasts follow each other without overlap.

    Args:
        path: The picture to write.
        data: The windows.
        predictions: Original units, (N, horizon), one row per test window.
    """
    from qkan.forecasting.baselines import naive

    own = np.flatnonzero(data.test.series == 0)
    steps = max([_SHOWN_STEPS, *(2 * season for season in data.series.season)])
    chosen = own[:: -data.horizon][: max(1, min(steps, _MOST_SHOWN_STEPS) // data.horizon)][::-1]
    position = (data.test.target_index[chosen][:, None] + np.arange(data.horizon)).ravel()
    figure, axes = _figure()
    axes.plot(position, naive(data)[chosen].ravel(), label="naive", color=_GREY, lw=1, alpha=0.8)
    axes.plot(position, data.target_values("test")[chosen].ravel(), label="observed", color=_BLACK, lw=1.2)
    axes.plot(position, predictions[chosen].ravel(), label="model", color=_ORANGE, lw=1.4)
    times = data.target_times("test")[chosen].ravel()
    axes.set(
        xlabel=_time_label(data, times),
        ylabel=data.series.unit or "value",
        title=f"{data.ids[0]}: end of the test part, {data.horizon} step{'s' * (data.horizon > 1)} ahead",
    )
    axes.legend(frameon=False, ncols=3, loc="upper right")
    axes.margins(x=0.01, y=0.15)
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
