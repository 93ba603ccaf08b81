"""The sum of features with its hand-written backward, against the plain formula in double precision."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from engines import only_engine
from torch import Tensor

from qkan.kernels.common.tensors import PIECE_ELEMENTS
from qkan.kernels.spectral import matmul as product
from qkan.kernels.spectral.basis import Basis
from qkan.kernels.spectral.matmul import weighted_sum

KINDS = {
    "fourier": Basis("fourier", 3),
    "chebyshev": Basis("chebyshev", 7, radius=1.5),
    "fourier with a base": Basis("fourier", 2, base="silu"),
    "chebyshev with a base": Basis("chebyshev", 4, base="gelu"),
    "the smallest": Basis("chebyshev", 3),
}


#: Engines, and whether sums are diagonal, which PyTorch's alone computes.
ENGINES = pytest.mark.parametrize(
    ("engine", "diagonal"), [("numba", False), ("torch", False), ("torch", True)], indirect=["engine"]
)


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The engine that computes all sums."""
    with only_engine("sums", request.param):
        yield request.param


@pytest.fixture(autouse=True)
def _no_short_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sizes of these tests would all take the way of small sums."""
    monkeypatch.setattr(product, "SMALL_ELEMENTS", -1)


def arguments(basis: Basis, samples: int, inputs: int, outputs: int, dtype: Any = torch.float64) -> list[Tensor]:
    make = torch.Generator().manual_seed(samples)
    x = 2 * torch.rand(samples, inputs, generator=make, dtype=torch.float64) - 1
    matrix = torch.randn(basis.terms, inputs, outputs, generator=make, dtype=torch.float64)
    constant = torch.randn(inputs if outputs == 1 else outputs, generator=make, dtype=torch.float64)
    return [t.to(dtype).requires_grad_() for t in (x, matrix, constant)]


def autograd_of_the_formula(basis: Basis, x: Tensor, matrix: Tensor, constant: Tensor, diagonal: bool) -> Tensor:
    features = torch.stack(basis.functions(x))
    return torch.einsum("tsi,tio->si" if diagonal else "tsi,tio->so", features, matrix) + constant


def value_and_gradients(y: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    upstream = torch.cos(torch.arange(y.numel(), dtype=y.dtype)).reshape(y.shape)
    return [y, *torch.autograd.grad(y, leaves, upstream)]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("samples", "inputs"), [(0, 3), (1, 1), (5, 3), (200, 7), (0, 100), (150, 100)])
@ENGINES
def test_outputs_and_gradients(
    name: str, samples: int, inputs: int, engine: str, diagonal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    basis = KINDS[name]
    leaves = arguments(basis, samples, inputs, 1 if diagonal else 4)
    truth = value_and_gradients(autograd_of_the_formula(basis, *leaves, diagonal), leaves)
    # One piece; two, the last one shorter; pieces of 64 samples; a small sum, left to autograd.
    half = 128 * inputs * basis.terms
    for elements, small in ((PIECE_ELEMENTS["cpu"], -1), (half, -1), (1, -1), (1, 2**30)):
        monkeypatch.setitem(PIECE_ELEMENTS, "cpu", elements)
        monkeypatch.setattr(product, "SMALL_ELEMENTS", small)
        got = value_and_gradients(weighted_sum(*leaves, basis, diagonal=diagonal), leaves)
        for value, expected in zip(got, truth, strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("needed", [(0,), (1,), (2,), (0, 2), (1, 2)])
@ENGINES
def test_only_the_gradients_that_are_needed(needed: tuple[int, ...], engine: str, diagonal: bool) -> None:
    basis = KINDS["chebyshev with a base"]
    leaves = arguments(basis, 6, 3, 1 if diagonal else 2)
    truth = value_and_gradients(autograd_of_the_formula(basis, *leaves, diagonal), leaves)
    for i, leaf in enumerate(leaves):
        leaf.requires_grad_(i in needed)
    y = weighted_sum(*leaves, basis, diagonal=diagonal)
    got = value_and_gradients(y, [leaves[i] for i in needed])[1:]
    for value, i in zip(got, needed, strict=True):
        torch.testing.assert_close(value, truth[1 + i], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", KINDS)
@ENGINES
def test_first_and_second_derivatives(name: str, engine: str, diagonal: bool) -> None:
    leaves = arguments(KINDS[name], 3, 2, 1 if diagonal else 2)

    def run(*tensors: Tensor) -> Tensor:
        return weighted_sum(*tensors, KINDS[name], diagonal=diagonal)

    assert torch.autograd.gradcheck(run, leaves)
    assert torch.autograd.gradgradcheck(run, leaves)


@pytest.mark.parametrize(("engine", "diagonal"), [("torch", False), ("torch", True)], indirect=["engine"])
def test_transforms(engine: str, diagonal: bool) -> None:
    basis = KINDS["chebyshev with a base"]
    x, matrix, constant = (t.detach() for t in arguments(basis, 4, 3, 1 if diagonal else 2))

    def run(x: Tensor, matrix: Tensor, constant: Tensor) -> Tensor:
        return weighted_sum(x, matrix, constant, basis, diagonal=diagonal)

    many = torch.stack((matrix, 2 * matrix))
    both = torch.vmap(run, (None, 0, None))(x, many, constant)
    for i in range(2):
        torch.testing.assert_close(both[i], run(x, many[i], constant), rtol=0, atol=1e-13)
    for argument in (0, 1, 2):
        backward = torch.func.jacrev(run, argument)(x, matrix, constant)
        exact = torch.func.jacrev(lambda *t: autograd_of_the_formula(basis, *t, diagonal), argument)(
            x, matrix, constant
        )
        torch.testing.assert_close(backward, exact, rtol=0, atol=1e-12)


@pytest.mark.parametrize("engine", ["numba", "torch"], indirect=True)
@pytest.mark.parametrize("layout", ["transposed", "expanded", "strided"])
def test_any_layout_of_inputs_and_upstream_gradients(layout: str, engine: str) -> None:
    basis = KINDS["fourier"]
    x, matrix, constant = arguments(basis, 6, 4, 3)
    if layout == "transposed":
        x = x.detach().mT.contiguous().mT
    elif layout == "expanded":
        x = x.detach()[:1].expand(6, 4)
    else:
        x = x.detach().repeat(1, 2)[:, ::2]
    x.requires_grad_()
    got, expected = (
        torch.autograd.grad(y.sum(), (x, matrix, constant))
        for y in (weighted_sum(x, matrix, constant, basis), autograd_of_the_formula(basis, x, matrix, constant, False))
    )
    for value, exact in zip(got, expected, strict=True):
        torch.testing.assert_close(value, exact, rtol=0, atol=1e-12)


@pytest.mark.parametrize("engine", ["torch"], indirect=True)
@pytest.mark.parametrize(("matmul_dtype", "atol"), [(torch.bfloat16, 4e-2), (torch.float16, 5e-3)])
@pytest.mark.parametrize("inputs", [5, 100])
def test_a_narrow_product(matmul_dtype: torch.dtype, atol: float, inputs: int, engine: str) -> None:
    basis = KINDS["chebyshev with a base"]
    exact = arguments(basis, 100, inputs, 3)
    leaves = [t.detach().float().requires_grad_() for t in exact]
    truth = value_and_gradients(autograd_of_the_formula(basis, *exact, False), exact)
    got = value_and_gradients(weighted_sum(*leaves, basis, matmul_dtype=matmul_dtype), leaves)
    assert all(value.dtype == torch.float32 for value in got)
    for value, expected in zip(got, truth, strict=True):
        scale = expected.abs().max()
        torch.testing.assert_close(value.double() / scale, expected / scale, rtol=0, atol=atol)


def test_compiles_to_the_same_numbers() -> None:
    basis = KINDS["fourier with a base"]
    leaves = arguments(basis, 9, 3, 2)
    compiled = torch.compile(lambda *t: weighted_sum(*t, basis), backend="aot_eager", fullgraph=True)
    truth = value_and_gradients(weighted_sum(*leaves, basis), leaves)
    for value, expected in zip(value_and_gradients(compiled(*leaves), leaves), truth, strict=True):
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-13)
