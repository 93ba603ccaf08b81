"""Baselines over rolling origins: the frame, the failures by name, the arguments."""

import numpy as np
import pandas as pd
import pytest
from series_forecasts import forecast

from qkan.forecasting.baselines import baseline_forecasts, per_series
from qkan.forecasting.baselines.smoothing import fit_ets
from qkan.forecasting.evaluation import model_columns

FAST = ("naive", "seasonal-naive", "theta")


def long_frame(*, dates: bool = False, **values: object) -> pd.DataFrame:
    parts = []
    for name, y in values.items():
        y = np.asarray(y, dtype=np.float64)
        ds = pd.date_range("2024-01-01", periods=len(y), freq="h") if dates else np.arange(len(y))
        parts.append(pd.DataFrame({"unique_id": name, "ds": ds, "y": y}))
    return pd.concat(parts, ignore_index=True)


def test_naive_and_seasonal_naive_repeat_what_was_known() -> None:
    made = baseline_forecasts(long_frame(a=np.arange(12.0) ** 2), [6, 8], 3, (3, 2), models=FAST[:2])
    frame = made.frame
    assert list(frame.columns[:5]) == ["unique_id", "ds", "cutoff", "step", "y"]
    assert model_columns(frame) == ("Naive", "SeasonalNaive(2)", "SeasonalNaive(3)")
    assert list(frame["ds"]) == [7, 8, 9, 9, 10, 11]
    assert list(frame["cutoff"]) == [6, 6, 6, 8, 8, 8]
    assert list(frame["step"]) == [1, 2, 3] * 2
    assert list(frame["y"]) == [49, 64, 81, 81, 100, 121]
    assert list(frame["Naive"]) == [36, 36, 36, 64, 64, 64]
    assert list(frame["SeasonalNaive(2)"]) == [25, 36, 25, 49, 64, 49]
    assert list(frame["SeasonalNaive(3)"]) == [16, 25, 36, 36, 49, 64]
    assert len(made.failures) == 0


def test_cutoffs_may_differ_by_series_and_have_the_type_of_ds(wavy) -> None:
    df = long_frame(dates=True, a=wavy(40), b=wavy(50, seed=1)).sample(frac=1.0, random_state=0)
    times = np.sort(df["ds"].unique())
    frame = baseline_forecasts(df, {"a": times[[20, 30]], "b": times[[45]]}, 2, 6, models=FAST).frame
    assert frame["cutoff"].dtype == frame["ds"].dtype == df["ds"].dtype
    assert frame.groupby("unique_id").size().to_dict() == {"a": 4, "b": 2}
    b = df[df["unique_id"] == "b"].sort_values("ds")["y"].to_numpy()
    assert list(frame["Naive"].tail(2)) == [b[45]] * 2
    assert list(frame["SeasonalNaive(6)"].tail(2)) == list(b[40:42])


def test_intervals_are_normal_with_the_models_errors(wavy) -> None:
    values = wavy()
    made = baseline_forecasts(long_frame(a=values), [119, 130], 4, 6, models=("ets",), level=(80, 99.5))
    rolled = forecast(fit_ets, values, 120, np.array([120, 131]), 4, 6)
    own = made.frame
    assert list(made.choices.itertuples(index=False, name=None)) == [("ETS", "a", rolled.choice)]
    np.testing.assert_array_equal(own["ETS"], rolled.mean.ravel())
    for level, width in ((80, 1.2815515655446004), (99.5, 2.807033768343811)):
        np.testing.assert_allclose(own[f"ETS-hi-{level}"] - own["ETS"], width * np.tile(rolled.error, 2), rtol=1e-9)
        np.testing.assert_allclose(own["ETS"] - own[f"ETS-lo-{level}"], width * np.tile(rolled.error, 2), rtol=1e-9)


def test_what_cannot_be_fitted_is_named_and_the_rest_goes_on(wavy) -> None:
    df = long_frame(flat=np.full(60, 5.0), short=wavy(60)[-12:], whole=wavy(60))
    ends = {"flat": [50], "short": [7], "whole": [50]}
    made = baseline_forecasts(df, ends, 2, (6, 12))
    reasons = {(row.model, row.unique_id): row.reason for row in made.failures.itertuples()}
    assert set(reasons) == {
        ("SARIMA", "flat"),
        ("Theta", "flat"),
        *((model, "short") for model in ("SeasonalNaive(12)", "ETS", "SARIMA", "Theta")),
    }
    assert reasons["SARIMA", "flat"] == "the known values are constant once differenced"
    assert reasons["Theta", "flat"] == "the known values are constant without their season"
    assert reasons["SeasonalNaive(12)", "short"] == "only 8 values before the first origin, season 12 needs as many"
    missing = made.frame.set_index("unique_id").isna()
    assert missing.loc["short", ["ETS", "SARIMA", "Theta", "ETS-lo-90"]].all(axis=None)
    assert not missing.loc["whole"].any(axis=None)
    np.testing.assert_allclose(made.frame.query("unique_id == 'flat'")[["ETS", "Naive"]], 5.0, rtol=1e-6)


