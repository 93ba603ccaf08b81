"""The circuits of QLSTM: closed forms, whole matrices, and two ways to simulate them against each other."""

import math
from collections.abc import Callable

import pytest
import qubit_circuits
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qkan.kernels.multiqubit import circuit as entangled
from qkan.kernels.multiqubit import pauli as entangled_pauli
from qkan.kernels.multiqubit import statevector as entangled_state

F64 = torch.float64


def by_strings(z: Tensor, theta: Tensor) -> Tensor:
    qubits, layers = theta.shape[1], (theta.shape[2] + 1) // 3
    table = entangled_pauli.tables(qubits, layers)
    return entangled_pauli.features(z, layers, table) @ entangled_pauli.coefficients(theta, table)


def by_states(z: Tensor, theta: Tensor) -> Tensor:
    return entangled_state.expectations(z, entangled_state.matrices(theta), entangled_state.tables(theta.shape[1]))


WAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"strings": by_strings, "states": by_states}
ways = pytest.mark.parametrize("simulate", WAYS.values(), ids=WAYS.keys())


def drawn(batch: int, circuits: int, qubits: int, layers: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    make = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn(batch, qubits, dtype=F64, generator=make)
    theta = 2 * torch.randn(circuits, *entangled.angles_of(qubits, layers), dtype=F64, generator=make)
    return z.requires_grad_(), theta.requires_grad_()


@ways
def test_one_qubit_and_one_layer_by_hand(simulate) -> None:
    z = torch.tensor([[0.0], [0.5], [-3.0]], dtype=F64)
    theta = torch.tensor([[[0.3, 1.1]], [[-2.0, 0.4]]], dtype=F64)
    expected = [
        [
            math.cos(b) * -math.sin(math.atan(v))
            - math.sin(b) * math.cos(math.atan(v)) * math.cos(math.atan(v * v) + a)  # RZ(arctan v^2) and RZ(a) are one
            for (a, b) in theta[:, 0].tolist()
        ]
        for v in z[:, 0].tolist()
    ]
    torch.testing.assert_close(simulate(z, theta), torch.tensor(expected, dtype=F64), rtol=0, atol=1e-14)


@ways
def test_two_qubits_without_rotations_by_hand(simulate) -> None:
    # CNOT(0, 1) and CNOT(1, 0): the second bit becomes the parity, the first what the second was.
    z = torch.tensor([[0.7, -1.3]], dtype=F64)
    first, second = (-torch.sin(torch.atan(z))).unbind(1)
    got = simulate(z, torch.zeros(1, 2, 2, dtype=F64))
    torch.testing.assert_close(got, torch.stack((second, first * second), 1), rtol=0, atol=1e-14)


@ways
@pytest.mark.parametrize(("qubits", "layers"), [(1, 1), (1, 3), (2, 1), (2, 2), (3, 1), (3, 3), (4, 1), (4, 2)])
def test_whole_matrices_say_the_same(simulate, qubits: int, layers: int) -> None:
    z, theta = drawn(3, 2, qubits, layers)
    rows = [torch.cat([qubit_circuits.values(sample, circuit) for circuit in theta]) for sample in z]
    expected = torch.stack(rows)
    got = simulate(z, theta)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-13)
    upstream = torch.randn(got.shape, dtype=F64)
    for a, b in zip(
        torch.autograd.grad(got, (z, theta), upstream),
        torch.autograd.grad(expected, (z, theta), upstream),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(
    batch=st.integers(1, 5),
    circuits=st.integers(1, 4),
    qubits=st.integers(1, 6),
    layers=st.integers(1, 4),
    seed=st.integers(0, 2**16),
)
def test_strings_and_states_agree(batch: int, circuits: int, qubits: int, layers: int, seed: int) -> None:
    z, theta = drawn(batch, circuits, qubits, layers, seed)
    a, b = by_strings(z, theta), by_states(z, theta)
    assert a.shape == (batch, circuits * qubits)
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    upstream = torch.randn(a.shape, dtype=F64, generator=torch.Generator().manual_seed(seed))
    for got, want in zip(
        torch.autograd.grad(a, (z, theta), upstream), torch.autograd.grad(b, (z, theta), upstream), strict=True
    ):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-11)


