"""The state-vector reference against matrix exponentials, a closed form, and the laws of a qubit."""

import math

import numpy as np
import pytest
import torch
import truth
from hypothesis import given, settings
from hypothesis import strategies as st

from qkan.kernels.circuits import statevector as reference
from qkan.kernels.circuits.ansatz import ANSATZE, Ansatz


@pytest.mark.parametrize("name", ANSATZE)
@pytest.mark.parametrize("reps", [1, 2, 5])
@pytest.mark.parametrize("readout", ["z", "amplitude"])
def test_matches_matrix_exponentials(name: str, reps: int, readout: str) -> None:
    rng = np.random.default_rng(reps)
    ansatz = ANSATZE[name]
    theta = rng.normal(size=(7, ansatz.rows(reps), ansatz.angles))
    weight, bias = rng.uniform(-0.5, 0.5, size=(2, 7, reps))
    x = rng.uniform(-0.9, 0.9, size=7)
    expected = [truth.phi(name, readout, x[k], theta[k], weight[k], bias[k]) for k in range(7)]
    tensors = [torch.from_numpy(array) for array in (x, theta, weight, bias)]
    got = reference.phi(*tensors, ansatz=ansatz, reps=reps, readout=readout)
    np.testing.assert_allclose(got.numpy(), expected, rtol=0, atol=1e-14)


def test_pz_with_one_repetition_in_closed_form() -> None:
    a, b, c, d, x = 0.3, -1.1, 0.7, 2.0, 0.45
    theta = torch.tensor([[a, b], [c, d]], dtype=torch.float64)
    got = reference.phi(
        torch.tensor(x, dtype=torch.float64), theta, None, None, ansatz=ANSATZE["pz"], reps=1, readout="z"
    )
    turned = math.cos(x + c) * math.cos(b) * math.cos(a) - math.sin(x + c) * math.sin(a)
    assert got.item() == pytest.approx(-math.cos(d) * math.sin(b) * math.cos(a) - math.sin(d) * turned, abs=1e-15)


@settings(max_examples=60)
@given(
    name=st.sampled_from(["pz", "rpz", "real", "mix"]),
    reps=st.integers(1, 6),
    seed=st.integers(0, 2**31),
    x=st.floats(-50, 50),
)
def test_bounded_and_periodic(name: str, reps: int, seed: int, x: float) -> None:
    ansatz = ANSATZE[name]
    theta = 3 * torch.randn(ansatz.rows(reps), ansatz.angles, generator=torch.Generator().manual_seed(seed)).double()
    points = torch.tensor([x, x + 2 * math.pi], dtype=torch.float64)
    here, later = reference.phi(points, theta, None, None, ansatz=ansatz, reps=reps, readout="z").tolist()
    assert abs(here) <= 1 + 1e-12
    assert here == pytest.approx(later, abs=1e-10)


@pytest.mark.parametrize("reps", [1, 3])
def test_band_limited_to_reps_harmonics(reps: int) -> None:
    theta = torch.randn(reps + 1, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = 2 * math.pi * torch.arange(32, dtype=torch.float64) / 32
    spectrum = torch.fft.rfft(
        reference.phi(x, theta, None, None, ansatz=ANSATZE["pz"], reps=reps, readout="z"), norm="forward"
    ).abs()
    assert spectrum[reps + 1 :].max() < 1e-15
    assert spectrum[reps] > 1e-3


def test_rotations_about_one_axis_compose() -> None:
    twice, once = Ansatz("twice", ("ry", "ry"), "rz", ("ry", "ry")), Ansatz("once", ("ry",), "rz", ("ry",))
    theta = torch.randn(3, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    left = reference.phi(x, theta, None, None, ansatz=twice, reps=2, readout="z")
    right = reference.phi(x, theta.sum(-1, keepdim=True), None, None, ansatz=once, reps=2, readout="z")
    torch.testing.assert_close(left, right, rtol=0, atol=1e-14)


@pytest.mark.parametrize("initial", [(0.0, 0.0, 1.0), (0.0, 0.0, -1.0), (0.0, 0.6, -0.8)])
def test_initial_vector(initial: tuple[float, float, float]) -> None:
    ansatz = Ansatz("tilted", ("ry",), "ry", initial=initial)
    x = torch.tensor(0.4, dtype=torch.float64)
    got = reference.phi(x, torch.zeros(1, 1).double(), None, None, ansatz=ansatz, reps=1, readout="z")
    assert got.item() == pytest.approx(math.cos(0.4) * initial[2] - math.sin(0.4) * initial[0], abs=1e-14)


@pytest.mark.parametrize("name", ANSATZE)
def test_gradients_of_first_and_second_order(name: str) -> None:
    ansatz = ANSATZE[name]
    make = torch.Generator().manual_seed(3)
    theta = torch.randn(2, ansatz.rows(2), ansatz.angles, generator=make, dtype=torch.float64, requires_grad=True)
    weight, bias = (0.3 * torch.randn(2, 2, generator=make, dtype=torch.float64) for _ in range(2))
    x = torch.tensor([0.2, -0.4], dtype=torch.float64, requires_grad=True)
    args = (x, theta, weight.requires_grad_(), bias.requires_grad_())

    def evaluate(*tensors: torch.Tensor) -> torch.Tensor:
        return reference.phi(*tensors, ansatz=ansatz, reps=2, readout="z")

    assert torch.autograd.gradcheck(evaluate, args)
    assert torch.autograd.gradgradcheck(evaluate, args)
