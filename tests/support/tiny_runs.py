"""Options of runs that take a fraction of a second."""

from qkan.forecasting import CompareConfig, TrainConfig
from qkan.forecasting.config import without_effect

BARE = {"level": "none", "skip": 0, "season": "none", "decoder": "last"}
"""A forecaster that is a cell and its head, without what stands around it."""
BARE_FLAGS = ("--level", "none", "--skip", "0", "--season", "none", "--decoder", "last", "--lbfgs-steps", "0")
"""The same for the command line, without a finish."""
_TINY = {**BARE, "data": "damped-shm", "window": 4, "epochs": 2, "batch_size": 64, "device": "cpu", "lbfgs_steps": 0}


def tiny_config(**options: object) -> TrainConfig:
    """A small LSTM on damped-shm, bare, two epochs; of a linear forecaster's options, those that it has."""
    options = {"cell": "lstm", "hidden_size": 2, **options}
    bare = {name: value for name, value in _TINY.items() if name not in without_effect(str(options["cell"]))}
    return TrainConfig(**{**bare, **options})


def tiny_comparison(**options: object) -> CompareConfig:
    """Two cells at one size, two learning rates, two seeds, in this process."""
    defaults = {"cells": ("lstm", "gru"), "seeds": 2, "trials": 2, "budget_params": (50,), "workers": 1}
    return CompareConfig(**{**_TINY, **defaults, **options})


def train_in_child(out: str, resume: bool) -> None:
    """Train a run whose epochs are checkpointed; the target of processes that get killed."""
    import torch

    from qkan.forecasting import train

    torch.set_num_threads(1)
    train(tiny_config(epochs=25, batch_size=8, lr=0.03, lbfgs_steps=30), out, resume=resume)
