"""Sums of functions with free coefficients in the CPU kernels, against their formula in double precision."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from engines import only_engine
from torch import Tensor

from qkan import KANLayer
from qkan.kernels.edges import numba_cpu
from qkan.kernels.edges.families import KERNEL_FAMILIES, functions_of, scales
from qkan.kernels.edges.free_sum import free_sum, plain_free_sum
from qkan.kernels.edges.numba_cpu import Edges

#: Kind, size and order.
FAMILIES = [
    ("bspline", 4, 1), ("bspline", 4, 2), ("bspline", 5, 3), ("bspline", 3, 4), ("bspline", 2, 5), ("rbf", 8, 3),
    ("relu", 3, 2), ("relu", 5, 3),
]  # fmt: skip
SIZES = [(5, 3, 2), (0, 3, 2), (1, 1, 1), (70, 17, 33), (130, 36, 32), (257, 16, 64)]
NAMES = ("y", "x", "coefficients", "base_weight", "bias")


def case(edges: Edges, size: tuple[int, int, int], dtype: torch.dtype, *, bias: bool = True) -> list[Tensor | None]:
    make = torch.Generator().manual_seed(0)
    family = functions_of(edges.kind, edges.order)
    assert family is not None
    rows, inputs, outputs = size

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=make).to(dtype).requires_grad_()

    x = drawn(rows, inputs)
    base = None if edges.base is None else drawn(inputs, outputs).detach().mT.requires_grad_()
    return [x, drawn(family.terms(edges.size), inputs, outputs), base, drawn(outputs) if bias else None]


def results(edges: Edges, tensors: list[Tensor | None], function) -> dict[str, Tensor]:
    y = function(*tensors)
    upstream = torch.cos(torch.arange(y.numel(), dtype=torch.float64)).view_as(y).to(y.dtype)
    given = {name: t for name, t in zip(NAMES[1:], tensors, strict=True) if t is not None}
    return {"y": y, **dict(zip(given, torch.autograd.grad(y, list(given.values()), upstream), strict=True))}


@pytest.mark.parametrize("family", FAMILIES, ids=str)
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-11), (torch.float32, 1e-4)], ids=str)
def test_values_and_every_gradient(family: tuple[str, int, int], dtype: torch.dtype, atol: float) -> None:
    bases = (None, "silu", "gelu", "relu", "tanh", "identity")
    kept = [(base, size) for base, size in product(bases, SIZES) if base in (None, "silu") or size == SIZES[3]]
    for base, size in kept:
        edges = Edges(*family, 1.25, base)
        tensors = case(edges, size, dtype, bias=size != SIZES[0])
        with only_engine("edges", "numba"):
            found = results(edges, tensors, lambda *given, edges=edges: free_sum(*given, edges))
        exact = [None if t is None else t.double() for t in tensors]
        truth = results(edges, exact, lambda *given, edges=edges: plain_free_sum(edges, *given))
        for name, value in truth.items():
            scale = max(1.0, float(value.detach().abs().max())) if value.numel() else 1.0
            torch.testing.assert_close(found[name].double(), value, rtol=0, atol=atol * scale, msg=f"{name} {size}")


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_first_and_second_derivatives(family: tuple[str, int, int]) -> None:
    edges = Edges(*family, 1.5, "silu")
    tensors = case(edges, (3, 2, 2), torch.float64)
    assert torch.autograd.gradcheck(lambda *given: free_sum(*given, edges), tensors)
    if family[:1] + family[2:] != ("bspline", 1):  # whose second derivatives are none
        assert torch.autograd.gradgradcheck(lambda *given: free_sum(*given, edges), tensors)


@pytest.mark.parametrize("needed", [(0,), (1,), (2,), (3,), (0, 3), (1, 2)])
def test_only_the_gradients_that_are_needed(needed: tuple[int, ...]) -> None:
    edges = Edges("bspline", 5, 3, 1.0, "silu")
    tensors = case(edges, (40, 5, 3), torch.float64)
    truth = results(edges, tensors, lambda *given: plain_free_sum(edges, *given))
    for place, tensor in enumerate(tensors):
        tensor.requires_grad_(place in needed)
    found = free_sum(*tensors, edges)
    upstream = torch.cos(torch.arange(found.numel(), dtype=torch.float64)).view_as(found)
    gradients = torch.autograd.grad(found, [tensors[place] for place in needed], upstream)
    for place, value in zip(needed, gradients, strict=True):
        torch.testing.assert_close(value, truth[NAMES[1 + place]], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("copied", "inputs", "outputs"),
    [(0, 50, 5), (2**20, 50, 5), (2**20, 52, 32), (2**20, 16, 32)],
    ids=["inputs", "samples", "inputs in whole tiles", "samples for few inputs"],
)
def test_threads_share_samples_or_inputs(
    copied: int, inputs: int, outputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    edges = Edges("bspline", 5, 3, 1.0, "silu")
    tensors = case(edges, (333, inputs, outputs), torch.float64)
    monkeypatch.setattr(numba_cpu, "MOST_COPIED", copied)
    truth = results(edges, tensors, lambda *given: plain_free_sum(edges, *given))
    monkeypatch.setattr(numba_cpu, "SHARD_WORK", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    for name, value in results(edges, tensors, lambda *given: free_sum(*given, edges)).items():
        torch.testing.assert_close(value, truth[name], rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", KERNEL_FAMILIES)
def test_nan_stays_in_its_row_and_far_inputs_are_zero(kind: str) -> None:
    edges = Edges(kind, 5, 3, 1.0, None)
    x = torch.tensor([[0.5, math.nan], [1e30, 0.1], [-math.inf, 0.1], [0.3, 0.2]], dtype=torch.float64)
    coefficients = case(edges, (1, 2, 3), torch.float64)[1]
    y = free_sum(x, coefficients, None, None, edges)
    assert y.isnan().any(1).tolist() == [True, False, False, False]
    near = plain_free_sum(edges, x[1:, 1:], coefficients[:, 1:], None, None)
    torch.testing.assert_close(y[1:3], near[:2], rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", KERNEL_FAMILIES)
def test_scales_are_those_of_the_functions(kind: str) -> None:
    shapes = {"bspline": lambda p: (1 - p.abs()).clamp_min(0), "rbf": lambda p: torch.exp(-p * p)}
    shape = shapes.get(kind, lambda p: (1 - p * p).clamp_min(0) ** 2)
    x, order = torch.linspace(-2, 2, 33, dtype=torch.float64), 1
    rate, start, step = scales(kind, order, 4, 1.5)
    values = functions_of(kind, order).values(x, 4, 1.5)
    for t, value in enumerate(values):
        torch.testing.assert_close(shape(rate * x + start - t * step), value, rtol=0, atol=1e-14)


@pytest.mark.parametrize("engine", ["numba", "torch"])
@pytest.mark.parametrize("basis", KERNEL_FAMILIES)
def test_a_layer_in_either_engine(basis: str, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from qkan.kernels.spectral import matmul

    monkeypatch.setattr(matmul, "SMALL_ELEMENTS", -1)
    generator = torch.Generator().manual_seed(0)
    layer = KANLayer(7, 5, basis, base_activation="silu", generator=generator, dtype=torch.float64)
    x = torch.randn(3, 50, 7, dtype=torch.float64, generator=generator).requires_grad_()
    with only_engine("edges", engine):
        y = layer(x)
        found = torch.autograd.grad(y.square().sum(), (x, *layer.parameters()))
    naive = layer.edge_outputs(x).sum(-1) + layer.bias
    truth = torch.autograd.grad(naive.square().sum(), (x, *layer.parameters()))
    torch.testing.assert_close(y, naive, rtol=0, atol=1e-12)
    for value, expected in zip(found, truth, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-11, atol=1e-11)
