"""Basis functions: their values against closed forms, and derivatives as sums of the same functions."""

import pytest
import torch
from torch import Tensor

from qkan.kernels.edges.activations import BASES
from qkan.kernels.spectral.basis import Basis


def closed_form(basis: Basis, x: Tensor) -> Tensor:
    """Features (terms, ...) in double precision."""
    x = x.double()
    if basis.kind == "fourier":
        waves = [torch.cos(k * x) for k in range(1, basis.size + 1)]
        planes = waves + [torch.sin(k * x) for k in range(1, basis.size + 1)]
    else:
        angle = torch.acos((x / basis.radius).clamp(-1, 1))
        planes = [torch.cos(k * angle) for k in range(1, basis.size)]
    return torch.stack(planes if basis.base is None else [*planes, BASES[basis.base][0](x)])


@pytest.mark.parametrize("base", [None, *BASES])
@pytest.mark.parametrize("basis", [("fourier", 1), ("fourier", 5), ("chebyshev", 3), ("chebyshev", 17)])
def test_values_and_derivatives(basis: tuple[str, int], base: str | None) -> None:
    made = Basis(*basis, radius=2.5, base=base)  # type: ignore[arg-type]
    make = torch.Generator().manual_seed(0)
    x = 2.5 * (2 * torch.rand(50, generator=make, dtype=torch.float64) - 1)
    x[0] = 0.0  # where |x| has no slope, T_k has one
    planes = torch.stack(made.functions(x))
    assert planes.shape == (made.terms, 50)
    torch.testing.assert_close(planes, closed_form(made, x), rtol=0, atol=1e-13)
    weights = torch.randn(made.terms, generator=make, dtype=torch.float64)
    x.requires_grad_()
    (slope,) = torch.autograd.grad((weights @ torch.stack(made.functions(x))).sum(), x)
    slopes, constant = made.differentiate(weights)
    functions = torch.stack(made.slope_functions(x.detach(), made.functions(x.detach())))
    by_weights = slopes @ functions + (0 if constant is None else constant)
    torch.testing.assert_close(by_weights, slope, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("basis", "atol"), [(Basis("fourier", 32), 3e-6), (Basis("chebyshev", 128), 3e-6)])
def test_single_precision_holds_at_high_orders(basis: Basis, atol: float) -> None:
    make = torch.Generator().manual_seed(0)
    inside = 2 * torch.rand(20000, generator=make) - 1
    edge = 1 - 1e-3 * torch.rand(5000, generator=make)
    x = torch.cat((inside, edge, -edge, torch.tensor([-1.0, 0.0, 1.0])))
    torch.testing.assert_close(torch.stack(basis.functions(x)).double(), closed_form(basis, x), rtol=0, atol=atol)


def test_an_input_of_a_million_keeps_its_harmonics() -> None:
    x = 1e6 * (1 + torch.rand(1000, generator=torch.Generator().manual_seed(0)))
    basis = Basis("fourier", 8)
    torch.testing.assert_close(torch.stack(basis.functions(x)).double(), closed_form(basis, x), rtol=0, atol=2e-6)


@pytest.mark.parametrize("basis", [Basis("fourier", 3, base="silu"), Basis("chebyshev", 6, radius=2.0, base="gelu")])
def test_planes_written_into_room_are_the_same(basis: Basis) -> None:
    x = torch.randn(4, 3)
    workspace = torch.full((basis.terms, 4, 3), torch.nan)
    basis.functions(x, into=workspace.unbind(0))
    assert torch.equal(workspace, torch.stack(basis.functions(x)))


@pytest.mark.parametrize("base", BASES)
def test_base_slopes(base: str) -> None:
    function, slope = BASES[base]
    x = torch.linspace(-6, 6, 101, dtype=torch.float64).requires_grad_()
    (expected,) = torch.autograd.grad(function(x).sum(), x)
    torch.testing.assert_close(slope(x.detach()), expected, rtol=0, atol=1e-14)
