"""A loop over all modules that resets each, as behind the meta device and FSDP, gives the documented start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qkan import GRKAN, HQKAN, HQKANLSTM, QKAN, QKANFWP, QKANGRU, QKANLSTM, QLSTM, JHCGNet, QKANLSTMCell

MAKERS: dict[str, Callable[..., nn.Module]] = {
    "lstm": lambda **factory: QKANLSTM(2, 25, 2, bidirectional=True, proj_size=3, **factory),
    "trained": lambda **factory: QKANLSTM(
        2, 25, preact_trainable=True, base_activation="silu", postact_weight_trainable=True, **factory
    ),
    "gru": lambda **factory: QKANGRU(2, 25, **factory),
    "hqkan": lambda **factory: HQKANLSTM(2, 25, latent_features=4, **factory),
    "gr-kan latent": lambda **factory: HQKANLSTM(2, 25, latent="gr-kan", latent_features=8, **factory),
    "qlstm": lambda **factory: QLSTM(2, 25, qubits=2, **factory),
    "fwp": lambda **factory: QKANFWP(2, 25, 2, gate="output", **factory),
    "fwp hqkan": lambda **factory: QKANFWP(2, 25, slow="hqkan", **factory),
    "cell": lambda **factory: QKANLSTMCell(2, 25, **factory),
    "gr-kan": lambda **factory: GRKAN(16, norm_layer=nn.LayerNorm, **factory),
    "convolution": lambda **factory: GRKAN(16, use_conv=True, **factory),
    "jhcg": lambda **factory: JHCGNet(8, 3, latent="gr-kan", latent_features=8, **factory),
    "hqkan block": lambda **factory: HQKAN(16, **factory),
    "network": lambda **factory: QKAN([4, 8, 2], **factory),
}


def draws(module: nn.Module, reset: Callable[[nn.Module], None]) -> dict[str, Tensor]:
    """Values of all parameters behind forty resets, sorted."""
    torch.manual_seed(0)
    found: dict[str, list[Tensor]] = {}
    for _ in range(40):
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.fill_(99.0)
        reset(module)
        for name, parameter in module.named_parameters():
            found.setdefault(name, []).append(parameter.detach().flatten().clone())
    return {name: torch.cat(values).sort().values for name, values in found.items()}


def downwards(module: nn.Module) -> None:
    for part in module.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()


def upwards(module: nn.Module) -> None:
    for part in reversed(list(module.modules())):
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()


@pytest.mark.parametrize("order", [downwards, upwards])
@pytest.mark.parametrize("name", MAKERS)
def test_every_order_of_resets_gives_the_same_distribution(name: str, order: Callable[[nn.Module], None]) -> None:
    def own(module: nn.Module) -> None:
        module.reset_parameters() if hasattr(module, "reset_parameters") else downwards(module)

    module = MAKERS[name]()
    expected, found = draws(module, own), draws(module, order)
    for key, values in expected.items():
        scale = values.abs().max().clamp(min=1e-6)
        # The largest distance of distribution functions (Kolmogorov, Smirnov), at a level far beyond chance.
        limit = 2.6 * (2 / len(values)) ** 0.5
        grid = torch.linspace(-1.2, 1.2, 97) * scale
        distance = (torch.searchsorted(values, grid) - torch.searchsorted(found[key], grid)).abs().max() / len(values)
        assert distance < limit, (key, distance, limit)
        assert found[key].abs().max() <= 1.6 * scale, key


def test_bounds_of_inner_modules_are_those_of_the_recurrence() -> None:
    """The slopes of nn.LSTM, 1 / sqrt(hidden size), not those of a layer or a linear map of that many inputs."""
    module = HQKANLSTM(2, 100, latent_features=4)
    gates: Any = module.directions[0].gates
    for encoder in (gates.input_encoder, gates.hidden_encoder):
        encoder.reset_parameters()
        largest = max(float(parameter.detach().abs().max()) for parameter in encoder.parameters())
        assert 0.05 < largest <= 0.1
    gates.decoder.reset_parameters()
    assert 0.4 < gates.decoder.weight.abs().max() <= 0.5
    assert gates.decoder.bias.tolist() == [0.0] * 100 + [1.0] * 100 + [0.0] * 200


@pytest.mark.parametrize("name", MAKERS)
def test_modules_of_the_meta_device_are_given_values(name: str) -> None:
    shape = {"convolution": (2, 16, 3, 3), "jhcg": (5, 8), "network": (5, 4)}.get(name)
    shape = shape or ((5, 16) if name in ("gr-kan", "hqkan block") else (5, 2) if name == "cell" else (4, 5, 2))
    for context in (False, True):
        if context:
            with torch.device("meta"):
                module = MAKERS[name]()
        else:
            module = MAKERS[name](device="meta")
        module.to_empty(device="cpu")
        downwards(module)
        y = module(torch.rand(shape))
        assert torch.isfinite(y if isinstance(y, Tensor) else y[0]).all()
