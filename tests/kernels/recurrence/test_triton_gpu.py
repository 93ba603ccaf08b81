"""The Triton kernels of recurrences against the reference in float64: outputs, final states and every gradient.

Without a GPU the kernels are interpreted (tests/conftest.py), with one the same tests run on it.
"""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from recurrences import KINDS, Case, Kind, assert_close, make, results
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from qkan.kernels.common import triton_device
from qkan.kernels.recurrence import api as recurrence
from qkan.kernels.recurrence import reference as recurrence_reference
from qkan.kernels.recurrence import triton_gpu as recurrence_triton
from qkan.kernels.recurrence.triton_gpu import Tiles, tiles
from qkan.kernels.recurrence.types import Weights
from qkan.kernels.spectral.basis import Basis

pytest.importorskip("triton", reason="Triton has no wheels for this platform")

GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
#: The width of tiles that a small recurrence does not fit into; tensor cores need larger ones than the interpreter.
SMALL = 16 if GPU else 4


@pytest.fixture(autouse=True)
def _nan_where_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    real_empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, **k: real_empty(*a, **k).fill_(math.nan))


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several tiles of units, latents and outputs, so that programs hand everything on through memory."""

    def small(*widths: int, plain: bool, **kinds: bool | int) -> Tiles:
        latents = SMALL if plain or GPU else 2  # the latents of an encoder are 3
        return Tiles(SMALL, SMALL, latents, SMALL, resident=False, warps=4)

    monkeypatch.setattr(recurrence_triton, "tiles", small)


def case(kind: Kind, sizes: tuple[int, ...], hidden: int, batch: int | None = None) -> Case:
    return make(kind, sizes, hidden, batch=batch, dtype=torch.float32).to(device=DEVICE)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_states_in_registers(kind: Kind) -> None:
    assert_close(case(kind, (5, 3), 7, batch=6), "triton", 3e-6)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.usefixtures("small_tiles")
def test_states_in_memory(kind: Kind) -> None:
    assert_close(case(kind, (4, 3), SMALL + 3), "triton", 3e-6)


#: Memory holds the state of the step before only from the third step on.
LONG = (
    Kind(basis=Basis("fourier", 1)),
    Kind(basis=Basis("fourier", 0, base="identity"), projection=True, reverse=True),
    Kind(basis=Basis("fourier", 0, base="tanh"), encoder=True),
    Kind(cell="gru", basis=Basis("fourier", 0, base="silu"), reverse=True),
)


@pytest.mark.parametrize("kind", LONG, ids=str)
@pytest.mark.usefixtures("small_tiles")
def test_several_programs_of_different_length_in_memory(kind: Kind) -> None:
    sizes = (SMALL + 2, SMALL + 1, SMALL, 2)
    assert_close(case(kind, sizes, SMALL + 1, batch=2 * SMALL + 1), "triton", 3e-6)


@pytest.mark.parametrize("kind", LONG, ids=str)
def test_several_programs_of_different_length_in_registers(kind: Kind) -> None:
    assert_close(case(kind, (18, 17, 16, 2), 3, batch=33), "triton", 3e-6)


@pytest.mark.parametrize("basis", [Basis("fourier", 1), Basis("chebyshev", 3, 1.5), Basis("chebyshev", 2, 1.5, "silu")])
def test_tiles_of_devices(basis: Basis) -> None:
    """Widths just beyond the registers; Chebyshev polynomials whose derivatives have one wave or none."""
    assert_close(case(Kind(basis=basis), (3, 2), 18), "triton", 3e-6)


def low_case(kind: Kind, matmul_dtype: torch.dtype, sizes: tuple[int, ...], hidden: int) -> Case:
    return case(replace(kind, matmul_dtype=matmul_dtype), sizes, hidden)


@pytest.mark.parametrize("matmul_dtype", [torch.bfloat16, torch.float16])
def test_low_products_are_rounded_once_and_summed_in_float32(matmul_dtype: torch.dtype) -> None:
    given = low_case(Kind(basis=Basis("fourier", 2, base="silu")), matmul_dtype, (5,), 7)
    got = recurrence.run(given.spec, given.layout, given.steps, given.weights, given.h_0, given.c_0, backend="triton")
    exact = given.to(torch.float64)
    planes = torch.cat(recurrence_reference.features(exact.spec, exact.weights, exact.h_0), -1)
    gates = planes.to(matmul_dtype).double() @ exact.weights.matrix.flatten(0, 1).to(matmul_dtype).double()
    h, c = recurrence_reference.lstm_step(gates + exact.weights.bias + exact.steps, exact.c_0)
    torch.testing.assert_close(got[0].double(), h, atol=1e-6, rtol=0)
    torch.testing.assert_close(got[2].double(), c, atol=1e-6, rtol=0)


@pytest.mark.parametrize("matmul_dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "kind",
    [
        Kind(basis=Basis("chebyshev", 6, 1.5, base="gelu"), projection=True),
        Kind(basis=Basis("fourier", 2, base="silu"), encoder=True, shaped=True, reverse=True),
        Kind(cell="gru", basis=Basis("fourier", 1)),
    ],
    ids=str,
)
def test_low_products_as_the_torch_engine_has_them(kind: Kind, matmul_dtype: torch.dtype) -> None:
    given = low_case(kind, matmul_dtype, (4, 2), 6)
    got, expected = results(given, "triton"), results(given, "torch")
    unit = 2.0**-8 if matmul_dtype == torch.bfloat16 else 2.0**-11
    for name, tensor in expected.items():
        error, scale = float((got[name] - tensor).abs().max()), max(1.0, float(tensor.abs().max()))
        assert error <= 4 * unit * scale, name
    # It is the rounding that they share: without it they are further apart.
    exact = results(case(kind, (4, 2), 6), "triton")
    assert any(float((got[name] - exact[name]).abs().max()) > unit / 64 for name in expected)


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize("kind", [KINDS[11], Kind(cell="gru")], ids=str)
def test_without_gradients_results_are_the_same(kind: Kind, memory: bool, request: pytest.FixtureRequest) -> None:
    if memory:
        request.getfixturevalue("small_tiles")
    given = case(kind, (3, 2), SMALL + 1)
    kept = results(given, "triton")
    got = recurrence.run(given.spec, given.layout, given.steps, given.weights, given.h_0, given.c_0, backend="triton")
    for tensor, name in zip(got, ("outputs", "h_n", "c_n"), strict=True):
        assert tensor is None or torch.equal(tensor, kept[name])


def test_no_sequences() -> None:
    given = case(Kind(), (0, 0), 3, batch=2)
    got = results(given, "triton")
    expected = results(given.to(torch.float64), "reference")
    for name, tensor in expected.items():
        torch.testing.assert_close(got[name].double(), tensor, msg=name)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # the interpreter computes with NumPy
def test_what_is_not_finite_stays_in_its_sequence() -> None:
    given = case(Kind(basis=Basis("fourier", 1, base="silu")), (4, 4), 5)
    expected = results(given, "triton")
    given.steps[2] = math.nan
    got = results(given, "triton")
    others = [0, 1, 3, 4, 5, 7]
    assert got["outputs"][[2, 6]].isnan().all()
    assert torch.equal(got["outputs"][others], expected["outputs"][others])
    assert torch.equal(got["grad steps"][others], expected["grad steps"][others])
    assert got["grad steps"][[2, 6]].isnan().all()


def reason(kind: Kind, hidden: int, **change: Tensor) -> str | None:
    given = make(kind, (2,), hidden, dtype=torch.float32)
    steps = change.get("steps", given.steps)
    return recurrence_triton.unsupported_reason(given.spec, (steps, *given.weights))


def test_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert reason(Kind(), 181) is None
    assert "compute in float32, not torch.float64" in str(reason(Kind(), 2, steps=torch.zeros(2, 8).double()))
    assert "not on 'meta'; move the module there" in str(reason(Kind(), 2, steps=torch.zeros(2, 8, device="meta")))
    wide = str(reason(Kind(basis=Basis("fourier", 0, base="tanh"), encoder=True), 1100))
    assert wide == "its kernels take at most 1024 units, latents and outputs, not 1100, 3 and 1100; use fewer"
    assert "pays up to 4194304 numbers, not 5760000; use fewer features" in str(reason(Kind(), 600))
    monkeypatch.setattr(triton_device, "triton_installed", lambda: False)
    assert str(reason(Kind(), 2)) == "Triton is not installed; install it (pip install triton)"
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    assert "not on 'cpu'; move the module there, or set TRITON_INTERPRET=1" in str(reason(Kind(), 2))


def test_by_name_a_recurrence_beyond_the_kernels_is_refused() -> None:
    given = make(Kind(), (2,), 3)
    with pytest.raises(ValueError, match="backend 'triton' cannot run this recurrence: its kernels compute in float32"):
        recurrence.ENGINES.choose("triton", given.spec, (given.steps, *given.weights))


def test_auto_does_not_interpret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    given = make(
        Kind(matmul_dtype=torch.bfloat16), (2,), 3, dtype=torch.float32
    )  # the engine before it cannot round products
    assert recurrence.ENGINES.choose("auto", given.spec, (given.steps, *given.weights)).name == "torch"
    assert recurrence.ENGINES.choose("triton", given.spec, (given.steps, *given.weights)).name == "triton"
    explained = recurrence.ENGINES.explain("auto", given.spec, (given.steps, *given.weights))
    assert "triton cannot run: its kernels would be interpreted, slowly" in explained


@pytest.mark.parametrize("matmul_dtype", [False, True])
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("lanes", [32, 64])
def test_tiles_fit_their_recurrence(matmul_dtype: bool, backward: bool, lanes: int) -> None:
    options = {"matmul_dtype": matmul_dtype, "plain": True, "backward": backward, "lanes": lanes}
    assert tiles(5, 5, 5, **options)[:5] == (16, 16, 16, 16, True)
    assert tiles(60, 60, 60, **options).resident == matmul_dtype
    beyond = tiles(100, 100, 100, **options)
    assert not beyond.resident
    # What is summed over is in the rows of a tile, and short: units backward, latents forward.
    assert (beyond.units if backward else beyond.latents) == (32 if matmul_dtype else 16)
    assert beyond.warps * lanes == 256


def test_importing_does_not_import_triton() -> None:
    code = "import sys, qkan.kernels.recurrence.api; print('triton' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.parametrize("kind", [Kind(), Kind(cell="gru")], ids=str)
def test_constants_are_made_while_a_compiler_traces(kind: Kind) -> None:
    """CUDA graphs that a compiler captures cannot keep what is made inside an operation at its first run."""
    recurrence_triton._plan.cache_clear()
    given = make(kind, (3, 2), 5, dtype=torch.float32)
    with FakeTensorMode() as mode:
        fake = [None if t is None else mode.from_tensor(t) for t in (given.steps, *given.weights, given.h_0, given.c_0)]
        steps, *fields, h_0, c_0 = fake
        recurrence.run(given.spec, given.layout, steps, Weights(*fields), h_0, c_0, backend="triton")
    assert recurrence_triton._plan.cache_info().currsize == 1
    results(given.to(device=DEVICE), "triton")
    assert recurrence_triton._plan.cache_info().currsize == 1
