"""Figures of networks and edges: what is in them, not their pixels."""

import math
import sys
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from plain import PLAIN
from torch import Tensor

from qkan import QKAN
from qkan.kan.importance import edge_activity

F64 = torch.float64


def network(width: list[int], **options: Any) -> QKAN:
    return QKAN(width, reps=2, dtype=F64, generator=torch.Generator().manual_seed(0), **(PLAIN | options))


def samples(inputs: int) -> Tensor:
    return 3 * torch.rand(60, inputs, generator=torch.Generator().manual_seed(1), dtype=F64) - 1


def named(figure: Figure, start: str) -> dict[str, Any]:
    """Artists whose name starts so."""
    (axes,) = figure.axes
    return {a.get_gid(): a for a in axes.get_children() if (a.get_gid() or "").startswith(start)}


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_every_edge_has_a_box_a_curve_and_two_strands() -> None:
    figure = network([2, 3, 1]).plot(samples(2))
    assert isinstance(figure, Figure)
    edges = {f"edge 0 {o} {i}" for o in range(3) for i in range(2)} | {f"edge 1 0 {i}" for i in range(3)}
    assert set(named(figure, "edge")) == edges
    for start in ("box", "in", "out"):
        assert set(named(figure, f"{start} edge")) == {f"{start} {edge}" for edge in edges}
    assert texts(figure) == ["x1", "x2", "h1_1", "h1_2", "h1_3", "y1", "QKAN [2, 3, 1]"]


def test_curves_are_the_edges_over_the_range_of_their_inputs() -> None:
    net, x = network([2, 2, 1]), samples(2)
    line = named(net.plot(x), "edge")["edge 1 0 1"]
    hidden = net.layers[0](x).detach()
    grid = torch.linspace(float(hidden[:, 1].min()), float(hidden[:, 1].max()), len(line.get_ydata()), dtype=F64)
    curve = net.layers[1].edge_outputs(torch.stack([grid, grid], -1))[:, 0, 1].detach()
    drawn = torch.as_tensor(line.get_ydata())
    scaled = (drawn - drawn.min()) / (drawn.max() - drawn.min())
    assert torch.allclose(scaled, (curve - curve.min()) / (curve.max() - curve.min()), rtol=0, atol=1e-9)


def test_an_edge_that_does_nothing_is_a_level_line_without_strands() -> None:
    figure = network([1, 1]).plot(torch.full((4, 1), 0.3, dtype=F64))
    curve = named(figure, "edge")["edge 0 0 0"].get_ydata()
    assert curve.max() == curve.min()
    assert [strand.get_alpha() for strand in named(figure, "in edge").values()] == [0.0]


@pytest.mark.parametrize("beta", [3.0, 0.5])
def test_opacity_is_activity(beta: float) -> None:
    net, x = network([2, 2]), samples(2)
    strands = named(net.plot(x, beta=beta), "in edge")
    activity = edge_activity(net.layers[0], x)
    for o in range(2):
        for i in range(2):
            expected = math.tanh(beta * float(activity[o, i]))
            assert strands[f"in edge 0 {o} {i}"].get_alpha() == pytest.approx(expected, abs=1e-12)


def test_names_and_title() -> None:
    shown = texts(network([2, 1]).plot(samples(2), input_names=["time", "place"], output_names=["rain"], title="Rain"))
    assert shown == ["time", "place", "rain", "Rain"]


def test_long_names_stand_upright() -> None:
    figure = network([9, 1]).plot(input_names=[f"a rather long name {i}" for i in range(9)])
    assert {t.get_rotation() for t in figure.axes[0].texts if t.get_text().startswith("a rather")} == {90.0}


def test_pruned_edges_are_left_out_and_counted() -> None:
    net = network([2, 2, 1])
    net.layers[0].edge_mask = torch.tensor([[True, False], [True, True]])
    figure = net.plot(samples(2))
    assert "edge 0 0 1" not in named(figure, "edge")
    assert len(named(figure, "edge")) == 5
    assert texts(figure)[-1] == "layer 0: 1 pruned edge left out"


