"""Kernels for CPUs are compiled once per installation; here that happens before a training is timed."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable
from importlib import import_module

import torch

from qkan.forecasting.config import TrainConfig
from qkan.forecasting.model.build import RecurrentForecaster

#: Cells that train on kernels of ours, and the module with the last one that a training step needs, its ``BACKWARD``.
COMPILED = dict.fromkeys(
    ("qkan", "hqkan", "lowrank", "fourier"), "qkan.kernels.recurrence.numba_kernels"
) | dict.fromkeys(("fwp", "fwp-linear"), "qkan.kernels.fast_weights.numba_kernels")


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
    last = import_module(COMPILED[config.cell]).BACKWARD
    missing = [dtype for dtype in dtypes if not last.is_compiled(dtype)]
    if not missing:
        return
    seconds = 15 * len(missing)
    logging.getLogger(__name__).warning(
        f"compiling kernels for this CPU, once per installation: about {seconds} seconds"
    )
    for dtype in missing:
        trial = copy.deepcopy(model).to(dtype)
        trial(*(argument.to(dtype) for argument in trial.example(2))).sum().backward()
