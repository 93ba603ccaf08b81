import json

import numpy as np
import pandas as pd
import pytest
import torch

from qkan.datasets import DataError, DataNotice
from qkan.forecasting import CompareConfig, Forecaster, RunError, load_run, predict

TINY = {"window": 6, "horizon": 3, "hidden_size": 2, "epochs": 2, "batch_size": 64, "device": "cpu", "lbfgs_steps": 0}
EXTRAS = {"past_cols": ("price",), "future_cols": ("holiday",), "calendar": ("hour",)}


def panel(lengths=(60, 75), seed=0, freq="h"):
    """Series a, b, ... of different lengths, with two covariates."""
    rng = np.random.default_rng(seed)
    parts = []
    for place, length in enumerate(lengths):
        times = pd.date_range("2024-01-01", periods=length, freq=freq)
        columns = {"price": rng.random(length), "holiday": rng.integers(0, 2, length).astype(float)}
        y = 10 * place + np.sin(np.arange(length) / 3) + columns["holiday"]
        parts.append(pd.DataFrame({"unique_id": "abc"[place], "ds": times, "y": y, **columns}))
    return pd.concat(parts, ignore_index=True)


def following(frame, steps=3, holiday=1.0):
    """Future rows of every series."""
    ends = frame.groupby("unique_id")["ds"].max()
    return pd.concat(
        [
            pd.DataFrame({"unique_id": name, "ds": pd.date_range(end, periods=steps + 1, freq="h")[1:]})
            for name, end in ends.items()
        ]
    ).assign(holiday=holiday)


@pytest.fixture(scope="module")
def fitted():
    options = {**TINY, **EXTRAS, "loss": "quantile", "levels": (80, 97.5), "missing": "mask"}
    return Forecaster("lstm", **options).fit(panel())


def test_predictions_follow_every_series(fitted):
    frame = panel()
    table = fitted.predict(futr_df=following(frame))
    assert list(table.columns) == [
        "unique_id", "ds", "LSTM", "LSTM-lo-80", "LSTM-hi-80", "LSTM-lo-97.5", "LSTM-hi-97.5",
    ]  # fmt: skip
    for column in ("unique_id", "ds"):
        assert table[column].tolist() == following(frame)[column].tolist()
    ordered = table[["LSTM-lo-97.5", "LSTM-lo-80", "LSTM", "LSTM-hi-80", "LSTM-hi-97.5"]].to_numpy()
    assert (np.diff(ordered, axis=1) >= 0).all()
    assert len(np.unique(ordered)) == ordered.size
    only = fitted.predict(futr_df=following(frame), level=[97.5])
    assert only.equals(table.drop(columns=["LSTM-lo-80", "LSTM-hi-80"]))


def test_prediction_is_the_model_on_the_last_window(fitted):
    frame = panel()
    table = fitted.predict(futr_df=following(frame), level=[])
    run, own = fitted.run, frame[frame["unique_id"] == "b"]
    scalers = run.scaler.covariates
    value = run.scaler.transform(own["y"].to_numpy()[-6:], 1)
    price = scalers["price"].transform(own["price"].to_numpy()[-6:], 1)
    holiday = scalers["holiday"].transform([*own["holiday"].to_numpy()[-5:], 1.0, 1.0, 1.0], 1)
    angle = 2 * np.pi * ((74 + np.arange(-4, 4)) % 24) / 24
    known = np.stack([holiday, np.sin(angle), np.cos(angle), angle], axis=1)  # the phase of the day comes last
    inputs = np.concatenate([np.stack([value, np.ones(6), price], axis=1), known[:6]], axis=1)
    with torch.no_grad():
        arguments = (torch.tensor(part, dtype=torch.float32)[None] for part in (inputs, known[5:]))
        expected = run.model(*arguments)[0].sort(dim=1).values[:, 2]
    found = table[table["unique_id"] == "b"]["LSTM"]
    np.testing.assert_allclose(found, run.scaler.inverse_transform(expected.numpy(), 1), rtol=1e-5)


def test_the_future_matters_and_may_stand_in_the_frame(fitted):
    frame = panel()
    rows, other = following(frame), following(frame, holiday=0.0)
    apart = fitted.predict(frame, rows)
    together = pd.concat([frame, rows.assign(y=np.nan, price=np.nan)]).sort_values(["unique_id", "ds"])
    assert fitted.predict(together).equals(apart)
    assert (fitted.predict(frame, other)["LSTM"] != apart["LSTM"]).all()


