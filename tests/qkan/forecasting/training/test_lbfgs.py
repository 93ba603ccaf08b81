"""The finish by LBFGS, restarts from several initial weights, and learning rates of angles and frequencies."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import BARE, tiny_config

from qkan.datasets import DataNotice, ForecastData
from qkan.forecasting import load_run, train
from qkan.forecasting.config import TrainConfig
from qkan.forecasting.data import batches
from qkan.forecasting.data.batches import WindowTensors, predict_windows
from qkan.forecasting.data.load import load_windows, tensors
from qkan.forecasting.model.build import build_forecaster
from qkan.forecasting.runs.write import checkpoints_in
from qkan.forecasting.training import lbfgs
from qkan.forecasting.training.fitting import fit_forecaster
from qkan.forecasting.training.lbfgs import finish_steps, finish_with_lbfgs
from qkan.forecasting.training.loop import parameter_groups


def two_sines(count: int, offset: float = 0.0) -> WindowTensors:
    """Targets sin 2x + cos 3x over the last of two values x, which run over [-pi, pi]."""
    x = torch.linspace(-math.pi, math.pi, count) + offset
    rows = torch.stack([torch.zeros(count), x, torch.sin(2 * x) + torch.cos(3 * x)], 1).flatten()
    return WindowTensors(rows[:, None], torch.zeros(3 * count, 0), None, 3 * torch.arange(count), window=2, horizon=1)


def error(model: torch.nn.Module, data: WindowTensors) -> float:
    batch = data.batch(torch.arange(len(data)))
    return float((predict_windows(model, data)[:, :, 0] - batch.targets).square().mean())


def circuit(**options: Any) -> TrainConfig:
    own = {"cell": "qkan", "hidden_size": 3, "reps": 3, "window": 2, "lr": 0.1}
    return tiny_config(**{**own, **options})


def test_a_finish_fits_two_sines_that_adam_alone_does_not() -> None:
    from qkan.forecasting.training.loop import fit

    config, data, between = circuit(epochs=8, batch_size=32), two_sines(120), two_sines(119, 0.026)
    model = build_forecaster(config, torch.Generator().manual_seed(0))
    result = fit(model, data, between, config)
    finish = finish_with_lbfgs(model, data, between, config, 120)
    assert result.best_loss > 0.02
    assert finish.before == pytest.approx(result.best_loss, rel=1e-4)
    assert finish.after < 1e-3
    assert finish.after == pytest.approx(error(model, between), rel=1e-4)
    assert finish.steps <= 120 <= finish.evaluations


class Watcher:
    """Keeps what it is told of a finish."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def lbfgs_start(self, steps: int) -> None:
        self.told.append(steps)

    def lbfgs_step(self, done: int, loss: float, val_loss: float) -> None:
        self.told.append((done, loss, val_loss))

    def lbfgs_finish(self) -> None:
        self.told.append("end")


def test_a_watcher_is_told_the_losses_of_a_finish_every_ten_steps() -> None:
    config, data, between = circuit(), two_sines(120), two_sines(119, 0.026)
    model = build_forecaster(config, torch.Generator().manual_seed(0))
    first, watcher = error(model, data), Watcher()
    finish = finish_with_lbfgs(model, data, between, config, 25, watcher)
    steps, *looks, end = watcher.told
    assert (steps, end, [done for done, _, _ in looks]) == (25, "end", [10, 20, 25])
    assert looks[0][1] == pytest.approx(first, rel=1e-4)  # in the unit of the loss, whatever the search counts with
    assert min(val_loss for _, _, val_loss in looks) == pytest.approx(finish.after, rel=1e-4)


def test_a_finish_does_not_depend_on_the_size_of_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    config, data, between = circuit(), two_sines(120), two_sines(119, 0.026)
    whole, ends = lbfgs.loss_of, []
    for unit in (1.0, 2.0**-40):
        monkeypatch.setattr(lbfgs, "loss_of", lambda config, u=unit: lambda *of: u * whole(config)(*of))
        model = build_forecaster(config, torch.Generator().manual_seed(0))
        finish = finish_with_lbfgs(model, data, between, config, 60)
        ends.append((finish.steps, finish.evaluations, finish.after / unit))
    assert ends[1][:2] == ends[0][:2]
    assert ends[1][2] == pytest.approx(ends[0][2], rel=1e-4)
    assert ends[0][2] < 1e-2


