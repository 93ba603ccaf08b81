"""Plots of runs. Matplotlib draws without a screen and without global state."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qkan._util.drawing import write_figure
from qkan.forecasting.config import model_name
from qkan.forecasting.io.files import write_atomic, write_output

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from qkan.datasets import ForecastData

_LOSSES = {
    "mse": "mean squared error",
    "mae": "mean absolute error",
    "huber": "Huber loss",
    "quantile": "pinball loss",
}
_SHOWN_STEPS = 200  # of the end of the test part
BLACK, BLUE, ORANGE, GREY = "#222222", "#0072b2", "#d55e00", "#999999"


def new_figure(width: float = 9.0, height: float = 4.5) -> tuple[Figure, Axes]:
    """Return a figure of a size in inches, and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; raises as :func:`qkan.forecasting.io.files.write_atomic`."""
    write_atomic(path, lambda file: write_figure(figure, file, format="png", dpi=130))


def draw_or_warn(path: Path, draw: Callable[[], None]) -> None:
    """Draw a plot beside results that are written already; one that fails is no reason to lose a command.

    Args:
        path: The file that ``draw`` writes.
        draw: Draws it.
    """
    try:
        draw()
    except Exception as error:  # noqa: BLE001  (whatever a drawing library raises for names and values it never saw)
        logging.getLogger(__name__).warning(
            "the plot %s could not be drawn (%s); everything else is written", path, f"{type(error).__name__}: {error}"
        )


def save_loss_plot(path: Path, history: Sequence[Mapping[str, float]], best_epoch: int, *, loss: str = "mse") -> None:
    """Draw training and validation loss over the epochs, on a log scale, and mark the epoch whose weights were kept."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_figure()
    epochs = [row["epoch"] for row in history]
    marker = "o" if len(history) < 40 else None
    axes.plot(epochs, [row["train_loss"] for row in history], label="training", color=GREY, marker=marker, ms=4)
    if "val_loss" in history[-1]:
        axes.plot(epochs, [row["val_loss"] for row in history], label="validation", color=BLUE, marker=marker, ms=4)
    kept = f"epoch {best_epoch}" if best_epoch else "the start"
    axes.axvline(best_epoch, color=ORANGE, linestyle="--", label=f"kept weights ({kept})")
    axes.set(xlabel="epoch", ylabel=f"{_LOSSES[loss]} (scaled values)", yscale="log", title="Loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    save_figure(figure, path)


def save_forecast_plot(path: Path, data: ForecastData, forecasts: Mapping[str, np.ndarray]) -> None:
    """Draw the end of the test part of the first series that has one with the model's and the naive forecast of it.

    With a horizon above 1, windows are taken so that their forecasts follow each other without overlap.

    Args:
        path: The file to write.
        data: The windows.
        forecasts: Those of the model, which come first, and of ``Naive``, original units, (N, horizon), one row per
            test window.
    """
    name = data.ids[data.test.series[0]]
    own = np.flatnonzero(data.test.series == data.test.series[0])
    chosen = own[:: -data.horizon][: max(1, _SHOWN_STEPS // data.horizon)][::-1]
    position = (data.test.target_index[chosen][:, None] + np.arange(data.horizon)).ravel()
    figure, axes = new_figure()
    baseline = model_name("naive")
    axes.plot(position, forecasts[baseline][chosen].ravel(), label=baseline, color=BLUE, lw=1, ls=":")
    axes.plot(position, data.target_values("test")[chosen].ravel(), label="observed", color=BLACK, lw=1.2)
    model = next(iter(forecasts))
    axes.plot(position, forecasts[model][chosen].ravel(), label=model, color=ORANGE, lw=1.4)
    _label_times(axes, data, position, data.target_times("test")[chosen].ravel())
    axes.set(
        ylabel=data.series.unit or "value",
        title=f"{name}: end of the test part, {data.horizon} step{'s' * (data.horizon > 1)} ahead",
    )
    axes.legend(frameon=False, ncols=3, loc="upper right")
    axes.margins(x=0.01, y=0.15)
    save_figure(figure, path)


def save_noise_plot(
    path: Path, strengths: Sequence[float], errors: Sequence[float], *, naive: float, noise: str, unit: str
) -> None:
    """Draw the error of a forecaster against the noise of its circuits, with that of the naive forecast.

    Args:
        path: The file to write.
        strengths: Parts of the noise, from 0 to 1.
        errors: Mean absolute error at each.
        naive: Mean absolute error of the naive forecast.
        noise: What strength 1 stands for.
        unit: Unit of the error.
    """
    figure, axes = new_figure(7.0, 4.0)
    axes.plot(strengths, errors, "o-", label="model", color=ORANGE)
    axes.axhline(naive, label=model_name("naive"), color=BLUE, ls=":")
    axes.set(xlabel=f"strength of the noise (1 is {noise})", ylabel=f"mean absolute error ({unit})")
    axes.legend(frameon=False)
    write_output(path, lambda file: write_figure(figure, file, format="png", dpi=130))


def _label_times(axes: Axes, data: ForecastData, position: np.ndarray, times: np.ndarray) -> None:
    """Write times below values that stand side by side, whatever nights and weekends lie between them."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    if data.series.frequency is None:
        axes.set_xlabel("step")
        texts = [str(time) for time in times]
    else:
        axes.set_xlabel(f"time, by steps of {data.series.frequency}")
        whole_days = bool((times.astype("datetime64[D]") == times).all())
        texts = [str(time.astype(f"datetime64[{'D' if whole_days else 'm'}]")).replace("T", "\n") for time in times]
    at = dict(zip(position.tolist(), texts, strict=True))
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: at.get(round(value), "")))
