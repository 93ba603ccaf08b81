"""Static columns and categories as inputs: one value a series, or names that change with time and are known ahead."""

import numpy as np
import pandas as pd
import pytest

from qkan.datasets import DataError
from qkan.forecasting import Forecaster, export, load_exported, load_run, predict

TINY = {"window": 6, "horizon": 3, "hidden_size": 2, "epochs": 2, "batch_size": 64, "device": "cpu", "season": "none"}
TINY |= {"lbfgs_steps": 0}
GROUPS = {"static_cols": ["size", "region"], "category_cols": ["promo"]}


def panel(lengths=(60, 60, 60), seed=0):
    """Series a, b, c: a number and a name for each, and a promotion that changes the level by what it is called."""
    rng, parts = np.random.default_rng(seed), []
    effects = {"none": 0.0, "flyer": 2.0, "tv": -1.0, "both": 4.0}
    for place, length in enumerate(lengths):
        promo = rng.choice(list(effects), length)
        parts.append(
            pd.DataFrame(
                {
                    "unique_id": "abc"[place],
                    "ds": pd.date_range("2024-01-01", periods=length, freq="D"),
                    "y": 10 + np.array([effects[name] for name in promo]) + 0.01 * rng.normal(size=length),
                    "size": 100 * (place + 1),
                    "region": ("north", "south", "north")[place],
                    "promo": promo,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def ahead(frame, promo, steps=3):
    ends = frame.groupby("unique_id")["ds"].max()
    rows = [(name, time) for name, end in ends.items() for time in pd.date_range(end, periods=steps + 1, freq="D")[1:]]
    return pd.DataFrame(rows, columns=["unique_id", "ds"]).assign(promo=promo)


@pytest.fixture(scope="module")
def fitted():
    return Forecaster("lstm", **TINY, **GROUPS).fit(panel())


def test_what_a_series_is_and_what_a_step_is_called_are_inputs(fitted) -> None:
    config, scaler = fitted.run.config, fitted.run.scaler
    assert (config.static_cols, config.category_cols) == (("size",), ("region", "promo"))  # names are categories
    assert config.category_sizes == (2, 4)
    assert dict(scaler.categories) == {"region": ("north", "south"), "promo": ("both", "flyer", "none", "tv")}
    assert scaler.covariates["size"].offset == (200.0,) * 3  # scaled by all series together: 100, 200, 300
    assert scaler.covariates["size"].scale == (100.0,) * 3
    frame = panel()
    one, other = (fitted.predict(futr_df=ahead(frame, name))["LSTM"] for name in ("tv", "both"))
    assert np.abs(one - other).min() > 1e-4


def test_a_category_explains_what_nothing_else_can() -> None:
    frame, names = panel((300, 300, 300)), ["none", "flyer", "tv"]
    model = Forecaster("lstm", **{**TINY, "epochs": 30, "lr": 0.1}, category_cols=["promo"]).fit(frame)
    found = model.predict(futr_df=ahead(frame, names * 3))["LSTM"].to_numpy().reshape(3, 3)
    np.testing.assert_allclose(found, np.tile([10.0, 12.0, 9.0], (3, 1)), atol=0.5)


def test_the_future_may_stand_in_the_frame_and_what_never_changes_goes_on(fitted) -> None:
    frame = panel()
    with pytest.raises(DataError, match=r"category 'promo' of series 'a' changes with time, and nothing says what it"):
        fitted.predict()
    rows = ahead(frame, "tv")
    own = frame.groupby("unique_id")[["size", "region"]].first()
    whole = pd.concat([frame, rows.join(own, on="unique_id")], ignore_index=True)
    told = fitted.predict(futr_df=rows)
    pd.testing.assert_frame_equal(fitted.predict(whole), told)
    constant = frame.assign(promo="tv")
    pd.testing.assert_frame_equal(fitted.predict(constant), fitted.predict(constant, futr_df=rows))


def test_an_unknown_category_is_one_sentence(fitted) -> None:
    frame = panel()
    with pytest.raises(DataError) as told:
        fitted.predict(futr_df=ahead(frame, "radio"))
    assert str(told.value) == (
        "series 'a' has promo='radio' at 2024-03-01 00:00:00, which the forecaster was not trained on; it knows "
        "'both', 'flyer', 'none', 'tv': correct it, or train on data that has it"
    )
    with pytest.raises(DataError, match=r"series 'a' has region='west' at 2024-01-01 00:00:00, which the forecaster"):
        fitted.predict(frame.assign(region="west"), futr_df=ahead(frame, "tv"))
    frame.loc[[62, 119], "promo"] = "radio"  # a row that nothing is read of, and the last one of its series
    with pytest.raises(DataError, match=r"series 'b' has promo='radio' at 2024-01-03 00:00:00, which the forecaster"):
        fitted.predict(frame, futr_df=ahead(frame, "tv"))


@pytest.mark.parametrize(
    ("change", "options", "sentence"),
    [
        ({"size": range(180)}, {"static_cols": ["size"]},
         r"static column 'size' has more than one value in series 'a', such as '0' and '59'; what changes with time "
         r"goes into future_cols or past_cols"),
        ({"region": ["x", "y"] * 90}, {"static_cols": ["region"]}, r"'x' and 'y'; what changes .* into category_cols"),
        ({"region": [None] * 60 + ["x"] * 120}, {"static_cols": ["region"]},
         "static column 'region' has no value for series 'a'"),
        ({"promo": [None] + ["x"] * 179}, {"category_cols": ["promo"]}, r"row 1 of column 'promo' is missing"),
        ({"promo": [["x"]] * 180}, {"category_cols": ["promo"]}, r"row 1 of column 'promo' is no name; leave it out"),
        ({"promo": range(180)}, {"category_cols": ["y"]}, r"covariate 'y' is the time, target or id column already"),
        ({}, {"category_cols": ["promo"], "future_cols": ["promo"]}, r"'promo' is named twice; name it once, in one"),
        ({}, {"category_cols": ["prmo"]}, r"has no category column 'prmo'"),
        ({"promo": [f"n{i}" for i in range(180)]}, {"category_cols": ["promo"], "most": 100},
         r"column 'promo' holds 180 different names, above the limit of 100"),
    ],
)  # fmt: skip
def test_what_is_no_category_is_one_sentence(change, options, sentence, monkeypatch) -> None:
    from qkan.datasets.read import categories

    monkeypatch.setattr(categories, "MOST_CATEGORIES", options.pop("most", 1000))
    with pytest.raises(DataError, match=sentence):
        Forecaster("lstm", **TINY, **options).fit(panel().assign(**change))


@pytest.mark.parametrize("kind", [object, "category", "string", "int64", "float64", bool])
def test_names_of_any_type_are_categories(kind) -> None:
    frame = panel()
    codes = frame["promo"].eq("tv").astype(int)
    values = frame["promo"].astype(kind) if kind in (object, "category", "string") else codes.astype(kind)
    model = Forecaster("lstm", **TINY, category_cols=["promo"]).fit(frame.assign(promo=values))
    known = model.run.scaler.categories["promo"]
    if kind is bool:
        assert known == ("False", "True")
    else:
        assert known == (
            ("both", "flyer", "none", "tv") if values is not codes and kind not in ("int64", "float64") else ("0", "1")
        )


def test_saving_exporting_and_cross_validating_keep_categories(fitted, tmp_path) -> None:
    frame = panel()
    rows = ahead(frame, ["tv", "both", "none"] * 3)
    told = fitted.predict(futr_df=rows)
    fitted.save(tmp_path / "run")
    loaded = Forecaster.load(tmp_path / "run")
    pd.testing.assert_frame_equal(loaded.predict(frame, rows), told)
    numbers = frame.assign(region="north")[frame["unique_id"] == "a"]  # a name alone stays one
    assert len(loaded.predict(numbers, rows[rows["unique_id"] == "a"])) == 3
    frame.to_csv(tmp_path / "data.csv", index=False)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    run = load_run(tmp_path / "run")
    table = predict(run, data=tmp_path / "data.csv", future=tmp_path / "rows.csv")
    np.testing.assert_allclose(table["LSTM"], told["LSTM"], rtol=1e-6)
    export(run, tmp_path / "run.onnx", data=tmp_path / "data.csv")
    table = predict(load_exported(tmp_path / "run.onnx"), data=tmp_path / "data.csv", future=tmp_path / "rows.csv")
    np.testing.assert_allclose(table["LSTM"], told["LSTM"], rtol=1e-4)
    folds = fitted.cross_validate(frame, n_windows=2, step_size=3)
    assert folds.groupby("unique_id").size().to_dict() == {"a": 6, "b": 6, "c": 6}


def test_a_new_series_is_described_by_what_the_old_ones_were_scaled_with(fitted) -> None:
    frame = panel()
    new = frame[frame["unique_id"] == "b"].assign(unique_id="z", size=300, region="north")
    table = fitted.predict(new, ahead(new, "tv"), new_series="scale")
    assert np.isfinite(table["LSTM"]).all()
    scaler = fitted.run.scaler
    own = scaler.pick([0], ("z",)).shared_with(scaler, ("size",))
    assert own.covariates["size"].transform(300.0) == pytest.approx(1.0)
