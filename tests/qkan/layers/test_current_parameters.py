"""A layer computes with the parameters of now, however they were written."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from qkan import QKANLayer


def through_data(layer: QKANLayer) -> None:
    layer.theta.data += 0.3


def through_data_of_one_number(layer: QKANLayer) -> None:
    layer.theta.data[0, 0, 0, 0] += 0.3


def by_an_optimizer(layer: QKANLayer) -> None:
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    layer(torch.rand(9, 3) - 0.5).square().sum().backward()
    optimizer.step()


def by_a_state(layer: QKANLayer) -> None:
    layer.load_state_dict({name: value + 0.3 for name, value in layer.state_dict().items()})


def by_numpy(layer: QKANLayer) -> None:
    layer.theta.detach().numpy()[...] *= 0.5


WRITERS: list[Callable[[QKANLayer], None]] = [
    through_data,
    through_data_of_one_number,
    by_an_optimizer,
    by_a_state,
    by_numpy,
]


def truth(layer: QKANLayer, x: Tensor) -> Tensor:
    exact = copy.deepcopy(layer)
    exact.backend = "reference"
    return exact(x)


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("no_grad", [False, True])
def test_a_written_parameter_counts_at_the_next_call(
    write: Callable[[QKANLayer], None], trained: bool, no_grad: bool
) -> None:
    layer = QKANLayer(3, 4, 2, preact_trainable=trained, backend="spectral").eval()
    x = torch.rand(9, 3) - 0.5
    with torch.set_grad_enabled(not no_grad):
        before = layer(x).detach()
        torch.testing.assert_close(layer(x), before, rtol=0, atol=0)
    write(layer)
    with torch.set_grad_enabled(not no_grad):
        after = layer(x).detach()
    assert not torch.allclose(after, before, atol=1e-3)
    torch.testing.assert_close(after, truth(layer, x).detach(), rtol=0, atol=1e-5)


def test_other_parameters_for_one_call() -> None:
    layer = QKANLayer(3, 4, 2, backend="spectral").eval()
    x = torch.rand(9, 3) - 0.5
    before = layer(x)
    others = {name: value.detach() + 0.3 for name, value in layer.named_parameters()}
    changed = torch.func.functional_call(layer, others, (x,))
    assert not torch.allclose(changed, before, atol=1e-3)
    torch.testing.assert_close(layer(x), before, rtol=0, atol=0)
    layer.load_state_dict(others)
    torch.testing.assert_close(layer(x), changed, rtol=0, atol=1e-6)


def test_a_copy_goes_its_own_way() -> None:
    layer = QKANLayer(3, 4, 2, backend="spectral").eval()
    x = torch.rand(9, 3) - 0.5
    before = layer(x)
    other = copy.deepcopy(layer)
    torch.testing.assert_close(other(x), before, rtol=0, atol=0)
    other.theta.data += 0.3
    assert not torch.allclose(other(x), before, atol=1e-3)
    torch.testing.assert_close(layer(x), before, rtol=0, atol=0)


def test_a_backend_that_is_none_is_refused_when_it_is_set_later() -> None:
    layer = QKANLayer(3, 4, 2)
    layer.backend = "typo"
    with pytest.raises(ValueError, match="unknown backend 'typo'; use one of auto, spectral"):
        layer(torch.zeros(9, 3))
    with pytest.raises(ValueError, match="unknown backend 'typo'"):
        layer.explain_backend(torch.zeros(9, 3))