def test_an_estimator_that_breaks_is_reported(wavy, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise np.linalg.LinAlgError("singular")

    monkeypatch.setitem(per_series.SERIES_MODELS, "ets", broken)
    made = baseline_forecasts(long_frame(a=wavy(60)), [50], 2, 6, models=("ets", "naive"))
    assert list(made.failures.itertuples(index=False, name=None)) == [("ETS", "a", "LinAlgError: singular")]
    assert made.frame["ETS"].isna().all()
    assert made.frame["Naive"].notna().all()


def test_gaps_count_as_repetitions_and_missing_targets_give_no_row() -> None:
    nan = np.nan
    df = long_frame(a=[nan, 1.0, 2.0, nan, nan, 5.0, nan, 7.0])
    frame = baseline_forecasts(df, [3, 4, 5], 2, (), models=("naive",)).frame
    assert frame[["ds", "cutoff", "step", "y", "Naive"]].to_numpy().tolist() == [
        [5, 3, 2, 5, 2],
        [5, 4, 1, 5, 2],
        [7, 5, 2, 7, 5],
    ]


def test_nothing_known_at_the_first_origin_is_a_failure() -> None:
    df = long_frame(a=[np.nan, np.nan, 2.0, 3.0], b=[1.0, 2.0, 3.0, 4.0])
    made = baseline_forecasts(df, [1], 2, (), models=("naive",))
    assert list(made.failures["reason"]) == ["no value is known at the first origin"]
    assert list(made.frame["Naive"].dropna()) == [2.0, 2.0]


def test_processes_give_the_same_numbers(wavy) -> None:
    df = long_frame(a=wavy(60), b=wavy(60, seed=1))
    alone, shared = (baseline_forecasts(df, [40, 50], 3, 6, models=FAST, workers=workers) for workers in (1, 2))
    pd.testing.assert_frame_equal(alone.frame, shared.frame)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"models": ("arima",)}, "unknown baseline 'arima'; choose from naive, seasonal-naive, ets, sarima, theta"),
        ({"models": "naive"}, "models must be a list of baselines, got 'naive'"),
        ({"models": ()}, "models must be a list of baselines"),
        ({"horizon": 0}, "horizon must be a whole number between 1 and 10,000, got 0"),
        ({"workers": 0}, "workers must be a whole number between 1 and 1,024, got 0"),
        ({"season": -1}, "season -1 must be a whole number of steps"),
        ({"season": (2.5,)}, "season 2.5 must be a whole number of steps"),
        ({"level": (100,)}, "level 100 is out of range"),
        ({"cutoffs": [9]}, "has 0 values after cutoff 9, horizon 1 needs as many"),
        ({"cutoffs": [77]}, "cutoff 77 is not a time of series 'a'"),
        ({"cutoffs": []}, "there is no cutoff for series 'a'"),
        ({"cutoffs": {"b": [3]}}, "cutoffs has no entry for series 'a'"),
        ({"df": long_frame(a=np.arange(10)).drop(columns="ds")}, "has no column 'ds'; it must have unique_id, ds, y"),
        ({"df": long_frame(a=np.arange(10)).iloc[:0]}, "the frame has no rows"),
        ({"df": pd.concat([long_frame(a=[1, 2])] * 2)}, "series 'a' has two values at 0"),
        ({"df": long_frame(a=[1, np.inf])}, "infinite values"),
        ({"df": long_frame(a=[1, 2]).assign(y="x")}, "convert it to float64"),
        ({"df": long_frame(a=[1, 2]).assign(unique_id=None)}, "column 'unique_id' of the series has missing values"),
    ],
)
def test_bad_arguments_are_one_sentence(change: dict[str, object], sentence: str) -> None:
    arguments = {"df": long_frame(a=np.arange(10)), "cutoffs": [5], "horizon": 1, "season": 2, "models": ("naive",)}
    with pytest.raises(ValueError, match=sentence):
        baseline_forecasts(**{**arguments, **change})


def test_a_list_is_no_data_frame() -> None:
    with pytest.raises(TypeError, match="must be a pandas DataFrame, got list"):
        baseline_forecasts([1.0], [0], 1)
