"""Frames, the pools that run kernels, and matrix tiles."""

from __future__ import annotations

import pytest
import torch
from recurrences import Kind, make

from qkan.kernels.common import numba_runtime as numba_frames
from qkan.kernels.recurrence import numba_cpu as recurrence_numba
from qkan.kernels.spectral import numba_cpu as features_numba
from qkan.kernels.spectral.basis import Basis


def walk(threads: int) -> list[torch.Tensor]:
    """Everything that the CPU engine makes of a recurrence large enough for several threads."""
    case = make(Kind(basis=Basis("fourier", 2, base="silu"), shaped=True), (37,) * 9, 33, dtype=torch.float32)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        arguments = (case.spec, case.layout, case.steps, case.weights, case.h_0, case.c_0)
        ran = recurrence_numba.forward(*arguments, True)
        z = case.layout.previous(ran.outputs, case.h_0)
        upstream = torch.linspace(-1, 1, ran.outputs.numel()).view_as(ran.outputs)
        zeros = torch.zeros_like(case.h_0)
        pulled = recurrence_numba.backward(
            case.spec, case.layout, case.weights, ran.tape, z, upstream, zeros, torch.zeros_like(case.c_0)
        )
        return [ran.outputs, ran.h_n, ran.c_n, pulled.inner, pulled.h_0, pulled.c_0, pulled.activation_coeffs]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("pool", ["PyTorch's", "Python's"])
def test_pools_give_what_one_thread_gives(pool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = walk(1)
    if pool == "Python's":
        monkeypatch.setattr(numba_frames, "_parallel", lambda: None)
    elif numba_frames._parallel() is None:
        pool = "Python's"  # not OpenMP on Linux: there is no other pool
    monkeypatch.setattr(features_numba, "SHARD_WORK", 1)
    for one, other in zip(walk(3), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-6 * max(1.0, float(other.abs().max())))


def test_a_result_does_not_depend_on_who_was_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features_numba, "SHARD_WORK", 1)
    first = walk(3)
    for _ in range(5):
        assert all(torch.equal(a, b) for a, b in zip(walk(3), first, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"), [(1, 1, 1), (5, 3, 7), (64, 17, 33), (67, 40, 65), (130, 5, 32)]
)
def test_products_of_tiles(rows: int, inputs: int, outputs: int, dtype: torch.dtype) -> None:
    """With the identity as only feature the kernels are plain matrix products, whatever does not fill a tile."""
    generator = torch.Generator().manual_seed(0)
    x, weight, grad = (
        torch.randn(*size, generator=generator, dtype=torch.float64)
        for size in ((rows, inputs), (inputs, outputs), (rows, outputs))
    )
    bias = torch.linspace(-1, 1, outputs, dtype=torch.float64)
    basis = Basis("fourier", 0, base="identity")
    narrow = [tensor.to(dtype) for tensor in (weight.unsqueeze(0), bias, x, grad)]
    atol = 3e-5 if dtype == torch.float32 else 1e-12

    def close(got: torch.Tensor, expected: torch.Tensor) -> None:
        torch.testing.assert_close(got.double(), expected, rtol=0, atol=atol)

    close(features_numba.products(basis, narrow[0], narrow[1], None, narrow[2]), x @ weight + bias)
    of_matrix, of_bias = features_numba.matrix_gradients(basis, narrow[0], None, narrow[2], narrow[3])
    close(of_matrix[0], x.mT @ grad)
    close(of_bias, grad.sum(0))
    of_x, of_shape = features_numba.input_gradients(basis, narrow[0], None, narrow[2], narrow[3])
    close(of_x, grad @ weight.mT)
    assert of_shape is None
