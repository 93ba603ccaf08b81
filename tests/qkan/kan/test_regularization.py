"""Edge activity and its L1 and entropy: closed forms, every gradient, and what they do to a network."""

import math

import pytest
import torch

from qkan import QKAN, QKANLayer
from qkan.kan.importance import edge_activity


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear_net(slopes: list[list[float]], **options) -> QKAN:
    """A network of one layer whose edges are slope * x plus the constant of an idle circuit."""
    net = QKAN([len(slopes[0]), len(slopes)], reps=1, base_activation="identity", dtype=torch.float64, **options)
    layer = net.layers[0]
    with torch.no_grad():
        layer.theta.zero_()
        layer.base_weight.copy_(torch.tensor(slopes))
    return net


def edge_spread(layer: QKANLayer, x: torch.Tensor) -> torch.Tensor:
    """The definition, edge by edge and sample by sample."""
    result = torch.zeros(layer.out_features, layer.in_features, dtype=x.dtype)
    for o in range(layer.out_features):
        for i in range(layer.in_features):
            values = [layer.edge_outputs(sample)[o, i].item() for sample in x.reshape(-1, x.shape[-1])]
            mean = sum(values) / len(values)
            result[o, i] = sum(abs(value - mean) for value in values) / len(values)
    return result


def test_activity_is_the_mean_deviation_of_every_edge_and_no_constant() -> None:
    layer = QKANLayer(3, 2, reps=2, postact_bias_trainable=True, dtype=torch.float64, generator=generator())
    x = torch.randn(2, 4, 3, generator=generator(1), dtype=torch.float64)
    activity = edge_activity(layer, x)
    assert activity.shape == (2, 3)
    torch.testing.assert_close(activity, edge_spread(layer, x), rtol=1e-12, atol=1e-14)
    with torch.no_grad():
        layer.postact_bias.add_(100.0)
    torch.testing.assert_close(edge_activity(layer, x), activity, rtol=0, atol=1e-12)
    assert edge_activity(layer, x[0, 0]).eq(0).all()
    with pytest.raises(ValueError, match=r"x of shape \(0, 3\) holds no samples"):
        edge_activity(layer, x[0, :0])


def test_l1_and_entropy_of_known_edges() -> None:
    net = linear_net([[3.0, 0.0], [0.5, -0.5]])
    x = torch.tensor([[-1.0, 2.0], [1.0, -2.0]], dtype=torch.float64)  # mean |x - mean| is 1 and 2
    activity = torch.tensor([[3.0, 0.0], [0.5, 1.0]], dtype=torch.float64)
    constants = net.layers[0].edge_outputs(x) - x.unsqueeze(1) * net.layers[0].base_weight
    assert constants.std(0).max() < 1e-12
    torch.testing.assert_close(edge_activity(net.layers[0], x), activity, rtol=0, atol=1e-12)
    assert net.regularization(x, l1=2.0).item() == pytest.approx(2 * 4.5, rel=1e-12)
    shares = [3 / 4.5, 0.5 / 4.5, 1 / 4.5]
    expected = -sum(share * math.log(share) for share in shares)
    assert net.regularization(x, entropy=1.0).item() == pytest.approx(expected, abs=1e-9)
    assert net.regularization(x).item() == 0


def test_layers_add_up_and_each_sees_the_outputs_of_the_one_before() -> None:
    net = QKAN([3, 4, 2], reps=2, dtype=torch.float64, generator=generator())
    x = torch.randn(7, 3, generator=generator(1), dtype=torch.float64)
    expected = 0.0
    for layer, values in zip(net.layers, (x, net.layers[0](x)), strict=True):
        activity = edge_spread(layer, values).flatten()
        share = activity / activity.sum()
        expected += 0.3 * activity.sum() - 0.7 * (share * share.log()).sum()
    assert net.regularization(x, l1=0.3, entropy=0.7).item() == pytest.approx(expected.item(), rel=1e-10)


@pytest.mark.parametrize(
    "options",
    [
        {"ansatz": "pz", "preact_trainable": True, "postact_weight_trainable": True, "postact_bias_trainable": True},
        {"ansatz": "real", "group": "input", "postact_weight_trainable": True, "base_activation": "tanh"},
        {"ansatz": "pz", "readout": "amplitude", "base_activation": None},
    ],
    ids=["everything", "group", "amplitude"],
)
def test_gradient_of_every_parameter_against_differences(options: dict) -> None:
    net = QKAN([2, 2, 1], reps=2, dtype=torch.float64, generator=generator(), backend="bloch", **options)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator(5), dtype=torch.float64))
    x = torch.randn(5, 2, generator=generator(1), dtype=torch.float64)

    def value() -> torch.Tensor:
        return net.regularization(x, l1=0.8, entropy=0.6)

    names, parameters = zip(*net.named_parameters(), strict=True)
    gradients = torch.autograd.grad(value(), parameters, materialize_grads=True)
    checked, step = 0, 1e-6
    for name, parameter, gradient in zip(names, parameters, gradients, strict=True):
        flat = parameter.detach().view(-1)
        for index in range(flat.numel()):
            with torch.no_grad():
                flat[index] += step
                above = value()
                flat[index] -= 2 * step
                below = value()
                flat[index] += step
            assert gradient.reshape(-1)[index].item() == pytest.approx(
                ((above - below) / (2 * step)).item(), abs=2e-8, rel=1e-6
            ), (name, index)
            checked += 1
    assert checked == sum(parameter.numel() for parameter in net.parameters())
    # Of the first layer, too, though its own activity is not all: the second one sees its outputs.
    assert all(gradient.abs().max() > 1e-4 for name, gradient in zip(names, gradients, strict=True) if "theta" in name)


def test_idle_edges_and_idle_networks_have_finite_gradients() -> None:
    net = linear_net([[3.0, 0.0], [0.0, 0.0]], backend="bloch")
    x = torch.tensor([[-1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)  # what does not vary activates nothing
    for slopes in ([[3.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]):
        with torch.no_grad():
            net.layers[0].base_weight.copy_(torch.tensor(slopes))
        net.zero_grad()
        value = net.regularization(x, l1=1.0, entropy=1.0)
        value.backward()
        assert value.item() == pytest.approx(slopes[0][0], abs=1e-9)
        assert all(torch.isfinite(parameter.grad).all() for parameter in net.parameters())


def test_regularization_drives_the_activity_of_an_irrelevant_input_towards_zero() -> None:
    x = 2 * torch.rand(80, 2, generator=generator()) - 1
    y = torch.sin(2 * x[:, :1])
    activity = {}
    for weight in (0.0, 0.02):
        net = QKAN([2, 3, 1], reps=2, generator=generator(3))
        net.fit(x, y, optimizer="adam", steps=150, lr=0.05, l1=weight, entropy=weight)
        activity[weight] = edge_activity(net.layers[0], x).sum(0)
        assert (net(x) - y).square().mean() < 0.05 * y.var()
    relevant, irrelevant = activity[0.02]
    assert irrelevant < 0.02 * relevant
    assert irrelevant < 0.1 * activity[0.0][1]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"l1": -1.0}, ValueError, "l1 -1.0 must be a finite number of 0 or more"),
        ({"entropy": math.nan}, ValueError, "entropy nan must be a finite number of 0 or more"),
        ({"l1": True}, TypeError, "l1 must be a number, got bool"),
    ],
)
def test_bad_weights(options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        QKAN([2, 1], reps=1).regularization(torch.zeros(3, 2), **options)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs an input of shape \(\.\.\., 2\), got \(3, 4\)"):
        QKAN([2, 1], reps=1).regularization(torch.zeros(3, 4), l1=1.0)
