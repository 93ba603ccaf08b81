"""Compile what most tests run on, before they start: ``python tests/support/compile_kernels.py float32``.

Without it every worker of pytest-xdist, and every process that a test starts meanwhile, would compile the same kernels.
"""

from __future__ import annotations

import sys

import torch

from qkan import QKANGRU, QKANLSTM, KANLayer, QKANLayer


def main(dtype: torch.dtype) -> None:
    """Run layers and a recurrence forward and backward in one dtype."""
    x = torch.zeros(2, 3, 2, dtype=dtype, requires_grad=True)
    for recurrence in (QKANLSTM, QKANGRU):
        recurrence(2, 3, dtype=dtype)(x)[0].sum().backward()
    for backend in ("spectral", "bloch"):
        QKANLayer(2, 3, preact_trainable=True, backend=backend, dtype=dtype)(x).sum().backward()
    KANLayer(2, 3, dtype=dtype)(x).sum().backward()


if __name__ == "__main__":
    main(getattr(torch, sys.argv[1]))
