"""Comparing backends with PennyLane on fresh layers: what is compared, and that a wrong kernel is found."""

import math

import pytest
import torch

from qkan import PennyLane
from qkan.kernels.circuits import statevector as reference
from qkan.kernels.circuits.ansatz import ANSATZE
from qkan.validation import Case, Difference, validate_layers
from qkan.validation.layers import TOLERANCES, grid, tolerance


def test_the_grid_covers_every_ansatz_in_both_precisions_and_layers_that_are_not_square() -> None:
    cases = grid()
    assert {(case.ansatz, case.dtype) for case in cases} == {(name, dtype) for name in ANSATZE for dtype in TOLERANCES}
    assert {case.reps for case in cases} == {1, 2, 3, 5}
    assert {case.preact for case in cases} == {False, True, "input"}
    assert {case.group for case in cases} == {None, 2, "input"}
    assert any(case.per_sample for case in cases)
    assert all(case.inputs != case.outputs for case in cases)


def test_outputs_and_every_gradient_are_compared() -> None:
    (case,) = [Case("pz", 2, 3, 2, preact=True)]
    differences = validate_layers([case], backends=["bloch", "spectral"])
    quantities = {"output", "d x"} | {f"d {name}" for name in (
        "theta", "preact_weight", "preact_bias", "postact_weight", "postact_bias", "base_weight")}  # fmt: skip
    assert {d.quantity for d in differences if d.backend == "bloch"} == quantities
    assert len(differences) == 2 * len(quantities)
    assert all(d.passed and d.value < 1e-12 for d in differences)
    assert {d.case for d in differences} == {"pz, R=2, 3 to 2, preact=True, float64"}


def test_a_backend_leaves_out_what_it_cannot_run() -> None:
    differences = validate_layers([Case("px", 1, 2, 1)], backends=["spectral", "bloch"])
    assert {d.backend for d in differences} == {"bloch"}
    with pytest.raises(ValueError, match="unknown backend 'fast'"):
        validate_layers([Case("pz", 1, 2, 1)], backends=["fast"])


@pytest.mark.parametrize("factor", [1 + 1e-8, math.nan])
def test_a_wrong_kernel_is_found(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    right = reference.phi
    monkeypatch.setattr(reference, "phi", lambda *args, **options: factor * right(*args, **options))
    differences = validate_layers([Case("pz", 1, 2, 3)], backends=["reference"])
    assert not any(d.passed for d in differences if d.quantity in ("output", "d theta"))


def test_gradients_that_are_not_finite_do_not_pass() -> None:
    assert not Difference("bloch", "output", math.nan, 1e-6, "").passed
    assert Difference("bloch", "output", 1e-6, 1e-6, "").passed


def test_only_slopes_of_single_precision_expansions_may_be_further_off() -> None:
    assert tolerance("spectral", "d x", torch.float32, True) == 2e-5
    assert tolerance("spectral", "output", torch.float32, True) == 1e-6
    assert tolerance("spectral", "d x", torch.float32, False) == 1e-6
    assert tolerance("bloch", "d x", torch.float32, True) == 1e-6
    assert tolerance("auto", "d x", torch.float64, True) == 1e-10


def test_shots_and_noise_are_no_truth() -> None:
    with pytest.raises(ValueError, match=r"10 shots.* estimates or disturbs expectations; compare without shots"):
        validate_layers([], settings=PennyLane(shots=10))
