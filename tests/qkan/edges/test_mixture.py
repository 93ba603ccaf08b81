"""KANMixture: its formula, what it leaves when it is pruned, and what it refuses."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor

from qkan import KANLayer, KANMixture

F64 = torch.float64


def mixture(**options: Any) -> KANMixture:
    torch.manual_seed(0)
    layer = KANMixture(5, 3, ("bspline", "fourier", "rbf"), terms=6, dtype=F64, **options)
    with torch.no_grad():
        layer.logits.normal_()
        if layer.bias is not None:
            layer.bias.normal_()
    return layer


def x(*shape: int) -> Tensor:
    return 2 * torch.rand(*shape, dtype=F64, generator=torch.Generator().manual_seed(1)) - 1


def test_it_is_its_formula_with_every_gradient() -> None:
    layer, inputs = mixture(), x(4, 7, 5).requires_grad_()
    weights = torch.exp(layer.logits) / torch.exp(layer.logits).sum(1, keepdim=True)
    parts = [edges.edge_outputs(inputs) * weights[:, f] for f, edges in enumerate(layer.layers)]
    naive, y = sum(parts).sum(-1) + layer.bias, layer(inputs)
    torch.testing.assert_close(y, naive, rtol=0, atol=1e-12)
    torch.testing.assert_close(layer.edge_outputs(inputs).sum(-1) + layer.bias, y, rtol=0, atol=1e-12)
    tensors = (inputs, *layer.parameters())
    found, truth = (torch.autograd.grad(out.square().sum(), tensors) for out in (y, naive))
    for own, other in zip(found, truth, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-11, atol=1e-11)
    small = x(2, 5).requires_grad_()
    assert torch.autograd.gradcheck(layer, (small,))
    assert torch.autograd.gradgradcheck(layer, (small,))


def test_families_weigh_alike_at_first_and_reset_to_that() -> None:
    layer = mixture()
    assert layer.weights().sum(1).tolist() == pytest.approx([1.0] * 5)
    layer.reset_parameters(torch.Generator().manual_seed(3))
    assert layer.weights().flatten().tolist() == pytest.approx([1 / 3] * 15)
    assert float(layer.entropy()) == pytest.approx(1.0)
    assert layer.bias.count_nonzero() == 0


@pytest.mark.parametrize("bias", [True, False])
def test_a_unanimous_choice_is_left_as_a_plain_layer_of_the_same_function(bias: bool) -> None:
    layer = mixture(bias=bias)
    with torch.no_grad():
        layer.logits.zero_()[:, 1] = 60.0
    before = copy.deepcopy(layer.state_dict())
    assert float(layer.entropy()) < 1e-12
    for per_node in (False, True):
        plain = layer.prune(per_node=per_node)
        assert type(plain) is KANLayer
        assert (plain.basis, plain.terms) == ("fourier", 6)
        torch.testing.assert_close(plain(x(9, 5)), layer(x(9, 5)), rtol=0, atol=1e-13)
    torch.testing.assert_close(layer.state_dict(), before, rtol=0, atol=0)


def test_nodes_keep_their_own_winners() -> None:
    layer, choice = mixture(), torch.tensor([0, 2, 2, 0, 2])
    with torch.no_grad():
        layer.logits.copy_(60.0 * torch.nn.functional.one_hot(choice, 3))
    assert layer.winners() == ["bspline", "rbf", "rbf", "bspline", "rbf"]
    kept = layer.prune(per_node=True)
    assert isinstance(kept, KANMixture)
    assert (kept.families, kept.winners()) == (("bspline", "rbf"), layer.winners())
    assert [part.in_features for part in kept.layers] == [2, 3]
    assert sum(p.numel() for p in kept.parameters()) == 6 * 5 * 3 + 3
    torch.testing.assert_close(kept(x(9, 5)), layer(x(9, 5)), rtol=0, atol=1e-13)
    torch.testing.assert_close(kept.edge_outputs(x(9, 5)), layer.edge_outputs(x(9, 5)), rtol=0, atol=1e-13)
    assert kept.prune() is kept
    assert float(kept.entropy()) == 0.0
    file = io.BytesIO()
    torch.save(kept.state_dict(), file)
    file.seek(0)
    again = layer.prune(per_node=True)
    again.load_state_dict(torch.load(file))
    torch.testing.assert_close(again(x(9, 5)), kept(x(9, 5)), rtol=0, atol=0)


def test_training_with_the_entropy_finds_the_family_of_the_data() -> None:
    torch.manual_seed(0)
    inputs = 4 * torch.rand(256, 2, dtype=F64) - 2
    targets = (torch.sin(4 * inputs) + torch.cos(3 * inputs)).sum(1, keepdim=True)
    layer = KANMixture(2, 1, ("chebyshev", "fourier"), radius=2.0, dtype=F64)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        loss = (layer(inputs) - targets).square().mean() + 0.05 * layer.entropy()
        loss.backward()
        optimizer.step()
    plain = layer.prune()
    assert (plain.basis, layer.winners()) == ("fourier", ["fourier"] * 2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"families": "bspline"}, TypeError, r"families must be a sequence of names, got 'bspline'; use \('bspline'"),
        ({"families": (3, 4)}, TypeError, "families must be names, got int; use"),
        ({"families": ("rbf",)}, ValueError, r"families must be at least two, each once, got \('rbf',\); use KANLayer"),
        ({"families": ("rbf", "rbf")}, ValueError, "families must be at least two, each once"),
        ({"families": ("rbf", "rational")}, ValueError, "families cannot be 'rational', whose functions are trained"),
        ({"families": ("rbf", "wavelet")}, ValueError, "unknown basis 'wavelet'"),
        ({"families": ("rbf", "bspline"), "terms": (8, 8, 8)}, ValueError, "terms has 3 numbers for 2 families; give"),
        ({"families": ("rbf", "fourier"), "terms": 7}, ValueError, "'fourier' needs an even number of terms, got"),
    ],
)  # fmt: skip
def test_what_it_refuses(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        KANMixture(2, 2, **options)
