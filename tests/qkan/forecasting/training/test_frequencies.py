"""Initial frequencies of a forecaster: what --preact-init builds, and what the training part makes of "auto"."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import tiny_config

from qkan.forecasting import load_run, train
from qkan.forecasting.config.options import PREACT_INITS
from qkan.forecasting.data.load import tensors
from qkan.forecasting.model.build import build_forecaster
from qkan.forecasting.training.frequencies import start_frequencies
from qkan.layers import frequencies
from qkan.layers.frequencies import HasFrequencies


def weights(model: torch.nn.Module) -> list[list[float]]:
    """The frequencies of the first circuit of every layer."""
    return [
        layer.preact_weight[0, 0].tolist()
        for layer in model.modules()
        if isinstance(layer, HasFrequencies) and layer.preact_weight is not None
    ]


def test_names_are_those_of_layers() -> None:
    assert PREACT_INITS == frequencies.PREACT_INITS


@pytest.mark.parametrize("cell", ["qkan", "hqkan"])
@pytest.mark.parametrize("trained", [False, True])
def test_the_option_reaches_every_circuit(cell: str, trained: bool) -> None:
    config = tiny_config(cell=cell, reps=3, preact_init="ternary", preact_trainable=trained)
    model = build_forecaster(config, torch.Generator().manual_seed(0))
    found = weights(model)
    assert found
    assert all(own == [1, 3, 9] for own in found)


def waving(count: int = 400, frequency: float = 20) -> list[float]:
    """Values that follow each other by a wave: y' = sin(20 y) / 2 + 1 / 2 plus a little noise."""
    noise, values = np.random.default_rng(0), [0.3]
    for _ in range(count - 1):
        values.append(float(0.5 + 0.5 * np.sin(frequency * values[-1]) + 1e-3 * noise.standard_normal()))
    return values


@pytest.mark.parametrize("cell", ["qkan", "hqkan"])
def test_auto_finds_the_frequency_of_the_step(cell: str, make_data: Any) -> None:
    data = make_data({"a": waving()}, window=2, scaler="none")
    config = tiny_config(cell=cell, reps=1, window=2, preact_init="auto", scaler="none")
    model = build_forecaster(config, torch.Generator().manual_seed(0))
    start_frequencies(model, tensors(data.train))
    assert [own[0] for own in weights(model)] == pytest.approx([20.0] * len(weights(model)), abs=0.3)
    kept = weights(model)
    start_frequencies(model, tensors(make_data({"a": list(range(400))}, window=2, scaler="none").train))
    assert weights(model) == kept


@pytest.mark.parametrize(
    "options",
    [
        {"horizon": 2, "decoder": "steps"},
        {"horizon": 2, "decoder": "steps", "window": 1},
        {"horizon": 2, "order": "periods", "segment": 2, "window": 4},
    ],
)
def test_auto_looks_at_the_newest_value_in_every_order(options: dict[str, Any], make_data: Any) -> None:
    values = waving()
    if "segment" in options:  # two phases, each a series of its own
        values = list(np.repeat(values, 2))
    config = tiny_config(**{"cell": "qkan", "reps": 1, "window": 2, "preact_init": "auto", "scaler": "none", **options})
    data = make_data({"a": values}, window=config.window, horizon=2, scaler="none")
    model = build_forecaster(config, torch.Generator().manual_seed(0))
    start_frequencies(model, tensors(data.train))
    assert weights(model)[0] == pytest.approx([20.0], abs=0.3)


@pytest.mark.parametrize(("horizon", "decoder"), [(1, "last"), (3, "last"), (3, "steps")])
def test_targets_that_nobody_observed_have_no_say_in_the_frequencies(
    horizon: int, decoder: str, make_data: Any
) -> None:
    values = waving(200) + waving(400, 31)  # the second wave is what gaps were filled with
    data = make_data({"a": values}, window=2, horizon=horizon, scaler="none")
    seen = torch.tensor([1.0] * 200 + [0.0] * 400)
    for start in range(200, 600, 40):  # of a few windows with gaps one step was observed
        seen[start] = 1.0
    windows = tensors(data.train)
    windows = replace(windows, weights=seen[: len(windows.values)])
    options = {"window": 2, "horizon": horizon, "decoder": decoder, "scaler": "none"}
    config = tiny_config(cell="qkan", reps=1, preact_init="auto", **options)
    model = build_forecaster(config, torch.Generator().manual_seed(0))
    start_frequencies(model, windows)
    assert weights(model)[0] == pytest.approx([20.0], abs=0.3)


def test_frequencies_from_data_come_back_with_the_run(tmp_path: Any) -> None:
    config = tiny_config(cell="qkan", reps=2, preact_init="auto", epochs=1, data="logistic-map")
    run = train(config, tmp_path / "run")
    assert weights(run.model) == weights(load_run(tmp_path / "run").model)
    assert weights(run.model)[0] != [1, 1]


def test_data_without_frequencies_are_refused(make_data: Any) -> None:
    config = tiny_config(cell="qkan", reps=2, window=2, preact_init="auto")
    for values, message in (
        ([3.0] * 100, "the targets, but they are constant"),
        (list(np.sin(np.arange(12.0))), "finds 2 frequencies in at least 8 samples, got"),
    ):
        model = build_forecaster(replace(config, scaler="none"), torch.Generator().manual_seed(0))
        with pytest.raises(ValueError, match=message):
            start_frequencies(zeroed(model), tensors(make_data({"a": values}, window=2, scaler="none").train))


def zeroed(model: Any) -> Any:
    """The forecaster with a head of zeros, so that its errors are the targets."""
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.zero_()
    return model
