"""No thread of a Triton kernel touches what another writes without a barrier between: checked in the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from engines import without_numba
from races import races
from torch import nn

from qkan import HQKANLSTM, QKANGRU, QKANLSTM, GroupRational, QKANLayer
from qkan.kernels.circuits.bloch import triton_gpu as circuits
from qkan.kernels.recurrence import triton_gpu as recurrence
from qkan.kernels.recurrence.triton_gpu import Tiles
from qkan.kernels.spectral import small_layer
from qkan.kernels.spectral import triton_gpu as expansions

pytest.importorskip("triton", reason="Triton has no wheels for this platform")
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="kernels are not interpreted")


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several tiles in every dimension, states of recurrences in memory."""
    without_numba(monkeypatch)
    monkeypatch.setattr(expansions, "INTERPRETED", True)
    monkeypatch.setattr(small_layer, "SMALL_OUTPUTS", 4)
    for name in ("BLOCK_O", "BLOCK_P", "BLOCK_R", "BLOCK_I", "SMALL_ROWS"):
        monkeypatch.setattr(expansions, name, 4)
    monkeypatch.setattr(circuits, "tile", lambda steps, outputs, lanes, backward: (4, 2))
    monkeypatch.setattr(recurrence, "tiles", lambda *widths, **kinds: Tiles(4, 4, 2, 4, resident=False, warps=4))


STEPS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "circuits": (lambda: QKANLayer(2, 3, 2, backend="triton", preact_trainable=True), (9, 2)),
    "expansions": (lambda: QKANLayer(2, 5, 1, backend="spectral", preact_trainable=True), (5, 2)),
    "a small layer": (lambda: QKANLayer(2, 4, 1, backend="spectral"), (5, 2)),
    "lstm": (lambda: QKANLSTM(1, 5, reps=1, backend="triton"), (2, 5, 1)),
    "lstm with a latent and a projection": (lambda: HQKANLSTM(1, 5, proj_size=3, backend="triton"), (2, 5, 1)),
    "gru": (lambda: QKANGRU(1, 5, reps=1, backend="triton"), (2, 3, 1)),
    "rational": (lambda: GroupRational(6, 2, backend="triton"), (300, 6)),
}


def step(name: str) -> None:
    make, shape = STEPS[name]
    torch.manual_seed(0)
    x = torch.rand(shape, requires_grad=True)
    y: Any = make()(x)
    (y[0] if isinstance(y, tuple) else y).sum().backward()


@pytest.mark.parametrize("name", STEPS)
def test_no_races(name: str) -> None:
    with races() as checked:
        step(name)
    assert checked.programs >= 2
    assert dict(checked.found) == {}


def test_without_barriers_races_are_found() -> None:
    with races(barriers=False) as checked:
        step("gru")
    assert checked.found["read while it is written"] > 0
