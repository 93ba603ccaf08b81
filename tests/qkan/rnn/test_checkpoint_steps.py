"""What ``checkpoint_steps`` walks a second time must be what it walked the first time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from qkan import HQKANLSTM, QKANGRU, QKANLSTM, QLSTM

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


def test_a_mask_that_was_changed_is_an_error() -> None:
    torch.manual_seed(0)
    module = QKANLSTM(3, 4, checkpoint_steps=2)
    layer = module.directions[0].gates.hidden
    layer.prune(torch.zeros(16, 4, dtype=torch.bool).index_fill(0, torch.tensor([1]), True))
    output, _ = module(torch.randn(6, 2, 3))
    layer.edge_mask.logical_not_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()
