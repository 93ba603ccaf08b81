"""Attribution and the four feature selectors, on functions whose scores are known."""

import math
import re

import pytest
import torch
from plain import PLAIN
from torch.nn import functional as F

from qkan import QKAN
from qkan.kan.importance import METHODS

DOUBLE = torch.float64


def waves_and_lines(sines: list[list[float]], slopes: list[list[float]]) -> QKAN:
    """A layer with the edges sine * sin(x) + slope * x."""
    net = QKAN(
        [len(sines[0]), len(sines)], reps=1, base_activation="identity", postact_weight_trainable=True, dtype=DOUBLE
    )
    set_edges(net.layers[0], sines, slopes)
    return net


def set_edges(layer, sines: list[list[float]], slopes: list[list[float]]) -> None:
    with torch.no_grad():
        # |+>, turned by x + pi/2 about z, then by pi/2 about y: <Z> = -cos(x + pi/2) = sin x.
        layer.theta.zero_()
        layer.theta[..., 0, 0] = layer.theta[..., 1, 1] = math.pi / 2
        layer.postact_weight.copy_(torch.tensor(sines))
        layer.base_weight.copy_(torch.tensor(slopes))


def grid(points: int) -> torch.Tensor:
    """(points^2, 3): all pairs of angles of a full turn, and a third column of the first one's values elsewhere."""
    angle = torch.arange(points, dtype=DOUBLE) / points * 2 * math.pi
    pairs = torch.cartesian_prod(angle, angle)
    return torch.cat([pairs, pairs[:, :1].roll(1, 0)], 1)


def test_selectors_of_a_sine_a_line_and_nothing() -> None:
    net = waves_and_lines([[2.0, 0.0, 0.0]], [[0.0, 0.5, 0.0]])
    n = 200
    x = grid(n)
    spread = 2 * math.pi * math.sqrt((1 - 1 / n**2) / 12)  # the standard deviation of n equidistant angles
    expected = {
        "l1": [2 * 2 / math.pi, 0.5 * math.pi / 2, 0.0],
        "l2": [2 / math.sqrt(2), 0.5 * spread, 0.0],
        "sensitivity": [spread * 2 * 2 / math.pi, spread * 0.5, 0.0],
        "knockout": [2.0, (0.5 * spread) ** 2, 0.0],
    }
    for method, values in expected.items():
        scores = net.feature_importance(x, method=method)
        torch.testing.assert_close(scores, torch.tensor(values, dtype=DOUBLE), rtol=1e-4, atol=1e-9, msg=method)


def test_several_outputs_add_up_as_the_formulas_say() -> None:
    slopes = torch.tensor([[3.0, -1.0], [-2.0, 0.5]], dtype=DOUBLE)
    net = waves_and_lines([[0.0, 0.0], [0.0, 0.0]], slopes.tolist())
    x = torch.tensor([[1.0, 2.0], [1.0, -2.0], [-1.0, 2.0], [-1.0, -2.0]], dtype=DOUBLE) + 7.0
    size = torch.tensor([1.0, 2.0], dtype=DOUBLE)
    expected = {
        "l1": slopes.abs().sum(0) * size,
        "l2": slopes.square().sum(0).sqrt() * size,
        "sensitivity": slopes.abs().sum(0) * size,
        "knockout": slopes.square().sum(0) * size**2 / 2,
    }
    for method in METHODS:
        scores = net.feature_importance(x.reshape(2, 2, 2), method=method)
        torch.testing.assert_close(scores, expected[method], rtol=1e-12, atol=1e-12, msg=method)


def test_knockout_against_targets_is_the_rise_of_the_loss() -> None:
    net = QKAN([3, 2, 2], reps=2, dtype=DOUBLE, generator=torch.Generator().manual_seed(0), **PLAIN)
    make = torch.Generator().manual_seed(1)
    x, y = torch.randn(9, 3, generator=make, dtype=DOUBLE), torch.randn(9, 2, generator=make, dtype=DOUBLE)
    edges = net.layers[0].edge_outputs(x)
    for loss, target in ((F.mse_loss, y), (F.cross_entropy, y.argmax(-1))):
        expected = []
        for i in range(3):
            held = edges.clone()
            held[..., i] = held[..., i].mean(0)
            expected.append(loss(net.layers[1](held.sum(-1)), target) - loss(net(x), target))
        scores = net.feature_importance(x, target, method="knockout", loss="mse" if loss is F.mse_loss else loss)
        torch.testing.assert_close(scores, torch.stack(expected), rtol=1e-9, atol=1e-12)
    # Targets that are the outputs without input 0: removing it is no loss but a gain.
    held = edges.clone()
    held[..., 0] = held[..., 0].mean(0)
    assert net.feature_importance(x, net.layers[1](held.sum(-1)), method="knockout")[0] < -1e-5


