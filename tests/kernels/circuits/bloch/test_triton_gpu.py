"""The Triton kernels against the state-vector reference in double precision: outputs and every gradient.

Without a GPU the kernels are interpreted (tests/conftest.py), with one the same tests run on it.
"""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from qkan.kernels.circuits import statevector as reference
from qkan.kernels.circuits.ansatz import ANSATZE, Ansatz
from qkan.kernels.circuits.bloch import triton_gpu as bloch_triton
from qkan.kernels.common import triton_device

pytest.importorskip("triton", reason="Triton has no wheels for this platform")

CUSTOM = Ansatz("custom", ("rx", "y", "rz"), "ry", ("rz", "x", "ry"), initial=(0.0, 0.6, 0.8))
#: All its rotations share an axis with their neighbours: every encoding merges into one rotation.
MERGED = Ansatz("merged", ("ry",), "ry", initial=(0.6, 0.0, 0.8))
MERGED_ACOS = Ansatz("merged-acos", ("ry",), "ry", initial=(0.6, 0.0, 0.8), encoding_map="acos")
#: Its only encoding is a turn about z that <Z> cannot see, so no input reaches the output; `idle` has no rotation left.
CONSTANT = Ansatz("constant", ("ry",), "rz")
IDLE = Ansatz("idle", ("rz",), "rz", initial=(0.6, 0.0, 0.8))
ALL = {a.name: a for a in (*ANSATZE.values(), CUSTOM, MERGED, MERGED_ACOS, CONSTANT, IDLE)}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
REAL_TILE, REAL_PROGRAMS = bloch_triton.tile, bloch_triton.PROGRAMS
Arguments = list[Tensor | None]


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several tiles in every dimension at sizes that an interpreter can bear, and NaN in all that is not written."""
    real_empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, **k: real_empty(*a, **k).fill_(math.nan))
    monkeypatch.setattr(bloch_triton, "tile", lambda steps, outputs, lanes, backward: (8, 4))
    monkeypatch.setattr(bloch_triton, "PROGRAMS", 4)


@pytest.fixture
def real_tiles(_small_tiles: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bloch_triton, "tile", REAL_TILE)
    monkeypatch.setattr(bloch_triton, "PROGRAMS", REAL_PROGRAMS)


@pytest.fixture
def exact_fma(monkeypatch: pytest.MonkeyPatch) -> None:
    """Round a fused multiply-add once, as devices do; the interpreter rounds the product as well."""
    from triton.runtime import interpreter

    def create_fma(self: Any, x: Any, y: Any, z: Any) -> Any:
        exact = x.data.astype("float64") * y.data + z.data
        return interpreter.TensorHandle(exact.astype(z.data.dtype), z.dtype.scalar)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_fma", create_fma)


def tensors(ansatz: Ansatz, samples: int, outputs: int, inputs: int, reps: int, **kinds: Any) -> Arguments:
    """x, theta, preact_weight, preact_bias, mix; acos stays inside its domain, ``calm`` keeps away from the poles."""
    make = torch.Generator().manual_seed(0)
    calm = kinds.get("calm", False)
    dtype, trained = kinds.get("dtype", torch.float32), kinds.get("trained")
    circuits = 1 if kinds.get("shared") else outputs

    def uniform(*shape: int, bound: float) -> Tensor:
        return (bound * (2 * torch.rand(*shape, generator=make, dtype=torch.float64) - 1)).to(DEVICE, dtype)

    acos = ansatz.encoding_map == "acos"
    x = uniform(samples, inputs, bound=0.2 / reps if calm else 0.9 if acos else 3.0)
    theta = uniform(circuits, inputs, ansatz.rows(reps), ansatz.angles, bound=0.3 / reps if calm else 3.0)
    weight = bias = edge_weight = None
    if trained in ("weight", "both"):
        weight = uniform(circuits, inputs, reps, bound=0.6 if acos else 2.0)
    if trained in ("bias", "both"):
        bias = uniform(circuits, inputs, reps, bound=0.05 if acos else 0.3)
    if kinds.get("edge_weight"):
        edge_weight = uniform(outputs, inputs, bound=2.0)
    return [None if a is None else a.requires_grad_() for a in (x, theta, weight, bias, edge_weight)]


def upstream(y: Tensor) -> Tensor:
    """Numbers that every precision holds exactly."""
    return ((torch.arange(y.numel(), device=y.device) % 7 - 3) / 4).reshape(y.shape).to(y.dtype)


def found(args: Arguments, **options: Any) -> list[Tensor]:
    y = bloch_triton.circuits(*args, **options)  # type: ignore[arg-type]
    return [y.detach(), *torch.autograd.grad(y, [a for a in args if a is not None], upstream(y))]


def truth_of(args: Arguments, **options: Any) -> Tensor:
    x, theta, weight, bias, edge_weight = args
    phi = reference.phi(x.unsqueeze(-2), theta, weight, bias, **options)  # type: ignore[union-attr,arg-type]
    return (phi if edge_weight is None else phi * edge_weight).sum(-1)


def expected(args: Arguments, **options: Any) -> list[Tensor]:
    """The reference in double precision on the very same numbers."""
    exact = [None if a is None else a.detach().double().requires_grad_() for a in args]
    y = truth_of(exact, **options)
    return [y.detach(), *torch.autograd.grad(y, [a for a in exact if a is not None], upstream(y))]


def assert_agree(args: Arguments, *, tolerance: float = 3e-6, **options: Any) -> None:
    """Agreement to ``tolerance`` of the largest entry of each tensor, or of 1."""
    for got, truth in zip(found(args, **options), expected(args, **options), strict=True):
        atol = tolerance * max(1.0, float(truth.abs().max()) if truth.numel() else 0.0)
        torch.testing.assert_close(got.double(), truth, rtol=0, atol=atol)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("trained", "edge_weight"), [(None, False), (None, True), ("weight", False), ("bias", True), ("both", True)]
)
def test_outputs_and_gradients(name: str, trained: str | None, edge_weight: bool) -> None:
    reps = 1 if name == "constant" else 2
    assert_agree(
        tensors(ALL[name], 11, 5, 2, reps, trained=trained, edge_weight=edge_weight),
        ansatz=ALL[name],
        reps=reps,
        readout="z",
    )


@pytest.mark.parametrize("name", [*ANSATZE, "custom"])
@pytest.mark.parametrize("trained", [None, "both"])
def test_amplitude_readout(name: str, trained: str | None) -> None:
    # The amplitude readout is a square root: near a pole it magnifies rounding, so the angles stay small.
    args = tensors(ALL[name], 9, 3, 2, 2, trained=trained, edge_weight=True, calm=True)
    assert_agree(args, tolerance=2e-5, ansatz=ALL[name], reps=2, readout="amplitude")


@pytest.mark.parametrize("name", [*ANSATZE, "custom"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_only_at_the_end(name: str, dtype: torch.dtype) -> None:
    args = tensors(ALL[name], 9, 3, 2, 2, trained="both", edge_weight=True, dtype=dtype)
    for got in found(args, ansatz=ALL[name], reps=2, readout="z"):
        assert got.dtype == dtype
    # One rounding errs by half an eps, but the interpreter cuts bfloat16 off, which errs by a whole one.
    assert_agree(args, tolerance=1.01 * torch.finfo(dtype).eps, ansatz=ALL[name], reps=2, readout="z")


@pytest.mark.parametrize(
    ("samples", "outputs", "inputs"), [(1, 1, 1), (8, 4, 4), (9, 1, 2), (1, 9, 1), (33, 3, 1), (7, 5, 9)]
)
@pytest.mark.parametrize("trained", [None, "both"])
def test_sizes_around_those_of_a_tile(samples: int, outputs: int, inputs: int, trained: str | None) -> None:
    args = tensors(ALL["mix"], samples, outputs, inputs, 1, trained=trained, edge_weight=True)
    assert_agree(args, ansatz=ALL["mix"], reps=1, readout="z")


@pytest.mark.usefixtures("real_tiles")
@pytest.mark.parametrize(("samples", "outputs"), [(150, 2), (17, 33)])
def test_default_tiles(samples: int, outputs: int) -> None:
    args = tensors(ALL["pz"], samples, outputs, 1, 3, trained="both", edge_weight=True)
    assert_agree(args, ansatz=ALL["pz"], reps=3, readout="z")


@pytest.mark.parametrize("name", [*ANSATZE, "merged-acos"])
@pytest.mark.parametrize("trained", [None, "both"])
def test_circuits_shared_by_all_outputs(name: str, trained: str | None) -> None:
    args = tensors(ALL[name], 9, 6, 5, 2, trained=trained, edge_weight=True, shared=True)
    assert_agree(args, ansatz=ALL[name], reps=2, readout="z")


@pytest.mark.parametrize("name", ["pz", "custom"])
def test_many_repetitions(name: str) -> None:
    args = tensors(ALL[name], 3, 2, 1, 16, trained="both")
    assert_agree(args, tolerance=1e-5, ansatz=ALL[name], reps=16, readout="z")


@pytest.mark.parametrize("wanted", range(5))
@pytest.mark.parametrize("name", ["pz", "px"])
def test_only_the_gradients_asked_for(name: str, wanted: int) -> None:
    args = tensors(ALL[name], 9, 3, 2, 2, trained="both", edge_weight=True)
    options = {"ansatz": ALL[name], "reps": 2, "readout": "z"}
    truth = expected(args, **options)[1:]
    for k, arg in enumerate(args):
        arg.requires_grad_(k == wanted)
    y = bloch_triton.circuits(*args, **options)
    y.backward(upstream(y))
    for k, arg in enumerate(args):
        if k == wanted:
            torch.testing.assert_close(arg.grad.double(), truth[k], rtol=0, atol=1e-5)
        else:
            assert arg.grad is None


def test_strided_and_expanded_tensors() -> None:
    options = {"ansatz": ALL["pz"], "reps": 2, "readout": "z"}
    x, theta, weight, bias, edge_weight = tensors(ALL["pz"], 9, 5, 3, 2, trained="both", edge_weight=True)
    args = [
        x[:1].expand(9, 3),
        theta[:1].expand(5, -1, -1, -1),
        weight.transpose(1, 2).contiguous().transpose(1, 2),
        bias.flip(0)[::1],
        edge_weight.t().contiguous().t(),
    ]
    y, truth = bloch_triton.circuits(*args, **options), truth_of(args, **options)
    inputs = (x, theta, weight, bias, edge_weight)
    y_grads = torch.autograd.grad(y.sum(), inputs)  # sum: an expanded upstream gradient
    truth_grads = torch.autograd.grad(truth.sum(), inputs)
    for got, want in zip((y, *y_grads), (truth, *truth_grads), strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=2e-5)


@pytest.mark.parametrize(("samples", "outputs", "inputs"), [(0, 3, 2), (4, 3, 0), (4, 0, 2)])
def test_nothing_to_do(samples: int, outputs: int, inputs: int) -> None:
    args = tensors(ALL["pz"], samples, outputs, inputs, 1, trained="both", edge_weight=True)
    y, *gradients = found(args, ansatz=ALL["pz"], reps=1, readout="z")
    assert torch.equal(y, torch.zeros(samples, outputs, device=DEVICE))
    for gradient, arg in zip(gradients, args, strict=True):
        assert torch.equal(gradient, torch.zeros_like(arg))


@pytest.mark.parametrize("trained", [None, "both"])
def test_acos_outside_its_domain_is_nan(trained: str | None) -> None:
    args = tensors(ALL["px"], 9, 3, 2, 2, trained=trained)
    options = {"ansatz": ALL["px"], "reps": 2, "readout": "z"}
    with torch.no_grad():
        args[0][4, 1] = 40.0
    y, truth = found(args, **options)[0], expected(args, **options)[0]
    assert truth[4].isnan().all()
    torch.testing.assert_close(y.double(), truth, rtol=0, atol=3e-6, equal_nan=True)


def test_acos_at_the_edge_in_the_last_sample_leaves_other_gradients_alone() -> None:
    # |w x + b| = 1 has an infinite slope, which the lanes beyond the last sample must not multiply by zero.
    args = tensors(ALL["px"], 3, 2, 2, 1, trained="both")
    with torch.no_grad():
        args[3][:] = 1.0
        args[2].abs_().neg_()
        args[0].abs_()
    assert_agree(args, tolerance=1e-4, ansatz=ALL["px"], reps=1, readout="z")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("trained", [None, "both"])
@pytest.mark.parametrize("position", ["x", "theta"])
def test_what_is_not_finite_spreads_as_far_as_it_should(value: float, trained: str | None, position: str) -> None:
    args = tensors(ALL["pz"], 9, 3, 2, 1, trained=trained)
    options = {"ansatz": ALL["pz"], "reps": 1, "readout": "z"}
    with torch.no_grad():
        if position == "x":
            args[0][8, 1] = value
        else:
            args[1][2, 1, 0, 1] = value
    for got, truth in zip(found(args, **options), expected(args, **options), strict=True):
        assert truth.isnan().any()
        assert torch.equal(got.isnan(), truth.isnan())


@pytest.mark.parametrize("angle", ["x", "weight", "bias", "theta"])
def test_large_angles(angle: str, request: pytest.FixtureRequest) -> None:
    if DEVICE == "cpu":
        request.getfixturevalue("exact_fma")
    # Pre-activation weights near 1: d phi / d w is as large as x, so only outputs and gradients of angles are compared.
    args = tensors(ALL["pz"], 17, 3, 2, 2, trained=None if angle == "x" else "both")
    with torch.no_grad():
        if angle in ("x", "weight"):
            args[0] *= 1e6 / 3
        else:
            args[3 if angle == "bias" else 1] *= 1e6 / 3
    options = {"ansatz": ALL["pz"], "reps": 2, "readout": "z"}
    got, truth = found(args, **options), expected(args, **options)
    torch.testing.assert_close(got[0].double(), truth[0], rtol=0, atol=3e-6)
    torch.testing.assert_close(got[2].double(), truth[2], rtol=0, atol=1e-5)


@pytest.mark.parametrize("angle", [1e9, 1e15, 1e30])
def test_absurd_angles_stay_bounded(angle: float) -> None:
    args = tensors(ALL["pz"], 33, 5, 1, 2, trained="weight")
    with torch.no_grad():
        args[0] *= angle
    y = bloch_triton.circuits(*args, ansatz=ALL["pz"], reps=2, readout="z")
    assert float(y.detach().abs().max()) <= 1 + 1e-5


@pytest.mark.parametrize("shared", [False, True])
def test_runs_repeat_bit_for_bit(shared: bool) -> None:
    args = tensors(ALL["pz"], 17, 5, 5, 2, trained="both", edge_weight=True, shared=shared)
    first, second = (found(args, ansatz=ALL["pz"], reps=2, readout="z") for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


def test_gradients_sum_over_programs_in_any_split(monkeypatch: pytest.MonkeyPatch) -> None:
    args = tensors(ALL["custom"], 33, 3, 5, 1, trained="both", edge_weight=True)
    for programs in (1, 12, 10_000):
        monkeypatch.setattr(bloch_triton, "PROGRAMS", programs)
        assert_agree(args, ansatz=ALL["custom"], reps=1, readout="z")


@pytest.mark.parametrize("steps", [1, 10, 11, 80])
@pytest.mark.parametrize("outputs", [1, 2, 3, 31, 32, 64, 1000])
@pytest.mark.parametrize("lanes", [32, 64])
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.usefixtures("real_tiles")
def test_a_tile_fills_whole_warps(steps: int, outputs: int, lanes: int, backward: bool) -> None:
    block_b, block_o = bloch_triton.tile(steps, outputs, lanes, backward)
    assert block_o <= lanes
    assert block_o < 2 * outputs
    assert block_b * block_o % lanes == 0
    assert math.log2(block_b) % 1 == math.log2(block_o) % 1 == 0


OKAY: dict[str, Any] = {
    "ansatz": ANSATZE["pz"], "reps": 3, "device": torch.device("cuda"), "dtype": torch.float32, "per_sample": False
}  # fmt: skip


def test_nothing_speaks_against_a_layer_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bloch_triton, "device_problem", lambda device, family: None)
    assert bloch_triton.unsupported_reason(**OKAY) is None
    assert bloch_triton.unsupported_reason(**{**OKAY, "dtype": torch.bfloat16, "reps": 16}) is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"per_sample": True}, "theta differs between samples, and its kernels read one theta for all; use backend"),
        ({"dtype": torch.float64}, "compute in single precision, not torch.float64; use float32 or backend 'bloch'"),
        ({"reps": 17}, "at most 16 repetitions and 80 rotations, not 17 and 36; use fewer repetitions or"),
        (
            {"ansatz": Ansatz("long", ("rx", "rz") * 3), "reps": 14},
            "80 rotations, not 14 and 83; use fewer repetitions",
        ),
    ],
)
def test_unsupported_reasons(change: dict[str, Any], sentence: str) -> None:
    assert sentence in str(bloch_triton.unsupported_reason(**{**OKAY, **change}))


def test_a_processor_needs_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    reason = bloch_triton.unsupported_reason(**{**OKAY, "device": torch.device("cpu")})
    assert reason is not None
    assert reason.startswith(
        "its kernels run on CUDA and ROCm devices, not on 'cpu'; move the layer there, use backend"
    )


def test_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_device, "triton_installed", lambda: False)
    reason = "Triton is not installed; install it (pip install triton) or use backend 'bloch'"
    assert bloch_triton.unsupported_reason(**OKAY) == reason


def test_under_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert "a compiler cannot trace the launch of its kernels" in str(bloch_triton.unsupported_reason(**OKAY))


def test_what_cannot_run_raises_with_the_reason() -> None:
    x, theta, *_ = tensors(ALL["pz"], 2, 2, 2, 1)
    with pytest.raises(
        ValueError, match=r"backend 'triton' cannot run this layer: .* single precision, not torch\.float64"
    ):
        bloch_triton.circuits(x.double(), theta, None, None, None, ansatz=ALL["pz"], reps=1, readout="z")


@pytest.mark.usefixtures("real_tiles")
@pytest.mark.skipif(DEVICE == "cpu", reason="needs a CUDA or ROCm device")
@pytest.mark.parametrize("name", [*ANSATZE, "custom"])
@pytest.mark.parametrize("trained", [None, "both"])
@pytest.mark.parametrize("shared", [False, True])
def test_a_whole_layer_on_the_device(name: str, trained: str | None, shared: bool) -> None:
    args = tensors(ALL[name], 1000, 70, 50, 3, trained=trained, edge_weight=True, shared=shared)
    assert_agree(args, tolerance=1e-5, ansatz=ALL[name], reps=3, readout="z")


def test_views_that_are_yet_to_be_negated() -> None:
    x, theta, weight, grad = (torch.rand(*s, device=DEVICE) for s in ((9, 3), (2, 3, 2, 2), (2, 3, 1), (9, 2)))
    results = []
    for given, upstream in ((x, grad), (_lazily(x), _lazily(grad))):
        wanted = given.requires_grad_(), theta.requires_grad_()
        y = bloch_triton.circuits(wanted[0], wanted[1], weight, None, None, ansatz=ANSATZE["pz"], reps=1, readout="z")
        results.append([y, *torch.autograd.grad(y, wanted, upstream)])
    for found, expected in zip(*results, strict=True):
        assert torch.equal(found, expected)


def _lazily(tensor: Tensor) -> Tensor:
    """The same numbers, of which memory has the negatives."""
    negated = torch.complex(tensor, -tensor).conj().imag
    assert negated.is_neg()
    return negated
