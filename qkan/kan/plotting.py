"""Figures of a network: the network with the function of every edge, and one edge at large.

Drawn without a screen and without pyplot's global state; nothing is written to disk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qkan._util.drawing import take_texts_literally
from qkan.kan.importance import edge_activity
from qkan.kan.symbolic_fit import edge_curves, layer_inputs, pick_layer
from qkan.layers.edge_mask import EdgeMasked, edge_is_kept, kept_edges
from qkan.layers.options import base_function, check_edge, finite_float

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from qkan.kan.kan import KAN

#: A layer with more edges than these is refused: a pixel of the figure would be several edges.
MAX_SHOWN_EDGES = 100_000
_SAMPLES = 256
_POINTS = 81  # of a curve
_BLACK, _BLUE, _ORANGE, _GREY, _LIGHT = "#222222", "#0072b2", "#d55e00", "#999999", "#d4d4d4"
# Everything below is in inches.
_WIDTH = (4.6, 15.0)  # of what is between the margins
_MARGIN = 0.45
_BOX = (0.24, 0.78)  # sides of the box of an edge
_ROW = 32  # boxes; more are set in two staggered rows
_ABOVE = 0.6  # between boxes and the nodes above
_NODE = 0.07
_CIRCLES = 40  # more nodes are one bar


@dataclass(frozen=True)
class _Drawn:
    """What the plot of a layer needs.

    Attributes:
        layer: the layer.
        inputs: (N, in) float64 samples of its inputs.
        activity: (out, in) float64.
        edges: (output, input) of those that are not pruned, by output.
        curves: whether they are drawn as curves, or else as a heat map.
    """

    layer: EdgeMasked
    inputs: Tensor
    activity: Tensor
    edges: list[tuple[int, int]]
    curves: bool

    @property
    def rows(self) -> int:
        return 1 if len(self.edges) <= _ROW else 2

    def box(self, width: float) -> float:
        """The side of the box of an edge in a plot of that width."""
        return min(_BOX[1], max(_BOX[0], 0.86 * width * self.rows / max(1, len(self.edges))))

    def map_size(self) -> tuple[float, float]:
        """Width and height of the heat map."""
        outs, ins = self.activity.shape
        return min(_WIDTH[1], max(3.2, 0.24 * ins)), min(5.0, max(1.0, 0.24 * outs))

    def height(self, width: float) -> float:
        """Of the band between two rows of nodes."""
        inner = self.rows * self.box(width) * 1.12 if self.curves else self.map_size()[1]
        return inner + _ABOVE + self.below(width)

    def below(self, width: float) -> float:
        """Between the nodes below and the boxes: strands that reach far need room to rise."""
        return min(1.3, 0.4 + 0.06 * width) if self.curves else _ABOVE

    def width(self) -> float:
        """What the band would like to be wide."""
        return len(self.edges) * 0.9 / self.rows if self.curves else self.map_size()[0]


def _samples(network: KAN, x: Tensor | None) -> list[Tensor]:
    """What every layer gets, and the outputs."""
    if x is None:
        uniform = torch.rand(_SAMPLES, network.width[0], generator=torch.Generator().manual_seed(0)) * 2 - 1
        x = uniform.to(network.layers[0].first_parameter)
    return layer_inputs(network, x)


def _names(names: Sequence[str] | None, count: int, prefix: str, what: str) -> list[str]:
    if names is None:
        return [f"{prefix}{i + 1}" for i in range(count)]
    if isinstance(names, str):
        raise TypeError(f"{what} must be a sequence of {count} texts, got the text {names!r}")
    if len(names) != count:
        raise ValueError(f"{what} holds {len(names)} names, but the network has {count}; give one for each")
    return [str(name) for name in names]


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure, figure.add_axes((0, 0, 1, 1))


def plot_network(
    network: KAN,
    x: Tensor | None = None,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    title: str | None = None,
    beta: float = 3.0,
    max_edges: int = 64,
) -> Figure:
    """Draw a network from its inputs below to its outputs above, every edge with its function in a box.

    A box spans the range of its input on the samples, and the range of the function: compare shapes in boxes, sizes by
    the lines, whose opacity is tanh(beta * activity), the activity that of
    :func:`qkan.kan.importance.edge_activity`. Hidden nodes are named as by ``to_sympy(nested=False)``. Pruned edges
    are left out and counted at the foot. A layer with more than ``max_edges`` edges is shown as a heat map of activity,
    one cell per edge.

    Args:
        network: what to draw.
        x: (..., width[0]) samples; None takes 256 uniform ones in [-1, 1].
        input_names, output_names: default x1, x2, ... and y1, y2, ...
        title: default the kind and the width, ``QKAN [2, 5, 1]``.
        beta: > 0.
        max_edges: 0 or more.

    Raises:
        ValueError: names of the wrong number, beta or max_edges outside their range, x of the wrong size, activations
            that are not finite, or a layer of more than :data:`MAX_SHOWN_EDGES` edges.
        TypeError: a text in place of several names, or x that is not floating point.
    """
    names = [_names(input_names, network.width[0], "x", "input_names")]
    names += [[f"h{depth}_{i + 1}" for i in range(n)] for depth, n in enumerate(network.width[1:-1], start=1)]
    names.append(_names(output_names, network.width[-1], "y", "output_names"))
    finite_float("beta", beta, positive=True)
    if isinstance(max_edges, bool) or not isinstance(max_edges, int) or max_edges < 0:
        raise ValueError(f"max_edges {max_edges!r} must be an int of 0 or more")
    drawn = _layers(network, x, max_edges)
    width = min(
        _WIDTH[1], max(_WIDTH[0], *(layer.width() for layer in drawn), *(0.55 * min(n, 12) for n in network.width))
    )
    heights = [layer.height(width) for layer in drawn]
    notes = [note for depth, layer in enumerate(drawn) for note in _notes(depth, layer)]
    foot, head = 0.55 + _extra(names[0], width) + 0.2 * len(notes), 0.95 + _extra(names[-1], width)
    figure, axes = _figure(width + 2 * _MARGIN, foot + sum(heights) + head)
    axes.set(xlim=(-_MARGIN, width + _MARGIN), ylim=(-foot, sum(heights) + head))
    axes.set_axis_off()

    bottom = 0.0
    for depth, (layer, height) in enumerate(zip(drawn, heights, strict=True)):
        if layer.curves:
            _draw_curves(axes, depth, layer, width, bottom, height, beta)
        else:
            _draw_map(axes, depth, layer, width, bottom, height)
        bottom += height
    levels = [sum(heights[:depth]) for depth in range(len(heights) + 1)]
    for depth, (level, row) in enumerate(zip(levels, names, strict=True)):
        _draw_nodes(axes, row, width, level, first=depth == 0, last=depth == len(levels) - 1)
    text = f"{type(network).__name__} {network.width}" if title is None else title
    axes.text(width / 2, levels[-1] + head - 0.3, text, ha="center", va="center", fontsize=13, color=_BLACK)
    for line, note in enumerate(notes):
        axes.text(
            width / 2, -foot + 0.15 + 0.2 * (len(notes) - 1 - line), note, ha="center", fontsize=8, color="#555555"
        )
    return take_texts_literally(figure)


def _layers(network: KAN, x: Tensor | None, max_edges: int) -> list[_Drawn]:
    for depth, layer in enumerate(network.layers):
        count = layer.in_features * layer.out_features
        if count > MAX_SHOWN_EDGES:
            raise ValueError(
                f"layer {depth} has {count:,} edges, more than the {MAX_SHOWN_EDGES:,} that a figure can show; "
                "prune inputs or nodes, or draw single edges with plot_edge"
            )
    found = []
    for layer, inputs in zip(network.layers, _samples(network, x), strict=False):
        outs, ins = layer.out_features, layer.in_features
        # Enough samples for an activity, and no more numbers than fit into memory with ease.
        stride = -(-len(inputs) * outs * ins // 20_000_000)
        activity = edge_activity(layer, inputs[::stride].to(layer.first_parameter)).detach().double().cpu()
        edges = kept_edges(layer)
        found.append(_Drawn(layer, inputs, activity, edges, len(edges) <= max_edges))
    return found


def _notes(depth: int, layer: _Drawn) -> list[str]:
    outs, ins = layer.activity.shape
    notes, pruned = [], outs * ins - len(layer.edges)
    if not layer.curves:
        strongest = float(layer.activity.max())
        notes.append(f"layer {depth}: activity of {len(layer.edges):,} edges, from 0 (white) to {strongest:.3g} (dark)")
    if pruned:
        notes.append(f"layer {depth}: {pruned:,} pruned edge{'s' * (pruned > 1)} left out")
    return notes


def _extra(names: list[str], width: float) -> float:
    """Room for names that have to stand upright."""
    return 0.075 * max(map(len, names)) if _upright(names, width) else 0.0


def _upright(names: list[str], width: float) -> bool:
    return len(names) <= _CIRCLES and max(map(len, names)) * 0.095 > width / len(names)


def _place(index: int, count: int, width: float) -> float:
    """Where the index-th of so many stands."""
    return width * (index + 0.5) / count


def _strand(axes: Axes, start: tuple[float, float], end: tuple[float, float], opacity: float, name: str) -> None:
    """A line that leaves and arrives upright."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    middle = (start[1] + end[1]) / 2
    path = Path([start, (start[0], middle), (end[0], middle), end], [Path.MOVETO] + 3 * [Path.CURVE4])
    axes.add_patch(PathPatch(path, fill=False, edgecolor=_BLUE, linewidth=1.3, alpha=opacity, zorder=1, gid=name))


