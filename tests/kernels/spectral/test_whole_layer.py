"""A layer as one node of the graph: outputs and every gradient against the reference, and which kernels ran."""

from typing import Any

import pytest
import torch
from torch import Tensor

from qkan.kernels.circuits.ansatz import ANSATZE
from qkan.kernels.common.numba_lanes import LANES
from qkan.kernels.layer import CircuitLayer
from qkan.kernels.spectral import numba_coefficients, numba_cpu, whole_layer
from qkan.kernels.spectral.coefficients import chebyshev, fourier
from qkan.kernels.spectral.whole_layer import LayerKernels

TOLERANCES = {torch.float32: 2e-5, torch.float64: 1e-12}


def leaf(make: torch.Generator, *shape: int, dtype: torch.dtype, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    values = shift + scale * torch.randn(*shape, generator=make, dtype=torch.float64)
    return values.to(dtype).requires_grad_()


def layer_of(
    size: tuple[int, int, int, int], name: str, trained: str, extras: bool, dtype: torch.dtype
) -> tuple[Tensor, list[Tensor | None]]:
    """Inputs, and theta, weight, bias, edge_weight, base_weight and offset."""
    samples, inputs, outputs, reps = size
    make, ansatz = torch.Generator().manual_seed(sum(size)), ANSATZE[name]
    x = (2 * torch.rand(samples, inputs, generator=make, dtype=torch.float64) - 1).to(dtype).requires_grad_()
    edges = (outputs, inputs)
    return x, [
        leaf(make, *edges, ansatz.rows(reps), ansatz.angles, dtype=dtype),
        leaf(make, *edges, reps, dtype=dtype, scale=0.2, shift=1.0) if trained == "both" else None,
        leaf(make, *edges, reps, dtype=dtype) if trained in ("both", "bias") else None,
        leaf(make, *edges, dtype=dtype) if extras else None,
        leaf(make, *edges, dtype=dtype) if extras else None,
        leaf(make, outputs, dtype=dtype) if extras else None,
    ]


def run(x: Tensor, tensors: list[Tensor | None], name: str, reps: int, backend: str, base: str = "silu") -> Tensor:
    theta, weight, bias, edge_weight, base_weight, offset = tensors
    pair = None if base_weight is None else (base, base_weight)
    options: dict[str, Any] = {"ansatz": ANSATZE[name], "reps": reps, "backend": backend, "base": pair}
    return CircuitLayer(theta, weight, bias, edge_weight, offset=offset, **options)(x)  # type: ignore[arg-type]


def value_and_gradients(y: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    upstream = torch.cos(torch.arange(y.numel(), dtype=y.dtype)).reshape(y.shape)
    return [y, *torch.autograd.grad(y, leaves, upstream, allow_unused=True, materialize_grads=True)]


def doubled(x: Tensor, tensors: list[Tensor | None]) -> tuple[Tensor, list[Tensor | None]]:
    exact = [None if t is None else t.detach().double().requires_grad_() for t in (x, *tensors)]
    return exact[0], exact[1:]  # type: ignore[return-value]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passes of the kernels that have run."""
    ran: list[str] = []
    for name in ("forward", "backward"):
        real = getattr(LayerKernels, name)

        def counted(self: LayerKernels, *args: Any, name: str = name, real: Any = real, **options: Any) -> Any:
            ran.append(name)
            return real(self, *args, **options)

        monkeypatch.setattr(LayerKernels, name, counted)
    return ran


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("trained", ["none", "bias", "both"])
@pytest.mark.parametrize(
    "size", [(3, 1, 2, 1), (9, 20, 1, 6), (17, 3, 5, 2), (130, 2, 33, 3), (65, 20, 7, 4), (9, 1, 70, 17)]
)
@pytest.mark.parametrize("extras", [False, True])
def test_outputs_and_every_gradient(
    size: tuple[int, int, int, int], trained: str, extras: bool, dtype: torch.dtype, passes: list[str]
) -> None:
    name, reps = {"none": "pz", "bias": "rpz", "both": "mix"}[trained], size[3]
    x, tensors = layer_of(size, name, trained, extras, dtype)
    exact_x, exact = doubled(x, tensors)
    leaves, exact_leaves = [x, *(t for t in tensors if t is not None)], [exact_x, *(t for t in exact if t is not None)]
    got = value_and_gradients(run(x, tensors, name, reps, "spectral"), leaves)
    truth = value_and_gradients(run(exact_x, exact, name, reps, "reference"), exact_leaves)
    assert passes == ["forward", "backward"]
    tolerance = TOLERANCES[dtype] * (reps + 2)
    for value, expected in zip(got, truth, strict=True):
        scale = max(1.0, float(expected.detach().abs().max()))
        torch.testing.assert_close(value.double(), expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("base", ["gelu", "relu", "tanh", "identity"])
@pytest.mark.parametrize("name", ["pz", "rpz", "real", "mix"])
def test_every_ansatz_and_base(name: str, base: str, passes: list[str]) -> None:
    x, tensors = layer_of((12, 4, 6, 2), name, "both", True, torch.float64)
    leaves = [x, *(t for t in tensors if t is not None)]
    got = value_and_gradients(run(x, tensors, name, 2, "spectral", base), leaves)
    truth = value_and_gradients(run(x, tensors, name, 2, "reference", base), leaves)
    assert passes == ["forward", "backward"]
    for value, expected in zip(got, truth, strict=True):
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("needed", [(0,), (1,), (2, 5), (3,), (4, 6)])
def test_only_gradients_that_are_needed(needed: tuple[int, ...]) -> None:
    x, tensors = layer_of((20, 3, 4, 2), "pz", "both", True, torch.float64)
    everything = [x, *(t for t in tensors if t is not None)]
    whole = value_and_gradients(run(x, tensors, "pz", 2, "spectral"), everything)[1:]
    for place, tensor in enumerate(everything):
        tensor.requires_grad_(place in needed)
    some = value_and_gradients(run(x, tensors, "pz", 2, "spectral"), [everything[place] for place in needed])[1:]
    for place, value in zip(needed, some, strict=True):
        torch.testing.assert_close(value, whole[place], rtol=0, atol=1e-13)


def test_second_derivatives() -> None:
    x, tensors = layer_of((4, 2, 3, 2), "pz", "both", True, torch.float64)
    leaves = [x, *(t for t in tensors if t is not None)]

    def function(*given: Tensor) -> Tensor:
        return run(given[0], list(given[1:]), "pz", 2, "spectral")

    assert torch.autograd.gradcheck(function, leaves)
    # The number of terms depends on x, so the expansion is another function nearby at every step of differences.
    truth = value_and_gradients(run(x, tensors, "pz", 2, "reference").square(), leaves)[1:]
    assert all(torch.isfinite(t).all() for t in truth)
    y = run(x, tensors, "pz", 2, "spectral")
    (of_x,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    got = torch.autograd.grad(of_x.cos().sum(), leaves)
    y = run(x, tensors, "pz", 2, "reference")
    (of_x,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    for value, expected in zip(got, torch.autograd.grad(of_x.cos().sum(), leaves), strict=True):
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("outputs", [1, 5, 33])
@pytest.mark.parametrize("trained", [False, True])
def test_coefficients_and_their_gradients(outputs: int, trained: bool) -> None:
    size = (1, 7, outputs, 3)
    _, (theta, weight, bias, edge_weight, *_) = layer_of(size, "pz", "both" if trained else "none", True, torch.float64)
    ansatz = ANSATZE["pz"]
    given = numba_coefficients.CircuitTensors(theta, weight, bias, edge_weight)  # type: ignore[arg-type]
    kind, points, radius = ("chebyshev", 20, 1.5) if trained else ("fourier", 7, 1.0)
    rule = numba_coefficients.point_rule(kind, points, ansatz, 3, trained, trained, torch.float64)
    matrix, constant = numba_coefficients.coefficients(rule, radius, given)
    leaves = [t for t in given if t is not None]

    def plain(*values: Tensor) -> tuple[Tensor, Tensor]:
        some = iter(values)
        t, w, b, e = (None if g is None else next(some) for g in given)
        if w is None:
            expansion = fourier(t, b, e, ansatz=ansatz, reps=3)  # type: ignore[arg-type]
        else:
            expansion = chebyshev(t, w, b, e, ansatz=ansatz, reps=3, radius=radius, terms=points)  # type: ignore[arg-type]
        return expansion.matrix, expansion.constant

    # Under a transform of functions the kernels stand back for the formulas in PyTorch.
    (of_formula, of_constant), pull = torch.func.vjp(plain, *leaves)
    torch.testing.assert_close(matrix, of_formula, rtol=0, atol=1e-12)
    torch.testing.assert_close(constant, of_constant, rtol=0, atol=1e-12)
    basis = rule.basis(radius, None)
    weights, first = basis.differentiate(matrix)
    expected = weights if first is None else torch.cat((first.unsqueeze(0), weights))
    columns = len(expected) * 7
    panels = torch.zeros(-(-columns // LANES), outputs, LANES, dtype=torch.float64)  # of (outputs, rows * inputs)
    layout = (LANES, 7 * outputs, outputs, outputs, 0, 7, 0)
    there = (*(t is not None for t in given), False, False)
    kernels = numba_coefficients.CircuitKernels(rule, outputs, 7, there, layout, layout, (0, 0), torch.float64)
    again = torch.empty_like(matrix), torch.empty_like(constant)
    kernels.coefficients((*given, None, None), radius, numba_cpu.addresses(*again), panels)
    derivative = panels.transpose(0, 1).flatten(1)[:, :columns].mT.reshape(len(expected), 7, outputs)
    torch.testing.assert_close(derivative, expected, rtol=0, atol=1e-11)
    for one, other in zip(again, (matrix, constant), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-14)
    upstream = torch.cos(matrix + 1), torch.sin(constant + 1)
    found = numba_coefficients.coefficient_gradients(
        rule, radius, given, upstream[0].contiguous(), upstream[1].contiguous(), (True,) * 4
    )
    for value, expected in zip([f for f in found if f is not None], pull(upstream), strict=True):
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bounds(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = torch.randn(300, 7, dtype=dtype), torch.randn(5, 7, 3, dtype=dtype)
    for shard_work in (numba_cpu.SHARD_WORK, 100):
        monkeypatch.setattr(numba_cpu, "SHARD_WORK", shard_work)
        bound, width = numba_coefficients.bounds(x, weight)
        assert bound == float(x.abs().max())
        assert width == pytest.approx(float(weight.abs().sum(-1).max()), rel=1e-6)
    x[3, 3], x[4, 4], x[5, 5] = float("nan"), float("inf"), 50.0
    assert numba_coefficients.bounds(x, weight)[0] == 50.0
    weight[2, 2, 2] = float("nan")
    assert numba_coefficients.bounds(x, weight)[1] != numba_coefficients.bounds(x, weight)[1]


def test_threads_share_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    x, tensors = layer_of((700, 6, 40, 2), "pz", "both", True, torch.float64)
    leaves = [x, *(t for t in tensors if t is not None)]
    alone = value_and_gradients(run(x, tensors, "pz", 2, "spectral"), leaves)
    monkeypatch.setattr(whole_layer, "SHARD_WORK", 1000)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    for value, expected in zip(value_and_gradients(run(x, tensors, "pz", 2, "spectral"), leaves), alone, strict=True):
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-11)