def test_weights_that_validation_does_not_prefer_are_not_kept() -> None:
    config, data = circuit(), two_sines(40)
    opposite = replace(data, values=data.values.clone())
    opposite.values[2::3] *= -1  # what training learns is wrong there
    model = build_forecaster(config, torch.Generator().manual_seed(0))
    start = {name: value.clone() for name, value in model.state_dict().items()}
    finish = finish_with_lbfgs(model, data, opposite, config, 40)
    assert (finish.steps, finish.after) == (0, finish.before)
    torch.testing.assert_close(dict(model.state_dict()), start, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    "options", [{"loss": "quantile"}, {"loss": "huber", "cell": "linear"}, {"precision": "64-true"}]
)
def test_pieces_of_the_windows_add_up(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    weights = torch.ones(180)
    weights[5::12] = 0  # targets that were not observed, more in some pieces than in others
    data, config = replace(two_sines(60), weights=weights), circuit()
    if options.get("cell") == "linear":
        config = tiny_config(window=2, cell="linear")
    config, ends = replace(config, **options), []
    for piece in (4096, 7):
        monkeypatch.setattr(batches, "EVALUATION_BATCH", piece)
        model = build_forecaster(config, torch.Generator().manual_seed(0))
        ends.append(finish_with_lbfgs(model, data.keep(torch.arange(60) % 4 != 1), data, config, 10))
        assert next(model.parameters()).dtype == torch.float32
    assert ends[0].after < ends[0].before
    assert ends[1].before == pytest.approx(ends[0].before, rel=1e-6)
    assert ends[1].after == pytest.approx(ends[0].after, rel=1e-3)


@pytest.fixture(scope="module")
def data() -> ForecastData:
    return load_windows(circuit())


def test_the_best_of_several_starts_is_kept_with_every_spectrum(data: ForecastData, monkeypatch: Any) -> None:
    from qkan.forecasting.training import fitting

    seen: list[list[float]] = []

    def noted(model: Any, *rest: Any, **options: Any) -> Any:
        seen.append(model.cell.directions[0].gates.input.preact_weight[0, 0].tolist())
        return once(model, *rest, **options)

    once = fitting._fit_once
    monkeypatch.setattr(fitting, "_fit_once", noted)
    config = circuit(preact_init="auto", restarts=5, lbfgs_steps=3, epochs=1)
    fitted = fit_forecaster(config, data)
    assert seen[1:4] == [[1, 2, 4], [1, 3, 9], [1, 1, 1]]
    assert all(own not in seen[1:4] for own in (seen[0], seen[4]))  # what two fresh models leave over of the data
    starts = fitted.metrics()["starts"]
    assert len(set(starts)) == 5
    assert fitted.result.best_loss == min(starts)
    assert error(fitted.model, tensors(data.validation)) == pytest.approx(min(starts), rel=1e-5)
    one = fit_forecaster(replace(config, restarts=1), data)
    assert one.result.best_loss == starts[0]
    assert "starts" not in one.metrics()
    assert fitted.result.seconds > one.result.seconds


def test_a_run_with_all_of_it_is_resumed_to_the_same_end(tmp_path: Path, data: ForecastData) -> None:
    config = circuit(restarts=2, lbfgs_steps=15, preact_trainable=True, lr_frequencies=2.0)
    whole = train(config, tmp_path / "whole", data=data)

    class Stop:
        count = 0

        def start(self, *_: Any) -> None:
            self.count += 1

        def step(self, *_: Any) -> None:
            pass

        def epoch(self, metrics: Any) -> None:
            if self.count == 2 and metrics["epoch"] == 1:
                raise KeyboardInterrupt

        def finish(self) -> None:
            pass

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "cut", data=data, progress=Stop())
    resumed = train(config, tmp_path / "cut", data=data, resume=True)
    torch.testing.assert_close(resumed.model.state_dict(), whole.model.state_dict(), rtol=0, atol=0)
    assert resumed.metrics["starts"] == whole.metrics["starts"]
    assert load_run(tmp_path / "cut").metrics["lbfgs"]["steps"] == whole.metrics["lbfgs"]["steps"] > 0


def test_windows_without_a_validation_part_are_trained_once_and_that_is_said() -> None:
    unjudged = load_windows(circuit(split=(0.8, 0.0, 0.2)))
    with pytest.warns(DataNotice) as said:
        fitted = fit_forecaster(circuit(lbfgs_steps=3, restarts=2, epochs=1), unjudged)
    reason = "has no effect: there are no validation windows to judge by"
    assert [str(one.message) for one in said] == [f"lbfgs_steps=3 {reason}", f"restarts=2 {reason}"]
    assert (fitted.result.finish, fitted.result.starts) == (None, ())


