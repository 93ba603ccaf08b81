"""The engines of whole-sequence recurrences against the reference: outputs, final states and every gradient."""

from __future__ import annotations

import pytest
import torch
from recurrences import KINDS, Kind, assert_close, make

from qkan.kernels.recurrence import api as recurrence

SHAPES = {
    "one step": ((3,), 5),
    "odd": ((5, 5, 5, 5, 5, 5, 5), 7),
    "packed": ((6, 6, 4, 3, 3, 1, 1), 3),
    "one unit": ((2, 2, 2), 1),
}


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("backend", [engine.name for engine in recurrence.ENGINES.engines if engine.name != "triton"])
def test_engines_agree_with_the_reference(backend, shape, kind: Kind):
    sizes, hidden = SHAPES[shape]
    assert_close(make(kind, sizes, hidden), backend, 1e-12)
    assert_close(make(kind, sizes, hidden, dtype=torch.float32), backend, 2e-5)
