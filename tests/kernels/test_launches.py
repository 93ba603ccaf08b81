"""How many operations a training step starts on a device: counted on the meta device, where nothing is computed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from qkan import QKANLayer
from qkan.kernels import backend_choice

#: Operations that start nothing on a device.
FREE = frozenset(
    [
        "view",
        "t",
        "transpose",
        "expand",
        "slice",
        "select",
        "unsqueeze",
        "squeeze",
        "permute",
        "detach",
        "alias",
        "unbind",
        "split",
        "split_with_sizes",
        "_unsafe_view",
        "as_strided",
        "empty",
        "new_empty",
        "empty_like",
        "empty_strided",
        "_reshape_alias",
        "unflatten",
        "chunk",
        "lift_fresh",
    ]
)


class Launches(TorchDispatchMode):
    """Counts operations that start something on a device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += function.overloadpacket.__name__ not in FREE
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("backend", "shape", "trained", "most"),
    [
        ("spectral", (65536, 256, 256, 3), False, 700),  # pieces of the size of a CPU's cache: 6,781
        ("spectral", (65536, 256, 256, 3), True, 2200),  # 34,271
        ("spectral", (64, 8, 20, 3), False, 220),
        ("bloch", (64, 8, 20, 3), False, 220),
    ],
)
def test_launches_of_a_training_step_stay_below_a_ceiling(
    backend: str, shape: tuple[int, int, int, int], trained: bool, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, inputs, outputs, reps = shape
    monkeypatch.setattr(backend_choice, "largest", lambda x, finite=True: 1.0 if finite else 3.3)  # K = 12 terms
    layer = QKANLayer(inputs, outputs, reps, preact_trainable=trained, backend=backend).to("meta")
    x = torch.empty(samples, inputs, device="meta", requires_grad=True)
    with Launches() as launches:
        y = layer(x)
        torch.autograd.grad(y, [x, *layer.parameters()], torch.empty_like(y))
    assert launches.count <= most