def test_saving_and_loading_gives_the_same_forecasts(fitted, tmp_path):
    frame = panel()
    fitted.save(tmp_path / "run")
    loaded = Forecaster.load(tmp_path / "run")
    expected = fitted.predict(futr_df=following(frame))
    assert loaded.predict(frame, following(frame)).equals(expected)
    assert (loaded.name, loaded.freq) == ("LSTM", "h")
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    assert record["config"]["future_cols"] == ["holiday"]
    together = pd.concat([frame, following(frame)]).sort_values(["unique_id", "ds"])
    together.to_csv(tmp_path / "all.csv", index=False)
    table = predict(load_run(tmp_path / "run"), data=tmp_path / "all.csv")  # what the command line calls
    np.testing.assert_allclose(table["LSTM"], expected["LSTM"], rtol=1e-9)
    with pytest.raises(RunError, match="was trained on a data frame, which it does not hold; give the data"):
        loaded.predict()
    with pytest.raises(RunError, match=r"there is a run in .*run already; .* pass overwrite=True"):
        fitted.save(tmp_path / "run")
    with pytest.raises(RunError, match=r"was loaded from .*run and not fitted since; copy that folder"):
        loaded.save(tmp_path / "other")


def test_recursive_is_a_one_step_model_fed_with_its_forecasts():
    frame, options = panel(), {**TINY, **EXTRAS}
    recursive = Forecaster("gru", strategy="recursive", **options).fit(frame, val_size=10)
    one_step = Forecaster("gru", **{**options, "horizon": 1}).fit(frame, val_size=10)
    for mine, other in zip(recursive.run.model.parameters(), one_step.run.model.parameters(), strict=True):
        assert torch.equal(mine, other)
    rows, known = following(frame), frame
    expected = {name: [] for name in "ab"}
    for step in range(3):
        now = rows.groupby("unique_id").nth(step)
        table = one_step.predict(known, now)
        for name, value in zip(table["unique_id"], table["GRU"], strict=True):
            expected[name].append(value)
        last_price = known.groupby("unique_id")["price"].last()
        new = now.assign(y=table["GRU"].to_numpy(), price=now["unique_id"].map(last_price))
        known = pd.concat([known, new]).sort_values(["unique_id", "ds"], ignore_index=True)
    found = recursive.predict(futr_df=rows)
    np.testing.assert_allclose(found["GRU"], expected["a"] + expected["b"], rtol=1e-5)


def test_cross_validation_has_the_promised_moments():
    frame = panel()
    table = Forecaster("lstm", **TINY).cross_validate(frame, n_windows=3, step_size=2)
    assert list(table.columns) == ["unique_id", "ds", "cutoff", "y", "LSTM"]
    assert len(table) == 2 * 3 * 3
    for name, length in (("a", 60), ("b", 75)):
        own, whole = table[table["unique_id"] == name], frame[frame["unique_id"] == name].reset_index(drop=True)
        last_known = [length - 3 - 4 - 1, length - 3 - 2 - 1, length - 3 - 1]
        assert own["cutoff"].unique().tolist() == whole["ds"][last_known].tolist()
        rows = [position + step for position in last_known for step in (1, 2, 3)]
        assert own["ds"].tolist() == whole["ds"][rows].tolist()
        assert own["y"].tolist() == whole["y"][rows].tolist()


def test_cross_validation_knows_nothing_after_its_moments():
    frame = panel((60, 60))
    forecaster = Forecaster("lstm", **TINY, past_cols=("price",), missing="interpolate")
    frame.loc[[20, 56], "y"] = np.nan  # the second between two moments
    changed = frame.copy()
    late = changed.groupby("unique_id").cumcount() >= 57
    changed.loc[late, ["y", "price"]] += 100.0
    options = {"n_windows": 4, "step_size": 1}
    before, after = (forecaster.cross_validate(data, **options) for data in (frame, changed))
    assert len(before) == 2 * 4 * 3 - 3  # the missing value is a target of three windows
    early = before["cutoff"] <= frame["ds"][56]
    assert early.all()
    assert after["LSTM"].tolist() == before["LSTM"].tolist()


def test_cross_validation_forecasts_are_those_of_a_forecaster_that_stopped_there():
    frame = panel((60, 60))
    table = Forecaster("lstm", **TINY).cross_validate(frame, n_windows=2, step_size=3, refit=True, val_size=6)
    for known, cutoff in ((54, frame["ds"][53]), (57, frame["ds"][56])):
        past = frame[frame.groupby("unique_id").cumcount() < known]
        expected = Forecaster("lstm", **TINY).fit(past, val_size=6).predict()
        found = table[table["cutoff"] == cutoff]
        np.testing.assert_allclose(found["LSTM"], expected["LSTM"], rtol=1e-6)


