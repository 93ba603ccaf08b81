"""Initial states that are none: one sentence for each, where nn.LSTM unpacks, indexes and reads what it finds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from qkan import HQKANLSTM, QKANGRU, QKANLSTM, QLSTM, QKANGRUCell, QKANLSTMCell

PAIRS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "QKANLSTM": (lambda: QKANLSTM(3, 4), (1, 2, 4)),
    "trained": (lambda: QKANLSTM(3, 4, preact_trainable=True), (1, 2, 4)),
    "HQKANLSTM": (lambda: HQKANLSTM(3, 4), (1, 2, 4)),
    "QLSTM": (lambda: QLSTM(3, 4, qubits=2), (1, 2, 4)),
    "QKANLSTMCell": (lambda: QKANLSTMCell(3, 4), (2, 4)),
}
SINGLE: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "QKANGRU": (lambda: QKANGRU(3, 4), (1, 2, 4)),
    "QKANGRUCell": (lambda: QKANGRUCell(3, 4), (2, 4)),
}


def cut(state: Tensor, size: int) -> Tensor:
    state.untyped_storage().resize_(size)
    return state


def inputs(shape: tuple[int, ...]) -> Tensor:
    return torch.ones(2, 3) if len(shape) == 2 else torch.ones(5, 2, 3)


@pytest.mark.parametrize("name", PAIRS)
def test_what_is_no_pair(name: str) -> None:
    make, shape = PAIRS[name]
    module, x, h = make(), inputs(shape), torch.zeros(shape)
    odd = (h, (), (h,), (h, h, h), (None, None), (h, "c"), (h.tolist(), h.tolist()), torch.stack((h, h)))
    for hx in odd:
        with pytest.raises(TypeError, match=r"^\w+ needs a pair of tensors \(h_0, c_0\) as initial states, got "):
            module(x, hx)
    with pytest.raises(TypeError, match=r"needs a dense tensor, got one of layout torch.sparse_coo"):
        module(x, (h.to_sparse(), h))
    for size in (0, 4):
        with pytest.raises((ValueError, RuntimeError), match=f"resized to {size} bytes"):
            module(x, (cut(h.clone(), size), h))
    torch.testing.assert_close(module(x, [h, h])[0], module(x, (h, h))[0], rtol=0, atol=0)


@pytest.mark.parametrize("name", SINGLE)
def test_what_is_no_tensor(name: str) -> None:
    make, shape = SINGLE[name]
    module, x, h = make(), inputs(shape), torch.zeros(shape)
    for hx in ((h,), (h, h), [h], "h", h.tolist()):
        with pytest.raises(TypeError, match=r"^\w+ needs one tensor h_0 as initial states, got \w+ for one"):
            module(x, hx)
    with pytest.raises(TypeError, match=r"needs a dense tensor, got one of layout torch.sparse_coo"):
        module(x, h.to_sparse())
    for size in (0, 4):
        with pytest.raises((ValueError, RuntimeError), match=f"resized to {size} bytes"):
            module(x, cut(h.clone(), size))


def test_orders_of_packed_sequences_without_memory() -> None:
    data, sizes, order = torch.ones(5, 3), torch.tensor([2, 2, 1]), torch.tensor([0, 1])
    packed = nn.utils.rnn.PackedSequence(data, sizes, order, order)
    cut(order, 0)
    with pytest.raises(ValueError, match="has no memory: its storage has been resized to 0 bytes"):
        QKANLSTM(3, 4)(packed, (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4)))
