"""The fused CPU kernel against the state-vector reference and PyTorch's operations: every result, odd shapes."""

import itertools
import math
import os
from typing import Any

import pytest
import torch
from torch import Tensor

from qkan.kernels.circuits import statevector as reference
from qkan.kernels.circuits.ansatz import ANSATZE, Ansatz, get_ansatz
from qkan.kernels.circuits.bloch import numba_cpu as bloch_numba
from qkan.kernels.circuits.bloch import pytorch as bloch
from qkan.kernels.common import threads

CUSTOM = Ansatz("custom", ("rx", "y", "rz"), "ry", ("rz", "x", "ry"), initial=(0.0, 0.6, 0.8))
#: All rotations about one axis: one angle with many encodings.
MERGED = Ansatz("merged", ("ry",), "ry", ("ry",))
MERGED_ACOS = Ansatz("merged_acos", ("rx",), "rx", ("rx",), initial=(0.0, 0.0, 1.0), encoding_map="acos")
#: No encoding reaches <Z>.
UNSEEN = Ansatz("unseen", ("ry",), "rz")
ALL = {**ANSATZE, **{a.name: a for a in (CUSTOM, MERGED, MERGED_ACOS, UNSEEN)}}
#: samples, outputs, inputs: fewer samples than lanes want, more, more than a tile; edges beyond one tile.
SHAPES = [(3, 5, 4), (37, 3, 2), (300, 2, 3), (2, 23, 13), (1, 1, 1), (50, 4, 1)]


