"""Fast weights on every engine against the equations written out number by number, and every derivative."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

import numpy as np
import pytest
import torch
from torch import Tensor
from truth import phi

from qkan.kernels.circuits.ansatz import get_ansatz
from qkan.kernels.fast_weights import api, numba_cpu, pytorch
from qkan.kernels.fast_weights.types import Spec
from qkan.kernels.recurrence.types import Layout

ENGINES = ("numba", "torch", "reference")
SPECS = {
    "pz": Spec(2, 3, 1, get_ansatz("pz")),
    "pz, a gate per output": Spec(1, 5, 5, get_ansatz("pz"), 2, (1.0, 3.0)),
    "rpz": Spec(2, 2, 1, get_ansatz("rpz"), 3, (1.0, 2.0, 4.0)),
    "real": Spec(2, 3, 3, get_ansatz("real"), 2, (1.0, 1.0)),
    "mix, one output": Spec(3, 1, 1, get_ansatz("mix")),
    "linear": Spec(3, 4, 1),
    "linear, a gate per output": Spec(3, 4, 4),
}
#: Rows of every step: one step, sequences that end, one that ends at the border of a piece, and several pieces.
SIZES = {"one": (1,), "packed": (4, 4, 3, 1, 1), "border": (2,) * 32 + (1,), "long": (3,) * 70}


def tensors(spec: Spec, layout: Layout, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    source = torch.Generator().manual_seed(0)
    rows, batch = layout.offsets[-1], layout.sizes[0]
    sizes = ((rows, sum(spec.parts)), (rows, spec.inputs), (batch, spec.size))
    return [torch.randn(*size, generator=source, dtype=torch.float64).to(dtype).requires_grad_() for size in sizes]


def by_hand(spec: Spec, layout: Layout, emitted: Tensor, x: Tensor, theta: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Matrix exponentials and loops, no code of qkan."""
    emitted, x, theta = (tensor.detach().numpy() for tensor in (emitted, x, theta))
    theta = theta.reshape(-1, spec.rows, spec.angles, spec.inputs, spec.outputs).copy()
    out = np.zeros((len(x), spec.outputs))
    first, second, _ = accumulate(spec.parts)
    for size, offset in zip(layout.sizes, layout.offsets, strict=False):
        for b in range(size):
            row = emitted[offset + b]
            a = row[:first].reshape(spec.rows, spec.outputs)
            b_part = row[first:second].reshape(spec.inputs, spec.angles)
            gate = 1 / (1 + np.exp(-row[second:]))
            theta[b] = gate * theta[b] + (1 - gate) * np.einsum("ro,ia->raio", a, b_part)
            for o in range(spec.outputs):
                for i in range(spec.inputs):
                    own, value = theta[b, :, :, i, o], x[offset + b, i]
                    if spec.ansatz is None:
                        out[offset + b, o] += own[0, 0] * value
                    else:
                        weights = np.array(spec.frequencies)
                        out[offset + b, o] += phi(spec.ansatz.name, "z", value, own, weights, 0 * weights)
    return out, theta.reshape(len(theta), -1)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A backend by name; the test fails unless its own code ran, and that of no other."""
    ran = set()

    def watched(place: object, attribute: str, name: str) -> None:
        own = getattr(place, attribute)

        def enter(*given: object, **options: object) -> object:
            ran.add(name)
            return own(*given, **options)

        monkeypatch.setattr(place, attribute, enter)

    watched(numba_cpu, "_call", "numba")
    watched(pytorch, "_piece", "torch")
    watched(pytorch, "_deltas", "torch" if request.param == "torch" else "reference")
    yield request.param
    assert ran == {request.param}


@pytest.mark.parametrize("sizes", ["one", "packed"])
@pytest.mark.parametrize("name", SPECS)
def test_outputs_and_last_weights_are_those_of_the_equations(engine: str, name: str, sizes: str) -> None:
    spec, layout = SPECS[name], Layout(SIZES[sizes])
    given = tensors(spec, layout)
    for found, expected in zip(
        api.run(spec, layout, *given, backend=engine), by_hand(spec, layout, *given), strict=True
    ):
        np.testing.assert_allclose(found.detach(), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_a_scan_is_the_walk_step_by_step_with_all_gradients(backend: str, name: str, sizes: str) -> None:
    spec, layout = SPECS[name], Layout(SIZES[sizes])

    def gradients(backend: str) -> list[Tensor]:
        given = tensors(spec, layout)
        found = api.run(spec, layout, *given, backend=backend)
        source = torch.Generator().manual_seed(1)
        weights = [torch.randn(part.shape, generator=source, dtype=part.dtype) for part in found]
        loss = sum((part * weight).sum() for part, weight in zip(found, weights, strict=True))
        return [*found, *torch.autograd.grad(loss, given)]

    for found, expected in zip(gradients(backend), gradients("reference"), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["pz", "real", "linear, a gate per output"])
def test_gradients_are_the_slopes_of_differences(engine: str, name: str) -> None:
    spec, layout = SPECS[name], Layout((2, 2, 1))
    given = tensors(spec, layout)
    torch.autograd.gradcheck(lambda *t: api.run(spec, layout, *t, backend=engine), given, atol=1e-7)


def test_second_derivatives() -> None:
    spec, layout = Spec(1, 2, 1, get_ansatz("pz")), Layout((1, 1))
    torch.autograd.gradgradcheck(lambda *t: api.run(spec, layout, *t), tensors(spec, layout), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numba_is_what_runs_on_a_cpu_and_single_precision_holds(dtype: torch.dtype) -> None:
    spec, layout = SPECS["pz"], Layout((4,) * 100)
    given = tensors(spec, layout, dtype)
    assert api.BACKENDS.choose("auto", spec, given).name == "numba"
    exact = api.run(spec, layout, *(t.double() for t in given), backend="reference")
    for found, expected in zip(api.run(spec, layout, *given), exact, strict=True):
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-6)


def test_gates_that_are_open_or_shut_keep_their_weights_finite(engine: str) -> None:
    spec, layout = SPECS["linear"], Layout((1,) * 40)
    emitted, x, theta = tensors(spec, layout)
    with torch.no_grad():
        emitted[:, -1] = torch.tensor([200.0, -200.0] * 20)
    out, end = api.run(spec, layout, emitted, x, theta, backend=engine)
    last = emitted[-1, :4] * emitted[-1, 4:7].unsqueeze(1)  # the last gate forgets all
    torch.testing.assert_close(end, last.reshape(1, -1))
    (gradient,) = torch.autograd.grad(out.sum(), emitted)
    assert gradient.isfinite().all()


def test_no_weights_of_steps_are_kept_for_the_backward_pass() -> None:
    spec, steps = Spec(2, 8, 1, get_ansatz("pz")), 320
    layout, kept = Layout((2,) * steps), []
    given = tensors(spec, layout)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        api.run(spec, layout, *given)
    borders = 2 * spec.size * steps // numba_cpu.PIECE
    assert sum(kept) == sum(tensor.numel() for tensor in given) + borders


def test_sizes_that_do_not_fit_are_refused() -> None:
    spec, layout = SPECS["pz"], Layout((2, 2))
    emitted, x, theta = tensors(spec, layout)
    with pytest.raises(ValueError, match=r"x of shape \(4, 1\) does not fit: this layer needs \(4, 2\)"):
        api.run(spec, layout, emitted, x[:, :1], theta)
    with pytest.raises(ValueError, match="unknown backend 'fast'; use one of auto, numba, torch, reference"):
        api.run(spec, layout, emitted, x, theta, backend="fast")
    half = [tensor.bfloat16() for tensor in (emitted, x, theta)]
    with pytest.raises(ValueError, match="backend 'numba' cannot run these fast weights: its kernels take plain"):
        api.run(spec, layout, *half, backend="numba")
