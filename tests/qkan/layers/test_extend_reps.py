"""Layer extension: more repetitions, the same function, for every ansatz that allows it."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from qkan import QKAN, Ansatz, QKANLayer
from qkan.layers.extend_reps import extension

ANSATZE: dict[str, Any] = {name: name for name in ("pz", "rpz", "px", "mix")} | {
    "other axes": Ansatz("own", ("ry", "rz"), "rx", ("ry", "rz"), initial=(0.0, 0.0, 1.0)),
    "three angles": Ansatz("zyz", ("rz", "ry", "rz"), "rx", ("rz", "ry", "rz")),
    "no final gates": Ansatz("nofinal", ("rx", "ry"), "rz"),
    "Pauli gates": Ansatz("pauli", ("rz", "x", "ry"), "rz", ("z", "rz", "ry")),
    "fixed final gates": Ansatz("fixed", ("rx", "rz"), "rz", ("x",)),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "trained": {"preact_trainable": True, "postact_weight_trainable": True, "postact_bias_trainable": True},
    "per input": {"preact_trainable": "input", "base_activation": None},
    "group": {"group": 2, "preact_trainable": True, "postact_weight_trainable": True},
    "amplitude": {"readout": "amplitude"},
}


def random_layer(reps: int = 2, dtype: torch.dtype = torch.float64, **options: Any) -> QKANLayer:
    generator = torch.Generator().manual_seed(3)
    layer = QKANLayer(3, 2, reps, dtype=dtype, generator=generator, **options)
    with torch.no_grad():
        layer.theta.copy_(torch.randn(layer.theta.shape, generator=generator))
        for parameter in (layer.preact_weight, layer.preact_bias):
            if parameter is not None:
                parameter.mul_(0.9).add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return layer


def inputs(dtype: torch.dtype = torch.float64) -> Tensor:
    return (torch.linspace(-0.8, 0.8, 15, dtype=dtype)).reshape(5, 3)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("ansatz", ANSATZE)
def test_more_repetitions_are_the_same_function(ansatz: str, options: str) -> None:
    layer = random_layer(ansatz=ANSATZE[ansatz], **OPTIONS[options])
    before, names = layer(inputs()), [name for name, _ in layer.named_parameters()]
    for reps in (3, 7):
        assert layer.refine(reps) is layer
        assert layer.reps == reps
        torch.testing.assert_close(layer(inputs()), before, rtol=0, atol=1e-12)
    assert [name for name, _ in layer.named_parameters()] == names
    assert layer.theta.shape[-2] == layer.ansatz.rows(7)
    assert (layer.theta.dtype, layer.theta.grad) == (torch.float64, None)


@pytest.mark.parametrize("ansatz", ["pz", "rpz", "px", "mix", "real"])
def test_added_angles_learn(ansatz: str) -> None:
    layer = random_layer(ansatz=ansatz, preact_trainable=True)
    old = layer.theta.detach().flatten().tolist()
    layer.refine(3)
    # A target that the layer cannot reach, so that no gradient is 0 by chance.
    grads = torch.autograd.grad(
        (layer(inputs()) * torch.arange(10.0).reshape(5, 2).sin()).sum(), list(layer.parameters())
    )
    added = layer.theta.numel() - len(old)
    assert (grads[0].abs() > 1e-6).sum() >= (added if ansatz != "px" else added // 2)
    for name, grad in zip(dict(layer.named_parameters()), grads, strict=True):
        assert grad.isfinite().all(), name


def test_real_needs_trained_weights() -> None:
    layer = random_layer(ansatz="real", preact_trainable=True)
    before = layer(inputs())
    layer.refine(5)
    torch.testing.assert_close(layer(inputs()), before, rtol=0, atol=1e-12)
    assert layer.preact_weight is not None
    assert (layer.preact_weight[..., 2:] == 0).all()
    with pytest.raises(ValueError, match=r"ansatz 'real' cannot be refined here: an added encoding ry\(x\) changes"):
        random_layer(ansatz="real").refine(3)


def test_an_ansatz_without_any_way_says_so_even_with_trained_weights() -> None:
    stuck = Ansatz("stuck", ("rz", "x"), "rx", initial=(0.6, 0.48, 0.64))
    with pytest.raises(ValueError, match=r"preact_trainable=True"):
        extension(stuck, False)
    with pytest.raises(ValueError, match=r"not even with w = 0, since no multiples of pi/2 undo its block \(rz, x\)"):
        extension(stuck, True)


@pytest.mark.parametrize("ansatz", ["pz", "rpz", "px", "mix", "real"])
def test_the_loss_never_rises_at_extension(ansatz: str) -> None:
    """R from 1 to 20 in steps, single precision, training between them."""
    torch.manual_seed(0)
    model = QKAN([2, 2, 1], reps=1, ansatz=ansatz, preact_trainable=ansatz == "real")
    x = torch.rand(40, 2) * 0.9 - 0.45
    if ansatz == "px":  # hidden values must stay in [-1, 1]
        model = QKAN([2, 1], reps=1, ansatz=ansatz)
    y = (3 * x[:, :1]).sin() * x[:, 1:] + x[:, :1].exp()

    def loss() -> Tensor:
        return (model(x) - y).square().mean()

    first = loss().item()
    for reps in (1, 2, 3, 5, 8, 13, 20):
        if reps > 1:
            before, outputs = loss().item(), model(x).detach()
            model.refine(reps)
            torch.testing.assert_close(model(x), outputs, rtol=0, atol=2e-6)
            assert loss().item() <= before + 1e-6
        optimizer = torch.optim.Adam(model.parameters(), 0.02)
        for _ in range(4):
            optimizer.zero_grad()
            value = loss()
            value.backward()
            optimizer.step()
    assert loss().item() < first
    assert all(layer.reps == 20 for layer in model.layers)


def test_a_frozen_parameter_stays_frozen_and_others_stay_themselves() -> None:
    layer = random_layer(postact_weight_trainable=True, ansatz="rpz")
    layer.theta.requires_grad_(False)
    layer.prune([(0, 1)])
    kept, base, mask = layer.postact_weight, layer.base_weight, layer.edge_mask
    layer.refine(4)
    assert not layer.theta.requires_grad
    assert layer.preact_bias is not None
    assert layer.preact_bias.requires_grad
    assert layer.postact_weight is kept
    assert layer.base_weight is base
    assert layer.edge_mask is mask


def test_a_network_is_refined_as_a_whole_or_not_at_all() -> None:
    model = QKAN.from_layers([random_layer(2), QKANLayer(2, 1, 4, dtype=torch.float64)])
    before = model(inputs())
    model.refine(4)
    assert [layer.reps for layer in model.layers] == [4, 4]
    torch.testing.assert_close(model(inputs()), before, rtol=0, atol=1e-12)
    mixed = QKAN.from_layers([random_layer(2), QKANLayer(2, 1, 2, ansatz="real")])
    with pytest.raises(ValueError, match="ansatz 'real' cannot be refined"):
        mixed.refine(3)
    assert [layer.reps for layer in mixed.layers] == [2, 2]


@pytest.mark.parametrize(
    ("reps", "error", "message"),
    [
        (2, ValueError, r"reps 2 must be more than 2, what the layer has: refining only adds repetitions"),
        (1, ValueError, r"reps 1 must be more than 2"),
        (1025, ValueError, r"reps 1025 is outside \[1, 1024\]"),
        (2.5, TypeError, r"reps must be an int, got float"),
    ],
)
def test_bad_repetitions(reps: Any, error: type[Exception], message: str) -> None:
    layer = random_layer(2)
    with pytest.raises(error, match=message):
        layer.refine(reps)
    assert layer.reps == 2


def test_mix_turns_by_a_quarter_and_back() -> None:
    way = extension(QKANLayer(1, 1, ansatz="mix").ansatz, False)
    assert (way.at_start, way.weight) == (False, 1.0)
    assert way.row == (0.0, math.pi / 2)
    assert way.shift == (0.0, -math.pi / 2)
