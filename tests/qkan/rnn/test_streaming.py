"""Frozen recurrent modules: a fused step for streams, whole sequences on an engine, and what they notice."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

import qkan
from qkan import QKANLSTM, QKANLSTMCell
from qkan.kernels.recurrence import numba_cpu as recurrence_numba
from qkan.kernels.recurrence.types import layout_of

OPTIONS: dict[str, dict[str, Any]] = {
    "edge": {"reps": 2},
    "base": {"reps": 1, "base_activation": "silu"},
    "input": {"reps": 2, "group": "input", "postact_weight_trainable": True},
    "no bias": {"bias": False},
}


def pair(batch: int, hidden: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    x, h, c = (torch.randn(batch, n, generator=generator).to(dtype) for n in (2, hidden, hidden))
    return x, (h.tanh(), c)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [1, 3, 130])
@pytest.mark.parametrize("name", OPTIONS)
def test_a_frozen_step_is_the_step(name: str, batch: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    cell = QKANLSTMCell(2, 5, dtype=dtype, **OPTIONS[name])
    x, hx = pair(batch, 5, dtype)
    frozen = qkan.compile(cell, (x, hx))
    before = [tensor.clone() for tensor in (x, *hx)]
    with torch.no_grad():
        expected, got = cell(x, hx), frozen(x, hx)
    assert frozen._prepared[2] is not None  # the fused step it was
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-13)
    assert all(torch.equal(a, b) for a, b in zip((x, *hx), before, strict=True))  # nothing is written to


def test_one_sample_without_a_batch() -> None:
    cell = qkan.compile(QKANLSTMCell(2, 5), (torch.randn(1, 2),))
    x, (h, c) = pair(1, 5)
    for one, other in zip(cell(x[0], (h[0], c[0])), cell(x, (h, c)), strict=True):
        assert one.shape == (5,)
        assert torch.equal(one, other[0])


def test_no_samples() -> None:
    cell = qkan.compile(QKANLSTMCell(2, 5), (torch.randn(1, 2),))
    assert cell(torch.zeros(0, 2))[0].shape == (0, 5)


def test_a_stream_outlives_the_caches_of_its_constants() -> None:
    x, hx = pair(2, 5)
    cell = qkan.compile(QKANLSTMCell(2, 5), (x, hx))
    expected = cell(x, hx)[0]
    recurrence_numba.radius_of.cache_clear()
    layout_of.cache_clear()
    noise = [
        torch.full((n,), 7, dtype=dtype) for n in (1, 2) for dtype in (torch.int64, torch.float32) for _ in range(99)
    ]
    assert torch.equal(cell(x, hx)[0], expected)
    assert len(noise) == 396


@pytest.mark.parametrize("change", ["in place", "load_state_dict", "double", "assign"])
def test_a_change_of_frozen_numbers_is_noticed(change: str) -> None:
    x, hx = pair(2, 5)
    torch.manual_seed(0)
    cell, other = (qkan.compile(QKANLSTMCell(2, 5), (x, hx)) for _ in range(2))
    first = cell(x, hx)[0]
    if change == "in place":
        cell.cell.gates.hidden.weight.mul_(-1)
    elif change == "double":
        cell, x, hx = cell.double(), x.double(), (hx[0].double(), hx[1].double())
    else:
        cell.load_state_dict(other.state_dict(), assign=change == "assign")
    got = cell(x, hx)[0]
    fresh = copy.deepcopy(cell)
    torch.testing.assert_close(got, fresh(x, hx)[0], rtol=0, atol=0)
    if change == "double":
        torch.testing.assert_close(got.float(), first, rtol=0, atol=1e-6)
        assert got.dtype == torch.float64
    else:
        assert (got - first).abs().max() > 1e-3


def test_copies_and_pickles_step_alike() -> None:
    x, hx = pair(2, 5)
    cell = qkan.compile(QKANLSTMCell(2, 5), (x, hx))
    expected = cell(x, hx)[0]
    for other in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        assert torch.equal(other(x, hx)[0], expected)


def test_gradients_reach_the_inputs_of_a_frozen_cell() -> None:
    x, hx = pair(2, 5)
    cell = qkan.compile(QKANLSTMCell(2, 5), (x, hx))
    leaf = x.clone().requires_grad_()
    h, _ = cell(leaf, hx)
    torch.testing.assert_close(h.detach(), cell(x, hx)[0], rtol=0, atol=1e-6)
    assert torch.autograd.grad(h.sum(), leaf)[0].abs().max() > 0


@pytest.mark.parametrize("name", OPTIONS)
def test_frozen_sequences_run_on_an_engine(name: str) -> None:
    torch.manual_seed(0)
    module = QKANLSTM(2, 5, bidirectional=True, **OPTIONS[name])
    x = torch.randn(7, 3, 2)
    frozen = qkan.compile(module, x)
    assert "numba: the first backend" in frozen.explain_backend(x)
    torch.testing.assert_close(frozen(x)[0], module(x)[0].detach(), rtol=0, atol=2e-6)


def test_a_frozen_domain_still_gives_nan_beyond_it() -> None:
    torch.manual_seed(0)
    module = QKANLSTM(2, 5, reps=2, preact_trainable=True)
    x, c = torch.rand(7, 3, 2), torch.zeros(1, 3, 5)
    frozen = qkan.compile(module, x)
    assert "numba: the first backend" in frozen.explain_backend(x)
    torch.testing.assert_close(frozen(x)[0], module(x)[0].detach(), rtol=0, atol=2e-6)
    assert frozen(x, (torch.full((1, 3, 5), 1.4), c))[0].isfinite().all()
    assert frozen(x, (torch.full((1, 3, 5), 1.7), c))[0].isnan().all()
    assert frozen(10 * x)[0].isnan().all()


def test_a_frozen_cell_under_autocast_reads_no_numbers_of_another_dtype() -> None:
    x, hx = pair(3, 5)
    frozen = qkan.compile(QKANLSTMCell(2, 5), (x, hx))
    expected = frozen(x, hx)[0]
    with torch.autocast("cpu"):
        found = frozen(x.double(), tuple(state.double() for state in hx))[0]
    torch.testing.assert_close(found.float(), expected, atol=2e-2, rtol=0)


def test_a_frozen_cell_on_another_device_than_its_input_is_refused() -> None:
    x, hx = pair(3, 5)
    frozen = qkan.compile(QKANLSTMCell(2, 5), (x, hx)).to("meta")
    with pytest.raises((ValueError, RuntimeError), match="device"):
        frozen(x, hx)
