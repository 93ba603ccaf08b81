"""The seam between layers and backends."""

from typing import Any

import pytest
import torch
from torch.autograd import forward_ad

from qkan import QKANLayer
from qkan.kernels import backends
from qkan.kernels.circuits.ansatz import ANSATZE, Ansatz
from qkan.kernels.layer import CircuitLayer
from qkan.kernels.spectral import coefficients as spectral

PZ: dict[str, Any] = {"ansatz": ANSATZE["pz"], "reps": 2}
BACKENDS = ["spectral", "bloch", "reference"]


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown backend 'fast'; use one of auto, spectral, triton, bloch, reference"):
        backends.check_backend("fast", ANSATZE["pz"], "z")
    with pytest.raises(ValueError, match="unknown readout 'x'; use z"):
        backends.check_readout("x")


def test_a_backend_that_could_never_run_is_refused_before_any_input() -> None:
    for ansatz, readout in (("px", "z"), ("pz", "amplitude")):
        with pytest.raises(ValueError, match=r"backend 'spectral' cannot run this layer: .*; use 'bloch' or 'auto'"):
            backends.check_backend("spectral", ANSATZE[ansatz], readout)
        assert backends.check_backend("bloch", ANSATZE[ansatz], readout) == "bloch"


@pytest.mark.parametrize("backend", ["auto", "spectral", "bloch"])
def test_shapes_on_the_meta_device(backend: str) -> None:
    theta, x = torch.empty(2, 3, 3, 2, device="meta"), torch.empty(9, 3, device="meta")
    evaluate = CircuitLayer(theta, None, None, None, backend=backend, **PZ)
    assert evaluate(x).shape == (9, 2)
    assert evaluate.edges(x).shape == (9, 2, 3)
    assert evaluate.prepare()(x).device.type == "meta"