@pytest.fixture(autouse=True)
def _samples_are_lanes_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small shapes take both ways: samples as lanes, or edges."""
    monkeypatch.setattr(bloch_numba, "SAMPLE_LANES", 16)


def arguments(ansatz: Ansatz, shape: tuple[int, int, int], reps: int, **kinds: Any) -> list[Tensor | None]:
    """x, theta, weight, bias, mix in float64; arguments of acos stay inside its domain."""
    samples, outputs, inputs = shape
    make = torch.Generator().manual_seed(reps + samples)

    def uniform(*size: int, bound: float) -> Tensor:
        return (bound * (2 * torch.rand(*size, generator=make, dtype=torch.float64) - 1)).requires_grad_()

    acos, trained = ansatz.encoding_map == "acos", kinds.get("trained", "both")
    lead = (samples,) if kinds.get("per_sample") else ()
    x = uniform(samples, inputs, bound=0.9 if acos else 3.0)
    theta = uniform(*lead, outputs, inputs, ansatz.rows(reps), ansatz.angles, bound=3.0)
    weight = uniform(outputs, inputs, reps, bound=0.6 if acos else 2.0) if trained in ("weight", "both") else None
    bias = uniform(outputs, inputs, reps, bound=0.05 if acos else 0.5) if trained in ("bias", "both") else None
    return [x, theta, weight, bias, uniform(outputs, inputs, bound=2.0) if kinds.get("edge_weight") else None]


def results(y: Tensor, args: list[Tensor | None]) -> list[Tensor]:
    upstream = torch.cos(torch.arange(y.numel(), dtype=torch.float64)).reshape(y.shape)
    present = [a for a in args if a is not None]
    grads = torch.autograd.grad(y, present, upstream.to(y.dtype), allow_unused=True)
    return [y, *(torch.zeros_like(a) if g is None else g for g, a in zip(grads, present, strict=True))]


def fused(args: list[Tensor | None], ansatz: Ansatz, reps: int, readout: str, reduce: bool) -> list[Tensor]:
    assert bloch_numba.numba_supported(*args)
    y = bloch.circuits(*args, ansatz=ansatz, reps=reps, readout=readout, reduce=reduce)  # type: ignore[arg-type]
    assert "FusedCircuits" in y.grad_fn.name()
    return results(y, args)


def exact(args: list[Tensor | None], ansatz: Ansatz, reps: int, readout: str, reduce: bool) -> list[Tensor]:
    x, theta, weight, bias, edge_weight = args
    y = reference.phi(x.unsqueeze(-2), theta, weight, bias, ansatz=ansatz, reps=reps, readout=readout)
    y = y if edge_weight is None else y * edge_weight
    return results(y.sum(-1) if reduce else y, args)


def assert_agree(got: list[Tensor], expected: list[Tensor], atol: float) -> None:
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a.double(), b.double(), rtol=0, atol=atol)


def single(args: list[Tensor | None]) -> list[Tensor | None]:
    return [None if a is None else a.detach().float().requires_grad_() for a in args]


def double(args: list[Tensor | None]) -> list[Tensor | None]:
    """The same numbers with more digits behind them."""
    return [None if a is None else a.detach().double().requires_grad_() for a in args]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("reps", [1, 2, 3, 8])
@pytest.mark.parametrize("trained", [None, "weight", "bias", "both"])
def test_against_the_reference(name: str, reps: int, trained: str | None) -> None:
    for shape, reduce in itertools.product(SHAPES[:2], (True, False)):
        args = arguments(ALL[name], shape, reps, trained=trained, edge_weight=reduce)
        options = (ALL[name], reps, "z", reduce)
        assert_agree(fused(args, *options), exact(args, *options), 2e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("readout", ["z", "amplitude"])
def test_shapes_and_readouts(shape: tuple[int, int, int], readout: str) -> None:
    for reduce, edge_weight in ((True, True), (True, False), (False, False)):
        args = arguments(ANSATZE["pz"], shape, 2, edge_weight=edge_weight)
        options = (ANSATZE["pz"], 2, readout, reduce)
        assert_agree(fused(args, *options), exact(args, *options), 1e-12 if readout == "z" else 1e-9)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("reduce", [True, False])
def test_circuits_that_differ_between_samples(name: str, reduce: bool) -> None:
    args = arguments(ALL[name], (7, 3, 2), 2, per_sample=True, edge_weight=reduce)
    assert_agree(fused(args, ALL[name], 2, "z", reduce), exact(args, ALL[name], 2, "z", reduce), 1e-12)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shape", [(5, 7, 3), (40, 3, 5)])
def test_single_precision(name: str, shape: tuple[int, int, int]) -> None:
    args = single(arguments(ALL[name], shape, 3, edge_weight=True))
    options = (ALL[name], 3, "z", True)
    assert_agree(fused(args, *options), exact(double(args), *options), 2e-5)


@pytest.mark.parametrize("trained", [None, "both"])
@pytest.mark.parametrize("size", [30.0, 1e3, 1e5])
@pytest.mark.parametrize("shape", [(5, 7, 3), (40, 3, 5)])
def test_large_angles_keep_their_digits(trained: str | None, size: float, shape: tuple[int, int, int]) -> None:
    args = arguments(ANSATZE["pz"], shape, 2, trained=trained)
    with torch.no_grad():
        args[0].mul_(size)
        args[1].mul_(size)
    args = single(args)
    value, expected = (f(a, ANSATZE["pz"], 2, "z", False)[0] for f, a in ((fused, args), (exact, double(args))))
    torch.testing.assert_close(value.double(), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("shape", [(5, 7, 1), (40, 3, 5)])
def test_angles_beyond_the_fast_range_stay_on_the_sphere(shape: tuple[int, int, int]) -> None:
    args = single(arguments(ANSATZE["pz"], shape, 2))
    with torch.no_grad():
        args[0].mul_(1e12)
    for value in fused(args, ANSATZE["pz"], 2, "z", False)[:1]:
        assert value.abs().max() <= 1 + 1e-5


@pytest.mark.parametrize("name", ["pz", "px", "mix"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, 1.5])
def test_nan_where_eager_gives_nan(name: str, bad: float) -> None:
    args = arguments(ALL[name], (20, 3, 2), 2, trained="bias")
    with torch.no_grad():
        args[0][3, 1] = bad
    got = fused(args, ALL[name], 2, "z", False)[0]
    options = bloch.Options(ALL[name], 2, "z", False)
    expected = bloch.plain_circuits(options, *args)
    assert torch.equal(got.isnan(), expected.isnan())
    assert got.isnan().any() == (name == "px" or not math.isfinite(bad))
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("trained", [None, "both"])
@pytest.mark.parametrize(("outputs", "inputs"), [(5, 3), (23, 13), (1, 4)])
def test_at_points(trained: str | None, outputs: int, inputs: int) -> None:
    args = arguments(ANSATZE["pz"], (6, outputs, inputs), 3, trained=trained)
    points = torch.linspace(-1, 1, 6, dtype=torch.float64)
    run = {"ansatz": ANSATZE["pz"], "reps": 3}
    y = bloch.at_points(points, *args[1:4], keep=False, **run)
    expected = reference.phi(points[:, None, None].expand(-1, 1, inputs), *args[1:4], readout="z", **run)
    assert_agree(results(y, args[1:4]), results(expected.transpose(1, 2).flatten(1), args[1:4]), 1e-12)


@pytest.mark.parametrize("shape", [(700, 40, 9), (9, 1500, 3), (700, 1, 60)])
@pytest.mark.parametrize("per_sample", [False, True])
def test_threads_do_not_change_a_bit(
    shape: tuple[int, int, int], per_sample: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if per_sample:
        shape = (shape[0] // 5 + 1, shape[1] // 5 + 1, shape[2])
    args = single(arguments(ANSATZE["pz"], shape, 2, edge_weight=True, per_sample=per_sample))
    monkeypatch.setattr(bloch_numba, "SHARD_ROTATIONS", 500)
    alone = fused(args, ANSATZE["pz"], 2, "z", True)
    used = []
    monkeypatch.setattr(threads.torch, "get_num_threads", lambda: used.append(1) or 3)
    together = fused(args, ANSATZE["pz"], 2, "z", True)
    assert used
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    monkeypatch.setattr(bloch_numba, "MAX_SHARDS", 1)
    assert_agree(together, fused(args, ANSATZE["pz"], 2, "z", True), 2e-3)


def test_empty_batches() -> None:
    for shape in ((0, 3, 4), (4, 0, 3), (4, 3, 0)):
        args = arguments(ANSATZE["pz"], shape, 2, edge_weight=True)
        y, *gradients = fused(args, ANSATZE["pz"], 2, "z", True)
        assert torch.equal(y, torch.zeros(shape[:2], dtype=y.dtype))
        assert all(torch.equal(g, torch.zeros_like(g)) for g in gradients)


def test_arguments_of_any_strides() -> None:
    args = arguments(ANSATZE["pz"], (5, 3, 4), 2, edge_weight=True)
    strided = [a.detach().transpose(0, -1).contiguous().transpose(0, -1).requires_grad_() for a in args]
    assert not strided[1].is_contiguous()
    options = (ANSATZE["pz"], 2, "z", True)
    assert_agree(fused(strided, *options), fused(args, *options), 0)


def test_only_the_gradients_that_are_needed() -> None:
    for needed in range(5):
        args = arguments(ANSATZE["pz"], (5, 3, 4), 2, edge_weight=True)
        every = fused(args, ANSATZE["pz"], 2, "z", True)
        some = [a.detach().requires_grad_(i == needed) for i, a in enumerate(args)]
        y = bloch.circuits(*some, ansatz=ANSATZE["pz"], reps=2, readout="z", reduce=True)
        (got,) = torch.autograd.grad(y, some[needed], torch.cos(torch.arange(y.numel()).double()).reshape(y.shape))
        torch.testing.assert_close(got, every[1 + needed], rtol=0, atol=1e-14)


def test_second_derivatives_and_many_vectors() -> None:
    args = arguments(get_ansatz("pz"), (3, 2, 2), 2, edge_weight=True)
    run = {"ansatz": ANSATZE["pz"], "reps": 2, "readout": "z", "reduce": True}
    assert torch.autograd.gradgradcheck(lambda *a: bloch.circuits(*a, **run), args)
    y = bloch.circuits(*args, **run)
    rows = torch.eye(y.numel(), dtype=y.dtype).reshape(-1, *y.shape)
    pull = torch.func.vjp(lambda theta: bloch.circuits(args[0], theta, *args[2:], **run), args[1])[1]
    (many,) = torch.func.vmap(pull)(rows)
    each = torch.stack([torch.autograd.grad(y, args[1], row, retain_graph=True)[0] for row in rows])
    torch.testing.assert_close(many, each, rtol=0, atol=1e-13)


def test_tracers_and_other_devices_get_operations() -> None:
    x = torch.zeros(2, 2)
    assert bloch_numba.numba_supported(x, None)
    assert not bloch_numba.numba_supported(x.to("meta"))
    assert not bloch_numba.numba_supported(x.half())
    assert torch.vmap(lambda row: row + bloch_numba.numba_supported(row))(x).sum() == 0


def test_a_missing_numba_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "qkan.kernels.circuits.bloch.numba_kernels", None)
    monkeypatch.delattr("qkan.kernels.circuits.bloch.numba_kernels", raising=False)
    with pytest.raises(ImportError, match=r"needs numba, which does not import here .*pip install 'numba"):
        bloch_numba._kernel()


def test_shards_run_once_and_errors_surface(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads.torch, "get_num_threads", lambda: 3)
    done: list[int] = []
    threads.run_shards(done.append, 50)
    assert sorted(done) == list(range(50))

    def fail(shard: int) -> None:
        if shard == 7:
            raise ZeroDivisionError("shard 7")

    with pytest.raises(ZeroDivisionError, match="shard 7"):
        threads.run_shards(fail, 20)


def test_a_child_of_fork_gets_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads.torch, "get_num_threads", lambda: 2)
    threads.run_shards(lambda shard: None, 4)
    child = os.fork()
    if child == 0:
        done: list[int] = []
        threads.run_shards(done.append, 4)
        os._exit(0 if sorted(done) == [0, 1, 2, 3] else 1)
    assert os.waitpid(child, 0)[1] == 0
