"""The seam between layers and backends."""

import pytest
import torch

from qkan.kernels import dispatch
from qkan.kernels.ansatz import ANSATZE

PZ = ANSATZE["pz"]


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown backend 'fast'; use one of auto, bloch, reference"):
        dispatch.check_backend("fast")
    with pytest.raises(ValueError, match="unknown readout 'x'; use z"):
        dispatch.check_readout("x")
    with pytest.raises(ValueError, match="unknown backend 'fast'"):
        dispatch.circuits(torch.rand(1, 1), torch.rand(1, 1, 2, 2), None, None, None, ansatz=PZ, reps=1, backend="fast")


def test_available_backends_can_all_run_here() -> None:
    assert dispatch.available_backends() == {"bloch": None, "reference": None}
    theta, x = torch.randn(2, 3, 2, 2), torch.randn(4, 3)
    values = [
        dispatch.circuits(x, theta, None, None, None, ansatz=PZ, reps=1, backend=name) for name in dispatch.BACKENDS
    ]
    for value in values[1:]:
        torch.testing.assert_close(value, values[0], rtol=0, atol=1e-6)


def test_leading_dimensions() -> None:
    x, theta = torch.randn(2, 3, 4, 5), torch.randn(6, 5, 2, 2)
    y = dispatch.circuits(x, theta, None, None, None, ansatz=PZ, reps=1)
    flat = dispatch.circuits(x.reshape(-1, 5), theta, None, None, None, ansatz=PZ, reps=1)
    assert y.shape == (2, 3, 4, 6)
    torch.testing.assert_close(y.reshape(-1, 6), flat, rtol=0, atol=0)


@pytest.mark.parametrize("backend", ["bloch", "reference"])
def test_one_circuit_per_input_for_all_outputs(backend: str) -> None:
    x, shared = torch.randn(7, 4, dtype=torch.float64), torch.randn(1, 4, 3, 2, dtype=torch.float64)
    mix = torch.randn(5, 4, dtype=torch.float64)
    got = dispatch.circuits(x, shared, None, None, mix, ansatz=PZ, reps=2, backend=backend)
    spread = shared.expand(5, -1, -1, -1)
    expected = dispatch.circuits(x, spread, None, None, mix, ansatz=PZ, reps=2, backend="reference")
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.bfloat16, 2e-2), (torch.float16, 2e-3)])
def test_half_precision_computes_in_single(dtype: torch.dtype, atol: float) -> None:
    make = torch.Generator().manual_seed(0)
    x, theta = torch.randn(16, 4, generator=make).to(dtype), torch.randn(3, 4, 2, 2, generator=make).to(dtype)
    y = dispatch.circuits(x, theta, None, None, None, ansatz=PZ, reps=1)
    exact = dispatch.circuits(x.double(), theta.double(), None, None, None, ansatz=PZ, reps=1, backend="reference")
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), exact, rtol=0, atol=atol)
