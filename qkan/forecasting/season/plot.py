"""Plots of learned seasons: the model's season over that of the data, and below what the clock adds to a forecast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qkan._util.drawing import write_figure
from qkan.forecasting.io.files import write_output
from qkan.forecasting.runs.plots import BLACK, BLUE, GREY, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from qkan.forecasting.season.profile import SeasonProfile


_MOST_POINTS = 2_000  # of thin lines, one a series: with more of them, every second or third series is drawn


def save_season_plot(profile: SeasonProfile, path: str | Path, *, title: str = "") -> None:
    """Draw the learned seasons, one beside the other, and write them as PNG.

    Args:
        profile: What to draw.
        path: The file; one that is there is replaced.
        title: Heading of the figure.

    Raises:
        RunError: the file cannot be written.

    Examples:
        >>> from qkan.forecasting import load_run, save_season_plot, season_profile
        >>> save_season_plot(season_profile(load_run("runs/demo")), "season.png")
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = len(profile.seasons)
    figure = Figure(figsize=(max(7.0, 5.5 * count), 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, count, squeeze=False, height_ratios=(3, 2))
    for place, season in enumerate(profile.seasons):
        draw_season(panels[:, place], profile, season, ink=BLACK)
    figure.suptitle(title)
    write_output(Path(path), lambda file: write_figure(figure, file, format="png", dpi=130))


def draw_season(panels: Any, profile: SeasonProfile, season: int, *, ink: str) -> None:
    """Draw one season on two axes, one above the other.

    Args:
        panels: The axes.
        profile: What to draw.
        season: Its length.
        ink: Colour of the line at zero.
    """
    above, below = panels
    rows, several = profile.mean(season), len(profile.drift) > 1
    unit, clock = profile.unit or "value", profile.clocks[season]
    steps = rows.index.to_numpy()
    if several:
        lines = list(profile.table[profile.table["season"] == season].groupby("unique_id"))
        for _, own in lines[:: -(-len(lines) * season // _MOST_POINTS)]:
            above.plot(steps, own[profile.model], color=ORANGE, lw=0.6, alpha=0.25)
            below.plot(steps, own["effect"], color=ORANGE, lw=0.6, alpha=0.25)
    of = f", mean of {len(profile.drift)} series" if several else ""
    above.plot(steps, rows["y"], color=GREY, lw=2.5, label=f"data, training part{of}")
    above.plot(steps, rows[profile.model], color=ORANGE, lw=1.5, label=f"{profile.model}, running on by itself{of}")
    below.axhline(0, color=ink, lw=0.6)
    below.plot(steps, rows["effect"], color=ORANGE, lw=1.5, label="the clock alone (partial dependence)")
    below.plot(steps, rows["term"], color=BLUE, lw=1.2, ls="--", label="of that, added as it is (closed form)")
    above.set(ylabel=unit, title=f"season of {season} steps: {clock.name}")
    below.set(xlabel=clock.name)
    below.set_ylabel(f"change of the forecast\n[{unit}]", fontsize=8)
    for axes in (above, below):
        _finish(axes, clock.ticks)


def _finish(axes: Axes, ticks: list[tuple[int, str]]) -> None:
    axes.set_xticks([place for place, _ in ticks], [label for _, label in ticks])
    axes.margins(x=0.01)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    low, high = axes.get_ylim()
    if np.isfinite([low, high]).all():
        axes.set_ylim(low, high + 0.28 * (high - low))  # room for the legend
    axes.legend(frameon=False, fontsize=8, loc="upper right")
