"""The spectral route against the state-vector reference, and the error bound that chooses its terms."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from qkan.kernels.circuits import statevector as reference
from qkan.kernels.circuits.ansatz import ANSATZE, Ansatz
from qkan.kernels.common import constant_cache as constants
from qkan.kernels.layer import CircuitLayer
from qkan.kernels.spectral import coefficients as spectral

BANDED = {name: ansatz for name, ansatz in ANSATZE.items() if ansatz.encoding_map == "identity"}
BANDED["custom"] = Ansatz("custom", ("rx", "y", "rz"), "ry", ("rz", "x", "ry"), initial=(0.0, 0.6, 0.8))


def leaf(make: torch.Generator, *shape: int, scale: float = 1.0) -> Tensor:
    return (scale * torch.randn(*shape, generator=make, dtype=torch.float64)).requires_grad_()


def gradients(y: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    upstream = torch.cos(torch.arange(y.numel(), dtype=y.dtype)).reshape(y.shape)
    return [y, *torch.autograd.grad(y, tensors, upstream)]


def assert_agree(x: Tensor, tensors: list[Tensor | None], atol: float, **options: Any) -> None:
    leaves = [t for t in (x, *tensors) if t is not None]
    fast = CircuitLayer(*tensors, backend="spectral", **options)  # type: ignore[arg-type]
    truth = CircuitLayer(*tensors, backend="reference", **options)(x)  # type: ignore[arg-type]
    for got, expected in zip(gradients(fast(x), leaves), gradients(truth, leaves), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("name", BANDED)
@pytest.mark.parametrize("reps", [1, 2, 5, 16])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("edge_weight", [False, True])
def test_fourier_is_exact(name: str, reps: int, bias: bool, edge_weight: bool) -> None:
    make = torch.Generator().manual_seed(reps)
    ansatz = BANDED[name]
    theta = leaf(make, 3, 4, ansatz.rows(reps), ansatz.angles)
    tensors = [theta, None, leaf(make, 3, 4, reps) if bias else None, leaf(make, 3, 4) if edge_weight else None]
    assert_agree(leaf(make, 5, 4, scale=10.0), tensors, 1e-11, ansatz=ansatz, reps=reps)


@pytest.mark.parametrize("name", BANDED)
@pytest.mark.parametrize(("reps", "radius"), [(1, 1.0), (3, 1.0), (2, 2.5)])
def test_chebyshev_holds_on_its_domain(name: str, reps: int, radius: float) -> None:
    make = torch.Generator().manual_seed(reps)
    ansatz = BANDED[name]
    tensors: list[Tensor | None] = [
        leaf(make, 3, 4, ansatz.rows(reps), ansatz.angles),
        leaf(make, 3, 4, reps),
        leaf(make, 3, 4, reps),
        leaf(make, 3, 4),
    ]
    x = (radius * (2 * torch.rand(6, 4, generator=make, dtype=torch.float64) - 1)).requires_grad_()
    assert_agree(x, tensors, 1e-10, ansatz=ansatz, reps=reps)


def test_one_circuit_per_input_for_all_outputs() -> None:
    make = torch.Generator().manual_seed(0)
    tensors = [leaf(make, 1, 4, 3, 2), leaf(make, 1, 4, 2), leaf(make, 1, 4, 2), leaf(make, 5, 4)]
    x = (0.9 * torch.rand(7, 4, generator=make, dtype=torch.float64)).requires_grad_()
    assert_agree(x, tensors, 1e-11, ansatz=ANSATZE["pz"], reps=2)
    assert_agree(x, [tensors[0], None, None, tensors[3]], 1e-11, ansatz=ANSATZE["pz"], reps=2)


@pytest.mark.parametrize("trained", [False, True])
def test_edges_and_prepared_calls(trained: bool) -> None:
    make = torch.Generator().manual_seed(0)
    weight = leaf(make, 3, 4, 2) if trained else None
    options: dict[str, Any] = {"ansatz": ANSATZE["pz"], "reps": 2}
    arguments = (leaf(make, 3, 4, 3, 2), weight, None, leaf(make, 3, 4))
    x = torch.rand(2, 5, 4, generator=make, dtype=torch.float64)
    fast = CircuitLayer(*arguments, backend="spectral", **options)
    truth = CircuitLayer(*arguments, backend="reference", **options)
    torch.testing.assert_close(fast.edges(x), truth.edges(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(fast.prepare(1.0)(x), truth(x), rtol=0, atol=1e-12)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), reps=st.integers(1, 4), scale=st.floats(0.1, 2.0), terms=st.integers(4, 40))
def test_error_stays_below_its_bound(seed: int, reps: int, scale: float, terms: int) -> None:
    make = torch.Generator().manual_seed(seed)
    theta = 2 * torch.randn(2, 2, reps + 1, 2, generator=make, dtype=torch.float64)
    weight, bias = scale * torch.randn(2, 2, 2, reps, generator=make, dtype=torch.float64)
    options: dict[str, Any] = {"ansatz": ANSATZE["pz"], "reps": reps}
    expansion = spectral.chebyshev(theta, weight, bias, None, radius=1.0, terms=terms, **options)
    x = torch.linspace(-1, 1, 201, dtype=torch.float64).unsqueeze(-1).expand(-1, 2)
    truth = reference.phi(x.unsqueeze(-2), theta, weight, bias, readout="z", **options)
    bound = spectral.chebyshev_error(spectral.bandwidth(weight), 1.0, terms)
    assert (expansion.edges(x) - truth).abs().max() <= bound + 1e-12


@pytest.mark.parametrize(("bandwidth", "most"), [(0.0, 4), (1.0, 8), (3.0, 12), (10.0, 24), (100.0, 130)])
def test_terms_are_few_and_enough(bandwidth: float, most: int) -> None:
    terms = spectral.chebyshev_terms(bandwidth, 1.0, 1e-6)
    assert terms is not None
    assert terms <= most
    assert spectral.chebyshev_error(bandwidth, 1.0, terms) <= 1e-6


@pytest.mark.parametrize("bandwidth", [520.0, math.inf, math.nan])
def test_too_wide_a_band_takes_no_terms(bandwidth: float) -> None:
    assert spectral.chebyshev_terms(bandwidth, 1.0, 1e-6) is None


@pytest.mark.parametrize("name", ["px", "amplitude", "per-sample"])
def test_says_why_it_cannot_run(name: str) -> None:
    ansatz = ANSATZE["px" if name == "px" else "pz"]
    theta = torch.randn(*((2,) if name == "per-sample" else ()), 3, 4, ansatz.rows(1), ansatz.angles)
    arguments: dict[str, Any] = {"ansatz": ansatz, "reps": 1, "readout": "amplitude" if name == "amplitude" else "z"}
    reason = {
        "px": r"ansatz 'px' encodes acos\(x\)",
        "amplitude": "readout 'amplitude' is not band-limited",
        "per-sample": "theta differs between samples",
    }[name]
    with pytest.raises(ValueError, match=f"backend 'spectral' cannot run this layer: .*{reason}.*; use 'bloch' or"):
        CircuitLayer(theta, None, None, None, backend="spectral", **arguments)
    assert torch.isfinite(CircuitLayer(theta, None, None, None, **arguments)(torch.zeros(2, 4))).all()


@pytest.mark.parametrize("weight", [1000.0, math.nan])
def test_a_band_too_wide_for_single_precision_is_refused(weight: float) -> None:
    arguments = (torch.randn(3, 4, 2, 2), torch.full((3, 4, 1), weight), None, None)
    with pytest.raises(ValueError, match=r"inputs are so large \(or not finite\) that 512 terms are not enough"):
        CircuitLayer(*arguments, backend="spectral", ansatz=ANSATZE["pz"], reps=1)(torch.ones(2, 4))
    assert CircuitLayer(*arguments, ansatz=ANSATZE["pz"], reps=1)(torch.ones(2, 4)).isnan().any() == math.isnan(weight)


def test_a_recurrence_must_say_how_large_its_states_get() -> None:
    arguments = (torch.randn(3, 4, 2, 2), torch.ones(3, 4, 1), None, None)
    options: dict[str, Any] = {"ansatz": ANSATZE["pz"], "reps": 1}
    with pytest.raises(ValueError, match="pre-activations are trained and no bound on its inputs is known"):
        CircuitLayer(*arguments, backend="spectral", **options).prepare()
    assert CircuitLayer(*arguments, **options).prepare()(torch.zeros(2, 4)).shape == (2, 3)


@pytest.mark.parametrize("radius", [0.0, 1e-30, 1e-3])
def test_a_tiny_domain_keeps_values_and_slopes(radius: float) -> None:
    make = torch.Generator().manual_seed(0)
    theta, weight = torch.randn(2, 3, 3, 2, generator=make), torch.randn(2, 3, 2, generator=make)
    x = (radius * torch.ones(1, 3)).requires_grad_()
    options: dict[str, Any] = {"ansatz": ANSATZE["pz"], "reps": 2}
    fast = CircuitLayer(theta, weight, None, None, backend="spectral", **options)(x)
    truth = CircuitLayer(theta, weight, None, None, backend="reference", **options)(x)
    torch.testing.assert_close(fast, truth, rtol=0, atol=1e-6)
    slopes = [torch.autograd.grad(y.sum(), x)[0] for y in (fast, truth)]
    torch.testing.assert_close(*slopes, rtol=0, atol=1e-4)


def test_constants_do_not_depend_on_the_default_device() -> None:
    theta, x = torch.randn(2, 3, 7, 2), torch.randn(20, 3)
    evaluate = CircuitLayer(theta, None, None, None, backend="spectral", ansatz=ANSATZE["pz"], reps=6)
    constants._KNOWN.clear()
    with torch.device("meta"):
        y = evaluate(x)
    exact = CircuitLayer(theta, None, None, None, backend="reference", ansatz=ANSATZE["pz"], reps=6)(x)
    torch.testing.assert_close(y, exact, rtol=0, atol=1e-5)


def test_fake_tensors_do_not_outlive_their_mode() -> None:
    theta, x = torch.randn(2, 3, 3, 2), torch.randn(20, 3)
    options: dict[str, Any] = {"ansatz": ANSATZE["pz"], "reps": 2, "backend": "spectral"}
    constants._KNOWN.clear()
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert CircuitLayer(theta, None, None, None, **options)(mode.from_tensor(x)).shape == (20, 2)
    assert not constants._KNOWN
    assert type(CircuitLayer(theta, None, None, None, **options)(x)) is Tensor
    with FakeTensorMode() as mode:  # and real constants do not reach into a mode that refuses them
        fake_theta, fake_x = mode.from_tensor(theta), mode.from_tensor(x)
        assert CircuitLayer(fake_theta, None, None, None, **options)(fake_x).shape == (20, 2)


def test_constants_are_kept_for_a_bounded_number_of_sizes() -> None:
    constants._KNOWN.clear()
    like = torch.zeros(())
    first = constants.constants(spectral.fourier_rule, 1, like)
    assert constants.constants(spectral.fourier_rule, 1, like) is first
    for reps in range(2, 80):
        constants.constants(spectral.fourier_rule, reps, like)
    assert len(constants._KNOWN) == 64
    assert constants.constants(spectral.fourier_rule, 1, like) is not first


@pytest.mark.parametrize("reps", [1, 3, 8])
@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("name", BANDED)
def test_single_precision(name: str, trained: bool, reps: int) -> None:
    make = torch.Generator().manual_seed(reps)
    ansatz = BANDED[name]
    theta = torch.randn(8, 8, ansatz.rows(reps), ansatz.angles, generator=make).requires_grad_()
    weight = torch.randn(8, 8, reps, generator=make).requires_grad_() if trained else None
    x = (2 * torch.rand(64, 8, generator=make) - 1).requires_grad_()
    options: dict[str, Any] = {"ansatz": ansatz, "reps": reps}
    leaves = [t for t in (x, theta, weight) if t is not None]
    exact_leaves = [t.detach().double().requires_grad_() for t in leaves]
    exact_weight = exact_leaves[2] if trained else None
    fast = CircuitLayer(theta, weight, None, None, backend="spectral", **options)
    truth = CircuitLayer(exact_leaves[1], exact_weight, None, None, backend="reference", **options)
    # One activation: 2e-6. A sum over 8 inputs may err by a few times as much.
    torch.testing.assert_close(fast.edges(x).double(), truth.edges(exact_leaves[0]), rtol=0, atol=2e-6)
    got, expected = gradients(fast(x), leaves), gradients(truth(exact_leaves[0]), exact_leaves)
    torch.testing.assert_close(got[0].double(), expected[0], rtol=0, atol=6e-6)
    for gradient, exact in zip(got[1:], expected[1:], strict=True):
        assert (gradient.double() - exact).norm() <= 1e-5 * exact.norm()