def test_the_checkpoints_of_all_starts_go_when_a_run_is_replaced(tmp_path: Path, data: ForecastData) -> None:
    out, config = tmp_path / "run", circuit(restarts=3, epochs=1)
    train(config, out, data=data)
    assert [own.name for own in checkpoints_in(out)] == ["last-1.ckpt", "last-2.ckpt", "last.ckpt"]
    train(replace(config, restarts=1, seed=1), out, data=data, overwrite=True)
    assert [own.name for own in checkpoints_in(out)] == ["last.ckpt"]


def test_frequencies_have_a_rate_of_their_own() -> None:
    config = circuit(preact_trainable=True, lr=0.02, lr_frequencies=3.0, **BARE)
    model = build_forecaster(config, torch.Generator().manual_seed(0))
    named = {id(parameter): name.rpartition(".")[2] for name, parameter in model.named_parameters()}
    found = {group["lr"]: {named[id(own)] for own in group["params"]} for group in parameter_groups(model, config)}
    assert found == {
        0.02: {"bias", "weight", "postact_weight", "theta"}, 0.06: {"preact_weight", "preact_bias"},
    }  # fmt: skip
    (alone,) = parameter_groups(model, replace(config, lr_frequencies=None))
    assert list(map(id, alone["params"])) == list(map(id, model.parameters()))


@pytest.mark.parametrize(
    ("options", "parameters", "windows", "steps"),
    [
        ({}, 1000, 1000, 1000),
        ({"cell": "lstm"}, 1000, 1000, 1000),
        ({"cell": "linear"}, 5, 1000, 1000),
        ({}, 1001, 1000, 0),
        ({}, 100, 10_001, 0),  # of three values each
        ({"window": 4096}, 100, 100, 0),
        ({"lbfgs_steps": 7}, 10_000, 1_000_000, 7),
        ({"lbfgs_steps": 0}, 10, 10, 0),
        ({"lbfgs_steps": 0, "dropout": 0.1, "skip": 2}, 10, 10, 0),
        ({"dropout": 0.1, "skip": 2}, 10, 10, 0),
        ({"devices": 2}, 10, 10, 0),
        ({"split": (0.8, 0.0, 0.2)}, 10, 10, 0),
    ],
)
def test_small_models_are_finished_unless_another_option_forbids_it(
    options: dict[str, Any], parameters: int, windows: int, steps: int
) -> None:
    config = tiny_config(**{"window": 2, "cell": "qkan", "lbfgs_steps": None, **options})
    assert finish_steps(config, parameters, windows) == steps


def test_a_run_that_is_stopped_amid_the_finish_is_resumed_to_the_same_end(
    tmp_path: Path, data: ForecastData, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qkan.forecasting.training import lbfgs

    config = circuit(lbfgs_steps=15)
    whole = train(config, tmp_path / "whole", data=data)
    with monkeypatch.context() as patch:

        def stopped(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr(lbfgs, "descend", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "cut", data=data)
    resumed = train(config, tmp_path / "cut", data=data, resume=True)
    torch.testing.assert_close(resumed.model.state_dict(), whole.model.state_dict(), rtol=0, atol=0)
    assert (resumed.metrics["lbfgs"]["steps"], resumed.metrics["epochs"]) == (whole.metrics["lbfgs"]["steps"], 2)


def test_where_lags_say_much_a_training_from_the_weights_as_drawn_stands_beside_that_from_a_regression(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from qkan.forecasting.training import fitting

    ends: list[tuple[bool, float, float]] = []

    def noted(*arguments: Any, **options: Any) -> Any:
        result = once(*arguments, **options)
        ends.append((arguments[5] is not None, result.best_loss, result.seconds))
        return result

    once = fitting._trained
    monkeypatch.setattr(fitting, "_trained", noted)
    config = tiny_config(data="lorenz", level="last", skip=2, lbfgs_steps=40)
    fitted = fit_forecaster(config, load_windows(config))
    assert [regression for regression, _, _ in ends] == [True, False]
    losses = [loss for _, loss, _ in ends]
    assert fitted.result.best_loss == min(losses) < max(losses)
    assert fitted.result.seconds == sum(seconds for _, _, seconds in ends)
    assert error(fitted.model, tensors(fitted.data.validation)) == pytest.approx(min(losses), rel=1e-5)
    ends.clear()
    fit_forecaster(replace(config, lbfgs_steps=0), fitted.data)
    assert [regression for regression, _, _ in ends] == [True]
