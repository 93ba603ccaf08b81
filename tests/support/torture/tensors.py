"""Odd tensors through layers, networks and recurrences."""

from __future__ import annotations

import functools
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

import qkan

COUNT = 100

Shape = tuple[int, ...]

#: Modules of three inputs, and the leading sizes that they take.
MODULES: dict[str, tuple[Callable[[], nn.Module], Shape]] = {
    "QKANLayer": (lambda: qkan.QKANLayer(3, 2), (4,)),
    "QKANLayer, trained": (lambda: qkan.QKANLayer(3, 2, preact_trainable=True, base_activation="silu"), (4,)),
    "QKANLayer, PyTorch": (lambda: qkan.QKANLayer(3, 2, backend="bloch"), (2, 5)),
    "DARUAN": (lambda: qkan.DARUAN(3), (4,)),
    "QKAN": (lambda: qkan.QKAN([3, 4, 2]), (4,)),
    "HQKAN": (lambda: qkan.HQKAN(3, 4, 2), (4,)),
    "GroupRational": (lambda: qkan.GroupRational(3, num_groups=1), (4,)),
    "GRKAN": (lambda: qkan.GRKAN(3, 4, 2, num_groups=1), (4,)),
    "QKANLSTM": (lambda: qkan.QKANLSTM(3, 4), (6, 2)),
    "HQKANLSTM": (lambda: qkan.HQKANLSTM(3, 4, bidirectional=True), (6, 2)),
    "QKANGRU": (lambda: qkan.QKANGRU(3, 4, num_layers=2), (6, 2)),
    "QLSTM": (lambda: qkan.QLSTM(3, 2), (4, 2)),
    "QKANLSTMCell": (lambda: qkan.QKANLSTMCell(3, 4), (4,)),
    "QKANGRUCell": (lambda: qkan.QKANGRUCell(3, 4), (4,)),
}

RECURRENT = ("QKANLSTM", "HQKANLSTM", "QKANGRU", "QLSTM")
LIKE_TORCH = (*RECURRENT, "QKANLSTMCell", "QKANGRUCell", "GRKAN", "HQKAN")
"""Modules that raise RuntimeError for sizes and dtypes, as those of torch with their contract, or inside them, do."""


def _overlapping(x: Tensor) -> Tensor:
    return torch.as_strided(x.flatten(), x.shape, (0,) * (x.dim() - 1) + (1,))


def _negative(x: Tensor) -> Tensor:
    return torch._neg_view(x)


def _imaginary(x: Tensor) -> Tensor:
    return torch.complex(x, -x).conj().imag


def _unaligned(x: Tensor) -> Tensor:
    raw = torch.empty(x.numel() + 1).copy_(torch.cat((x.new_zeros(1), x.flatten())))
    return raw[1:].view(x.shape)


def _without_memory(x: Tensor, left: int = 0) -> Tensor:
    odd = x.clone()
    odd.untyped_storage().resize_(left)
    return odd


def _view_without_memory(x: Tensor) -> Tensor:
    both = torch.cat((x, x))
    part = both[len(x) :]
    both.untyped_storage().resize_(0)
    return part


#: Same values in other clothes, or values at the ends of their range: the result is that of a plain copy.
VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": lambda x: x.movedim(-1, 0).contiguous().movedim(0, -1),
    "every second": lambda x: torch.stack((x, x + 1), -1)[..., 0],
    "backwards": lambda x: x.flip(0),
    "overlapping rows": _overlapping,
    "negative bit": _negative,
    "imaginary part of a conjugate": _imaginary,
    "off by one number": _unaligned,
    "expanded": lambda x: x[..., :1].expand(x.shape),
    "a parameter": lambda x: nn.Parameter(x.clone()),
    "of inference mode": lambda x: torch.inference_mode()(lambda: x * 1)(),
    "zeros": torch.zeros_like,
    "negative zeros": lambda x: -torch.zeros_like(x),
    "denormal": lambda x: x * 1e-42,
    "large": lambda x: x * 1e4,
    "huge": lambda x: x * 1e30,
    "the largest": lambda x: x.sign() * torch.finfo(x.dtype).max,
    "no rows": lambda x: x[..., :0, :],
    "one row": lambda x: x[..., :1, :],
    "many dimensions": lambda x: x.reshape(*x.shape[:-1], 1, 1, 3) if x.dim() == 2 else x.clone(),
    "zeros without memory": lambda x: torch._efficientzerotensor(x.shape),
    "a subclass": lambda x: x.as_subclass(type("Odd", (Tensor,), {})),
}

