"""What networks of free edges do at the edges of what they hold: no data, half precision, most intervals."""

import copy
import re

import pytest
import torch

from qkan import KAN, KANLayer, KANMixture, SplineLayer
from qkan.interop import load_efficient_kan


@pytest.mark.parametrize("x", [torch.empty(0, 2), torch.tensor([[0.1, 0.2], [float("nan"), 0.3]])], ids=["none", "nan"])
def test_means_that_are_not_finite_remove_nothing(x) -> None:
    net = KAN([2, 1])
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(ValueError, match=r"NaN or infinity over x of shape .* \(nothing was removed\)"):
        net.prune_edges([(0, 0, 0)], x)
    assert before.keys() == net.state_dict().keys()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_data_to_extend_to_are_finite_tensors_and_pruned_inputs_are_not_read() -> None:
    net = KAN([2, 1], "bspline", terms=8)
    x = torch.tensor([[0.1, 3.0], [float("inf"), -2.0]])
    with pytest.raises(ValueError, match="NaN or infinite"):
        net.extend(x)
    with pytest.raises(TypeError, match=r"torch\.Tensor, got list"):
        net.extend(x.tolist())
    net.prune_inputs([0])
    net.extend(x)
    assert net.layers[0].radius >= 3.0


def test_grids_of_splines_end_at_512_intervals() -> None:
    layer = SplineLayer(1, 1, 200)
    with pytest.raises(ValueError, match=r"^203 splines of order 3 refine to 409 without"):
        layer.refine(615)
    with pytest.raises(ValueError, match="a grid has 512 intervals at most"):
        SplineLayer(1, 1, 300).refine(603)
    coarse = SplineLayer(1, 1, 64, dtype=torch.bfloat16)
    with pytest.raises(ValueError, match="must be finite and grow"):  # bfloat16 has no such places
        coarse.refine(487)
    with pytest.raises(TypeError, match="got list"):
        SplineLayer(1, 1, 1, order=1, knots=[[-1.0, 0.0, 1.0, 2.0]])


def test_splines_on_near_knots_are_finite_in_half_precision() -> None:
    knots = torch.tensor([[-0.002, -0.001, 0.0, 0.001, 0.5, 1.0, 1.001, 1.002]])
    layer = SplineLayer(1, 2, 3, order=2, knots=knots)
    x = torch.tensor([[100.0], [0.0005], [0.7]])
    exact = layer(x)
    half = copy.deepcopy(layer).half()
    assert torch.allclose(half(x.half()).float(), exact, atol=2e-2, rtol=2e-2)
    assert bool(half(x.half()).isfinite().all())
    closed = SplineLayer(1, 1, 512).bfloat16()  # knots that are equal now
    assert bool(closed(torch.linspace(-1, 1, 9, dtype=torch.bfloat16).unsqueeze(1)).isfinite().all())


def test_networks_of_splines_with_own_knots_refine_together() -> None:
    net = KAN.from_layers([SplineLayer(2, 3, 5), SplineLayer(3, 1, 10)]).double()
    x = 2 * torch.rand(9, 2, dtype=torch.float64) - 1
    before = net(x)
    net.refine(19)  # 2 (8 + 3) - 3, and 2 (13 + 3) - 3 in the other layer
    assert [len(layer.coefficients) for layer in net.layers] == [19, 29]
    assert torch.allclose(net(x), before, atol=1e-12)


def test_a_grid_without_room_says_so() -> None:
    with pytest.raises(ValueError, match=r"there can be 512 terms at most$"):
        KANLayer(1, 1, terms=300).refine(400)
    with pytest.raises(ValueError, match="build a layer with fewer of them"):
        KANLayer(1, 1, terms=511).extend(1.5)
    with pytest.raises(ValueError, match="of which there can be 512"):
        KANLayer(1, 1).extend(1e308)


def test_other_coefficients_have_the_shape_of_the_own() -> None:
    layer = KANLayer(3, 2)
    wrong = torch.ones(8, 5, 2)
    with pytest.raises(
        ValueError, match=re.escape(f"the layer takes (terms, in, out) = {tuple(layer.coefficients.shape)}")
    ):
        layer.sum_with(torch.rand(4, 3), wrong)


def test_a_mixture_is_pruned_with_its_masks_and_draws_nothing() -> None:
    torch.manual_seed(0)
    mixture = KANMixture(3, 2, ("bspline", "fourier"), terms=6)
    with torch.no_grad():
        mixture.logits[:, 0] = 200.0
    mixture.layers[0].prune(torch.tensor([[True, False, False], [False, False, False]]))
    mixture.layers[0].coefficients.requires_grad_(False)
    x = torch.rand(4, 3)
    state = torch.get_rng_state()
    plain = mixture.prune()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.allclose(plain(x), mixture(x), atol=1e-6)
    assert not plain.coefficients.requires_grad
    mixture.entropy().backward()
    assert bool(mixture.logits.grad.isfinite().all())


def test_a_model_with_more_functions_than_a_kan_layer_has_is_read() -> None:
    generator, order, size = torch.Generator().manual_seed(0), 3, 512
    grid = (torch.arange(-order, size + order + 1) * (2 / size) - 1).expand(2, -1).contiguous()
    state = {
        "layers.0.base_weight": torch.rand(1, 2, generator=generator),
        "layers.0.spline_weight": torch.rand(1, 2, size + order, generator=generator),
        "layers.0.spline_scaler": torch.rand(1, 2, generator=generator),
        "layers.0.grid": grid,
    }
    net = load_efficient_kan(state)
    assert isinstance(net.layers[0], SplineLayer)
    assert bool(net(torch.rand(5, 2)).isfinite().all())
