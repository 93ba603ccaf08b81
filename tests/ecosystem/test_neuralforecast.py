"""Our models in neuralforecast: numbers by hand, variables, losses, cross-validation, saved models, errors."""

import inspect
import logging
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import qkan

pytest.importorskip("neuralforecast", reason="needs neuralforecast: pip install 'qkan-seq[neuralforecast]'")

from neuralforecast import NeuralForecast
from neuralforecast.auto import BaseAuto
from neuralforecast.losses.pytorch import MAE, DistributionLoss, HuberMQLoss, IQLoss, MQLoss
from neuralforecast.models import LSTM
from neuralforecast.utils import PredictionIntervals

from qkan.interop.neuralforecast import HQKANLSTM, QKANGRU, QKANLSTM

MODELS = [QKANLSTM, HQKANLSTM, QKANGRU]
SEASON = 8
QUIET = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
#: The backend that needs nothing compiled; that all backends agree is tested where they live.
TINY = {
    **QUIET,
    "h": 4,
    "input_size": 9,
    "max_steps": 3,
    "encoder_n_layers": 1,
    "encoder_hidden_size": 5,
    "decoder_hidden_size": 7,
    "backend": "torch",
}
EXOGENOUS = {"futr_exog_list": ["known"], "hist_exog_list": ["seen"], "stat_exog_list": ["kind"]}

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


