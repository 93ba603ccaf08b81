"""The frame of every evaluation: what it may hold, and what is refused in one sentence."""

import re

import numpy as np
import pandas as pd
import pytest

from qkan.forecasting.evaluation import check_frame, join_forecasts, model_columns
from qkan.forecasting.evaluation.frames import check_levels, interval_levels


def with_interval(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(**{"good-lo-90": frame["good"] - 1, "good-hi-90": frame["good"] + 1})


def test_models_and_levels_are_read_from_the_columns(make_frame) -> None:
    frame = with_interval(make_frame()).assign(**{"T-lo-5": 1.0, "good-lo-99.5": 0.0, "good-hi-99.5": 99.0})
    assert model_columns(frame) == ("good", "bad")
    assert interval_levels(frame, "good") == (90.0, 99.5)
    assert interval_levels(frame, "T") == ()


def test_rows_are_sorted_and_numbered_by_origin(make_frame) -> None:
    frame = make_frame(horizon=3, origins=4).sample(frac=1.0, random_state=1)
    checked = check_frame(frame, ["bad"])
    assert list(checked.columns) == ["unique_id", "ds", "cutoff", "step", "y", "bad"]
    assert list(checked["step"]) == [1, 2, 3] * 8
    assert (checked["ds"] - checked["cutoff"] == checked["step"]).all()


def test_a_step_column_counts_where_rows_are_missing(make_frame) -> None:
    frame = make_frame(horizon=3, origins=4)
    frame = frame.assign(step=frame["ds"] - frame["cutoff"])[lambda own: own["step"] != 2]
    assert list(check_frame(frame)["step"]) == [1, 3] * 8


def test_a_model_may_lack_a_whole_series(make_frame) -> None:
    frame = make_frame()
    frame.loc[frame["unique_id"] == "s1", "good"] = np.nan
    assert check_frame(frame)["good"].isna().sum() == 30


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda f: f.drop(columns="cutoff"), "has no column 'cutoff'; it must have unique_id, ds, cutoff, y"),
        (lambda f: f.iloc[:0], "has no rows"),
        (lambda f: f[["unique_id", "ds", "cutoff", "y"]], "has no column with forecasts"),
        (lambda f: pd.concat([f, f.iloc[[3]]]), "series 's0' at 4 from 3 is there twice"),
        (lambda f: f.assign(y=f["y"].where(f.index != 5)), "column 'y' is nan for series 's0' at 6"),
        (
            lambda f: f.assign(good=f["good"].where(f.index != 5)),
            "column 'good' is nan .* a model may lack whole series",
        ),
        (lambda f: f.assign(bad=np.inf), "column 'bad' is inf for series 's0' at 1"),
        (lambda f: f.assign(bad="x"), "column 'bad' is .*; convert it to float64"),
        (lambda f: f.assign(cutoff=f["ds"]), "forecast for 1 whose cutoff is 1"),
        (
            lambda f: f.assign(ds=f["ds"].astype(float)),
            "are float64 and int64; both must be datetime64, or both integer",
        ),
        (lambda f: f.assign(ds=pd.Timestamp("2024-01-01")), "both must be datetime64, or both integer"),
        (lambda f: f.assign(unique_id=None), "column 'unique_id' has a missing value in row 0"),
        (lambda f: f.assign(step=0), "column 'step' has 0 and must hold whole numbers of at least 1"),
        (lambda f: f.assign(**{"good-lo-90": 99.0, "good-hi-90": 1.0}), "good-lo-90 is 99 and above good-hi-90"),
    ],
)
def test_bad_frames_are_refused(spoil, sentence: str, make_frame) -> None:
    with pytest.raises(ValueError, match=sentence):
        check_frame(spoil(make_frame()))


def test_a_repeated_step_is_refused(make_frame) -> None:
    with pytest.raises(ValueError, match=r"column 'step' repeats 1 within one origin, .* of series 's0'; number"):
        check_frame(make_frame(horizon=2).assign(step=1))


def test_other_objects_and_models_are_refused(make_frame) -> None:
    with pytest.raises(TypeError, match="must be a pandas DataFrame, got dict"):
        check_frame({"y": [1.0]})
    with pytest.raises(ValueError, match="there is no model 'best' in the frame; it has good, bad"):
        check_frame(make_frame(), ["best"])
    with pytest.raises(ValueError, match="models is empty"):
        check_frame(make_frame(), [])


@pytest.mark.parametrize("level", [0, 100, -5, 1e9, float("nan"), True, "90"])
def test_levels_out_of_range_are_refused(level) -> None:
    with pytest.raises(ValueError, match=re.escape(f"level {level!r} is out of range")):
        check_levels([80, level])


def test_levels_are_sorted_and_unique() -> None:
    assert check_levels([90, 80.0, 90]) == (80.0, 90.0)


def test_forecasts_are_joined_by_key(make_frame) -> None:
    left = make_frame(horizon=2, dates=True)
    right = left.drop(columns=["good", "bad"]).assign(other=left["bad"] + 1).sample(frac=1.0, random_state=0)
    joined = join_forecasts(left, right)
    np.testing.assert_array_equal(joined["other"], joined["bad"] + 1)
    assert model_columns(joined) == ("good", "bad", "other")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda f: f.rename(columns={"other": "good"}), "both frames have a model 'good'"),
        (lambda f: f.iloc[1:], "has no row for series 's0' at 1 from 0"),
        (lambda f: f.assign(y=f["y"] + 1e-3), "the frames disagree on y of series 's0' at 1"),
    ],
)
def test_frames_that_do_not_fit_are_not_joined(spoil, sentence: str, make_frame) -> None:
    left = make_frame()
    right = left.drop(columns=["good", "bad"]).assign(other=0.0)
    with pytest.raises(ValueError, match=sentence):
        join_forecasts(left, spoil(right))