def _draw_curves(
    axes: Axes, depth: int, drawn: _Drawn, width: float, bottom: float, height: float, beta: float
) -> None:
    from matplotlib.patches import FancyBboxPatch

    outs, ins = drawn.activity.shape
    side, count = drawn.box(width), len(drawn.edges)
    low, high = drawn.inputs.amin(0), drawn.inputs.amax(0)
    steps = torch.linspace(0, 1, _POINTS, dtype=torch.float64, device=low.device).unsqueeze(-1)
    values = edge_curves(drawn.layer, low + (high - low) * steps).cpu()
    for place, (o, i) in enumerate(drawn.edges):
        centre = _place(place, count, width)
        level = bottom + drawn.below(width) + (place % drawn.rows + 0.5) * side * 1.12
        opacity, name = math.tanh(beta * float(drawn.activity[o, i])), f"edge {depth} {o} {i}"
        _strand(axes, (_place(i, ins, width), bottom), (centre, level - side / 2), opacity, f"in {name}")
        _strand(axes, (centre, level + side / 2), (_place(o, outs, width), bottom + height), opacity, f"out {name}")
        corner = (centre - side / 2, level - side / 2)
        style = f"round,pad=0,rounding_size={side * 0.12}"
        box = FancyBboxPatch(corner, side, side, style, fc="white", ec=_LIGHT, lw=0.8, zorder=3, gid=f"box {name}")
        axes.add_patch(box)
        curve = values[:, o, i]
        span = float(curve.max() - curve.min())
        heights = (
            (curve - curve.min()) / span if span > 1e-7 * float(curve.abs().max()) else torch.full_like(curve, 0.5)
        )
        across, inner = (steps[:, 0].cpu() - 0.5) * 0.76 * side + centre, (heights - 0.5) * 0.76 * side + level
        shade = 0.3 + 0.7 * opacity  # faint, but still a shape to see
        axes.plot(across, inner, color=_BLUE, lw=1.6 if side > 0.4 else 1.2, alpha=shade, zorder=4, gid=name)