def test_a_layer_of_512_edges_is_a_map_of_activity() -> None:
    net, x = network([32, 16, 1]), samples(32)
    figure = net.plot(x)
    activity = edge_activity(net.layers[0], x).detach()
    (image,) = named(figure, "map").values()
    assert torch.allclose(torch.as_tensor(image.get_array()), activity, rtol=0, atol=1e-12)
    assert {name.split()[1] for name in named(figure, "edge")} == {"1"}
    assert texts(figure)[-1] == f"layer 0: activity of 512 edges, from 0 (white) to {float(activity.max()):.3g} (dark)"


def test_max_edges_says_from_where_on() -> None:
    assert len(named(network([2, 2]).plot(max_edges=4), "edge")) == 4
    assert len(named(network([2, 2]).plot(max_edges=3), "map")) == 1


def test_two_rows_of_boxes_do_not_overlap() -> None:
    boxes = [box.get_bbox() for box in named(network([8, 8]).plot(), "box").values()]
    assert len(boxes) == 64
    apart = [a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0 for a in boxes for b in boxes if a is not b]
    assert all(apart)


def test_many_nodes_are_one_bar() -> None:
    figure = network([50, 1]).plot(max_edges=0)
    assert "x1 ... x50 (50 nodes)" in texts(figure)
    assert list(named(figure, "node")) == ["node y1"]


def test_the_figure_stays_on_its_page_and_out_of_pyplot() -> None:
    import matplotlib.pyplot as plt

    figure = network([4, 8, 8, 3]).plot()
    figure.canvas.draw()
    page = figure.bbox
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert min(box.x0 - page.x0, page.x1 - box.x1, box.y0 - page.y0, page.y1 - box.y1) >= 0, text
    assert plt.get_fignums() == []


def test_one_edge_shows_its_parts() -> None:
    net, x = network([2, 2, 1]), samples(2)
    figure = net.plot_edge(1, 0, 1, x)
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    parts = [torch.as_tensor(lines[name].get_ydata()) for name in ("circuit", "base branch", "edge")]
    assert torch.allclose(parts[0] + parts[1], parts[2], rtol=0, atol=1e-12)
    points = torch.as_tensor(lines["edge"].get_xdata())
    base = float(net.layers[1].base_weight[0, 1]) * torch.nn.functional.silu(points)
    assert torch.allclose(parts[1], base, rtol=0, atol=1e-12)
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("h1_2", "part of y1", "layer 1: h1_2 to y1")
    assert "circuit" not in {
        line.get_label() for line in network([1, 1], base_activation=None).plot_edge(0, 0, 0).axes[0].lines
    }


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda n: n.plot(samples(3)), ValueError, r"QKAN needs an input of shape \(..., 2\), got \(60, 3\)"),
        (lambda n: n.plot(input_names=["a"]), ValueError, "input_names holds 1 names, but the network has 2"),
        (lambda n: n.plot(output_names="y"), TypeError, "output_names must be a sequence of 1 texts, got the text 'y'"),
        (lambda n: n.plot(beta=0), ValueError, "beta 0 must be a finite number above 0"),
        (lambda n: n.plot(max_edges=-1), ValueError, "max_edges -1 must be an int of 0 or more"),
        (lambda n: n.plot_edge(0, 1, 0), ValueError, r"output 1 is outside \[0, 0\]: the layer has no such edge"),
        (lambda n: n.plot_edge(2, 0, 0), ValueError, r"layer_index 2 is outside \[0, 0\]"),
    ],
)
def test_bad_input_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(network([2, 1]))


def test_more_edges_than_pixels_are_refused() -> None:
    net = QKAN([400, 400], group="input", postact_weight_trainable=True)
    with pytest.raises(ValueError, match="layer 0 has 160,000 edges, more than the 100,000 that a figure can show"):
        net.plot()


def test_without_matplotlib_the_import_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match="matplotlib"):
        network([1, 1]).plot()
