"""An option that another one turns off is refused; one that the data turn off is said, and the run goes on without."""

import re

import numpy as np
import pandas as pd
import pytest

from qkan.datasets import DataNotice, series_from_frame
from qkan.forecasting import CompareConfig, Forecaster, TrainConfig
from qkan.forecasting.automatic import AutoConfig
from qkan.forecasting.config import OPTIONS
from qkan.forecasting.config.idle import SEASONAL_OPTIONS, VALIDATED_OPTIONS, idle_options
from qkan.forecasting.data.load import as_cut, cut_windows


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"dropout": 0.2, "skip": 0},
            "dropout=0.2 has no effect: it hides values from the linear skip, and skip=0 leaves none; leave one of",
        ),
        ({"season_terms": 3, "season": "none"}, "season_terms=3 has no effect: season='none' leaves no season; leave"),
        ({"seasonal_lags": True, "season": "none"}, "seasonal_lags=True has no effect: season='none' leaves no season"),
        ({"season_encoding": "table", "season": "none"}, "season_encoding='table' has no effect: season='none' leaves"),
        (
            {"season_terms": 3, "season_encoding": "table"},
            "season_terms=3 has no effect: season_encoding='table' has no",
        ),
        ({"level": "season", "season": "none"}, "level='season' has no effect: season='none' leaves no season; leave"),
        ({"level": "season", "per_series": True}, "level='season' has no effect: per_series gives every series"),
        ({"season_terms": 3, "protocol": "m4"}, "season_terms=3 has no effect: series of protocol='m4' have no common"),
        ({"season_terms": 3, "season_encoding": "none"}, "season_terms=3 has no effect: season_encoding='none' has no"),
        ({"patience": 5, "split": (0.8, 0.0, 0.2)}, "patience=5 has no effect: split=(0.8, 0.0, 0.2) leaves no valid"),
        (
            {"lbfgs_steps": 9, "split": (0.8, 0.0, 0.2)},
            "lbfgs_steps=9 has no effect: split=(0.8, 0.0, 0.2) leaves no validation part to stop by; leave one of",
        ),
        ({"restarts": 2, "split": (0.8, 0.0, 0.2)}, "restarts=2 has no effect: split=(0.8, 0.0, 0.2) leaves no valid"),
        (
            {"lbfgs_steps": 9, "dropout": 0.5},
            "lbfgs_steps=9 has no effect: dropout=0.5 changes the loss at random,",
        ),
        ({"lr_frequencies": 3.0}, "lr_frequencies=3.0 has no effect: preact_trainable=False leaves the frequencies as"),
        ({"sep": ";", "data": "x.xlsx"}, "sep=';' has no effect: it is about CSV files, and data names another kind"),
        ({"encoding": "cp1252", "data": "X.PARQUET"}, "encoding='cp1252' has no effect: it is about CSV files, and"),
    ],
)
def test_an_option_that_another_one_turns_off_is_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        TrainConfig(**{"data": "x", **options})
    if "split" not in options:  # which a comparison refuses by itself
        with pytest.raises(ValueError, match=re.escape(message)):
            CompareConfig(**{"data": "x", "out": "o", **options})


def test_what_turns_an_option_off_is_allowed_without_it():
    bare = TrainConfig(data="x", skip=0, season="none", level="none", decoder="last", split=(0.8, 0.0, 0.2))
    assert (
        set(idle_options(bare)) == {"dropout", *SEASONAL_OPTIONS, *VALIDATED_OPTIONS, "lr_frequencies"} <= set(OPTIONS)
    )
    own = TrainConfig(data="x", per_series=True, season_encoding="none", season_terms=3)  # those of every series
    assert own.season_terms == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"cells": ("lstm", "lowrank"), "reps": 3},
            "reps=3 has no effect on the cells lstm, lowrank; leave it out or compare one of the cells qkan, hqkan",
        ),
        ({"cells": ("gru",), "latent_features": 4}, "latent_features=4 has no effect on cell 'gru'; leave it out or"),
        ({"qubits": 2}, "qubits=2 has no effect on the cells qkan, hqkan, lowrank, lstm, gru; leave it out or compare"),
        ({"cells": ("linear", "sparse"), "skip": 3}, "skip=3 has no effect on the cells linear, sparse; leave it out"),
    ],
)
def test_a_comparison_refuses_what_none_of_its_cells_has(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        CompareConfig(**{"data": "x", "out": "o", **options})


def test_a_search_without_networks_refuses_what_only_they_read():
    train = TrainConfig(data="x", epochs=5)
    with pytest.raises(
        ValueError, match=r"epochs=5 has no effect: of the candidates naive, ridge none reads it; leave it out, or add"
    ):
        AutoConfig(train=train, candidates=("naive", "ridge"))
    assert AutoConfig(train=train, candidates=("naive", "lstm")).train.epochs == 5


def noise(count: int = 80) -> pd.DataFrame:
    return pd.DataFrame({"ds": np.arange(count), "y": np.random.default_rng(0).normal(size=count)})


def test_seasonal_options_of_data_without_a_season_are_said_and_left_out():
    series = series_from_frame(noise(), name="x")
    config = TrainConfig(data="x", window=4, season_terms=3, seasonal_lags=True)
    with pytest.warns(DataNotice) as said:
        data = cut_windows(series, config)
    assert [str(one.message).partition(":")[0] for one in said] == [
        "season_terms=3 has no effect", "seasonal_lags=True has no effect",
    ]  # fmt: skip
    cut = as_cut(config, data)
    assert (cut.season, cut.season_terms, cut.seasonal_lags, cut.context) == ("none", 6, None, 4)


@pytest.mark.parametrize("name", VALIDATED_OPTIONS)
def test_what_stops_by_validation_needs_values_to_stop_by(name):
    with pytest.raises(ValueError, match=f"{name}=3 has no effect: val_size=0 leaves no validation part to stop by"):
        Forecaster("lstm", window=4, horizon=1, **{name: 3}).fit(noise(), val_size=0)


def test_what_one_process_does_is_refused_to_several():
    for name in ("lbfgs_steps", "restarts"):
        with pytest.raises(ValueError, match=f"{name}=3 has no effect: it is for models that one process trains"):
            TrainConfig(data="x", devices=2, **{name: 3})
    with pytest.raises(ValueError, match="restarts=3 has no effect on cell 'linear'; leave it out or choose one of"):
        TrainConfig(data="x", cell="linear", restarts=3)  # which starts at zeros
