"""What auto takes and how it says so."""

from typing import Any

import pytest
import torch

from qkan import QKANLayer
from qkan.kernels import backend_cost as cost
from qkan.kernels.circuits.ansatz import ANSATZE
from qkan.kernels.common.host_sync import largest
from qkan.kernels.layer import CircuitLayer


def circuits(outputs: int, inputs: int, reps: int = 3, *, trained: bool = False, **options: Any) -> CircuitLayer:
    theta = torch.randn(outputs, inputs, reps + 1, 2)
    weight = torch.ones(outputs, inputs, reps) if trained else None
    return CircuitLayer(theta, weight, None, None, ansatz=ANSATZE["pz"], reps=reps, **options)


@pytest.mark.parametrize("trained", [False, True])
def test_many_samples_are_expanded_and_few_are_not(trained: bool) -> None:
    layer = circuits(64, 64, trained=trained)
    assert layer.explain(2 * torch.rand(256, 64) - 1).backend == "spectral"
    few = layer.explain(torch.rand(2, 64))
    assert few.backend == "bloch"
    assert few.candidates[0].note == "there are fewer samples than points to expand on"


def test_a_wide_domain_is_not_expanded_beyond_what_it_saves() -> None:
    layer = circuits(32, 32, 8, trained=True)
    assert layer.explain(torch.rand(40, 32)).backend == "spectral"
    assert layer.explain(30 * torch.rand(40, 32)).backend == "bloch"


def test_the_estimate_grows_with_every_size() -> None:
    base = {"samples": 64, "inputs": 16, "outputs": 16, "circuits": 256, "reps": 3, "trained": True}
    for device in ("cpu", "cuda"):
        for backend in ("spectral", "bloch", "triton"):
            least = cost.seconds(cost.Work(**base), backend, device, 12)  # type: ignore[arg-type]
            for size in ("samples", "circuits", "reps"):
                more = cost.Work(**{**base, size: 1000 * base[size]})  # type: ignore[arg-type]
                assert cost.seconds(more, backend, device, 12) > least * (2 if device == "cpu" else 1)


def test_explain_prints_candidates_estimates_and_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    layer = QKANLayer(64, 32, preact_trainable=True)
    choice = layer.explain_backend(torch.linspace(-1, 1, 256).unsqueeze(-1).expand(-1, 64))
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "spectral: the lowest estimate"
    assert shown[1].startswith("  spectral  about ")
    assert shown[1].endswith("ms forward and backward  (12 points per circuit, Chebyshev on [-1.03, 1.03])")
    assert any(line.startswith("  bloch     about ") for line in shown)
    assert choice.backend == "spectral"
    assert choice.plan.points == 12  # type: ignore[union-attr]
    layer.backend = "bloch"
    assert layer.explain_backend(torch.zeros(4, 64)).reason == "asked for by name"
    px = QKANLayer(4, 3, ansatz="px").explain_backend(torch.zeros(9, 4))
    assert px.backend == "bloch"
    assert "cannot run: ansatz 'px' encodes acos(x)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("values", "size"),
    [([], 0.0), ([1.0, -3.0], 3.0), ([2.0, float("nan"), -1.0], 2.0), ([float("-inf"), -1.0], 1.0)],
)
def test_largest_finite_value(values: list[float], size: float) -> None:
    assert largest(torch.tensor(values)) == size


def test_largest_value_of_what_has_none() -> None:
    assert largest(torch.empty(3, device="meta")) is None


def test_largest_value_under_vmap_is_that_of_the_batch() -> None:
    seen = []
    torch.vmap(lambda row: seen.append(largest(row)) or row)(torch.tensor([[1.0, 2.0], [-7.0, 0.0]]))
    assert seen == [7.0]
