import dataclasses
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkan.forecasting import CELLS, CompareConfig, TrainConfig
from qkan.forecasting.config import OPTIONS
from qkan.forecasting.config.cells import CONTROL_CELLS
from qkan.forecasting.config.kinds import Whole

WHOLE = {name: option.kind for name, option in OPTIONS.items() if isinstance(option.kind, Whole)}


def test_default_configuration_is_valid():
    config = TrainConfig(data="telecom")
    assert (config.cell, config.hidden_size, config.window, config.split) == ("qkan", 4, 12, (0.7, 0.1, 0.2))


@pytest.mark.parametrize("name", [name for name in WHOLE if name in {f.name for f in dataclasses.fields(TrainConfig)}])
@pytest.mark.parametrize("wrong", ["below", "above", 1.5, "3", True])
def test_integers_outside_their_limits_are_refused_with_the_limits(name, wrong):
    low, high = WHOLE[name].low, WHOLE[name].high
    value = {"below": low - 1, "above": high + 1}.get(wrong, wrong) if isinstance(wrong, str) else wrong
    with pytest.raises(ValueError, match=rf"{name} must be an integer between {low} and {high}, got {value!r}"):
        TrainConfig(data="x", **{name: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"cell": "rnn"},
            r"unknown cell 'rnn'; choose one of qkan, hqkan, lowrank, lstm, gru, qlstm, fwp, fwp-linear",
        ),
        ({"scaler": "log"}, r"unknown scaler 'log'; choose one of minmax, standard, robust, none"),
        ({"data": " "}, r"data must be a non-empty string, got ' '"),
        ({"time_col": ""}, r"time_col must be a non-empty string, got ''"),
        ({"ansatz": 3}, r"ansatz must be a non-empty string, got 3"),
        ({"ansatz": "px"}, r"ansatz 'px' encodes acos\(x\), .* choose pz, rpz, real or mix"),
        ({"bias": 1}, r"bias must be True or False, got 1"),
        ({"lr": 0}, r"lr must be above 0 and at most 10, got 0"),
        ({"lr": 11.0}, r"lr must be above 0 and at most 10, got 11.0"),
        ({"lr": float("nan")}, r"lr must be a finite number, got nan"),
        ({"lr": "fast"}, r"lr must be a finite number, got 'fast'"),
        ({"device": "tpu"}, r"device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got 'tpu'"),
        ({"group": 0}, r"group must be 'edge', 'input' or a positive integer, got 0"),
        ({"group": "output"}, r"group must be 'edge', 'input' or a positive integer, got 'output'"),
        ({"group": True}, r"group must be 'edge', 'input' or a positive integer, got True"),
        ({"split": (0.7, 0.3)}, r"split must be three fractions \(train, validation, test\), got \(0.7, 0.3\)"),
        ({"split": "0.7,0.1,0.2"}, r"split must be three fractions"),
        ({"split": (0.7, 0.2, 0.2)}, r"sum to 1 with train > 0.*got \(0.7, 0.2, 0.2\)"),
        ({"split": (0.8, 0.2, 0.0)}, r"test > 0, got \(0.8, 0.2, 0.0\)"),
        ({"split": (0.8, "x", 0.2)}, r"every fraction of split must be a finite number, got 'x'"),
    ],
)
def test_bad_value_is_refused_with_one_clear_sentence(options, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**{"data": "x", **options})


@pytest.mark.parametrize(
    ("cell", "option"),
    [
        ("lstm", {"reps": 2}),
        ("gru", {"ansatz": "rpz"}),
        ("lowrank", {"reps": 2}),
        ("hqkan", {"group": "edge"}),
        ("qlstm", {"reps": 2}),
        ("gr-kan", {"reps": 2}),
        ("fwp", {"preact_init": "binary"}),
        ("fwp-linear", {"base_activation": "silu"}),
        ("qkan", {"qubits": 3}),
    ],
)
def test_option_that_a_cell_does_not_have_is_refused(cell, option):
    name, value = next(iter(option.items()))
    with pytest.raises(ValueError, match=f"{name}={value!r} has no effect on cell '{cell}'; leave it out or choose"):
        TrainConfig(data="x", cell=cell, **option)


@given(
    cell=st.sampled_from(CELLS),
    hidden=st.integers(1, 4096),
    lr=st.floats(1e-6, 10),
    train=st.floats(0.1, 0.8),
    batch=st.none() | st.integers(1, 1000),
)
def test_configuration_survives_json(cell, hidden, lr, train, batch):
    split = (train, 0.1, 1 - train - 0.1)
    config = TrainConfig(data="x", cell=cell, hidden_size=hidden, lr=lr, split=split, batch_size=batch)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_unknown_key_is_refused():
    with pytest.raises(ValueError, match=r"unknown option 'hiden_size'; known options are ansatz, base_activation"):
        TrainConfig.from_dict({"data": "x", "hiden_size": 3})


