"""The engines of whole-sequence recurrences against the reference: outputs, final states and every gradient."""

from __future__ import annotations

import pytest
import torch
from recurrences import KINDS, Case, Kind, make

from qkan.kernels import recurrence

SHAPES = {
    "one step": ((3,), 5),
    "odd": ((5, 5, 5, 5, 5, 5, 5), 7),
    "packed": ((6, 6, 4, 3, 3, 1, 1), 3),
    "one unit": ((2, 2, 2), 1),
}


def results(case: Case, engine: str, seed: int = 1):
    """Outputs and final states, then the gradients of a random weighing of them in every tensor."""
    named = {name: tensor.detach().clone().requires_grad_() for name, tensor in case.tensors().items()}
    of = case.replaced(named)
    found = recurrence.run(of.spec, of.layout, of.steps, of.weights, of.h_0, of.c_0, engine=engine)
    found = [tensor for tensor in found if tensor is not None]
    generator = torch.Generator().manual_seed(seed)
    upstream = [torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t) for t in found]
    gradients = torch.autograd.grad(found, list(named.values()), upstream)
    values = dict(zip(("outputs", "h_n", "c_n"), found, strict=False))
    values = {name: value.detach() for name, value in values.items()}
    return values | {f"grad {name}": grad for name, grad in zip(named, gradients, strict=True)}


def assert_close(case: Case, engine: str, tolerance: float) -> None:
    expected = results(case.to(torch.float64), "reference")
    for name, got in results(case, engine).items():
        scale = max(1.0, float(expected[name].abs().max()))
        error = float((got.double() - expected[name]).abs().max())
        assert error <= tolerance * scale, f"{name}: {error} beyond {tolerance * scale}"


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("engine", [e for e in recurrence.ENGINES if e not in ("auto", "reference", "triton")])
def test_engines_agree_with_the_reference(engine, shape, kind: Kind):
    sizes, hidden = SHAPES[shape]
    assert_close(make(kind, sizes, hidden), engine, 1e-12)
    assert_close(make(kind, sizes, hidden, dtype=torch.float32), engine, 2e-5)
