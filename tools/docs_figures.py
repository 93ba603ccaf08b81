"""Draw the figures of docs/how: ``python tools/docs_figures.py`` writes docs/assets/*.svg."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from qkan import Ansatz, QKANLayer

FIGURES = Path(__file__).parents[1] / "docs" / "assets"
SIZE = 11  # readable where a page is 390 pixels wide
BLUE, ORANGE, GREEN, GREY = "#3949ab", "#d84315", "#2e7d32", "#616161"
GATES = Ansatz("pz", ("rz", "ry"), "rz", ("rz", "ry")).gates(2)


def box(axes: Axes, x: float, y: float, text: str, colour: str, width: float = 0.9, height: float = 0.7) -> None:
    """A box with rounded corners around (x, y)."""
    patch = FancyBboxPatch(
        (x - width / 2, y - height / 2), width, height, "round,pad=0.02,rounding_size=0.08", fc=colour + "18", ec=colour
    )
    axes.add_patch(patch)
    axes.text(x, y, text, ha="center", va="center", color=colour, fontsize=SIZE)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], curve: float = 0.0) -> None:
    """An arrow between two points."""
    style = f"arc3,rad={curve}"
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=10, color=GREY, connectionstyle=style))


def blank(axes: Axes, width: float, height: float) -> None:
    """No frame, equal units."""
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.axis("off")


def turned(state: np.ndarray, axis: int, angle: float) -> np.ndarray:
    """A Bloch vector turned about a coordinate axis."""
    b, c = (axis + 1) % 3, (axis + 2) % 3
    new = state.copy()
    new[b] = np.cos(angle) * state[b] - np.sin(angle) * state[c]
    new[c] = np.sin(angle) * state[b] + np.cos(angle) * state[c]
    return new


def draw_sphere(axes: Axes, x: float, theta: np.ndarray) -> None:
    """The path of the Bloch vector of a circuit, seen a little from above."""
    view = np.array([[-0.62, 0.78, 0.0], [-0.20, -0.16, 0.97]])
    circle = np.linspace(0, 2 * np.pi, 200)
    axes.plot(np.cos(circle), np.sin(circle), color=GREY, lw=0.8)
    equator = view @ np.stack([np.cos(circle), np.sin(circle), 0 * circle])
    axes.plot(*equator, color=GREY, lw=0.5, ls=":")
    for name, end in (("x", (1.25, 0, 0)), ("y", (0, 1.25, 0)), ("z", (0, 0, 1.2))):
        tip = view @ np.array(end)
        axes.plot([0, tip[0]], [0, tip[1]], color=GREY, lw=0.6)
        axes.text(*(tip * 1.08), name, color=GREY, fontsize=SIZE, ha="center", va="center")
    state = np.array([1.0, 0, 0])
    axes.plot(*(view @ state), "o", color=GREY, ms=4)
    for gate, place, encoding in GATES:
        angle = x if encoding is not None else theta[place]
        path = np.stack([turned(state, "xyz".index(gate[1]), angle * t) for t in np.linspace(0, 1, 40)], 1)
        axes.plot(*(view @ path), color=ORANGE if encoding is not None else BLUE, lw=1.8)
        state = path[:, -1]
    axes.plot(*(view @ state), "o", color=GREEN, ms=6)
    axes.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.4), aspect="equal", title="state for one x")
    axes.axis("off")


def circuits() -> None:
    """A circuit, its states, its activations."""
    layout = [["circuit", "circuit"], ["sphere", "curves"]]
    figure, axes = plt.subplot_mosaic(layout, figsize=(6, 4.6), height_ratios=(1, 2.4), layout="constrained")
    left, middle, right = axes["circuit"], axes["sphere"], axes["curves"]
    blank(left, 9.4, 2)
    left.set_title("circuit, R = 2")
    left.plot([0.1, 8.4], [1, 1], color=GREY, lw=1, zorder=0)
    for i, (gate, _, encoding) in enumerate(GATES):
        text = f"{gate[0].upper()}{gate[1]}\n" + ("x" if encoding is not None else "θ")
        left.add_patch(plt.Rectangle((0.35 + i, 0.3), 0.9, 1.4, fc="white", zorder=1))
        box(left, 0.8 + i, 1, text, ORANGE if encoding is not None else BLUE, 0.72, 1.3)
    box(left, 8.85, 1, "<Z>", GREEN, 0.8, 1.0)
    draw_sphere(middle, 1.1, np.array([[0.4, 0.8], [0.9, -0.7], [0.3, 1.1]]))
    x = torch.linspace(-np.pi, np.pi, 300).unsqueeze(-1)
    for reps, colour in ((1, GREY), (2, BLUE), (3, ORANGE)):
        layer = QKANLayer(
            1, 1, reps=reps, base_activation=None, init="wide", generator=torch.Generator().manual_seed(7)
        )
        right.plot(x[:, 0], layer(x).detach()[:, 0], color=colour, label=f"R = {reps}")
    right.set(xlabel="x", title="height of the end, every x", ylim=(-1.05, 1.5))
    right.legend(fontsize=SIZE - 1, frameon=False, ncols=3, columnspacing=0.8, handlelength=1, loc="upper center")
    figure.savefig(FIGURES / "circuits.svg", metadata={"Date": None})


def spectral() -> None:
    """An activation as a sum of waves, a layer as a product."""
    figure, (left, right) = plt.subplots(2, 1, figsize=(6, 5.2), height_ratios=(1.2, 1), layout="constrained")
    layer = QKANLayer(1, 1, reps=2, base_activation=None, init="wide", generator=torch.Generator().manual_seed(3))
    x = torch.linspace(-np.pi, np.pi, 300).unsqueeze(-1)
    values = layer(x).detach()[:, 0].numpy()
    left.plot(x[:, 0], values, color=BLUE, lw=2, label="activation, R = 2")
    for k in (1, 2):
        waves = np.stack([np.cos(k * x[:, 0].numpy()), np.sin(k * x[:, 0].numpy())])
        part = 2 * (waves[:, :-1] @ values[:-1] / (len(values) - 1)) @ waves
        left.plot(x[:, 0], part, color=ORANGE, lw=1, ls=("-", "--")[k - 1], label=f"its wave of frequency {k}")
    left.set(xlabel="x", title="a sum of few waves", ylim=(-1.05, 1.9))
    left.legend(fontsize=SIZE - 1, frameon=False, loc="upper center")
    blank(right, 12, 4.6)
    right.set_title("a layer is one product")
    box(right, 1.1, 3.2, "inputs\nS x I", GREY, 1.7, 1.5)
    box(right, 4.6, 3.2, "features\ncos x, sin x, ...\nS x (terms I)", ORANGE, 3.9, 1.9)
    box(right, 8.3, 3.2, "matrix\n(terms I) x O", BLUE, 2.6, 1.5)
    box(right, 11.1, 3.2, "outputs\nS x O", GREEN, 1.6, 1.5)
    box(right, 8.0, 0.8, "circuits at a few points,\nonce an update", BLUE, 4.8, 1.3)
    arrow(right, (1.95, 3.2), (2.65, 3.2))
    arrow(right, (8.3, 1.45), (8.3, 2.45))
    right.text(6.85, 3.2, "·", ha="center", va="center", fontsize=22, color=GREY)
    arrow(right, (9.5, 3.2), (10.3, 3.2))
    figure.savefig(FIGURES / "spectral.svg", metadata={"Date": None})


def recurrence() -> None:
    """A step of a QKAN-LSTM."""
    figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
    blank(axes, 12, 6.6)
    box(axes, 1.4, 5.2, "x of all\nsteps", GREY, 2.0, 1.3)
    box(axes, 5.0, 5.2, "features\ntimes matrix", ORANGE, 2.6, 1.3)
    box(axes, 1.4, 1.6, "h of the\nstep before", GREY, 2.3, 1.3)
    box(axes, 5.0, 1.6, "features\ntimes matrix", ORANGE, 2.6, 1.3)
    box(axes, 8.1, 3.4, "sum: gates\ni, f, g, o", BLUE, 2.3, 1.3)
    box(axes, 10.6, 1.6, "c = f c + i g\nh = o tanh c", GREEN, 2.6, 1.3)
    arrow(axes, (2.4, 5.2), (3.65, 5.2))
    arrow(axes, (2.6, 1.6), (3.65, 1.6))
    arrow(axes, (6.35, 5.0), (7.4, 4.15))
    arrow(axes, (6.35, 1.8), (7.4, 2.65))
    arrow(axes, (9.0, 2.7), (9.7, 2.35))
    arrow(axes, (10.4, 0.85), (1.4, 0.85), -0.09)
    axes.text(5.0, 6.15, "one call for the whole sequence", ha="center", color=ORANGE, fontsize=SIZE)
    axes.text(4.0, 2.55, "step by step, in one kernel", ha="center", color=ORANGE, fontsize=SIZE)
    figure.savefig(FIGURES / "recurrence.svg", metadata={"Date": None})


if __name__ == "__main__":
    plt.rcParams.update(
        {"font.size": SIZE - 1, "axes.titlesize": SIZE, "axes.spines.top": False, "axes.spines.right": False}
    )
    plt.rcParams.update({"svg.hashsalt": "qkan", "savefig.transparent": False})
    for draw in (circuits, spectral, recurrence):
        draw()
