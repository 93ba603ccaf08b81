"""Draw the README's figure from the runs of a comparison: ``python tools/readme_figure.py``."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

DOCS = Path(__file__).parents[1] / "docs"
COMPARISON = DOCS / "results" / "henon-map-ten-seeds"
CELLS = {
    "qkan": "QKAN-LSTM",
    "spline": "splines in place of circuits",
    "lstm": "LSTM",
    "gru": "GRU",
    "lowrank": "bottleneck, no circuits",
}


def draw(target: Path) -> None:
    """Draw one point a seed, at the learning rate that the validation error chose, and the median of every cell."""
    runs = pd.read_csv(COMPARISON / "runs.csv")
    chosen = pd.read_csv(COMPARISON / "points.csv").set_index("cell")["lr"]
    runs = runs[runs["lr"] == runs["cell"].map(chosen)]
    figure, axes = plt.subplots(figsize=(8, 2.7), layout="constrained")
    for row, cell in enumerate(CELLS):
        errors = runs.loc[runs["cell"] == cell, "test_mae"]
        colour = "tab:orange" if cell == "qkan" else "0.45"
        axes.plot(errors, [row] * len(errors), "o", color=colour, alpha=0.55, ms=6, mew=0)
        axes.plot([errors.median()] * 2, [row - 0.32, row + 0.32], color=colour, lw=2.5)
    parameters = runs.groupby("cell")["parameters"].first()
    axes.set_yticks(
        range(len(CELLS)), [f"{name}, {parameters[cell]} parameters" for cell, name in CELLS.items()], fontsize=9
    )
    axes.set(xscale="log", xlabel="test MAE of the next value of the Hénon map: ten seeds, their median")
    axes.set_xticks([3e-5, 1e-4, 2e-4, 5e-4], ["0.00003", "0.0001", "0.0002", "0.0005"])
    axes.xaxis.set_minor_formatter("")
    axes.invert_yaxis()
    axes.grid(axis="x", which="both", alpha=0.25)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    draw(DOCS / "assets" / "henon-map.png")
