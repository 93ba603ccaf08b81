"""Circuits in PyTorch, as on devices without kernels, against the state-vector reference: outputs, all gradients."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from engines import only_engine
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qkan.kernels.circuits.ansatz import ANSATZE, Ansatz
from qkan.kernels.circuits.bloch import pytorch as bloch
from qkan.kernels.common.tensors import PIECE_ELEMENTS
from qkan.kernels.layer import CircuitLayer

CUSTOM = Ansatz("custom", ("rx", "y", "rz"), "ry", ("rz", "x", "ry"), initial=(0.0, 0.6, 0.8))
ALL = {**ANSATZE, "custom": CUSTOM}


@pytest.fixture
def _in_pytorch() -> Iterator[None]:
    """PyTorch's engine alone runs the circuits; on a CPU, Numba's would."""
    with only_engine("circuits", "torch"):
        yield


in_pytorch = pytest.mark.usefixtures("_in_pytorch")


def tensors(
    ansatz: Ansatz, samples: int, outputs: int, inputs: int, reps: int, *, seed: int = 0, **kinds: Any
) -> list[Tensor | None]:
    """x, theta, preact_weight, preact_bias, mix; arguments of acos stay inside its domain."""
    make = torch.Generator().manual_seed(seed)
    dtype = kinds.get("dtype", torch.float64)
    lead = (samples,) if kinds.get("per_sample") else ()

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return (scale * torch.randn(*shape, generator=make, dtype=torch.float64)).to(dtype).requires_grad_()

    def uniform(*shape: int, bound: float) -> Tensor:
        return (bound * (2 * torch.rand(*shape, generator=make, dtype=torch.float64) - 1)).to(dtype).requires_grad_()

    acos = ansatz.encoding_map == "acos"
    bound = 0.6 if acos else 2.0
    x = uniform(samples, inputs, bound=0.9 if acos else 3.0)
    theta = normal(*lead, outputs, inputs, ansatz.rows(reps), ansatz.angles)
    trained = kinds.get("trained")
    weight = uniform(outputs, inputs, reps, bound=bound) if trained in ("weight", "both") else None
    bias = uniform(outputs, inputs, reps, bound=0.05 if acos else 0.3) if trained in ("bias", "both") else None
    edge_weight = normal(outputs, inputs) if kinds.get("edge_weight") else None
    return [x, theta, weight, bias, edge_weight]


def value_and_gradients(
    args: list[Tensor | None], backend: str, *, reduce: bool = True, **options: Any
) -> list[Tensor]:
    x, *parameters = args
    evaluate = CircuitLayer(*parameters, backend=backend, **options)  # type: ignore[arg-type]
    y = evaluate(x) if reduce else evaluate.edges(x)  # type: ignore[arg-type]
    upstream = torch.cos(torch.arange(y.numel(), dtype=y.dtype)).reshape(y.shape)
    return [y, *torch.autograd.grad(y, [a for a in args if a is not None], upstream)]


def assert_agree(args: list[Tensor | None], *, atol: float, **options: Any) -> None:
    for got, expected in zip(
        value_and_gradients(args, "bloch", **options), value_and_gradients(args, "reference", **options), strict=True
    ):
        torch.testing.assert_close(got, expected, rtol=0, atol=atol)


@in_pytorch
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("readout", ["z", "amplitude"])
@pytest.mark.parametrize(("trained", "edge_weight"), [(None, False), ("weight", True), ("bias", True), ("both", True)])
@pytest.mark.parametrize("reps", [1, 2, 5])
def test_outputs_and_gradients(name: str, readout: str, trained: str | None, edge_weight: bool, reps: int) -> None:
    args = tensors(ALL[name], 5, 3, 4, reps, trained=trained, edge_weight=edge_weight)
    # The amplitude readout is a square root: near a pole it magnifies rounding by 1 / |beta|.
    assert_agree(args, atol=1e-12 if readout == "z" else 1e-10, ansatz=ALL[name], reps=reps, readout=readout)


@in_pytorch
@pytest.mark.parametrize("name", ALL)
def test_sums_left_to_the_caller(name: str) -> None:
    assert_agree(tensors(ALL[name], 6, 3, 2, 3, trained="both"), atol=1e-12, ansatz=ALL[name], reps=3, reduce=False)


@in_pytorch
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("trained", [None, "both"])
def test_circuits_that_differ_between_samples(name: str, trained: str | None) -> None:
    args = tensors(ALL[name], 5, 3, 2, 2, trained=trained, per_sample=True, edge_weight=True)
    assert_agree(args, atol=1e-12, ansatz=ALL[name], reps=2)


@in_pytorch
@pytest.mark.parametrize("name", ALL)
def test_single_precision(name: str) -> None:
    args = tensors(ALL[name], 33, 7, 5, 4, trained="both", edge_weight=True, dtype=torch.float32)
    assert_agree(args, atol=1e-4, ansatz=ALL[name], reps=4)


@in_pytorch
@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("reduce", [False, True])
def test_pieces_do_not_change_the_result(per_sample: bool, reduce: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ansatz = ANSATZE["pz"]
    args = tensors(ansatz, 23, 5, 3, 2, trained="both", edge_weight=reduce, per_sample=per_sample)
    options = {"ansatz": ansatz, "reps": 2, "reduce": reduce}
    truth = value_and_gradients(args, "reference", **options)
    for elements, samples, pieces in ((2**20, 16, 1), (2**9, 16, 10), (192, 4, 30)):
        monkeypatch.setitem(PIECE_ELEMENTS, "cpu", elements)
        monkeypatch.setattr(bloch, "PIECE_SAMPLES", samples)
        assert len(list(bloch._pieces(args[0], 5, 2))) == pieces
        for got, expected in zip(value_and_gradients(args, "bloch", **options), truth, strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


@settings(max_examples=50)
@given(
    samples=st.integers(1, 300),
    outputs=st.integers(1, 40),
    inputs=st.integers(1, 40),
    reps=st.integers(1, 30),
)
def test_pieces_tile_samples_and_outputs(samples: int, outputs: int, inputs: int, reps: int) -> None:
    covered = torch.zeros(samples, outputs, dtype=torch.int64)
    for piece in bloch._pieces(torch.empty(samples, inputs), outputs, reps):
        covered[piece] += 1
    assert torch.equal(covered, torch.ones_like(covered))


@in_pytorch
def test_every_output_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PIECE_ELEMENTS, "cpu", 192)
    real_empty = Tensor.new_empty
    monkeypatch.setattr(Tensor, "new_empty", lambda self, *a, **k: real_empty(self, *a, **k).fill_(float("nan")))
    ansatz = ANSATZE["mix"]
    x, theta, *_ = tensors(ansatz, 19, 3, 7, 2)
    for reduce in (True, False):
        evaluate = CircuitLayer(theta, None, None, None, ansatz=ansatz, reps=2, backend="bloch")
        y = evaluate(x) if reduce else evaluate.edges(x)
        assert torch.isfinite(y).all()


@in_pytorch
@pytest.mark.parametrize("name", ALL)
def test_gradcheck(name: str) -> None:
    args = tensors(ALL[name], 2, 2, 3, 2, trained="both", edge_weight=True)
    assert torch.autograd.gradcheck(
        lambda x, *parameters: CircuitLayer(*parameters, ansatz=ALL[name], reps=2, backend="bloch")(x), tuple(args)
    )


@in_pytorch
@pytest.mark.parametrize("reps", [1, 16])
def test_nothing_but_arguments_is_kept_for_backward(reps: int) -> None:
    ansatz = ANSATZE["pz"]
    args = tensors(ansatz, 8, 6, 5, reps, trained="both", edge_weight=True)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = bloch.circuits(*args, ansatz=ansatz, reps=reps, readout="z", reduce=True)  # type: ignore[arg-type]
    assert y.requires_grad
    assert {t.data_ptr() for t in kept} == {a.data_ptr() for a in args if a is not None}


def test_memory_of_a_piece_does_not_grow_with_reps() -> None:
    sizes = {}
    for reps in (1, 4, 64, 1024):
        samples, outputs = next(iter(bloch._pieces(torch.empty(4096, 16), 64, reps)))
        sizes[reps] = (samples.stop - samples.start) * (outputs.stop - outputs.start) * 16 * (6 + 2 * reps)
    assert max(sizes.values()) <= PIECE_ELEMENTS["cpu"]
    # The floor, where inputs are very many.
    samples, outputs = next(iter(bloch._pieces(torch.empty(4096, 4096), 64, 1024)))
    assert (samples.stop - samples.start, outputs.stop - outputs.start) == (bloch.PIECE_SAMPLES, 1)


@in_pytorch
def test_strided_and_expanded_inputs() -> None:
    ansatz = ANSATZE["pz"]
    x, theta, *_ = tensors(ansatz, 6, 3, 4, 2)
    column_major = x.detach().t().contiguous().t().requires_grad_()
    one_row = x.detach()[:1].expand(6, 4)
    for variant in (column_major, one_row):
        got, expected = (
            CircuitLayer(theta, None, None, None, ansatz=ansatz, reps=2, backend=backend)(variant)
            for backend in ("bloch", "reference")
        )
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-13)


@in_pytorch
def test_amplitude_readout_stays_finite_at_the_poles() -> None:
    # All angles zero in `real` at x = pi/2: the state is exactly |0> or |1>, where |beta| or |alpha| has a kink.
    ansatz = ANSATZE["real"]
    x = torch.tensor([[torch.pi / 2], [-torch.pi / 2]], requires_grad=True)
    theta = torch.zeros(1, 1, 1, 1, requires_grad=True)
    y = CircuitLayer(theta, None, None, None, ansatz=ansatz, reps=1, readout="amplitude", backend="bloch")(x)
    gradients = torch.autograd.grad(y.sum(), (x, theta))
    torch.testing.assert_close(y.abs(), torch.ones(2, 1), rtol=0, atol=1e-3)
    assert all(torch.isfinite(g).all() for g in gradients)


@in_pytorch
def test_empty_batch() -> None:
    ansatz = ANSATZE["pz"]
    theta = torch.randn(3, 4, 2, 2, requires_grad=True)
    y = CircuitLayer(theta, None, None, None, ansatz=ansatz, reps=1, backend="bloch")(torch.empty(0, 4))
    y.sum().backward()
    assert y.shape == (0, 3)
    assert torch.equal(theta.grad, torch.zeros_like(theta))


@in_pytorch
def test_runs_repeat_bit_for_bit() -> None:
    ansatz = ANSATZE["pz"]
    args = tensors(ansatz, 500, 16, 16, 3, trained="both", edge_weight=True, dtype=torch.float32)
    first, second = (value_and_gradients(args, "bloch", ansatz=ansatz, reps=3) for _ in range(2))
    for a, b in itertools.zip_longest(first, second):
        assert torch.equal(a, b)