def _draw_map(axes: Axes, depth: int, drawn: _Drawn, width: float, bottom: float, height: float) -> None:
    from matplotlib.patches import Polygon

    outs, ins = drawn.activity.shape
    across, tall = drawn.map_size()
    across = min(across, width)
    left, low = (width - across) / 2, bottom + (height - tall) / 2
    strongest = float(drawn.activity.max())
    extent = (left, left + across, low, low + tall)
    axes.imshow(
        drawn.activity.numpy(),
        extent=extent,
        origin="lower",
        cmap="Blues",
        vmin=0,
        vmax=strongest if strongest > 0 else 1,
        aspect="auto",
        interpolation="nearest",
        zorder=3,
        gid=f"map {depth}",
    )
    axes.plot(
        [left, left + across, left + across, left, left],
        [low, low, low + tall, low + tall, low],
        color=_LIGHT,
        lw=0.8,
        zorder=4,
    )
    for count, level, side in ((ins, bottom, low), (outs, bottom + height, low + tall)):
        first, last = _place(0, count, width), _place(count - 1, count, width)
        corners = [(first, level), (last, level), (left + across, side), (left, side)]
        axes.add_patch(Polygon(corners, closed=True, fc=_BLUE, ec="none", alpha=0.07, zorder=1))
    axes.text(left + across / 2, low - 0.06, f"{ins} inputs", ha="center", va="top", fontsize=8, color="#555555")
    axes.text(
        left - 0.06,
        low + tall / 2,
        f"{outs} outputs",
        ha="right",
        va="center",
        rotation=90,
        fontsize=8,
        color="#555555",
    )