def test_cross_validation_leaves_the_forecaster_as_it_was(fitted):
    rows = following(panel())
    before = fitted.predict(futr_df=rows)
    table = fitted.cross_validate(panel(), level=[80])
    assert list(table.columns)[3:] == ["y", "LSTM", "LSTM-lo-80", "LSTM-hi-80"]
    assert fitted.predict(futr_df=rows).equals(before)


def test_a_default_forecaster_is_a_qkan_lstm():
    forecaster = Forecaster()
    assert (forecaster.name, forecaster.config.window, forecaster.config.horizon) == ("QKAN-LSTM", 24, 24)
    with pytest.raises(RunError, match=r"is not fitted; call fit\(df\)"):
        forecaster.predict()


def test_steps_and_a_single_series_without_an_id_work():
    frame = pd.DataFrame({"ds": np.arange(40), "y": np.sin(np.arange(40.0))})
    table = Forecaster("gru", freq=1, **TINY).fit(frame, val_size=0).predict()
    assert (table["ds"].tolist(), table["unique_id"].tolist()) == ([40, 41, 42], ["frame"] * 3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"hidden": 3}, TypeError, "Forecaster has no option 'hidden'; its options are ansatz, base_activation"),
        ({"split": (0.8, 0.1, 0.1)}, TypeError, "Forecaster has no option 'split'"),
        ({"horizon": 0}, ValueError, "horizon must be an integer between 1 and 10000, got 0"),
        ({"calendar": ("hours",)}, ValueError, "unknown calendar feature 'hours'; choose from minute, hour"),
        ({"levels": (90,)}, ValueError, r"levels=\(90,\) need the loss that trains quantiles: loss='quantile', not lo"),
        (
            {"loss": "quantile", "levels": (100,)},
            ValueError,
            "levels must lie between 1 and 100 %, the latter excl.* got 100",
        ),
        ({"loss": "quantile", "levels": (0.0,)}, ValueError, "levels must lie between 1 and 100 %"),
        ({"loss": "quantile", "levels": (80, 80)}, ValueError, "each of them once"),
        ({"loss": "rmse"}, ValueError, "unknown loss 'rmse'; choose one of mse, mae, huber, quantile"),
        ({"strategy": "both"}, ValueError, "unknown strategy 'both'; choose one of direct, recursive"),
        ({"strategy": "recursive", "loss": "quantile"}, ValueError, "ignore the uncertainty of the steps before"),
        ({"past_cols": "price"}, ValueError, "past_cols must be a list of names, each of them once, got 'price'"),
    ],
)
def test_impossible_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        Forecaster(**options)


def test_what_a_model_cannot_do_is_said(fitted):
    frame = panel()
    with pytest.raises(
        DataError, match=r"series 'a' has 2 future rows with holiday, but 3 steps are to be forecast; .*"
    ):
        fitted.predict(futr_df=following(frame, steps=2))
    with pytest.raises(RunError, match="was not trained on series 'c'"):
        fitted.predict(panel((60, 60, 60)), following(panel((60, 60, 60))))
    with pytest.raises(ValueError, match="level 100 is out of range; give percent from 1 to below 100"):
        fitted.predict(futr_df=following(frame), level=[100])
    plain = Forecaster("lstm", **TINY).fit(frame)
    with pytest.raises(RunError, match=r"No intervals of 99\.99 %, because the validation part has too few errors"):
        plain.predict(level=[99.99])
    with pytest.raises(DataError, match="futr_df was given, but the model uses no covariate known in advance"):
        plain.predict(futr_df=following(frame))
    with pytest.raises(DataError, match=r"series 'a' has 60 values, too few for n_windows=80 with step_size=1"):
        plain.cross_validate(frame, n_windows=80)
    for name in ("n_windows", "step_size"):
        with pytest.raises(ValueError, match=f"{name} must be an integer between 1 and 1000000, got 0"):
            plain.cross_validate(frame, **{name: 0})


