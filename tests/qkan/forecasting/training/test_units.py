"""The units that a cell reads and says values in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_runs import tiny_config

from qkan.forecasting.config import TrainConfig
from qkan.forecasting.data.load import load_windows, tensors
from qkan.forecasting.model.build import RecurrentForecaster, build_forecaster
from qkan.forecasting.training.fitting import fit_forecaster
from qkan.forecasting.training.start import start_from_regression
from qkan.forecasting.training.units import read_in_units, say_in_units

LAST = {"level": "last", "skip": 2}


def parts(**options: Any) -> tuple[TrainConfig, Any, RecurrentForecaster]:
    config = tiny_config(**options)
    data = load_windows(config)
    return config, tensors(data.train), build_forecaster(config, torch.Generator().manual_seed(0))


def read_by_cell(model: RecurrentForecaster, batch: Any) -> torch.Tensor:
    """What the cell is given, (windows, steps, channels)."""
    read: list[torch.Tensor] = []
    handle = model.cell.register_forward_pre_hook(lambda module, arguments: read.append(arguments[0].detach()))
    with torch.no_grad():
        model(*batch.arguments)
    handle.remove()
    return read[0]


@pytest.mark.parametrize("level", ["last", "mean", "none"])
def test_a_cell_reads_values_of_unit_deviation(level: str) -> None:
    _, train, model = parts(level=level, skip=2)
    batch = train.batch(torch.arange(len(train)))
    before = read_by_cell(model, batch)
    read_in_units(model, train)
    values = batch.arguments[0][..., 0]
    left = values - {"last": values[:, -1:], "mean": values.mean(dim=1, keepdim=True), "none": 0.0}[level]
    assert float(model.reads_in.factor) == pytest.approx(1 / float(left.std()), rel=1e-5)
    torch.testing.assert_close(read_by_cell(model, batch), before / left.std(), rtol=1e-5, atol=1e-6)


def test_windows_that_are_divided_by_their_own_scale_are_left_alone() -> None:
    _, train, model = parts(level="window", skip=2)
    read_in_units(model, train)
    assert float(model.reads_in.factor) == 1


def test_lags_of_a_season_are_read_in_the_same_unit() -> None:
    options = {"season": (12,), "seasonal_lags": True, "season_encoding": "none", **LAST}
    _, train, model = parts(**options)
    batch = train.batch(torch.arange(len(train)))
    before = read_by_cell(model, batch)
    read_in_units(model, train)
    assert before.shape[2] == 2
    torch.testing.assert_close(read_by_cell(model, batch), before * model.reads_in.factor, rtol=1e-5, atol=1e-6)


def test_what_a_regression_leaves_over_is_said_in_units_of_it_and_forecasts_stay() -> None:
    _, train, model = parts(**LAST)
    batch = train.batch(torch.arange(len(train)))
    start = start_from_regression(model, train, train, torch.nn.functional.mse_loss)
    assert start is not None
    assert start.begins
    with torch.no_grad():
        model.head.bias.fill_(0.25)
        before = model(*batch.arguments)
        say_in_units(model, train)
        after = model(*batch.arguments)
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-6)
    assert float(model.says_in.factor) == pytest.approx(float((batch.targets - before).std()), rel=1e-4)


@pytest.mark.parametrize(("steps", "unit"), [(0, False), (1, True)])
def test_units_are_those_of_models_that_end_with_a_finish(steps: int, unit: bool) -> None:
    config = tiny_config(epochs=1, lbfgs_steps=steps, **LAST)
    model = fit_forecaster(config, load_windows(config)).model
    assert (float(model.reads_in.factor) != 1) == unit


def test_constants_have_no_unit() -> None:
    _, train, model = parts(**LAST)
    train.values.fill_(0.5)
    read_in_units(model, train)
    say_in_units(model, train)
    assert (float(model.reads_in.factor), float(model.says_in.factor)) == (1, 1)


def test_rounding_is_no_unit_to_read_in() -> None:
    _, train, model = parts(**LAST)
    train.values.copy_(0.5 + 1e-8 * train.values)
    read_in_units(model, train)
    assert float(model.reads_in.factor) == 1


def test_values_that_nobody_observed_have_no_say_in_the_unit() -> None:
    _, train, model = parts(**LAST)
    weights = torch.ones(len(train.values))
    weights[::3] = 0
    train = replace(train, weights=weights)
    batch = train.batch(torch.arange(len(train)))
    with torch.no_grad():
        errors = (batch.targets - model(*batch.arguments))[batch.weights > 0]
    say_in_units(model, train)
    assert float(model.says_in.factor) == pytest.approx(float(errors.std()), rel=1e-4)
