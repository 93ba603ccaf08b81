"""QKAN, JHCG Net and HQKAN."""

import math

import pytest
import torch
from torch import nn

from qkan import GRKAN, HQKAN, QKAN, JHCGNet, QKANLayer
from qkan.kan.jhcg import LATENTS, default_latent_features


def test_qkan_is_its_layers_in_turn() -> None:
    net = QKAN([3, 5, 2], reps=2, preact_trainable=True)
    x = torch.randn(4, 3)
    assert torch.equal(net(x), net.layers[1](net.layers[0](x)))
    assert net(torch.randn(2, 4, 3)).shape == (2, 4, 2)


def test_one_generator_starts_equal_shaped_layers_differently() -> None:
    net = QKAN([4, 4, 4], generator=torch.Generator().manual_seed(0))
    assert not torch.equal(net.layers[0].theta, net.layers[1].theta)


def test_qkan_learns_a_function() -> None:
    make = torch.Generator().manual_seed(0)
    net = QKAN([2, 3, 1], reps=2, generator=make)
    x = 2 * torch.rand(256, 2, generator=make) - 1
    y = torch.exp(torch.sin(math.pi * x[:, :1]) + x[:, 1:] ** 2)
    optimizer = torch.optim.Adam(net.parameters(), 2e-2)
    for _ in range(300):
        optimizer.zero_grad()
        loss = (net(x) - y).square().mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.03 * y.var().item()


@pytest.mark.parametrize("width", [[], [3]])
def test_qkan_needs_two_sizes(width: list[int]) -> None:
    with pytest.raises(ValueError, match="needs an input and an output size"):
        QKAN(width)


def test_qkan_is_made_of_sizes_or_layers() -> None:
    with pytest.raises(TypeError, match=r"width must be a sequence of sizes such as \[2, 5, 1\], got 3"):
        QKAN(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="layers must be QKANLayers, got Linear"):
        QKAN.from_layers([torch.nn.Linear(2, 1)])  # type: ignore[list-item]


def test_qkan_refuses_misspelt_options() -> None:
    with pytest.raises(TypeError, match="rep"):
        QKAN([2, 2], rep=3)


@pytest.mark.parametrize(("features", "latent"), [(1, 1), (2, 1), (3, 2), (768, 10), (1024, 10)])
def test_default_latent_width(features: int, latent: int) -> None:
    assert default_latent_features(features) == latent
    assert JHCGNet(features, 2).latent_features == latent


def test_jhcg_net_is_encoder_latent_decoder() -> None:
    net = JHCGNet(6, 3, latent_features=2, reps=2)
    x = torch.randn(2, 5, 6)
    assert isinstance(net.latent, QKAN)
    assert isinstance(net.latent.layers[0], QKANLayer)
    assert net.latent.layers[0].base_weight is None
    torch.testing.assert_close(net(x), net.decoder(net.latent(net.encoder(x))), rtol=0, atol=0)


def test_linear_latent_is_a_low_rank_map() -> None:
    net = JHCGNet(6, 5, latent_features=2, latent="linear", bias=False, dtype=torch.float64)
    x = torch.randn(7, 6, dtype=torch.float64)
    torch.testing.assert_close(net(x), x @ net.encoder.weight.t() @ net.decoder.weight.t(), rtol=0, atol=1e-14)
    assert sum(p.numel() for p in net.parameters()) == 6 * 2 + 2 * 5


def test_other_latents() -> None:
    assert isinstance(JHCGNet(4, 4, latent="tanh").latent, nn.Tanh)
    own = JHCGNet(4, 4, latent_features=3, latent=lambda width: nn.Linear(width, width))
    assert own.latent.weight.shape == (3, 3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"latent": "splines"}, ValueError, "unknown latent 'splines'; use one of qkan, gr-kan, fourier, rff, spline"),
        ({"latent": "linear", "reps": 2}, ValueError, "latent 'linear' has no circuit, so it cannot take reps"),
        ({"latent": "gr-kan", "ansatz": "pz"}, ValueError, "latent 'gr-kan' has no circuit, so it cannot take ansatz"),
        ({"latent": 3}, TypeError, "latent must be one of qkan, gr-kan, fourier, .* or a callable, got int"),
        ({"latent": nn.Tanh()}, TypeError, "or a callable, got Tanh; give a function of the width"),
        ({"latent_features": 0}, ValueError, "latent_features 0"),
        ({"rep": 2}, TypeError, "rep"),
    ],
)
def test_what_jhcg_net_refuses(options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        JHCGNet(4, 3, **options)


def test_hqkan_stands_where_an_mlp_stands() -> None:
    block = HQKAN(16, reps=2)
    assert block.latent_features == 4
    assert block(torch.randn(2, 7, 16)).shape == (2, 7, 16)
    assert HQKAN(16, 3, 5)(torch.randn(2, 16)).shape == (2, 5)


def test_hqkan_takes_the_arguments_of_an_mlp_in_order() -> None:
    block = HQKAN(8, 3, 5, nn.GELU, nn.LayerNorm, False, 0.1)
    x = torch.randn(4, 8)
    assert (block.encoder.bias, block.decoder.bias, block.drop.p) == (None, None, 0.1)
    block.eval()
    want = block.decoder(nn.functional.layer_norm(block.latent(block.encoder(x)), (3,)))
    torch.testing.assert_close(block(x), want, rtol=0, atol=1e-6)


@pytest.mark.parametrize("latent", LATENTS)
def test_nets_are_drawn_afresh_from_a_generator_alone(latent: str) -> None:
    net = JHCGNet(6, 5, latent_features=4, latent=latent, generator=torch.Generator().manual_seed(3))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(9.0)
    global_state = torch.get_rng_state()
    net.reset_parameters(torch.Generator().manual_seed(3))
    assert torch.equal(torch.get_rng_state(), global_state)
    for name, tensor in net.state_dict().items():
        if latent == "qkan" and "latent" not in name:
            continue  # drawn behind the circuits when built
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize(("width", "groups"), [(1, 1), (2, 2), (7, 7), (9, 3), (11, 1), (12, 6), (16, 8), (20, 5)])
def test_gr_kan_latents_have_as_many_groups_as_divide_their_width(width: int, groups: int) -> None:
    latent = JHCGNet(4, 4, latent_features=width, latent="gr-kan").latent
    assert isinstance(latent, GRKAN)
    assert (latent.act1.num_groups, latent.act2.num_groups) == (groups, groups)
    assert (latent.act1.init, latent.act2.init) == ("identity", "silu")


def test_gr_kan_latent_is_drawn_anew_with_its_own_rule() -> None:
    net = JHCGNet(4, 4, latent_features=64, latent="gr-kan")
    net.reset_parameters()
    assert net.latent.fc1.weight.std().item() == pytest.approx(1 / 8, rel=0.05)  # nn.Linear: 1 / (8 sqrt 3)
    assert net.latent.fc1.bias.abs().max() == 0


def test_hqkan_drops_in_training_only() -> None:
    block = HQKAN(8, 4, drop=0.5)
    x = torch.randn(64, 8)
    assert (block(x) == 0).float().mean().item() == pytest.approx(0.5, abs=0.1)
    block.eval()
    assert torch.equal(block(x), block(x))
    with pytest.raises(ValueError, match="dropout probability"):
        HQKAN(8, drop=1.5)