def test_missing_data_is_refused():
    with pytest.raises(ValueError, match=r"the option 'data' is missing"):
        TrainConfig.from_dict({"cell": "lstm"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out": ""}, r"out must be a non-empty string"),
        ({"cells": ()}, r"cells must be a list of one or more values, each named once, got \(\)"),
        ({"cells": ("lstm", "lstm")}, r"one or more values, each named once, got \('lstm', 'lstm'\)"),
        ({"cells": ("lstm", "rnn")}, r"unknown cell 'rnn'"),
        ({"budget_params": (0,)}, r"budget_params must be an integer between 1 and"),
        ({"budget_params": "50"}, r"budget_params must be a list"),
        ({"tuning_seeds": 6}, r"tuning_seeds must be at most seeds=5, got 6"),
        ({"seeds": 0}, r"seeds must be an integer between 1 and 100, got 0"),
        ({"trials": 99}, r"trials must be an integer between 1 and 8, got 99"),
        ({"workers": 0}, r"workers must be an integer between 1 and 256, got 0"),
        ({"split": (0.8, 0.0, 0.2)}, r"tunes on the validation part, which split=\(0.8, 0.0, 0.2\) leaves empty"),
    ],
)
def test_bad_comparison_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CompareConfig(**{"data": "x", "out": "o", **options})


def test_comparison_gives_circuit_options_only_to_cells_that_have_them():
    config = CompareConfig(
        data="x", out="o", cells=CELLS, reps=3, latent_features=5, qubits=2, circuit_layers=3, window=7
    )
    runs = {cell: config.train_config(cell=cell, hidden_size=2, lr=0.1, seed=4) for cell in CELLS}
    assert {cell for cell, run in runs.items() if run.reps == 3} == {"qkan", "hqkan", "fwp"}
    assert {cell for cell, run in runs.items() if (run.qubits, run.circuit_layers) == (2, 3)} == {"qlstm"}
    assert [runs[cell].latent_features for cell in ("qkan", "hqkan", "fwp", "fwp-linear")] == [2, 5, 5, 5]
    assert {(run.window, run.seed, run.lr, run.hidden_size) for run in runs.values()} == {(7, 4, 0.1, 2)}


def test_some_cells_are_compared_only_when_asked_for():
    assert set(CELLS) - set(CompareConfig(data="x", out="o").cells) == {
        *("qlstm", "fwp", "fwp-linear", "gr-kan"),
        *CONTROL_CELLS,
    }


def test_comparison_configuration_survives_json():
    config = CompareConfig(data="x", out="o", cells=("gru",), budget_params=(10, 20))
    assert CompareConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ("5161", "series must be a list of names, each of them once, got '5161'"),
        (("1", "1"), "series must be a list of names, each of them once, got"),
        (("",), "every name of series must be a non-empty string, got ''"),
    ],
)
def test_series_to_keep_are_different_names(series, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        TrainConfig(data="milan", series=series)


def test_series_to_keep_survive_json():
    config = TrainConfig(data="milan", series=("7", "8"))
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_numbers_of_numpy_in_a_list_are_plain_numbers():
    config = TrainConfig(data="x", season=[np.int64(168), np.int32(24)], loss="quantile", levels=[np.float64(80)])
    assert (config.season, config.levels) == ((24, 168), (80.0,))
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("options", "loss", "scaler"),
    [
        ({}, "mse", "minmax"),
        ({"metric": "mae"}, "mae", "minmax"),
        ({"metric": "rmse"}, "mse", "minmax"),
        ({"metric": "mase"}, "mae", "change"),
        ({"metric": "mae", "loss": "quantile", "scaler": "robust"}, "quantile", "robust"),
        ({"protocol": "m4"}, "mae", "change"),
        ({"protocol": "m4", "metric": "mse"}, "mse", "minmax"),
        ({"protocol": "ltsf"}, "mse", "standard"),
        ({"protocol": "ltsf", "metric": "mae"}, "mae", "standard"),
        ({"protocol": "ltsf", "loss": "huber", "scaler": "robust"}, "huber", "robust"),
    ],
)
def test_the_metric_and_the_protocol_choose_loss_and_scaler(options, loss, scaler):
    for own in (TrainConfig(data="d", **options), CompareConfig(data="d", out="o", **options)):
        assert (own.loss, own.scaler, own.judged_by) == (loss, scaler, options.get("metric", "mae"))
        assert type(own).from_dict(own.to_dict()) == own


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"metric": "mae", "loss": "mse"},
            "loss='mse' does not train for metric='mae'; leave out one of them, or use ",
        ),
        ({"metric": "rmse", "loss": "quantile"}, "or use loss='mse' or 'huber'"),
        ({"metric": "mase", "scaler": "minmax"}, "or use scaler='change'"),
        ({"metric": "smape"}, "unknown metric 'smape'; choose one of mae, mse, rmse, mase"),
    ],
)
def test_a_loss_that_contradicts_the_metric_is_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        TrainConfig(data="d", **options)