def panel(noise: float = 0.0, period: float = SEASON, lengths: tuple[int, ...] = (60, 72, 65)) -> pd.DataFrame:
    """Sines of different phases, scales and lengths, with variables that explain nothing."""
    random, frames = np.random.default_rng(0), []
    for number, length in enumerate(lengths):
        steps = np.arange(100 - length, 100)  # all end together
        y = (number + 1) * np.sin(2 * math.pi * (steps / period + number / 5))
        frames.append(
            pd.DataFrame(
                {
                    "unique_id": f"s{number}",
                    "ds": steps,
                    "y": y + noise * (number + 1) * random.standard_normal(length),
                    "known": random.standard_normal(length),
                    "seen": random.standard_normal(length),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


STATIC = pd.DataFrame({"unique_id": ["s0", "s1", "s2"], "kind": [0.2, -0.4, 0.9]})


def future(frame: pd.DataFrame, steps: int = 4) -> pd.DataFrame:
    """The ``steps`` time points behind each series, with the variable known in advance."""
    random = np.random.default_rng(1)
    rows = [(name, 100 + step) for name in sorted(frame.unique_id.unique()) for step in range(steps)]
    return pd.DataFrame(rows, columns=["unique_id", "ds"]).assign(known=random.standard_normal(len(rows)))


def fitted(model: Any, frame: pd.DataFrame, val_size: int = 0, **options: Any) -> NeuralForecast:
    forecaster = NeuralForecast(models=[model], freq=1, **options)
    forecaster.fit(frame, static_df=STATIC if model.stat_exog_list else None, val_size=val_size)
    return forecaster


def numbers(forecast: pd.DataFrame) -> np.ndarray:
    return forecast.drop(columns=["unique_id", "ds", "cutoff", "y"], errors="ignore").to_numpy()


def window(frame: pd.DataFrame, length: int, columns: tuple[str, ...] = ("y",)) -> Tensor:
    """The last ``length`` steps of every series: (series, length, columns)."""
    rows = [group[list(columns)].to_numpy()[-length:] for _, group in frame.groupby("unique_id")]
    return torch.tensor(np.stack(rows), dtype=torch.float32)


def copy_of(encoder: nn.Module, make: Callable[..., nn.Module], inputs: int, **options: Any) -> nn.Module:
    """A module built by hand with the weights of a trained encoder."""
    ours = make(inputs, 5, batch_first=True, **options)
    ours.load_state_dict(encoder.state_dict())
    return ours.eval()


BY_HAND = {
    QKANLSTM: (qkan.QKANLSTM, {"group": "input", "postact_weight_trainable": True}),
    HQKANLSTM: (qkan.HQKANLSTM, {"latent_features": 2}),
    QKANGRU: (qkan.QKANGRU, {"group": "input", "postact_weight_trainable": True}),
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("h", [4, 11])  # shorter and longer than the history of 9 steps
def test_a_direct_forecast_is_that_of_our_layer_by_hand(kind: type, h: int) -> None:
    frame = panel()
    model = kind(**{**TINY, "h": h}, **EXOGENOUS, scaler_type="identity")
    forecaster = fitted(model, frame)
    forecast, model = forecaster.predict(futr_df=future(frame, h)), forecaster.models[0]
    y, seen, known = (window(frame, 9, (name,)) for name in ("y", "seen", "known"))
    kinds = torch.tensor(STATIC.kind.to_numpy(), dtype=torch.float32).reshape(3, 1, 1).expand(3, 9, 1)
    make, options = BY_HAND[kind]
    states, _ = copy_of(model.hist_encoder, make, 4, **options)(torch.cat([y, seen, kinds, known], -1))
    if h > 9:
        states = (states.mT @ model.upsample_sequence.weight.T + model.upsample_sequence.bias).mT
    ahead = torch.tensor(future(frame, h).known.to_numpy(), dtype=torch.float32).reshape(3, h, 1)
    hidden = torch.cat([states[:, -h:], ahead], -1)
    first, last = (layer for layer in model.mlp_decoder.modules() if isinstance(layer, nn.Linear))
    expected = last(first(hidden).relu())
    np.testing.assert_allclose(numbers(forecast).reshape(3, h), expected[..., 0].detach(), rtol=0, atol=2e-6)


@pytest.mark.parametrize("kind", MODELS)
def test_a_recursive_forecast_feeds_itself_back(kind: type) -> None:
    frame = panel()
    forecaster = fitted(kind(**TINY, recurrent=True, scaler_type="identity", h_train=2), frame)
    forecast, model = forecaster.predict(), forecaster.models[0]
    make, options = BY_HAND[kind]
    if kind is not QKANGRU:
        options = {**options, "proj_size": 1}
    layer = copy_of(model.hist_encoder, make, 1, **options)
    y, expected = window(frame, 10), []  # neuralforecast gives recursive models one step more than input_size
    for _ in range(4):
        output, _ = layer(y)
        step = output[:, -1:] if kind is not QKANGRU else model.proj(output[:, -1:])
        expected.append(step)
        y = torch.cat([y, step], 1)
    steps = torch.cat(expected, 1)[..., 0].detach()
    np.testing.assert_allclose(numbers(forecast).reshape(3, 4), steps, rtol=0, atol=2e-6)


def test_defaults_are_those_of_neuralforecast_apart_from_the_scaler() -> None:
    theirs, model = LSTM(h=3), QKANLSTM(h=3)
    for name, value in theirs.hparams.items():
        if name not in ("scaler_type", "loss", "valid_loss"):
            assert model.hparams.get(name, value) == value, name
    assert (theirs.hparams["scaler_type"], model.hparams["scaler_type"]) == ("robust", "minmax1")
    encoder = model.hist_encoder
    assert (encoder.num_layers, encoder.hidden_size) == (2, theirs.encoder_hidden_size)
    assert encoder.directions[1].gates.hidden.theta.shape == (1, 128, 2, 2)  # one circuit an input


def test_encoder_arguments_arrive() -> None:
    model = QKANLSTM(
        **{**TINY, "encoder_n_layers": 2, "backend": "reference"},
        encoder_bias=False,
        encoder_dropout=0.25,
        reps=3,
        ansatz="rpz",
        group=None,
        preact_trainable=True,
        base_activation="silu",
        readout="amplitude",
        checkpoint_steps=4,
    )
    encoder = model.hist_encoder
    assert (encoder.num_layers, encoder.bias, encoder.dropout, encoder.backend) == (2, False, 0.25, "reference")
    assert encoder.checkpoint_steps == 4
    gates = encoder.directions[0].gates.hidden
    assert gates.theta.shape == (20, 5, 4, 1)  # rpz has one trained angle a block
    assert gates.preact_weight.shape == (20, 5, 3)
    assert gates.base_weight.shape == (20, 5)
    assert (gates.postact_weight, gates.readout) == (None, "amplitude")
    latent = HQKANLSTM(**TINY, latent_features=3, latent="tanh").hist_encoder
    assert latent.latent_features == 3
    assert isinstance(latent.directions[0].gates.latent, nn.Tanh)


@pytest.mark.parametrize("recurrent", [False, True])
def test_variables_count_as_far_as_they_are_known(recurrent: bool) -> None:
    frame = panel()

    def last_window(frame: pd.DataFrame, static: pd.DataFrame = STATIC) -> np.ndarray:
        model = QKANLSTM(**TINY, **EXOGENOUS, recurrent=recurrent)
        return numbers(NeuralForecast([model], freq=1).cross_validation(frame, static_df=static, n_windows=1))

    base, test = last_window(frame), frame.ds >= 96  # the last four steps are forecast
    np.testing.assert_array_equal(last_window(frame.assign(seen=frame.seen.mask(test, 7.0))), base)
    np.testing.assert_array_equal(last_window(frame.assign(y=frame.y.mask(test, 7.0))), base)
    for changed in (
        last_window(frame.assign(known=frame.known.mask(test, 7.0))),
        last_window(frame.assign(seen=frame.seen.mask(frame.ds == 95, 7.0))),
        last_window(frame, STATIC.assign(kind=-STATIC.kind)),
    ):
        assert abs(changed - base).max() > 1e-4


LOSSES = {
    "MQLoss": lambda: MQLoss(level=[80]),
    "HuberMQLoss": lambda: HuberMQLoss(level=[80]),
    **{
        name: lambda name=name: DistributionLoss(name, level=[80])
        for name in ("Normal", "StudentT", "Poisson", "NegativeBinomial")
    },
}


@pytest.mark.parametrize(("name", "recurrent"), [*((name, False) for name in LOSSES), ("Normal", True)])
def test_quantiles_are_in_order(name: str, recurrent: bool) -> None:
    frame = panel(0.3)
    if name in ("Poisson", "NegativeBinomial"):
        frame.y = (frame.y - frame.y.min()).round()
    steps = 25 if "MQ" in name else 3  # quantiles that are outputs of their own are ordered by training alone
    options = {**TINY, "max_steps": steps, "learning_rate": 0.02}
    model = QKANLSTM(**options, loss=LOSSES[name](), recurrent=recurrent)
    forecast = fitted(model, frame).predict()
    found = forecast[[f"QKANLSTM{ending}" for ending in ("-lo-80", "-median", "-hi-80")]].to_numpy()
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=1) >= 0).all()
    assert (found[:, 2] - found[:, 0]).min() > 0.1


def test_levels_are_chosen_when_predicting() -> None:
    frame = panel(0.3)
    forecaster = NeuralForecast([QKANLSTM(**TINY)], freq=1)
    forecaster.fit(frame, prediction_intervals=PredictionIntervals(n_windows=3))
    narrow, wide = (forecaster.predict(level=[level]) for level in (20, 90))
    point = narrow.QKANLSTM.to_numpy()
    np.testing.assert_array_equal(wide.QKANLSTM, point)
    half = wide["QKANLSTM-hi-90"].to_numpy() - point
    np.testing.assert_allclose(point - wide["QKANLSTM-lo-90"].to_numpy(), half, atol=1e-5)
    assert (half > narrow["QKANLSTM-hi-20"].to_numpy() - point).all()


def test_an_implicit_quantile_network_forecasts_any_quantile() -> None:
    model = QKANLSTM(**TINY, loss=IQLoss(), valid_loss=IQLoss())
    forecaster = fitted(model, panel(0.3))
    assert [*forecaster.predict(quantiles=[0.2, 0.7]).columns[2:]] == ["QKANLSTM_ql0.2", "QKANLSTM_ql0.7"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A folder with all models, direct and recursive, and what they forecast."""
    models = [
        kind(**{**TINY, "reps": 2, "preact_trainable": True}, recurrent=recurrent, alias=f"{kind.__name__}{recurrent}")
        for kind in MODELS
        for recurrent in (False, True)
    ]
    models.append(HQKANLSTM(**TINY, latent="tanh", latent_features=3, loss=MQLoss(level=[50]), alias="tanh"))
    frame = panel()
    forecaster = NeuralForecast(models, freq=1, local_scaler_type="standard")
    forecaster.fit(frame)
    forecast = forecaster.predict()
    assert forecast.shape == (12, 2 + 6 + 3)
    folder = tmp_path_factory.mktemp("saved")
    forecaster.save(str(folder / "models"))
    forecast.to_csv(folder / "forecast.csv", index=False)
    return folder, numbers(forecast)


def test_a_loaded_model_forecasts_the_same(saved: tuple[Path, np.ndarray]) -> None:
    folder, before = saved
    loaded = NeuralForecast.load(str(folder / "models"))
    assert {type(model) for model in loaded.models} == set(MODELS)
    first = next(model for model in loaded.models if model.alias == "QKANLSTMTrue")
    assert (first.hparams["reps"], first.hist_encoder.directions[0].gates.hidden.reps) == (2, 2)
    order = pd.read_csv(folder / "forecast.csv").columns
    np.testing.assert_array_equal(numbers(loaded.predict()[order]), before)


def test_a_fresh_process_loads_models_once_the_adapter_is_imported(saved: tuple[Path, np.ndarray]) -> None:
    folder, before = saved
    code = """
import sys, numpy, pandas
from neuralforecast import NeuralForecast
try:
    NeuralForecast.load(sys.argv[1] + "/models")
except (ValueError, KeyError) as error:  # KeyError in 3.1
    print(error)
import qkan.interop.neuralforecast
order = pandas.read_csv(sys.argv[1] + "/forecast.csv").columns
forecast = NeuralForecast.load(sys.argv[1] + "/models").predict()[order]
numpy.save(sys.argv[1] + "/again.npy", forecast.iloc[:, 2:].to_numpy())
"""
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "hqkanlstm'" in done.stdout
    np.testing.assert_array_equal(np.load(folder / "again.npy"), before)


@pytest.mark.parametrize("kind", MODELS)
def test_assigned_tensors_are_used_and_trained(kind: type) -> None:
    """neuralforecast 3.1 loads by assigning tensors to a model whose initialisers did nothing."""
    frame, options = panel(), {**TINY, "preact_trainable": True}
    forecaster = fitted(kind(**options), frame)
    expected, trained = numbers(forecaster.predict()), forecaster.models[0]
    other = kind(**options, random_seed=9)
    other.load_state_dict({name: tensor.clone() for name, tensor in trained.state_dict().items()}, assign=True)
    forecaster.models = [other]
    np.testing.assert_array_equal(numbers(forecaster.predict()), expected)
    forecaster.fit(frame)
    other = forecaster.models[0]
    for name, tensor in trained.hist_encoder.named_parameters():
        assert not torch.equal(other.hist_encoder.get_parameter(name), tensor), name
    assert abs(numbers(forecaster.predict()) - expected).max() > 1e-4


def test_training_beats_the_seasonal_naive_forecast() -> None:
    frame = panel(0.02, period=8.5)  # no whole number of steps, so the season of 8 steps is only nearly right
    options = {**TINY, "input_size": 16, "encoder_hidden_size": 8, "decoder_hidden_size": 16}
    options |= {"max_steps": 80, "learning_rate": 0.02, "windows_batch_size": 32}
    models = [kind(**options, latent_features=4) if kind is HQKANLSTM else kind(**options) for kind in MODELS]
    folds = NeuralForecast(models, freq=1).cross_validation(frame, n_windows=3, step_size=4, refit=False)
    truth = frame.set_index(["unique_id", "ds"]).y
    ago = truth.reindex(pd.MultiIndex.from_arrays([folds.unique_id, folds.ds - SEASON])).to_numpy()
    naive = abs(folds.y - ago).mean()
    errors = {kind.__name__: abs(folds.y - folds[kind.__name__]).mean() for kind in MODELS}
    assert max(errors.values()) < 0.5 * naive, (errors, naive)


def test_cross_validation_without_refitting() -> None:
    frame = panel()
    folds = NeuralForecast([QKANLSTM(**TINY)], freq=1).cross_validation(frame, n_windows=3, step_size=2, refit=False)
    assert [*folds.columns] == ["unique_id", "ds", "cutoff", "QKANLSTM", "y"]
    assert len(folds) == 3 * 3 * 4
    for _, fold in folds.groupby("unique_id"):
        assert fold.cutoff.tolist() == [91] * 4 + [93] * 4 + [95] * 4
        assert (fold.ds - fold.cutoff).tolist() == [1, 2, 3, 4] * 3
    truth = frame.set_index(["unique_id", "ds"]).y
    np.testing.assert_allclose(folds.y, truth.loc[[*zip(folds.unique_id, folds.ds, strict=True)]], rtol=1e-6)


def test_scalers_of_single_series_make_forecasts_equivariant() -> None:
    frame = panel()
    moved = frame.assign(y=1000 * frame.y + 50_000)
    plain, other = (
        numbers(fitted(QKANLSTM(**TINY), data, local_scaler_type="standard").predict()) for data in (frame, moved)
    )
    np.testing.assert_allclose((other - 50_000) / 1000, plain, atol=1e-4)


def test_training_stops_early() -> None:
    options = {**TINY, "max_steps": 100, "val_check_steps": 3, "early_stop_patience_steps": 2, "learning_rate": 0.0}
    model = fitted(QKANLSTM(**options), panel(), val_size=8).models[0]
    assert len(model.train_trajectories) == 9  # the first check sets the mark, two more do not better it


def test_a_search_over_our_options_runs_on_optuna() -> None:
    def space(trial: Any) -> dict[str, Any]:
        return {**{k: v for k, v in TINY.items() if k != "h"}, "reps": trial.suggest_int("reps", 2, 3)}

    auto = BaseAuto(
        QKANLSTM, h=4, loss=MAE(), valid_loss=MAE(), config=space, search_alg=None, num_samples=1, backend="optuna"
    )
    fitted_auto = NeuralForecast([auto], freq=1)
    fitted_auto.fit(panel(), val_size=8)
    assert fitted_auto.models[0].model.hist_encoder.directions[0].gates.hidden.reps in (2, 3)
    assert fitted_auto.predict().shape == (12, 3)


@pytest.mark.parametrize(
    ("kind", "options", "error", "message"),
    [
        (
            QKANLSTM,
            {"preact_trainabel": True},
            TypeError,
            "nor Lightning's Trainer has an argument 'preact_trainabel'; did you mean preact_trainable?",
        ),
        (QKANGRU, {"latent": "qkan"}, TypeError, "neither QKANGRU nor Lightning's Trainer has an argument 'latent'"),
        (QKANLSTM, {"segment": 4}, TypeError, "'segment' is a part of qkan.forecasting.Forecaster around its cell"),
        (QKANGRU, {"order": "periods"}, TypeError, "QKANGRU is neuralforecast's own model with another encoder; leave"),
        (QKANLSTM, {"h": 0}, ValueError, "h 0 is outside [1, 1048576]"),
        (QKANLSTM, {"encoder_hidden_size": 2.0}, TypeError, "encoder_hidden_size must be an int, got float"),
        (QKANLSTM, {"reps": 0}, ValueError, "reps 0 is outside [1, 1024]"),
        (QKANLSTM, {"group": "edge"}, ValueError, "group 'edge' must be 'input'"),
        (QKANLSTM, {"backend": "fast"}, ValueError, "unknown backend 'fast'; use one of"),
        (
            HQKANLSTM,
            {"latent": "linear", "reps": 2},
            ValueError,
            "latent 'linear' has no circuit, so it cannot take reps",
        ),
        (
            HQKANLSTM,
            {"recurrent": True, "loss": MQLoss(level=[50, 80])},
            ValueError,
            "with recurrent=True the encoder is projected to the 5 outputs of the loss, so encoder_hidden_size must be "
            "larger than that, got 5; use more units or recurrent=False",
        ),
    ],
)
def test_wrong_arguments(kind: type, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        kind(**{**TINY, **options})
    assert message in str(caught.value)


def test_attributions_add_up_to_the_forecast() -> None:
    pytest.importorskip("captum", reason="neuralforecast explains with captum: pip install captum")
    frame = panel()
    forecaster = fitted(QKANLSTM(**TINY, **EXOGENOUS, scaler_type="identity"), frame)
    forecast, found = forecaster.explain(futr_df=future(frame), verbose=False)
    parts = found["QKANLSTM"]
    sizes = {"insample": (9, 2), "futr_exog": (1, 13), "hist_exog": (1, 9), "stat_exog": (1,)}
    assert {name: tuple(parts[name].shape) for name in sizes} == {
        name: (3, 4, 1, 1, *own) for name, own in sizes.items()
    }
    total = parts["baseline_predictions"] + sum(parts[name].flatten(4).sum(-1) for name in sizes)
    np.testing.assert_allclose(total.reshape(3, 4).detach(), numbers(forecast).reshape(3, 4), rtol=0, atol=2e-3)
    assert all(abs(parts[name]).max() > 1e-4 for name in sizes)


@pytest.mark.parametrize("kind", MODELS)
def test_categories_are_embedded(kind: type) -> None:
    frame = panel().assign(day=lambda table: pd.Series(["mo", "tu", "we"]).reindex(table.ds % 3).to_numpy())
    ahead = future(frame).assign(day="mo")
    model = kind(**TINY, futr_exog_list=["known", "day"], cat_exog_list=["day"], categorical_cardinalities={"day": 3})
    forecaster = fitted(model, frame)
    width = forecaster.models[0].futr_cat_embeddings[0].embedding_dim
    assert forecaster.models[0].hist_encoder.input_size == 1 + 1 + width
    monday, tuesday, unseen = (forecaster.predict(futr_df=ahead.assign(day=day)) for day in ("mo", "tu", "su"))
    assert abs(numbers(monday) - numbers(tuesday)).max() > 1e-4
    assert np.isfinite(numbers(unseen)).all()


@pytest.mark.parametrize("loss", [DistributionLoss("Normal", level=[80]), MQLoss(level=[80]), MAE()])
def test_paths_are_simulated(loss: Any) -> None:
    forecaster = NeuralForecast([QKANLSTM(**TINY, loss=loss)], freq=1)
    intervals = PredictionIntervals(n_windows=3) if isinstance(loss, MAE) else None
    forecaster.fit(panel(0.3), prediction_intervals=intervals)
    paths = forecaster.simulate(n_paths=5, seed=1)
    assert [*paths.columns] == ["unique_id", "ds", "sample_id", "QKANLSTM"]
    assert len(paths) == 3 * 4 * 5
    assert np.isfinite(paths.QKANLSTM).all()
    assert paths.groupby("sample_id").QKANLSTM.sum().nunique() == 5
    pd.testing.assert_frame_equal(forecaster.simulate(n_paths=5, seed=1), paths)


def test_a_signature_names_every_argument_and_tells_the_defaults() -> None:
    given = inspect.signature(HQKANLSTM.__init__).parameters
    assert [*given][:5] == ["self", "h", "input_size", "latent_features", "latent"]
    assert {"encoder_hidden_size", "futr_exog_list", "loss", "reps"} <= set(given)
    assert (given["scaler_type"].default, given["group"].default) == ("minmax1", None)
    assert not QKANLSTM.RECURRENT
    assert QKANLSTM(**TINY, recurrent=True).RECURRENT
