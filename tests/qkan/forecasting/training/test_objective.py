"""What a display may see of a model while it trains."""

from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import tiny_config

from qkan.forecasting import train
from qkan.forecasting.data.load import tensors
from qkan.forecasting.model.losses import loss_of
from qkan.forecasting.training.objective import Glimpse
from qkan.forecasting.training.progress import Silent


class LastValue(torch.nn.Module):
    """Repeats the last value, plus 1 at the second step."""

    def __init__(self, horizon: int) -> None:
        super().__init__()
        self.horizon, self.unused = horizon, torch.nn.Parameter(torch.zeros(()))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs[:, -1:, 0] + torch.arange(self.horizon)


def test_forecasts_are_of_the_newest_values_of_one_series(make_data) -> None:
    """Of several steps one behind the other, at most as many as asked for, and none of another series."""
    values = {"a": [float(value) for value in range(40)], "b": [float(value % 7) for value in range(40)]}
    data = make_data(values, horizon=2, split=(0.5, 0.25, 0.25), scaler="none")
    glimpse = Glimpse(LastValue(2).train(), tensors(data.validation), loss_of(tiny_config(loss="mae")))
    targets, forecasts = glimpse.forecasts(6)
    np.testing.assert_array_equal(targets, [value % 7 for value in range(24, 30)])
    last = [23 % 7, 25 % 7, 27 % 7]
    np.testing.assert_array_equal(forecasts, [value + step for value in last for step in (0, 1)])
    assert glimpse.model.training
    many, _ = glimpse.forecasts(1000)
    np.testing.assert_array_equal(many, [value % 7 for value in range(20, 30)])


@pytest.mark.parametrize(("loss", "expected"), [("mae", 1.5), ("mse", 2.5), ("quantile", 0.75)])
def test_the_loss_of_naive_is_that_of_the_last_value(make_data, loss: str, expected: float) -> None:
    """Of a line with slope 1 it errs by 1 and 2; the mean pinball loss of three quantiles is half of that."""
    data = make_data({"a": [float(value) for value in range(40)]}, horizon=2, split=(0.5, 0.25, 0.25), scaler="none")
    own = loss_of(tiny_config(loss=loss, **({"levels": (80.0,)} if loss == "quantile" else {})))
    assert Glimpse(LastValue(2), tensors(data.validation), own).naive_loss == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-mixed"])
def test_looking_changes_no_weight(tmp_path, precision: str) -> None:
    looks: list[Any] = []

    class Looking(Silent):
        def look(self, view) -> None:
            looks.append((view.naive_loss, *view.forecasts(20)))

    config = tiny_config(precision=precision, skip=1, dropout=0.5)
    watched = train(config, tmp_path / "watched", progress=Looking())
    alone = train(config, tmp_path / "alone")
    assert len(looks) == config.epochs
    assert all(len(targets) == len(forecasts) == 20 for _, targets, forecasts in looks)
    for name, value in alone.model.state_dict().items():
        torch.testing.assert_close(watched.model.state_dict()[name], value, rtol=0, atol=0)


def test_a_watcher_is_told_what_it_asks_for(tmp_path) -> None:
    """Of the model and of a finish; who asks for one of them need not know the other."""
    calls: list[str] = []

    class Looking(Silent):
        def look(self, view) -> None:
            calls.append("look")

    class Finishing(Silent):
        def lbfgs_start(self, steps: int) -> None:
            calls.append(f"finish of {steps}")

        def lbfgs_step(self, done: int, loss: float, val_loss: float) -> None:
            calls.append(f"step {done}")

        def lbfgs_finish(self) -> None:
            calls.append("end")

    class Both(Finishing, Looking): ...

    told = {}
    for kind in (Looking, Finishing, Both):
        train(tiny_config(epochs=1, lbfgs_steps=2), tmp_path / kind.__name__, progress=kind())
        told[kind.__name__], calls = calls, []
    assert told == {
        "Looking": ["look", "look"],
        "Finishing": ["finish of 2", "step 2", "end"],
        "Both": ["look", "finish of 2", "step 2", "look", "end"],
    }


def test_a_look_that_fails_leaves_the_model_in_training(make_data) -> None:
    class Broken(LastValue):
        def forward(self, *arguments: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("out of memory")

    data = make_data({"a": [float(value) for value in range(40)]}, horizon=2, split=(0.5, 0.25, 0.25), scaler="none")
    glimpse = Glimpse(Broken(2).train(), tensors(data.validation), loss_of(tiny_config(loss="mae")))
    with pytest.raises(RuntimeError, match="out of memory"):
        glimpse.forecasts(6)
    assert glimpse.model.training
