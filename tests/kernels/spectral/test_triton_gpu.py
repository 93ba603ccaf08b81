"""The spectral Triton kernels against float64 sums over all terms: outputs and gradients.

Without a GPU the kernels are interpreted (tests/conftest.py), with one the same tests run on it.
"""

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from qkan.kernels.spectral import triton_gpu as spectral_triton

Run = Callable[..., list[Tensor]]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
NAMES = ("x", "matrix", "const", "g", "slopes", "slope0")
BASES: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "relu": F.relu,
    "tanh": torch.tanh,
    "identity": lambda x: x,
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Output, input gradient and matrix gradient on the CPU, without ``g`` only the output.

    What torch.empty returns is filled with NaN, so that an element that no kernel writes shows.
    """
    pytest.importorskip("triton", reason="Triton has no wheels for this platform")
    real_empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *shape, **kinds: real_empty(*shape, **kinds).fill_(math.nan))

    def evaluate(args: dict[str, Tensor | None], **options: Any) -> list[Tensor]:
        x, matrix, const, g, slopes, slope0 = (_on_device(args.get(name)) for name in NAMES)
        results = [spectral_triton.spectral_sum(x, matrix, const, **options)]
        if g is not None:
            results += spectral_triton.spectral_gradients(g, x, slopes, slope0, **options)
        return [result.cpu() for result in results]

    return evaluate


def _on_device(tensor: Tensor | None) -> Tensor | None:
    """The tensor where the kernels run, strides and all."""
    if tensor is None:
        return None
    span = 1 + sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.stride(), strict=True))
    if DEVICE == "cpu" or tensor.numel() == 0:
        return tensor.to(DEVICE)
    flat = tensor.as_strided((span,), (1,)).to(DEVICE)
    return flat.as_strided(tensor.shape, tensor.stride())


def features(x: Tensor, kind: str, size: int, radius: float = 1.0, base: str | None = None) -> Tensor:
    """Every term at every input in float64: (terms, samples, inputs)."""
    x = x.double()
    if kind == "fourier":
        waves = [f(k * x) for f in (torch.cos, torch.sin) for k in range(1, size + 1)]
    else:
        angles = torch.arccos(x / torch.tensor(radius).double())  # the radius that the kernels get is a float32
        waves = [torch.cos(k * angles) for k in range(1, size)]
    return torch.stack(waves + ([] if base is None else [BASES[base](x)]))


def expected(args: dict[str, Tensor | None], kind: str, size: int, radius: float, base: str | None) -> list[Tensor]:
    x, matrix, const, g, slopes, slope0 = (None if args[name] is None else args[name].double() for name in NAMES)
    f = features(x, kind, size, radius, base)
    y = torch.einsum("tbi,tio->bo", f, matrix) + (0 if const is None else const)
    s = f.clone()
    if base is not None:
        leaf = x.clone().requires_grad_()
        s[-1] = torch.autograd.grad(BASES[base](leaf).sum(), leaf)[0]
    dx = torch.einsum("tbi,bo,tio->bi", s, g, slopes) + (0 if slope0 is None else g @ slope0.T)
    return [y, dx, torch.einsum("tbi,bo->tio", f, g)]


def arguments(
    kind: str, size: int, radius: float, base: str | None, shape: tuple[int, int, int], dtype: torch.dtype, bare: bool
) -> dict[str, Tensor | None]:
    """Random tensors; ``bare`` leaves out what may be left out. Slopes are unrelated to the matrix on purpose."""
    samples, inputs, outputs = shape
    make = torch.Generator().manual_seed(size)
    terms = (2 * size if kind == "fourier" else size - 1) + (base is not None)
    inside = radius * (2 * torch.rand(samples, inputs, generator=make) - 1)
    wide = 4 * torch.randn(samples, inputs, generator=make)
    return {
        "x": (inside if kind == "chebyshev" else wide).to(dtype),
        "matrix": torch.randn(terms, inputs, outputs, generator=make),
        "const": None if bare else torch.randn(outputs, generator=make),
        "g": torch.randn(samples, outputs, generator=make).to(dtype),
        "slopes": torch.randn(terms, inputs, outputs, generator=make),
        "slope0": None if bare else torch.randn(inputs, outputs, generator=make),
    }


def assert_near(got: list[Tensor], truth: list[Tensor], tolerances: float | tuple[float, ...]) -> None:
    """Largest errors relative to the largest number of each tensor."""
    each = tolerances if isinstance(tolerances, tuple) else (tolerances,) * len(got)
    for have, want, tolerance in zip(got, truth, each, strict=True):
        assert have.shape == want.shape
        error, size = (float(t.abs().max()) for t in (have.double() - want, want))
        assert error <= tolerance * size


@pytest.mark.parametrize(
    ("kind", "size", "radius", "base", "shape", "bare"),
    [
        ("fourier", 1, 1.0, None, (1, 1, 1), True),
        ("fourier", 3, 1.0, "silu", (5, 4, 3), False),
        ("fourier", 4, 1.0, "gelu", (70, 20, 70), False),
        ("fourier", 2, 1.0, "relu", (130, 37, 5), True),
        ("fourier", 5, 1.0, "tanh", (33, 7, 66), False),
        ("chebyshev", 2, 1.0, None, (3, 2, 4), True),
        ("chebyshev", 6, 1.0, "identity", (65, 18, 130), False),
        ("chebyshev", 9, 2.7, "silu", (130, 40, 33), False),
        ("chebyshev", 16, 0.3, "gelu", (9, 33, 2), True),
        ("chebyshev", 1, 1.0, "tanh", (17, 3, 5), False),
    ],
)
def test_outputs_and_gradients(
    run: Run, kind: str, size: int, radius: float, base: str | None, shape: tuple[int, int, int], bare: bool
) -> None:
    args = arguments(kind, size, radius, base, shape, torch.float32, bare)
    options = {"kind": kind, "size": size, "radius": radius, "base": base}
    got = run(args, **options)
    assert [tensor.dtype for tensor in got] == [torch.float32] * 3
    assert_near(got, expected(args, **options), 3e-6)


@pytest.mark.parametrize(
    ("kind", "size", "radius", "base"), [("fourier", 3, 1.0, "silu"), ("chebyshev", 8, 2.0, "gelu")]
)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(run: Run, kind: str, size: int, radius: float, base: str, dtype: torch.dtype) -> None:
    """Errors of a few roundings; one result is rounded itself, and the interpreter cuts off where devices round."""
    args = arguments(kind, size, radius, base, (65, 33, 34), dtype, bare=False)
    options = {"kind": kind, "size": size, "radius": radius, "base": base}
    got = run(args, **options)
    assert [tensor.dtype for tensor in got] == [dtype, dtype, torch.float32]
    unit = 2.0**-8 if dtype == torch.bfloat16 else 2.0**-11
    assert_near(got, expected(args, **options), (2 * unit, 2 * unit, unit / 2))


def test_bfloat16_features_are_made_in_float32(run: Run) -> None:
    """Rounding first and multiplying exactly gives the same: orders of magnitude closer than bfloat16 itself."""
    x = torch.linspace(-8, 8, 40).to(torch.bfloat16).unsqueeze(-1)
    make = torch.Generator().manual_seed(0)
    matrix, g = torch.randn(8, 1, 3, generator=make), torch.randn(40, 3, generator=make).to(torch.bfloat16)
    args = {"x": x, "matrix": matrix, "const": None, "g": g, "slopes": matrix, "slope0": None}
    dmatrix = run(args, kind="fourier", size=4)[2]
    rounded = features(x, "fourier", 4).to(torch.bfloat16).double()
    assert_near([dmatrix], [torch.einsum("tbi,bo->tio", rounded, g.double())], 1e-4)


@pytest.mark.parametrize(
    ("kind", "size", "radius", "units"),
    [("fourier", 32, 1.0, 32), ("chebyshev", 128, 1.0, 64), ("chebyshev", 127, 2.7, 128)],
)
def test_every_term(run: Run, kind: str, size: int, radius: float, units: int) -> None:
    """With the identity for a matrix the outputs are the terms; errors in units of 2^-23."""
    make = torch.Generator().manual_seed(1)
    angles = torch.cat((torch.rand(100, generator=make), 10 ** (-4 * torch.rand(29, generator=make)))).double()
    x = (radius * torch.cos(torch.pi * angles) if kind == "chebyshev" else 1e3 * angles).float()
    x = torch.cat((x, -x))
    terms = 2 * size if kind == "fourier" else size - 1
    (got,) = run({"x": x.unsqueeze(-1), "matrix": torch.eye(terms).unsqueeze(1)}, kind=kind, size=size, radius=radius)
    truth = features(x.unsqueeze(-1), kind, size, radius).squeeze(-1).T
    assert float((got.double() - truth).abs().max()) < units * 2.0**-23


def test_large_angles(run: Run) -> None:
    x = (10 ** torch.linspace(0, 38, 600, dtype=torch.float64)).float().unsqueeze(-1)
    (got,) = run({"x": -x, "matrix": torch.eye(2).unsqueeze(1)}, kind="fourier", size=1)
    assert float((got.double() - features(-x, "fourier", 1).squeeze(-1).T).abs().max()) < 2e-7


@pytest.mark.parametrize(("kind", "size", "radius"), [("fourier", 4, 1.0), ("chebyshev", 9, 1.5)])
def test_gradient_of_the_sum(run: Run, kind: str, size: int, radius: float) -> None:
    """With slopes that are the derivative of the matrix, dx and dM are the gradients that autograd finds."""
    args = arguments(kind, size, radius, "silu", (20, 6, 7), torch.float32, bare=True)
    matrix = args["matrix"]
    slopes, slope0 = torch.zeros_like(matrix), None
    if kind == "fourier":
        k = torch.arange(1.0, size + 1).reshape(-1, 1, 1)
        slopes[:size], slopes[size : 2 * size] = k * matrix[size : 2 * size], -k * matrix[:size]
    else:  # T_k' = 2 k (T_(k-1) + T_(k-3) + ...), the last term halved if it is T_0
        slope0 = sum(k * matrix[k - 1] for k in range(1, size, 2)) / radius
        for k in range(1, size):
            for lower in range(k - 1, 0, -2):
                slopes[lower - 1] += 2 * k * matrix[k - 1] / radius
    slopes[-1] = matrix[-1]
    x, leaf = args["x"].double().requires_grad_(), matrix.double().requires_grad_()
    y = torch.einsum("tbi,tio->bo", features(x, kind, size, radius, "silu"), leaf)
    truth = torch.autograd.grad(y, (x, leaf), args["g"].double())
    got = run({**args, "slopes": slopes, "slope0": slope0}, kind=kind, size=size, radius=radius, base="silu")
    assert_near(got, [y.detach(), *truth], 3e-6)


def test_strided_inputs(run: Run) -> None:
    """Transposed, sliced and expanded tensors are read where they are."""
    options = {"kind": "fourier", "size": 2, "radius": 1.0, "base": "tanh"}
    args = arguments(**options, shape=(70, 20, 18), dtype=torch.float32, bare=True)
    truth = expected(args, **options)
    x, g = args["x"], args["g"]
    turned = {
        **args,
        "x": x.T.contiguous().T,
        "g": g.T.contiguous().T,
        "matrix": args["matrix"].mT.contiguous().mT,
    }
    assert_near(run(turned, **options), truth, 3e-6)
    assert_near(
        run({**args, "x": torch.stack((x, x), -1)[..., 0], "g": torch.cat((g, g), -1)[:, 18:]}, **options), truth, 3e-6
    )
    same = {**args, "x": x[:1].expand(70, 20), "g": g[:, :1].expand(70, 18)}
    assert_near(run(same, **options), expected(same, **options), 3e-6)


def test_strides_beyond_32_bits_are_laid_out_anew(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectral_triton, "MAX_STRIDE", 30)
    options = {"kind": "fourier", "size": 1, "radius": 1.0, "base": None}
    args = arguments(**options, shape=(40, 2, 3), dtype=torch.float32, bare=True)
    args["x"] = args["x"].T.contiguous().T
    assert args["x"].stride() == (1, 40)
    assert_near(run(args, **options), expected(args, **options), 3e-6)


def test_splits_of_the_batch_add_up(run: Run) -> None:
    samples = 3 * spectral_triton.MIN_SHARE - 5
    assert spectral_triton.split(samples, 1, 32)[0] == 3
    options = {"kind": "chebyshev", "size": 7, "radius": 1.0, "base": "relu"}
    args = arguments(**options, shape=(samples, 3, 5), dtype=torch.float32, bare=False)
    first, second = run(args, **options), run(args, **options)
    assert_near(first, expected(args, **options), 3e-6)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("shape", [(0, 3, 4), (5, 0, 4), (5, 3, 0)])
def test_empty(run: Run, shape: tuple[int, int, int]) -> None:
    options = {"kind": "fourier", "size": 2, "radius": 1.0, "base": "silu"}
    args = arguments(**options, shape=shape, dtype=torch.float32, bare=False)
    for got, want in zip(run(args, **options), expected(args, **options), strict=True):
        torch.testing.assert_close(got, want.float())


def test_no_terms_leaves_the_constant(run: Run) -> None:
    options = {"kind": "chebyshev", "size": 1, "radius": 2.0, "base": None}
    x, g, const, slope0 = torch.rand(4, 3), torch.rand(4, 2), torch.rand(2), torch.rand(3, 2)
    none = torch.zeros(0, 3, 2)
    args = {"x": x, "g": g, "const": const, "slope0": slope0, "matrix": none, "slopes": none}
    y, dx, dmatrix = run(args, **options)
    assert torch.equal(y, const.expand(4, 2))
    torch.testing.assert_close(dx, g @ slope0.T)
    assert dmatrix.shape == (0, 3, 2)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # the interpreter computes with NumPy
@pytest.mark.parametrize("base", [None, *BASES])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_in_its_sample(run: Run, base: str | None, value: float) -> None:
    options = {"kind": "fourier", "size": 2, "radius": 1.0, "base": base}
    args = arguments(**options, shape=(5, 3, 4), dtype=torch.float32, bare=True)
    truth = expected(args, **options)
    args["x"][2, 1] = value
    y, dx, dmatrix = run(args, **options)
    assert y[2].isnan().all()
    assert dx[2, 1].isnan()
    assert dmatrix[:4, 1].isnan().all()
    others = [0, 1, 3, 4]
    assert_near(
        [y[others], dx[others], dmatrix[:, [0, 2]]], [truth[0][others], truth[1][others], truth[2][:, [0, 2]]], 3e-6
    )


@given(st.integers(1, 10**7), st.integers(1, 4096), st.sampled_from([16, 32, 64]))
def test_splits_cover_the_batch(samples: int, programs: int, block: int) -> None:
    splits, share = spectral_triton.split(samples, programs, block)
    assert share % block == 0
    assert (splits - 1) * share < samples <= splits * share
    assert splits == 1 or (share >= spectral_triton.MIN_SHARE // 2 and splits <= spectral_triton.PROGRAMS)


def test_tiles_fit_small_layers() -> None:
    assert spectral_triton.tile("forward", torch.float32, 1, 17) == (64, 16, 32)
    assert spectral_triton.tile("matrix_gradient", torch.bfloat16, 500, 500) == (32, 32, 64)


def test_precision_by_device() -> None:
    chosen = {
        (dtype, capability): spectral_triton.precision(dtype, capability)
        for dtype in spectral_triton.DTYPES
        for capability in (None, (7, 5), (8, 0), (9, 0))
    }
    assert {key for key, value in chosen.items() if value == "tf32x3"} == {
        (torch.float32, (8, 0)),
        (torch.float32, (9, 0)),
    }
    assert {key for key, value in chosen.items() if value == "tf32"} == {
        (torch.float16, (8, 0)),
        (torch.float16, (9, 0)),
    }


def test_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(spectral_triton, "find_spec", lambda name: object())
    x = torch.zeros(2, 3)
    assert "need a CUDA or ROCm device, not cpu; move the module" in str(spectral_triton.unsupported_reason(x))
    assert "float32, bfloat16, float16, not torch.float64; convert" in str(
        spectral_triton.unsupported_reason(x.double())
    )
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert spectral_triton.unsupported_reason(x) is None
    assert "not meta" in str(spectral_triton.unsupported_reason(x.to("meta")))
    monkeypatch.setattr(spectral_triton, "find_spec", lambda name: None)
    assert "Triton is not installed; pip install triton" in str(spectral_triton.unsupported_reason(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(2, 3, dtype=torch.float64)}, "not torch.float64"),
        ({"kind": "cosine"}, "unknown kind 'cosine'; use one of fourier, chebyshev"),
        ({"base": "elu"}, "unknown base 'elu'; use one of silu, gelu, relu, tanh, identity, or None"),
        ({"size": 0}, "size 0 must be at least 1"),
        ({"radius": float("nan")}, "radius nan must be positive"),
        ({"x": torch.zeros(3)}, r"x has shape \(3,\); it must be \(samples, inputs\)"),
        ({"const": torch.zeros(4)}, r"const has shape \(4,\); with these inputs and outputs it must be \(5,\)"),
        ({"size": 3}, r"shape \(4, 3, 5\); fourier of size 3 with base None needs \(6, 3, outputs\)"),
    ],
)
def test_bad_arguments(monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(spectral_triton, "find_spec", lambda name: object())
    good = {"x": torch.zeros(2, 3), "matrix": torch.zeros(4, 3, 5), "const": None, "kind": "fourier", "size": 2}
    with pytest.raises(ValueError, match=message):
        spectral_triton.spectral_sum(**{**good, **change})


def test_bad_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(spectral_triton, "find_spec", lambda name: object())
    x, slopes = torch.zeros(2, 3), torch.zeros(4, 3, 5)
    with pytest.raises(ValueError, match="slopes is None, but the gradient of x is needed"):
        spectral_triton.spectral_gradients(torch.zeros(2, 5), x, None, None, kind="fourier", size=2)
    with pytest.raises(ValueError, match=r"g has shape \(3, 5\); it must be \(2, outputs\)"):
        spectral_triton.spectral_gradients(torch.zeros(3, 5), x, slopes, None, kind="fourier", size=2)
    with pytest.raises(ValueError, match=r"slopes has shape \(4, 3, 5\); .* must be \(4, 3, 6\)"):
        spectral_triton.spectral_gradients(torch.zeros(2, 6), x, slopes, None, kind="fourier", size=2)
    with pytest.raises(ValueError, match=r"slope0 has shape \(5, 3\); .* must be \(3, 5\)"):
        spectral_triton.spectral_gradients(torch.zeros(2, 5), x, slopes, slopes[0].T, kind="fourier", size=2)


def test_importing_does_not_import_triton() -> None:
    code = "import sys, qkan.kernels.spectral.triton_gpu; print('triton' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
