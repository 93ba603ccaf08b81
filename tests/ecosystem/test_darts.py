"""Our models in darts: forecasts by hand, covariates, backtests, quantiles, saved models, errors."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("darts", reason="needs darts: pip install 'qkan-seq[darts]'")

from darts import TimeSeries
from darts.metrics import mae
from darts.models import NeuralForecastModel
from darts.utils.likelihood_models.torch import QuantileRegression

from qkan.interop.darts import HQKANLSTM, QKANGRU, QKANLSTM

MODELS = [QKANLSTM, HQKANLSTM, QKANGRU]
TINY = {"encoder_hidden_size": 5, "encoder_n_layers": 1, "decoder_hidden_size": 7, "backend": "torch"}
TRAINER = {
    "accelerator": "cpu",
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "logger": False,
}

for name in ("pytorch_lightning", "darts"):
    logging.getLogger(name).setLevel(logging.ERROR)


def model(kind: type = QKANLSTM, *, own: dict[str, Any] | None = None, **options: Any) -> NeuralForecastModel:
    shared = {"n_epochs": 1, "random_state": 0, "pl_trainer_kwargs": TRAINER, "show_warnings": False}
    return NeuralForecastModel(12, 4, model=kind, model_kwargs={**TINY, **(own or {})}, **shared | options)


def series(length: int = 80, phase: float = 0.0) -> TimeSeries:
    """A sine without noise: (length, 1), float32, daily."""
    times = pd.date_range("2026-01-01", periods=length, freq="D")
    return TimeSeries.from_times_and_values(times, np.sin(np.arange(length) / 5 + phase)).astype(np.float32)


@pytest.mark.parametrize("kind", MODELS)
def test_a_forecast_is_that_of_the_model_and_covariates_count(kind: type) -> None:
    y, known = series(), series(90, 1.0)
    fitted = model(kind).fit(y, past_covariates=known, future_covariates=known)
    forecast = fitted.predict(4, past_covariates=known, future_covariates=known)
    window, ahead = (torch.tensor(np.asarray(part.values(), np.float32))[None] for part in (y[-12:], known[68:84]))
    batch = {"insample_y": window, "hist_exog": ahead[:, :12], "futr_exog": ahead, "stat_exog": None}
    assert type(fitted.model.nf) is kind
    with torch.no_grad():
        np.testing.assert_allclose(forecast.values(), fitted.model.nf.eval()(batch)[0], rtol=0, atol=1e-6)
    moved = fitted.predict(4, past_covariates=known, future_covariates=known + 1.0)
    assert abs(moved.values() - forecast.values()).max() > 1e-4


def test_several_series_train_one_network_in_the_precision_of_the_data() -> None:
    both = [series().astype(np.float64), series(70, 2.0).astype(np.float64)]
    fitted = model().fit(both)
    assert fitted.model.nf.hist_encoder.directions[0].gates.hidden.theta.dtype == torch.float64
    first, second = fitted.predict(10, series=both)  # beyond the 4 steps of the network: forecasts are fed back
    assert [str(one.start_time().date()) for one in (first, second)] == ["2026-03-22", "2026-03-12"]
    np.testing.assert_allclose(fitted.predict(4, series=both[1]).values(), second.values()[:4], rtol=0, atol=1e-12)


def test_components_are_folded_into_the_batch() -> None:
    two = series().stack(series(80, 1.0))
    assert model().fit(two).predict(4).values().shape == (4, 2)


def test_historical_forecasts_are_forecasts_from_the_past() -> None:
    y, fitted = series(), model().fit(series()[:60])
    past = fitted.historical_forecasts(
        y, start=60, start_format="position", forecast_horizon=4, stride=8, retrain=False, last_points_only=False
    )
    assert len(past) == 3
    for start, forecast in zip((60, 68, 76), past, strict=True):
        np.testing.assert_allclose(forecast.values(), fitted.predict(4, series=y[:start]).values(), rtol=0, atol=1e-6)


def test_a_backtest_trains_anew_at_every_origin() -> None:
    y = series()
    errors = model().backtest(
        y,
        start=64,
        start_format="position",
        forecast_horizon=4,
        stride=12,
        last_points_only=False,
        metric=mae,
        reduction=None,
    )
    expected = [mae(y[start : start + 4], model().fit(y[:start]).predict(4)) for start in (64, 76)]
    np.testing.assert_allclose(errors, expected, rtol=1e-5)


def test_quantiles_come_from_a_likelihood_of_darts() -> None:
    fitted = model(likelihood=QuantileRegression([0.1, 0.5, 0.9]), n_epochs=5).fit(series())
    found = fitted.predict(4, predict_likelihood_parameters=True)
    assert found.values().shape == (4, 3)
    assert (np.diff(found.values()[:, [0, 2]], axis=1) > 0).all()


def test_a_saved_model_is_loaded_as_its_class_is_on_the_list_of_darts(tmp_path: Path) -> None:
    fitted = model(HQKANLSTM, own={"latent_features": 3}).fit(series())
    fitted.save(str(tmp_path / "model.pt"))
    again = NeuralForecastModel.load(str(tmp_path / "model.pt"), pl_trainer_kwargs=TRAINER)
    np.testing.assert_array_equal(again.predict(4).values(), fitted.predict(4).values())


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"reps": 0}, "reps 0 is outside [1, 1024]"),
        ({"encoder_hidden_size": 0}, "encoder_hidden_size 0 is outside [1, 1048576]"),
        ({"repetitions": 2}, "QKANLSTM and should be removed from `model_kwargs`: {'repetitions'}"),
        (
            {"recurrent": True},
            "recurrent=True feeds forecasts back through neuralforecast's trainer, which darts does not",
        ),
    ],
)
def test_wrong_arguments(own: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        model(own=own).fit(series())
    assert message in str(caught.value)