def test_sensitivity_reaches_through_all_layers() -> None:
    net = QKAN([3, 4, 2], reps=2, dtype=DOUBLE, generator=torch.Generator().manual_seed(0), **PLAIN)
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)
    jacobian = torch.stack([torch.autograd.functional.jacobian(net, sample) for sample in x])
    expected = jacobian.abs().mean(0).sum(0) * x.std(0, correction=0)
    with torch.no_grad():
        torch.testing.assert_close(net.feature_importance(x, method="sensitivity"), expected, rtol=1e-9, atol=1e-12)
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_a_fitted_network_ranks_the_inputs_of_its_target(method: str) -> None:
    make = torch.Generator().manual_seed(0)
    x = 2 * torch.rand(150, 4, generator=make) - 1
    y = 2 * torch.sin(2 * x[:, 2:3]) + 0.5 * x[:, :1]
    net = QKAN([4, 2, 1], reps=1, generator=make)
    net.fit(x, y, optimizer="lbfgs", steps=40)
    scores = net.feature_importance(x, y if method == "knockout" else None, method=method)
    assert scores.argsort(descending=True)[:2].tolist() == [2, 0]
    assert scores[[1, 3]].max() < 0.2 * scores[0]
    # sqrt(var(2 sin 2u) / var(u / 2)) = 5.0 for u uniform on [-1, 1]; the knock-out is of squares.
    if method in ("l2", "knockout"):
        ratio = (scores[2] / scores[0]).item() ** (0.5 if method == "knockout" else 1)
        assert ratio == pytest.approx(5.0, rel=0.35)


def test_attribution_of_known_edges() -> None:
    first, second = [[3.0, 4.0], [0.0, -2.0]], [[1.0, 0.5]]
    net = QKAN([2, 2, 1], reps=1, base_activation="identity", postact_weight_trainable=True, dtype=DOUBLE)
    for layer, slopes in zip(net.layers, (first, second), strict=True):
        set_edges(layer, [[0.0, 0.0]] * len(slopes), slopes)
    x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=DOUBLE) - 3.0
    scores = net.attribute(x)
    # Nodes 3 a + 4 b (spread 5) and -2 b (spread 2), output 3 a + 3 b (spread sqrt 18).
    total = math.sqrt(18)
    edges = [[[3 / 5 * 5 / total, 4 / 5 * 5 / total], [0.0, 1 / total]], [[5 / total, 1 / total]]]
    nodes = [[3 / total, 5 / total], [5 / total, 1 / total], [1.0]]
    for ours, expected in zip([*scores.edges, *scores.nodes], [*edges, *nodes], strict=True):
        torch.testing.assert_close(ours, torch.tensor(expected, dtype=DOUBLE), rtol=1e-12, atol=1e-12)


def test_nodes_that_do_not_vary_pass_no_score_on() -> None:
    net = waves_and_lines([[0.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, -1.0]])
    scores = net.attribute(torch.tensor([[0.1, -0.1], [0.7, -0.7], [-0.3, 0.3]], dtype=DOUBLE))
    torch.testing.assert_close(scores.edges[0], torch.tensor([[0.0, 0.0], [0.5, 0.5]], dtype=DOUBLE))
    torch.testing.assert_close(scores.nodes[0], torch.tensor([0.5, 0.5], dtype=DOUBLE))


X = torch.zeros(4, 3)


@pytest.mark.parametrize(
    ("x", "y", "options", "error", "message"),
    [
        (X, None, {"method": "l3"}, ValueError, "unknown method 'l3'; use one of l1, l2, sensitivity, knockout"),
        (X, X, {"method": "l1"}, ValueError, "method 'l1' takes no y; leave it out, or use method='knockout'"),
        (X[:1], None, {}, ValueError, "x of shape (1, 3) must hold 2 or more samples in its first dimension"),
        (X[:, :2], None, {}, ValueError, "the network needs an input of shape (..., 3), got (4, 2)"),
        (X.long(), None, {}, TypeError, "the network needs a floating-point input, got torch.int64"),
        (X.log(), None, {}, ValueError, "x has 12 of 12 values that are NaN or infinite"),
        (X.tolist(), None, {}, TypeError, "x must be a torch.Tensor, got list"),
        (X, X, {"method": "knockout"}, ValueError, "y has 3 columns, but the model has 2 outputs"),
        (X, X[:2, :2], {"method": "knockout"}, ValueError, "y of shape (2, 2) must have the leading dimensions of x"),
        (X, X[:, 0], {"method": "knockout"}, ValueError, "y of shape (4,) must have the shape of the model's output"),
        (X, X[:, :2] / 0, {"method": "knockout"}, ValueError, "y has 8 of 8 values that are NaN or infinite"),
        (X, None, {"method": "knockout", "loss": "mae"}, ValueError, "unknown loss 'mae'"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(x, y, options, error, message) -> None:
    with pytest.raises(error, match=re.escape(message)):
        QKAN([3, 2], reps=1).feature_importance(x, y, **options)


def test_attribution_needs_samples() -> None:
    with pytest.raises(ValueError, match=r"x of shape \(1, 3\) must hold 2 or more samples"):
        QKAN([3, 2], reps=1).attribute(X[:1])
