"""What a training step starts, counted without a device: modules and backends by the sizes that matter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.gpu.record import Cases
from benchmarks.gpu.stand_in import counting, training_step
from qkan import HQKANLSTM, QKANGRU, QKANLSTM, GroupRational, QKANLayer

Make = Callable[[], torch.nn.Module]


def _layer(inputs: int, outputs: int, reps: int, **options: Any) -> Make:
    return lambda: QKANLayer(inputs, outputs, reps, device="meta", **options)


#: Name, module and shape of its inputs. Sequences are (steps, batch, inputs).
STEPS: dict[str, tuple[Make, tuple[int, ...]]] = {
    "layer 65536, 256, 256, 3 fixed": (_layer(256, 256, 3), (65536, 256)),
    "layer 65536, 256, 256, 3 trained": (_layer(256, 256, 3, preact_trainable=True), (65536, 256)),
    "layer 64, 8, 20, 3 fixed": (_layer(8, 20, 3), (64, 8)),
    "layer 64, 8, 20, 3 trained": (_layer(8, 20, 3, preact_trainable=True), (64, 8)),
    "layer 65536, 256, 256, 3 triton": (_layer(256, 256, 3, backend="triton"), (65536, 256)),
    "lstm 256, 128, 64, R 2": (lambda: QKANLSTM(64, 64, reps=2, device="meta"), (128, 256, 64)),
    "lstm 256, 128, 256, R 2": (lambda: QKANLSTM(64, 256, reps=2, device="meta"), (128, 256, 64)),
    "gru 256, 128, 64, R 2": (lambda: QKANGRU(64, 64, reps=2, device="meta"), (128, 256, 64)),
    "hqkan-lstm 256, 128, 64": (lambda: HQKANLSTM(64, 64, device="meta"), (128, 256, 64)),
    "rational 64, 197, 768": (lambda: GroupRational(768, 8, device="meta"), (64, 197, 768)),
}


def count(name: str) -> dict[str, Any]:
    """Launches of one training step of a case of :data:`STEPS`: how many, and of what."""
    make, shape = STEPS[name]
    module = make()
    with counting() as launches:
        training_step(module, *shape)  # constants are made and copied once
        launches.found.clear()
        training_step(module, *shape)
    return {"launches": launches.count, "of": dict(launches.found.most_common())}


def cases(options: Any) -> Cases:
    """Every case, or with ``options.small`` the small layer's."""
    for name in STEPS:
        if not options.small or "64, 8, 20" in name:
            yield name, lambda name=name: count(name)
