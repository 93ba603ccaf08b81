"""Pre-activations per input: the exponentially growing spectrum, exact."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from qkan.kernels.circuits.ansatz import ANSATZE
from qkan.kernels.common import constant_cache as constants
from qkan.kernels.layer import CircuitLayer
from qkan.kernels.spectral import sum_frequencies as sums


@pytest.mark.parametrize("reps", [1, 2, 3, 4, 5])
def test_signs_are_all_signs_once(reps: int) -> None:
    (signs,) = constants.constants(sums._signs, reps, torch.zeros(0))
    rows = {tuple(row) for row in signs.tolist()}
    assert len(rows) == len(signs) == sums.frequencies(reps)
    both = rows | {tuple(-s for s in row) for row in rows} | {(0.0,) * reps}
    assert both == set(itertools.product((-1.0, 0.0, 1.0), repeat=reps))


def arguments(name: str, outputs: int, circuits: int, reps: int, dtype: Any) -> list[Tensor | None]:
    ansatz, make = ANSATZE[name], torch.Generator().manual_seed(reps)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=make, dtype=torch.float64).to(dtype).requires_grad_()

    theta = normal(circuits, 4, ansatz.rows(reps), ansatz.angles)
    return [theta, normal(1, 4, reps), normal(1, 4, reps), normal(outputs, 4)]


@pytest.mark.parametrize("name", ["pz", "rpz", "real", "mix"])
@pytest.mark.parametrize("reps", [1, 2, 3])
@pytest.mark.parametrize("circuits", [1, 3])
def test_exact_for_inputs_of_any_size(name: str, reps: int, circuits: int) -> None:
    tensors = arguments(name, 3, circuits, reps, torch.float64)
    x = (100 * torch.randn(7, 4, dtype=torch.float64)).requires_grad_()
    leaves = [x, *(t for t in tensors if t is not None)]
    results = []
    for backend in ("spectral", "bloch", "reference"):
        circuit = CircuitLayer(*tensors, ansatz=ANSATZE[name], reps=reps, backend=backend)  # type: ignore[arg-type]
        if backend == "spectral":
            assert circuit.explain(x).plan.kind == "sums"  # type: ignore[union-attr]
        y = circuit(x)
        upstream = torch.cos(torch.arange(y.numel(), dtype=y.dtype)).reshape(y.shape)
        results.append([y, circuit.edges(x), *torch.autograd.grad(y, leaves, upstream)])
    for got in results[:2]:
        for value, expected in zip(got, results[2], strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-10)


def test_single_precision_with_large_angles() -> None:
    tensors = arguments("pz", 3, 3, 3, torch.float32)
    x = 1e6 * torch.randn(20, 4)
    exact = [None if t is None else t.double() for t in tensors]
    options: dict[str, Any] = {"ansatz": ANSATZE["pz"], "reps": 3}
    fast = CircuitLayer(*tensors, backend="spectral", **options)  # type: ignore[arg-type]
    truth = CircuitLayer(*exact, backend="reference", **options)  # type: ignore[arg-type]
    torch.testing.assert_close(fast.edges(x).double(), truth.edges(x.double()), rtol=0, atol=5e-6)


def test_few_samples_of_a_narrow_domain_take_fewer_terms() -> None:
    tensors = arguments("pz", 3, 3, 4, torch.float64)
    assert (
        CircuitLayer(*tensors, ansatz=ANSATZE["pz"], reps=4, backend="spectral")
        .explain(  # type: ignore[arg-type]
            torch.full((50, 4), 0.1, dtype=torch.float64)
        )
        .plan.kind
        == "chebyshev"
    )  # type: ignore[union-attr]


def test_a_compiler_can_see_it_whole() -> None:
    tensors = arguments("pz", 3, 3, 2, torch.float64)

    def run(x: Tensor) -> Tensor:
        return CircuitLayer(*tensors, ansatz=ANSATZE["pz"], reps=2, backend="spectral")(x)  # type: ignore[arg-type]

    x = torch.randn(6, 4, dtype=torch.float64)
    torch.testing.assert_close(torch.compile(run, backend="aot_eager", fullgraph=True)(x), run(x), rtol=0, atol=1e-12)


def test_only_the_first_run_copies_numbers_to_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CUDA graph cannot be captured otherwise."""
    tensors = arguments("pz", 3, 3, 2, torch.float32)
    layer, x = CircuitLayer(*tensors, ansatz=ANSATZE["pz"], reps=2, backend="spectral"), torch.randn(7, 4)  # type: ignore[arg-type]
    first = layer(x)

    def refused(*args: Any, **kwargs: Any) -> Tensor:
        raise AssertionError("a tensor of Python numbers")

    monkeypatch.setattr(torch, "tensor", refused)
    assert torch.equal(layer(x), first)
