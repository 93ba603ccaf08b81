"""Kernels for CPUs are compiled once per installation; here that happens before a training is timed."""

from __future__ import annotations

import logging

import torch

from qkan.forecasting.config import TrainConfig
from qkan.forecasting.model.build import RecurrentForecaster

#: Cells that train on kernels of ours.
COMPILED = ("qkan", "hqkan", "lowrank", "fourier")


def compile_kernels(config: TrainConfig, model: RecurrentForecaster) -> None:
    """Compile what training on a CPU runs on, and say so, unless its machine code is on disk already.

    The model runs forward and backward on two windows of zeros and keeps no gradient of it.
    """
    if config.cell not in COMPILED or next(model.parameters()).device.type != "cpu":
        return
    from qkan.kernels.recurrence.numba_kernels import BACKWARD

    if BACKWARD.is_compiled(torch.float32):  # the last kernel that a training step needs
        return
    logging.getLogger(__name__).warning("compiling kernels for this CPU, once per installation: about 15 seconds")
    model(*model.example(2)).sum().backward()
    model.zero_grad()