def test_what_is_known_in_advance_explains_what_nothing_else_can():
    rng = np.random.default_rng(1)
    coin = rng.integers(0, 2, 400).astype(float)
    frame = pd.DataFrame({"unique_id": "a", "ds": np.arange(400), "y": 5 * coin, "coin": coin})
    options = {**TINY, "horizon": 2, "epochs": 16, "batch_size": 32, "lr": 0.1}
    errors = {}
    for name, known in (("blind", {}), ("past", {"past_cols": ("coin",)}), ("future", {"future_cols": ("coin",)})):
        table = Forecaster("qkan", **options, **known).cross_validate(frame, n_windows=16)
        column = table.columns[-1]
        errors[name] = [(own[column] - own["y"]).abs().mean() for _, own in table.groupby(table.index % 2)]
    assert max(errors["future"]) < 0.7  # at both steps
    assert min(errors["blind"] + errors["past"]) > 1.5


def test_the_steps_asked_for_are_called_h(fitted):
    for call in (fitted.predict, lambda **own: fitted.cross_validate(panel(), **own)):
        with pytest.raises(ValueError, match=r"^h must be an integer between 1 and 10000, got 0"):
            call(h=0)
        with pytest.raises(ValueError, match=r"^h must be an integer between 1 and 10000, got 'two'"):
            call(h="two")


def test_cross_validation_leaves_out_short_series_with_a_count():
    frame = panel((60, 12, 75))
    forecaster = Forecaster("lstm", **TINY, season="none")
    with pytest.warns(DataNotice, match=r"left out 1 of 3 series, too short for n_windows=2 with step_size=1, horizon"):
        table = forecaster.cross_validate(frame, n_windows=2)
    assert sorted(table["unique_id"].unique()) == ["a", "c"]
    alone = forecaster.cross_validate(frame[frame["unique_id"] != "b"], n_windows=2)
    pd.testing.assert_frame_equal(table, alone)
    frame = panel((60, 14, 75))  # long enough for a window, too short for a validation part behind it
    with pytest.warns(DataNotice, match=r"left out 1 of 3 series, too short for window=6 and horizon=3: 'b'"):
        table = forecaster.cross_validate(frame, n_windows=2)
    alone = forecaster.cross_validate(frame[frame["unique_id"] != "b"], n_windows=2)
    pd.testing.assert_frame_equal(table, alone)


def test_a_second_fit_takes_its_sizes_from_its_own_data():
    def wave(period, freq, length=200):
        times = pd.date_range("2024-01-01", periods=length, freq=freq)
        return pd.DataFrame({"ds": times, "y": np.sin(np.arange(length) * 2 * np.pi / period)})

    forecaster = Forecaster("lstm", hidden_size=1, epochs=1, lbfgs_steps=0)
    sizes = []
    for frame in (wave(7, "D"), wave(12, "MS"), wave(11, "YS"), wave(7, "D").assign(ds=range(200)).iloc[::-1]):
        forecaster.fit(frame)
        sizes.append((forecaster.config.window, forecaster.config.horizon, forecaster.run.config.seasons))
    assert sizes == [(14, 7, (7,)), (24, 12, (12,)), (22, 11, (11,)), (14, 7, (7,))]
    rng = np.random.default_rng(0)
    forecaster.fit(pd.DataFrame({"y": rng.normal(size=400)}))  # no season: the sizes of a forecaster without one
    assert (forecaster.config.window, forecaster.config.horizon) == (24, 24)
    given = Forecaster("lstm", window=5, hidden_size=1, epochs=1, lbfgs_steps=0)
    assert [given.fit(own).config.window for own in (wave(7, "D"), wave(12, "MS"))] == [5, 5]


def test_sizes_of_a_cross_validation_are_found_in_what_was_known_at_its_first_moment():
    values = np.random.default_rng(0).normal(size=300)
    values[200:] = 9 * np.sin(2 * np.pi * np.arange(100) / 10)  # a season that nobody could know
    frame = pd.DataFrame({"unique_id": "a", "ds": np.arange(300), "y": values})
    table = Forecaster("lstm", hidden_size=1, epochs=1, gate=False).cross_validate(frame, n_windows=100)
    assert len(table) == 100 * 18  # a tenth of what was known, as without a season


def test_a_protocol_is_for_files():
    with pytest.raises(TypeError, match="Forecaster has no option 'protocol'"):
        Forecaster("lstm", protocol="m4")


def test_linear_cells_are_not_compared_on_windows_that_they_cannot_read(tmp_path):
    for name in ("per_series", "seasonal_lags"):
        with pytest.raises(ValueError, match=f"{name}=True changes what all cells read, and cell 'cycle'"):
            CompareConfig(data="milan-24", out=str(tmp_path), cells=("lstm", "cycle"), **{name: True})
