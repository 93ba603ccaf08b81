"""DARUAN: the activation itself."""

import math

import pytest
import torch

from qkan import DARUAN
from qkan.kernels.circuits import statevector as reference


@pytest.mark.parametrize("features", [1, 4])
@pytest.mark.parametrize("ansatz", ["pz", "rpz", "mix", "real"])
@pytest.mark.parametrize("trained", [False, True])
def test_matches_the_reference(features: int, ansatz: str, trained: bool) -> None:
    module = DARUAN(features, 2, ansatz=ansatz, preact_trainable=trained, init="normal", dtype=torch.float64)
    x = torch.randn(3, 5, 4, dtype=torch.float64)
    expected = reference.phi(
        x,
        module.theta,
        module.preact_weight,
        module.preact_bias,
        ansatz=module.ansatz,
        reps=2,
        readout="z",
    )
    torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("trained", [False, True])
def test_the_spectral_backend_by_name(trained: bool) -> None:
    fast, truth = (
        DARUAN(4, 2, preact_trainable=trained, init="normal", backend=backend, dtype=torch.float64)
        for backend in ("spectral", "reference")
    )
    truth.load_state_dict(fast.state_dict())
    x = 2 * torch.randn(3, 4, dtype=torch.float64)
    torch.testing.assert_close(fast(x), truth(x), rtol=0, atol=1e-12)


def test_one_circuit_serves_any_shape() -> None:
    module = DARUAN()
    for shape in [(), (3,), (2, 3, 4)]:
        x = torch.randn(shape)
        assert module(x).shape == shape
    assert sum(p.numel() for p in module.parameters()) == 8


def test_starts_near_a_sine() -> None:
    module = DARUAN(1, 1, generator=torch.Generator().manual_seed(0))
    slope = module.theta[0, -1, 1].item()
    x = torch.linspace(-2, 2, 41)
    assert slope == 1.0
    assert (module(x) - math.sin(slope) * torch.sin(x)).abs().max() < 0.2


def test_what_it_refuses() -> None:
    with pytest.raises(ValueError, match=r"DARUAN needs an input of shape \(..., 3\), got \(4,\)"):
        DARUAN(3)(torch.randn(4))
    with pytest.raises(ValueError, match="num_features 0"):
        DARUAN(0)
    with pytest.raises(ValueError, match="reps 0"):
        DARUAN(2, 0)
    with pytest.raises(ValueError, match="backend 'spectral' cannot run this layer: readout 'amplitude'"):
        DARUAN(2, readout="amplitude", backend="spectral")
    with pytest.raises(TypeError, match=r"dtype must be a real floating-point type .*, got torch\.complex64"):
        DARUAN(2, dtype=torch.complex64)
    with pytest.raises(TypeError, match="preact"):
        DARUAN(2, preact_train=True)


def test_what_print_shows() -> None:
    assert repr(DARUAN(2)) == "DARUAN(num_features=2, reps=3, ansatz='pz', readout='z')"