def _draw_nodes(axes: Axes, names: list[str], width: float, level: float, *, first: bool, last: bool) -> None:
    from matplotlib.patches import Circle, FancyBboxPatch

    count = len(names)
    if count > _CIRCLES:
        style = f"round,pad=0,rounding_size={_NODE}"
        bar = FancyBboxPatch((0, level - _NODE), width, 2 * _NODE, style, fc=_BLACK, ec="none", zorder=5)
        axes.add_patch(bar)
        text = f"{names[0]} ... {names[-1]} ({count} nodes)"
        below = first or not last
        axes.text(
            width / 2,
            level - 0.14 if below else level + 0.14,
            text,
            ha="center",
            va="top" if below else "bottom",
            fontsize=9,
            color=_BLACK,
            zorder=6,
            bbox={"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1},
        )
        return
    rotation = 90 if _upright(names, width) else 0
    for index, name in enumerate(names):
        x = _place(index, count, width)
        axes.add_patch(Circle((x, level), _NODE, fc=_BLACK, ec="white", lw=1.0, zorder=5, gid=f"node {name}"))
        if first:
            axes.text(x, level - 0.16, name, ha="center", va="top", fontsize=10, color=_BLACK, rotation=rotation)
        elif last:
            axes.text(x, level + 0.14, name, ha="center", va="bottom", fontsize=10, color=_BLACK, rotation=rotation)
        elif width / count > 0.5:
            label = axes.text(x + 0.11, level, name, ha="left", va="center", fontsize=8, color="#555555", zorder=6)
            label.set_bbox({"fc": "white", "ec": "none", "alpha": 0.75, "pad": 0.5})


def plot_edge(network: KAN, layer_index: int, output: int, input: int, x: Tensor | None = None) -> Figure:
    """Draw one edge at large, with its base branch and the rest by themselves and the samples that reach it.

    Args:
        network: of which the edge is.
        layer_index, output, input: the edge; layer 0 takes the inputs.
        x: (..., width[0]) inputs of the network; None takes 256 uniform ones in [-1, 1].

    Raises:
        ValueError, TypeError: no such edge, x of the wrong size, or activations that are not finite.
    """
    layer = pick_layer(network, layer_index)
    check_edge(output, input, layer.out_features, layer.in_features)
    samples = _samples(network, x)[layer_index]
    low, high = samples[:, input].min(), samples[:, input].max()
    points = torch.linspace(0, 1, 401, dtype=torch.float64, device=low.device) * (high - low) + low
    whole = edge_curves(layer, points.unsqueeze(-1).expand(-1, layer.in_features))[:, output, input]

    figure, _ = _figure(6.4, 4.0)
    figure.clear()
    figure.set_layout_engine("constrained")
    axes = figure.add_subplot()
    base, weight = base_function(layer.base_activation), layer.base_weight
    if base is not None and weight is not None and edge_is_kept(layer, output, input):
        with torch.no_grad():
            branch = float(weight[output, input]) * base(points.to(layer.first_parameter)).double()
        axes.plot(points.cpu(), (whole - branch).cpu(), color=_ORANGE, ls="--", lw=1.3, label=layer.edge_name)
        axes.plot(points.cpu(), branch.cpu(), color=_GREY, ls="--", lw=1.3, label="base branch")
    axes.plot(points.cpu(), whole.cpu(), color=_BLUE, lw=2.2, label="edge")
    rug = axes.get_xaxis_transform()
    axes.plot(samples[:, input].cpu(), torch.zeros(len(samples)), "|", color=_BLACK, alpha=0.25, ms=9, transform=rug)
    source = f"x{input + 1}" if layer_index == 0 else f"h{layer_index}_{input + 1}"
    target = f"y{output + 1}" if layer_index == len(network.layers) - 1 else f"h{layer_index + 1}_{output + 1}"
    axes.set(xlabel=source, ylabel=f"part of {target}", title=f"layer {layer_index}: {source} to {target}")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return take_texts_literally(figure)
