"""Kernels for CPUs are compiled once per installation; here that happens before a training is timed."""

from __future__ import annotations

import logging

import torch

from qkan.forecasting.config.options import TrainConfig
from qkan.forecasting.model.build import build_forecaster
from qkan.forecasting.training.distributed import resolve_device

#: Cells that train on kernels of ours.
COMPILED = ("qkan", "hqkan", "lowrank")


def compile_kernels(config: TrainConfig) -> None:
    """Compile what training on a CPU runs on, and say so, unless its machine code is on disk already.

    The model runs forward and backward on two windows of zeros; no random number but its own is drawn.
    """
    if config.cell not in COMPILED or resolve_device(config.device).type != "cpu":
        return
    from qkan.kernels.recurrence.numba_kernels import BACKWARD

    if BACKWARD.is_compiled(torch.float32):  # the last kernel that a training step needs
        return
    logging.getLogger(__name__).warning("compiling kernels for this CPU, once per installation: about 15 seconds")
    model = build_forecaster(config, torch.Generator().manual_seed(0))
    model(*model.example(2, config.window)).sum().backward()
