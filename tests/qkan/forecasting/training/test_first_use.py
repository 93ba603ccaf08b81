"""Kernels are compiled before a training is timed, with a sentence, and only where they will be used."""

from __future__ import annotations

import logging

import pytest
import torch

from qkan.forecasting import TrainConfig, build_forecaster
from qkan.forecasting.training.first_use import compile_kernels


@pytest.mark.parametrize(
    ("cell", "on_disk", "said"),
    [
        ("qkan", False, True),
        ("hqkan", False, True),
        ("fwp", False, True),
        ("qkan", True, False),
        ("lstm", False, False),
    ],
)
def test_compiling_is_announced_where_it_is_needed(
    cell: str, on_disk: bool, said: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("qkan.kernels.common.numba_runtime.Kernel.is_compiled", lambda kernel, dtype: on_disk)
    config = TrainConfig(data="damped-shm", cell=cell, device="cpu", season="none")
    model = build_forecaster(config, torch.Generator().manual_seed(0))
    state = torch.get_rng_state()
    with caplog.at_level(logging.WARNING):
        compile_kernels(config, model)
    assert ("once per installation" in caplog.text) is said
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