def test_available_backends_agree() -> None:
    available = backends.available_backends()
    assert tuple(available) == backends.BACKENDS[1:]
    assert all(available[name] is None for name in BACKENDS)
    theta, x = torch.randn(2, 3, 3, 2), torch.randn(4, 3)
    truth = CircuitLayer(theta, None, None, None, backend="reference", **PZ)(x)
    for name in [name for name, reason in available.items() if reason is None]:
        value = CircuitLayer(theta, None, None, None, backend=name, **PZ)(x)
        torch.testing.assert_close(value, truth, rtol=0, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_leading_dimensions(backend: str) -> None:
    x, theta = torch.randn(2, 3, 4, 5), torch.randn(6, 5, 3, 2)
    evaluate = CircuitLayer(theta, None, None, None, backend=backend, **PZ)
    assert evaluate(x).shape == (2, 3, 4, 6)
    assert evaluate.edges(x).shape == (2, 3, 4, 6, 5)
    torch.testing.assert_close(evaluate(x).reshape(-1, 6), evaluate(x.reshape(-1, 5)), rtol=0, atol=1e-6)
    torch.testing.assert_close(evaluate.edges(x).sum(-1), evaluate(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_circuit_per_input_for_all_outputs(backend: str) -> None:
    x, shared = torch.randn(7, 4, dtype=torch.float64), torch.randn(1, 4, 3, 2, dtype=torch.float64)
    edge_weight = torch.randn(5, 4, dtype=torch.float64)
    got = CircuitLayer(shared, None, None, edge_weight, backend=backend, **PZ)
    spread = CircuitLayer(shared.expand(5, -1, -1, -1), None, None, edge_weight, backend="reference", **PZ)
    torch.testing.assert_close(got(x), spread(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(got.edges(x), spread.edges(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.bfloat16, 2e-2), (torch.float16, 2e-3)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_half_precision_computes_in_single(backend: str, dtype: torch.dtype, atol: float) -> None:
    make = torch.Generator().manual_seed(0)
    x, theta = torch.randn(16, 4, generator=make).to(dtype), torch.randn(3, 4, 3, 2, generator=make).to(dtype)
    y = CircuitLayer(theta, None, None, None, backend=backend, **PZ)(x)
    exact = CircuitLayer(theta.double(), None, None, None, backend="reference", **PZ)(x.double())
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), exact, rtol=0, atol=atol)


@pytest.mark.parametrize("backend", ["bloch", "reference"])
def test_a_backend_by_name_is_the_one_that_runs(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectral, "fourier", None)
    evaluate = CircuitLayer(torch.randn(2, 3, 3, 2), None, None, None, backend=backend, **PZ)
    assert evaluate.prepare()(torch.randn(50, 3)).shape == (50, 2)


@pytest.mark.parametrize("backend", ["triton"])
@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_triton_backends_through_the_seam(backend: str, trained: bool, shared: bool) -> None:
    make = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=make).requires_grad_()

    circuits = 1 if shared else 3
    tensors = [normal(circuits, 4, 3, 2), normal(circuits, 4, 2) if trained else None, None, normal(3, 4)]
    base, offset = normal(3, 4), normal(3)
    x = (2 * torch.rand(2, 5, 4, generator=make) - 1).requires_grad_()
    leaves = [x, base, offset, *(t for t in tensors if t is not None)]
    results = []
    for name in (backend, "reference"):
        y = CircuitLayer(*tensors, backend=name, base=("silu", base), offset=offset, **PZ)(x)  # type: ignore[arg-type]
        upstream = torch.cos(torch.arange(y.numel(), dtype=y.dtype)).reshape(y.shape)
        results.append([y, *torch.autograd.grad(y, leaves, upstream)])
    for value, expected in zip(*results, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5)


def test_triton_backends_refuse_by_name_what_they_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    theta, x = torch.randn(2, 3, 3, 2), torch.randn(4, 3)
    with pytest.raises(ValueError, match="its kernels always sum over inputs, and here every edge is asked for"):
        CircuitLayer(theta, None, None, None, backend="triton", **PZ).edges(x)
    monkeypatch.delenv("TRITON_INTERPRET")
    if not torch.cuda.is_available():
        for backend in ("triton",):
            assert "CUDA" in str(backends.available_backends()[backend])
            with pytest.raises(ValueError, match=f"backend '{backend}' cannot run this layer: .*CUDA"):
                CircuitLayer(theta, None, None, None, backend=backend, **PZ)(x)


def test_a_circuit_that_no_input_reaches_is_constant() -> None:
    ansatz = Ansatz("still", ("ry",), "rz")
    theta = torch.randn(2, 3, 1, 1, dtype=torch.float64).requires_grad_()
    x = torch.randn(5, 3, dtype=torch.float64).requires_grad_()
    results = []
    for backend in BACKENDS:
        circuits = CircuitLayer(theta, None, None, None, ansatz=ansatz, reps=1, backend=backend)
        results.append([circuits.edges(x), *torch.autograd.grad(circuits(x).sin().sum(), (x, theta))])
    for result in results[:2]:
        for value, expected in zip(result, results[2], strict=True):
            torch.testing.assert_close(value, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("name", "shape"), [("postact_weight", (4, 1)), ("theta", (4, 3, 1, 2)), ("base_weight", (4, 2))]
)
def test_parameters_of_another_size_are_refused(name: str, shape: tuple[int, ...]) -> None:
    layer = QKANLayer(3, 4, postact_weight_trainable=True, base_activation="silu")
    for samples, backend in ((2, "auto"), (50, "auto"), (50, "bloch")):
        layer.backend = backend
        with pytest.raises((ValueError, RuntimeError, IndexError)):
            torch.func.functional_call(layer, {name: torch.zeros(shape)}, (torch.zeros(samples, 3),))


@pytest.mark.parametrize("trained", [False, True])
def test_forward_derivatives(trained: bool) -> None:
    make = torch.Generator().manual_seed(5)
    x, v = torch.randn(2, 50, 3, generator=make, dtype=torch.float64)
    layer = QKANLayer(3, 4, preact_trainable=trained, dtype=torch.float64, generator=make)
    with torch.no_grad():
        expected = (layer(x + 1e-6 * v) - layer(x - 1e-6 * v)) / 2e-6
    for grad in (True, False):
        with torch.set_grad_enabled(grad), forward_ad.dual_level():
            found = forward_ad.unpack_dual(layer(forward_ad.make_dual(x, v))).tangent
        assert found is not None
        torch.testing.assert_close(found, expected, atol=1e-8, rtol=0)


@pytest.mark.parametrize("weight", [0.0, 1e-38])
def test_the_largest_number_is_an_input(weight: float) -> None:
    layer = QKANLayer(3, 4, preact_trainable=True, base_activation=None)
    torch.nn.init.constant_(layer.preact_weight, weight)  # type: ignore[arg-type]
    x = torch.ones(50, 3)
    x[0, 0] = torch.finfo(torch.float32).max
    found = layer(x)
    layer.backend = "reference"
    torch.testing.assert_close(found, layer(x), atol=2e-6, rtol=0)