#: What a module may refuse, in one sentence; where it does not, the result has its shape.
STRANGE: dict[str, Callable[[Tensor], Any]] = {
    "infinite": lambda x: x / 0,
    "one NaN": lambda x: torch.where(torch.arange(x.numel()).view(x.shape) == 1, torch.nan, x),
    "float64": Tensor.double,
    "float16": Tensor.half,
    "bfloat16": Tensor.bfloat16,
    "float8": lambda x: x.to(torch.float8_e4m3fn),
    "whole numbers": lambda x: (10 * x).long(),
    "truth values": lambda x: x > 0,
    "complex": lambda x: torch.complex(x, x),
    "too wide": lambda x: torch.cat((x, x), -1),
    "too narrow": lambda x: x[..., :2],
    "no columns": lambda x: x[..., :0],
    "a number": lambda x: x.flatten()[0],
    "one row, flat": lambda x: x.flatten()[:3],
    "sparse": Tensor.to_sparse,
    "compressed": lambda x: x.reshape(-1, 3).to_sparse_csr(),
    "meta": lambda x: x.to("meta"),
    "quantized": lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
    "nested": lambda x: torch.nested.nested_tensor([x.reshape(-1, 3), x.reshape(-1, 3)[:1]]),
    "without memory": _without_memory,
    "with some of its memory": lambda x: _without_memory(x, 8),
    "a view without memory": _view_without_memory,
    "of Python": Tensor.tolist,
    "of NumPy": Tensor.numpy,
    "nothing": lambda x: None,
}

#: Sequences whose sizes do not fit their rows.
PACKED: dict[str, list[int]] = {
    "packed": [2, 2, 1],
    "packed, too many": [3, 3, 3],
    "packed, growing": [1, 2, 2],
    "packed, negative": [4, 2, -1],
    "packed, zero": [3, 2, 0],
    "packed, none": [],
    "packed, huge": [2**62, 2**62, 5],
}


@functools.cache
def _module(name: str) -> nn.Module:
    torch.manual_seed(0)
    return MODULES[name][0]()


def run(index: int, folder: Path) -> tuple[str, str]:
    dice = random.Random(f"tensors {index}")
    name = list(MODULES)[index % len(MODULES)]
    odd_names = [*VIEWS, *STRANGE, *(PACKED if name in RECURRENT else ())]
    kind = dice.choice(odd_names)
    what = f"{name}, {kind}"
    module = _module(name)
    x = torch.rand(*MODULES[name][1], 3, generator=torch.Generator().manual_seed(index)) - 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about the kinds of tensors
        odd = _packed(x, PACKED[kind]) if kind in PACKED else (VIEWS | STRANGE)[kind](x)
    refusals = (ValueError, TypeError, RuntimeError) if name in LIKE_TORCH else (ValueError, TypeError)
    try:
        with torch.set_grad_enabled(kind != "of inference mode"):  # which nothing can keep for a backward pass
            y = _first(module(odd))
    except refusals as error:
        text = str(error)
        assert "Internal error" not in text, f"{what}: {text}"
        assert kind not in VIEWS, f"{what}: refused: {text}"
        assert text, f"{what}: an error without a word"
        assert "\n" not in text, f"{what}: {text}"
        assert len(text) <= 400, f"{what}: {text}"
        return what, text
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    if kind in VIEWS:
        plain = odd.detach().as_subclass(Tensor).resolve_neg().clone(memory_format=torch.contiguous_format) + 0.0
        _check_same(what, y, _first(module(plain)))
        _check_gradients(what, module, odd, plain)
    elif isinstance(odd, Tensor) and odd.dtype in (torch.float16, torch.bfloat16, torch.float64):
        torch.testing.assert_close(y.double(), _first(module(x)).double(), rtol=0.02, atol=0.02)
    elif kind == "one NaN" and name not in RECURRENT:
        rows = y.reshape(-1, y.shape[-1])[1:]
        assert rows.isfinite().all(), f"{what}: {rows}"
    return what, "right"


def _check_same(what: str, y: Tensor, right: Tensor) -> None:
    assert y.shape == right.shape, f"{what}: {tuple(y.shape)} instead of {tuple(right.shape)}"
    torch.testing.assert_close(
        y.as_subclass(Tensor), right, rtol=1e-5, atol=1e-6, equal_nan=True, msg=lambda text: f"{what}: {text}"
    )


def _check_gradients(what: str, module: nn.Module, odd: Tensor, plain: Tensor) -> None:
    if odd.is_inference() or not plain.numel():
        return
    gradients = []
    for x in (odd, plain):
        module.zero_grad()
        _first(module(x)).sum().backward()
        gradients.append([parameter.grad.clone() for parameter in module.parameters() if parameter.grad is not None])
    for found, right in zip(*gradients, strict=True):
        _check_same(f"{what}, gradient", found, right)


def _first(result: Any) -> Tensor:
    while not isinstance(result, Tensor):
        result = result[0]
    return result


def _packed(x: Tensor, sizes: list[int]) -> PackedSequence:
    return PackedSequence(x.reshape(-1, 3)[:5].contiguous(), torch.tensor(sizes, dtype=torch.int64))
