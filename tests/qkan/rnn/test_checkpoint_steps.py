"""What ``checkpoint_steps`` walks a second time must be what it walked the first time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from qkan import HQKANLSTM, QKANGRU, QKANLSTM, QLSTM, QKANLayer

MODULES = {"lstm": QKANLSTM, "hqkan": HQKANLSTM, "gru": QKANGRU, "qlstm": QLSTM}
CHUNKS = pytest.mark.parametrize("chunk", [None, 1, 3, 9])
EVERY = pytest.mark.parametrize("name", MODULES)


def walked(name: str, chunk: int | None) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """The module, its input, the initial h and the output."""
    torch.manual_seed(0)
    module = MODULES[name](3, 4, checkpoint_steps=chunk, dtype=torch.float64)
    x, h = torch.randn(9, 2, 3, dtype=torch.float64), torch.zeros(1, 2, 4, dtype=torch.float64)
    output, _ = module(x, h if name == "gru" else (h, torch.zeros_like(h)))
    return module, x, h, output


@CHUNKS
@EVERY
def test_an_initial_state_that_was_written_to_is_an_error(name: str, chunk: int | None) -> None:
    """As for nn.LSTM: gradients would be those of another state."""
    _, _, h, output = walked(name, chunk)
    h[:, 0] = 0.7
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.square().sum().backward()


@CHUNKS
@EVERY
def test_parameters_and_inputs_that_were_written_to_are_an_error(name: str, chunk: int | None) -> None:
    for which in range(len(list(MODULES[name](3, 4).parameters())) + 1):
        module, x, _, output = walked(name, chunk)
        with torch.no_grad():
            (x, *module.parameters())[which].mul_(1.1)
        if which == 0 or chunk in (1, 3):
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                output.square().sum().backward()


def test_two_walks_before_the_backward_pass() -> None:
    """The second one may start where the first one ended, after sequences have been reset."""
    torch.manual_seed(0)
    plain, saving = QKANLSTM(3, 4, dtype=torch.float64), QKANLSTM(3, 4, checkpoint_steps=2, dtype=torch.float64)
    saving.load_state_dict(plain.state_dict())
    x, found = torch.randn(5, 2, 3, dtype=torch.float64), []
    for module in (plain, saving):
        _, (h, c) = module(x)
        output, _ = module(x, (h * torch.tensor([[[0.0], [1.0]]]), c))
        found.append(torch.autograd.grad(output.square().sum(), list(module.parameters())))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


def replace_values(module: nn.Module) -> None:
    module.load_state_dict({name: 2 * value for name, value in module.state_dict().items()}, assign=True)


def replace_parameters(module: nn.Module) -> None:
    for part in module.modules():
        for name, parameter in list(part._parameters.items()):
            if parameter is not None:
                part._parameters[name] = nn.Parameter(2 * parameter.detach())


def prune(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, QKANLayer):
            part.prune([(0, 0), (1, 1)])


@pytest.mark.parametrize("change", [replace_values, replace_parameters, prune])
@EVERY
def test_other_parameters_are_not_those_of_the_first_walk(name: str, change: Callable[[nn.Module], None]) -> None:
    """Gradients are those of what ran, and the module keeps what it was given."""
    found = []
    for chunk in (None, 2):
        module, _, _, output = walked(name, chunk)
        parameters = list(module.parameters())
        change(module)
        state = {name: value.clone() for name, value in module.state_dict().items()}
        found.append(torch.autograd.grad(output.square().sum(), parameters))
        for name_, value in module.state_dict().items():
            assert torch.equal(value, state[name_])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("norm", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
def test_normalized_parameters_and_two_walks(norm: Callable[..., nn.Module]) -> None:
    found = []
    for chunk in (None, 2):
        torch.manual_seed(0)
        module = QKANLSTM(3, 4, checkpoint_steps=chunk, dtype=torch.float64)
        norm(module.directions[0].gates.hidden, "theta")
        x = torch.randn(9, 2, 3, dtype=torch.float64)
        output = module(x)[0] + module(x.flip(0))[0]
        found.append(torch.autograd.grad(output.square().sum(), list(module.parameters())))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_a_module_that_writes_while_it_walks_is_refused() -> None:
    """Its statistics would be counted twice, and the second walk would not be the first."""
    module = HQKANLSTM(3, 4, latent=nn.BatchNorm1d, latent_features=2, checkpoint_steps=2)
    with pytest.raises(
        RuntimeError, match=r"writes to 'gates.latent.num_batches_tracked' .*; use checkpoint_steps=None"
    ):
        module(torch.randn(6, 2, 3))
    module.eval()
    module(torch.randn(6, 2, 3))[0].sum().backward()


def test_a_mask_that_was_changed_is_an_error() -> None:
    torch.manual_seed(0)
    module = QKANLSTM(3, 4, checkpoint_steps=2)
    layer = module.directions[0].gates.hidden
    layer.prune(torch.zeros(16, 4, dtype=torch.bool).index_fill(0, torch.tensor([1]), True))
    output, _ = module(torch.randn(6, 2, 3))
    layer.edge_mask.logical_not_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()
