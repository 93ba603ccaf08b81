"""Data are read and cut once, and a model is built once, wherever a forecaster is trained."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from call_counts import Counts, count_calls
from tiny_runs import tiny_config

from qkan.forecasting import Forecaster, RunError, load_run, train
from qkan.forecasting.comparison.workers import train_and_score
from qkan.forecasting.data.load import load_windows
from qkan.forecasting.runs import inference
from qkan.forecasting.training import fitting, loop


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counts:
    return count_calls(monkeypatch)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_a_run_folder_needs_everything_once(calls: Counts, tmp_path) -> None:
    run = train(tiny_config(), tmp_path / "run")
    assert calls == {"read": 1, "cut": 1, "build": 1, "baselines": 1}
    again = load_run(tmp_path / "run")
    assert again.metrics == run.metrics
    torch.testing.assert_close(again.model.state_dict(), run.model.state_dict(), rtol=0, atol=0)


def test_a_forecaster_needs_everything_once_and_no_baseline(calls: Counts) -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": np.arange(80), "y": np.sin(np.arange(80) / 4)})
    Forecaster("lstm", hidden_size=2, window=4, horizon=1, epochs=1, device="cpu").fit(frame)
    assert calls == {"read": 1, "cut": 1, "build": 1, "baselines": 0}


def test_a_run_of_a_comparison_builds_one_model(calls: Counts) -> None:
    data = load_windows(tiny_config())
    train_and_score(tiny_config(), data)
    assert calls == {"read": 1, "cut": 1, "build": 1, "baselines": 0}


def test_evaluating_a_run_on_its_own_data_computes_no_baseline_again(finished_run, calls: Counts) -> None:
    scores, medians, _ = inference.scores_of(finished_run)
    assert (scores, medians, calls["baselines"]) == (finished_run.metrics["test"], None, 0)
    other = inference.scores_of(finished_run, finished_run.config.data)[0]
    assert (other, calls["baselines"]) == (scores, 1)


@pytest.mark.parametrize("kept", [None, [], {"LSTM": {}}, {"LSTM": {}, "Naive": 3}, {"LSTM": {}, "Naive": {"mae": 1}}])
def test_baselines_that_a_run_does_not_hold_are_computed(finished_run, calls: Counts, monkeypatch, kept) -> None:
    whole = finished_run.metrics["test"]
    monkeypatch.setitem(finished_run.metrics, "test", kept)
    assert inference.scores_of(finished_run)[0] == whole
    assert calls["baselines"] == 1


def test_diverged_training_names_the_learning_rate_and_the_scaler() -> None:
    result = loop.FitResult([{"epoch": 1, "train_loss": float("nan"), "lr": 0.5}], 0, float("inf"), True, 0.0)
    config = tiny_config(lr=0.5, scaler="none")
    fitted = fitting.Fitted(config, None, None, result)
    with pytest.raises(RunError, match=r"below lr=0\.5 or another scaler than 'none'"):
        fitted.check_converged()


def test_a_second_training_that_diverges_does_not_replace_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a regression there are two trainings; weights of one that diverged are no result, however good."""
    trained = fitting._trained

    def second_diverges(model, train, validation, config, steps, start, checkpoint, **saving):
        result = trained(model, train, validation, config, steps, start, checkpoint, **saving)
        if start is not None:  # the first one: worse than anything
            model.head.bias.data.fill_(1e3)
            return result
        return replace(result, diverged=True)

    monkeypatch.setattr(fitting, "_trained", second_diverges)
    config = tiny_config(epochs=1, lbfgs_steps=1, level="last", skip=2)
    fitted = fitting.fit_forecaster(config, load_windows(config))
    assert not fitted.result.diverged
    assert fitted.model.head.bias[0].item() == 1e3
