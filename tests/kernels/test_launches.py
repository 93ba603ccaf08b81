"""How many kernels a training step starts on a GPU: counted on the meta device, where nothing is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn

pytest.importorskip("triton", reason="Triton has no wheels for this platform")

from benchmarks.gpu.launches import STEPS, count
from benchmarks.gpu.stand_in import Launches, counting, training_step
from qkan import QKANGRU, QKANLSTM, GroupRational, QKANLayer
from qkan.kernels import backend_choice, backend_cost
from qkan.kernels.common import host_sync, triton_device

#: Steps of :data:`benchmarks.gpu.launches.STEPS` and what they start.
STARTED = {
    "layer 65536, 256, 256, 3 fixed": 10,
    "layer 65536, 256, 256, 3 trained": 14,
    "layer 64, 8, 20, 3 fixed": 4,
    "layer 64, 8, 20, 3 trained": 6,
    "layer 65536, 256, 256, 3 triton": 41,
    "lstm 256, 128, 64, R 2": 22,
    "lstm 256, 128, 256, R 2": 22,
    "gru 256, 128, 64, R 2": 22,
    "hqkan-lstm 256, 128, 64": 25,
    "rational 64, 197, 768": 5,
}


def test_every_step_that_is_counted_has_a_number_here() -> None:
    assert list(STARTED) == list(STEPS)


@pytest.mark.parametrize("name", STARTED)
def test_launches_of_a_training_step(name: str) -> None:
    found = count(name)
    assert found["launches"] == STARTED[name], found["of"]


def test_the_cost_model_counts_the_same_launches() -> None:
    large = tuple(STARTED[f"layer 65536, 256, 256, 3 {kind}"] for kind in ("fixed", "trained"))
    assert backend_cost.LAUNCHES["spectral"] == large
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


@pytest.mark.parametrize("most", [0, 6])
@pytest.mark.parametrize("off", [0.0, math.nan, math.inf])
def test_bounds_are_the_largest_input_and_the_largest_sum_of_weights(
    most: int, off: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_sync, "MOST_READ", most)
    weight = torch.tensor([[1.0, -2.0], [0.5, off], [0.5, 0.0]]).view(3, 1, 2).requires_grad_()
    found = host_sync.bounds(torch.tensor([[0.5], [-4.0]]), weight)
    assert found == (None if off else (4.0, 3.0))
    assert host_sync.bounds(torch.tensor([[math.nan], [-4.0]]), weight) is None


def test_ranges_of_trained_pre_activations_are_read_in_one_copy() -> None:
    layer = QKANLayer(8, 20, 3, preact_trainable=True, device="meta")
    with counting(), pytest.MonkeyPatch.context() as patch:  # undone first: what it replaces is a stand-in
        reads, real = [], host_sync.values_of
        patch.setattr(host_sync, "values_of", lambda tensor: reads.append(tensor.shape) or real(tensor))
        training_step(layer, 64, 8)
    assert reads == [(1 + 8 * 20,)]


#: A module of every family of kernels, with the numbers of its inputs.
FAMILIES: dict[str, Callable[[int], nn.Module]] = {
    "expansions": lambda size: QKANLayer(size, 8, 3, device="meta"),
    "trained expansions": lambda size: QKANLayer(size, 8, 3, preact_trainable=True, device="meta"),
    "circuits": lambda size: QKANLayer(size, 8, 3, backend="triton", device="meta"),
    "rational": lambda size: GroupRational(size, 8, device="meta"),
    "lstm": lambda size: QKANLSTM(size, 64, reps=1, device="meta"),
    "gru": lambda size: QKANGRU(size, 64, reps=1, device="meta"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_more_elements_than_32_bits_count_start_grids_that_devices_take(family: str) -> None:
    shape = (256, 2**17, 8) if family in ("lstm", "gru") else (2**26, 64)
    with counting() as launches:
        y, *_ = training_step(FAMILIES[family](shape[-1]), *shape)
    assert y.numel() >= 2**29
    assert any(name.startswith("triton:") for name in launches.found)
    assert launches.count < 1000


@pytest.mark.parametrize("family", FAMILIES)
def test_an_empty_batch_starts_no_kernel_that_has_nothing_to_do(family: str) -> None:
    shape = (5, 0, 8) if family in ("lstm", "gru") else (0, 8)
    with counting() as launches:
        y, *_ = training_step(FAMILIES[family](8), *shape)
    assert y.numel() == 0
    assert {name for name in launches.found if name.startswith("triton:")} <= {
        "triton:coefficients_kernel",  # of parameters
        "triton:coefficients_gradient_kernel",
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_without_triton_pytorch_computes_and_a_backend_by_name_says_so(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, shape = FAMILIES[family](8), (5, 4, 8) if family in ("lstm", "gru") else (64, 8)
    module.backend = "auto"
    monkeypatch.setattr(triton_device, "triton_installed", lambda: False)
    if family != "rational":  # whose operations in PyTorch read the largest number, and this device has none
        with counting() as launches:
            training_step(module, *shape)
        assert not [name for name in launches.found if name.startswith("triton:")]
    module.backend = "triton"
    with counting(), pytest.raises(ValueError, match="Triton is not installed; install it"):
        training_step(module, *shape)


@pytest.mark.parametrize("family", FAMILIES)
def test_kernels_start_on_the_device_of_their_tensors(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton starts on the current device, whatever the tensors are on: that of a second one has to be made current."""
    current: list[str] = []
    started: list[list[str]] = []

    @contextmanager
    def on(device: torch.device) -> Iterator[None]:
        current.append(device.type)
        yield
        current.pop()

    real = Launches.__getitem__
    monkeypatch.setattr(triton_device, "on_device", on)
    monkeypatch.setattr(
        Launches, "__getitem__", lambda found, kernel: started.append([*current]) or real(found, kernel)
    )
    with counting():
        training_step(FAMILIES[family](8), *((5, 4, 8) if family in ("lstm", "gru") else (64, 8)))
    assert started
    assert all(devices == ["meta"] for devices in started)


@pytest.mark.parametrize("family", FAMILIES)
def test_tensors_on_two_devices_are_refused(family: str) -> None:
    """In words of ours or, where the module stands for one of PyTorch's, in PyTorch's."""
    recurrent = family in ("lstm", "gru")
    with pytest.raises(
        RuntimeError if recurrent else ValueError,
        match=r"not at the same device, found input tensor at cpu and parameter tensor at meta"
        if recurrent
        else r" on meta, but (its input|x) is on cpu; move one of them with .to\(",
    ):
        FAMILIES[family](8)(torch.zeros((5, 4, 8) if recurrent else (64, 8)))


def test_operations_and_kernels_are_told_apart() -> None:
    with Launches() as launches:
        x = torch.ones(3, device="meta")
        (x + x).view(3, 1).t().sum()
    assert dict(launches.found) == {"ones": 1, "add": 1, "sum": 1}
