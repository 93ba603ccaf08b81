"""How many kernels a training step starts on a GPU: counted on the meta device, where nothing is computed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

pytest.importorskip("triton", reason="Triton has no wheels for this platform")

from benchmarks.gpu.launches import STEPS, count
from benchmarks.gpu.stand_in import Launches, training_step
from qkan import QKANLayer
from qkan.kernels import backend_choice, backend_cost

#: Steps of :data:`benchmarks.gpu.launches.STEPS` and what they start.
STARTED = {
    "layer 65536, 256, 256, 3 fixed": 10,
    "layer 65536, 256, 256, 3 trained": 14,
    "layer 65536, 256, 256, 3 triton": 41,
    "layer 64, 8, 20, 3 fixed": 10,
    "layer 64, 8, 20, 3 trained": 14,
    "lstm 256, 128, 64, R 2": 34,
    "lstm 256, 128, 256, R 2": 34,
    "gru 256, 128, 64, R 2": 31,
    "hqkan-lstm 256, 128, 64": 36,
    "rational 64, 197, 768": 8,
}


def test_every_step_that_is_counted_has_a_number_here() -> None:
    assert list(STARTED) == list(STEPS)


@pytest.mark.parametrize("name", STARTED)
def test_launches_of_a_training_step(name: str) -> None:
    found = count(name)
    assert found["launches"] == STARTED[name], found["of"]


def test_the_cost_model_counts_the_same_launches() -> None:
    assert backend_cost.LAUNCHES["spectral"] == tuple(
        STARTED[f"layer 64, 8, 20, 3 {kind}"] for kind in ("fixed", "trained")
    )
    assert backend_cost.LAUNCHES["triton"][0] == STARTED["layer 65536, 256, 256, 3 triton"]


@pytest.mark.parametrize(("trained", "most"), [(False, 700), (True, 2200)])
def test_launches_without_triton_stay_below_a_ceiling(
    trained: bool, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces of the size of a CPU's cache took 6,781 and 34,271."""
    monkeypatch.setattr(backend_choice, "largest", lambda x, finite=True: 1.0 if finite else 3.3)  # K = 12 terms
    layer: nn.Module = QKANLayer(256, 256, 3, preact_trainable=trained, backend="spectral", device="meta")
    with Launches() as launches:
        training_step(layer, 65536, 256)
    assert launches.count <= most


def test_operations_and_kernels_are_told_apart() -> None:
    with Launches() as launches:
        x = torch.ones(3, device="meta")
        (x + x).view(3, 1).t().sum()
    assert dict(launches.found) == {"ones": 1, "add": 1, "sum": 1}
