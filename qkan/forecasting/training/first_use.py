"""Kernels for CPUs are compiled once per installation; here that happens before a training is timed."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable

import torch

from qkan.forecasting.config import TrainConfig
from qkan.forecasting.model.build import RecurrentForecaster

#: Cells that train on kernels of ours.
COMPILED = ("qkan", "hqkan", "lowrank", "fourier")


def compile_kernels(
    config: TrainConfig, model: RecurrentForecaster, dtypes: Iterable[torch.dtype] = (torch.float32,)
) -> None:
    """Compile what training on a CPU runs on, and say so, unless its machine code is on disk already.

    The model runs forward and backward on two windows of zeros and keeps no gradient of it.

    Args:
        config: The options.
        model: A fresh model.
        dtypes: What is computed in.
    """
    if config.cell not in COMPILED or next(model.parameters()).device.type != "cpu":
        return
    from qkan.kernels.recurrence.numba_kernels import BACKWARD

    # the last kernel that a training step needs
    missing = [dtype for dtype in dtypes if not BACKWARD.is_compiled(dtype)]
    if not missing:
        return
    seconds = 15 * len(missing)
    logging.getLogger(__name__).warning(
        f"compiling kernels for this CPU, once per installation: about {seconds} seconds"
    )
    for dtype in missing:
        trial = copy.deepcopy(model).to(dtype)
        trial(*(argument.to(dtype) for argument in trial.example(2))).sum().backward()