def test_one_layer_of_many_qubits_agrees() -> None:
    z, theta = drawn(3, 4, entangled.MAX_QUBITS, 1)
    torch.testing.assert_close(by_strings(z, theta), by_states(z, theta), rtol=0, atol=1e-12)


@ways
@pytest.mark.parametrize("layers", [1, 2])
def test_derivatives_of_first_and_second_order(simulate, layers: int) -> None:
    z, theta = drawn(2, 2, 2, layers)
    assert torch.autograd.gradcheck(simulate, (z, theta))
    assert torch.autograd.gradgradcheck(simulate, (z, theta))


@ways
@pytest.mark.parametrize("layers", [1, 3])
def test_single_precision_and_narrower(simulate, layers: int) -> None:
    z, theta = drawn(5, 3, 4, layers)
    exact = simulate(z, theta)
    single = simulate(z.float(), theta.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, rtol=0, atol=3e-6)
    narrow = theta.bfloat16()
    torch.testing.assert_close(simulate(z.float(), narrow), simulate(z.float(), narrow.float()), rtol=0, atol=0)


@ways
def test_huge_inputs_are_at_the_limit_of_the_encoding(simulate) -> None:
    z = torch.tensor([[3e38, -3e38, 1e12]], requires_grad=True)
    theta = torch.randn(2, 3, 2)
    limit = torch.tensor([[1e6, -1e6, 1e6]], dtype=F64)
    got = simulate(z, theta)
    torch.testing.assert_close(got.double(), simulate(limit, theta.double()), rtol=0, atol=3e-6)
    (slope,) = torch.autograd.grad(got.sum(), z)
    torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-6)


def test_encoding_is_what_the_angles_say() -> None:
    z = torch.tensor([[-40.0, -1.0, -0.2, 0.0, 0.3, 1.0, 7.0]], dtype=F64)
    tilt, phase = entangled.encoding_angles(z)
    expected = torch.stack((torch.ones_like(z), tilt.cos() * phase.cos(), tilt.cos() * phase.sin(), -tilt.sin()), -1)
    torch.testing.assert_close(entangled.encoded_bloch(z), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("qubits", qubit_circuits.CNOTS)
def test_cnots_are_those_of_the_figure(qubits: int) -> None:
    assert entangled.cnots(qubits) == qubit_circuits.CNOTS[qubits]


def test_every_angle_moves_some_value() -> None:
    z, theta = drawn(4, 2, 4, 2)
    (gradient,) = torch.autograd.grad(by_strings(z, theta).square().sum(), theta)
    assert gradient.abs().min() > 1e-6


def test_expectations_never_leave_their_range() -> None:
    z, theta = drawn(50, 4, 5, 3)
    for simulate in WAYS.values():
        assert simulate(z, theta).abs().max() <= 1 + 1e-12


@pytest.mark.parametrize(
    ("qubits", "layers", "error", "message"),
    [
        (0, 1, ValueError, r"qubits 0 is outside \[1, 12\]"),
        (13, 1, ValueError, r"qubits 13 is outside \[1, 12\]: each qubit doubles the amplitudes .*; choose a number"),
        (10**9, 1, ValueError, r"qubits 1000000000 is outside \[1, 12\]"),
        (4, 0, ValueError, r"circuit_layers 0 is outside \[1, 64\]"),
        (4, 65, ValueError, r"circuit_layers 65 is outside \[1, 64\]"),
        (4.0, 1, TypeError, r"qubits must be an int, got float"),
        (True, 1, TypeError, r"qubits must be an int, got bool"),
        (4, "2", TypeError, r"circuit_layers must be an int, got str"),
    ],
)
def test_sizes_out_of_range(qubits, layers, error, message) -> None:
    with pytest.raises(error, match=message):
        entangled.check_size(qubits, layers)
