"""Windows of several channels, by hand and without looking ahead."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkan.datasets import DataError, LastSteps, SplitFractions, last_windows, make_forecast_data, series_from_frame
from qkan.datasets.windows.windows import PARTS

HALF = SplitFractions(0.5, 0.0, 0.5)


def table(y, **columns):
    times = pd.date_range("2024-01-06", periods=len(y), freq="12h")  # a Saturday
    return pd.DataFrame({"unique_id": "a", "ds": times, "y": np.array(y, dtype=float), **columns})


def test_channels_of_a_window_by_hand():
    frame = table([1, 2, np.nan, 4, 5, 6, 7, 8], price=range(10, 18), holiday=range(20, 28))
    series = series_from_frame(frame, past_cols=["price"], future_cols=["holiday"], missing="mask")
    options = {"split": HALF, "scaler": "none", "calendar": ["hour", "weekend"]}
    data = make_forecast_data(series, window=2, horizon=2, **options)
    batch = data.train.batch([0])
    # value, observed, price of the step; holiday, sin and cos of the hour, weekend of the step after
    np.testing.assert_allclose(batch.inputs[0], [[1, 1, 10, 21, 0, -1, 1], [2, 1, 11, 22, 0, 1, 1]], atol=1e-6)
    np.testing.assert_allclose(batch.futr_exog[0], [[22, 0, 1, 1], [23, 0, -1, 1]], atol=1e-6)
    assert batch.targets.tolist() == [[2, 4]]
    assert batch.observed.tolist() == [[False, True]]
    np.testing.assert_allclose(data.test.inputs[0, :, 0], [2, 4])  # the missing value repeats the 2
    np.testing.assert_allclose(data.test.inputs[0, :, 1], [0, 1])
    assert data.target_observed("train").tolist() == [[False, True]]


def test_covariates_are_scaled_by_the_training_part_of_their_series():
    frame = pd.concat([table(range(8), x=range(8)), table(range(8), x=[5, 5, 5, 5, 7, 8, 9, 10]).assign(unique_id="b")])
    series = series_from_frame(frame, past_cols=["x"])
    data = make_forecast_data(series, window=2, horizon=1, split=HALF)
    assert data.scaler.covariates["x"].offset == (1.5, 5.0)
    assert data.scaler.covariates["x"].scale == (1.5, 1.0)  # constant in its training part
    np.testing.assert_allclose(data.train.values[8:, 1], [0, 0, 0, 0, 2, 3, 4, 5])


def test_filled_values_do_not_count_for_the_scaler():
    series = series_from_frame(table([4, 6, np.nan, np.nan, 20, 20]), missing="interpolate")
    data = make_forecast_data(series, window=1, horizon=1, split=SplitFractions(2 / 3, 0, 1 / 3), scaler="standard")
    assert data.scaler.offset == (5.0,)
    assert data.scaler.scale == (1.0,)


def test_windows_without_an_observed_target_are_left_out():
    series = series_from_frame(table([1, np.nan, np.nan, 4, 5, np.nan, 7, 8]), missing="mask")
    data = make_forecast_data(series, window=1, horizon=1, split=HALF, scaler="none")
    assert (data.train.targets.tolist(), data.test.targets.tolist()) == ([[4]], [[5], [7], [8]])
    assert data.train.inputs[:, :, 0].tolist() == [[1]]


def test_windows_that_end_on_a_line_to_a_later_value_are_left_out():
    series = series_from_frame(table([0, np.nan, 2, 3, 4, np.nan, 6, 8]), missing="interpolate")
    data = make_forecast_data(series, window=2, horizon=1, split=HALF, scaler="none")
    assert data.train.inputs[:, :, 0].tolist() == [[1, 2]]
    assert data.test.inputs[:, :, 0].tolist() == [[2, 3], [5, 6]]
    assert data.test.targets.tolist() == [[4], [8]]


def test_training_can_have_another_horizon_than_the_test():
    data = make_forecast_data(series_from_frame(table(range(12))), window=2, horizon=3, split=HALF, trained_horizon=1)
    assert (data.train.targets.shape, data.test.targets.shape) == ((4, 1), (4, 3))
    assert data.target_values("train").tolist() == [[2], [3], [4], [5]]


def test_the_newest_steps_validate_for_use():
    series = series_from_frame(table(range(20)))
    data = make_forecast_data(series, window=2, horizon=2, split=LastSteps(5))
    assert (data.boundaries.tolist(), len(data.test)) == ([[15, 20]], 0)
    assert data.target_values("validation")[:, 0].tolist() == [15, 16, 17, 18]
    assert make_forecast_data(series, window=2, horizon=2, split=LastSteps(at_least=3)).boundaries.tolist() == [
        [17, 20]
    ]
    assert len(make_forecast_data(series, window=2, horizon=2, split=LastSteps(0)).validation) == 0
    with pytest.raises(DataError, match="val_size is -1; it must be at least 0"):
        LastSteps(-1)
    with pytest.raises(DataError, match="only 1 of them in the validation part, which needs at least 2"):
        make_forecast_data(series, window=2, horizon=2, split=LastSteps(1))


def test_last_windows_hold_the_end_and_the_future():
    frame = table([1, 2, 3, 4, np.nan, np.nan], x=range(6))
    series = series_from_frame(frame, future_cols=["x"])
    scaler = make_forecast_data(series, window=1, horizon=1, split=HALF, scaler="none").scaler
    values, futr_exog = last_windows(series, window=2, steps=2, scaler=scaler, calendar=["weekend"])
    assert values.tolist() == [[[3], [4]]]
    assert futr_exog.tolist() == [[[2, 1], [3, 1], [4, -1], [5, -1]]]
    with pytest.raises(
        DataError, match=r"series 'a' has 2 future rows with x, but 3 steps .* needed is 2024-01-09 00:0"
    ):
        last_windows(series, window=2, steps=3, scaler=scaler)


def test_all_training_targets_missing_is_an_error():
    frame = table([1] + [np.nan] * 5 + [2] * 6)
    with pytest.raises(
        DataError, match="no window in the training part of 'frame' has an observed target; use another"
    ):
        make_forecast_data(series_from_frame(frame, missing="mask"), window=2, horizon=1, split=HALF)


def test_a_scaler_without_the_covariates_is_refused():
    scaler = make_forecast_data(series_from_frame(table(range(8))), window=1, horizon=1, split=HALF).scaler
    series = series_from_frame(table(range(8), x=1.0), past_cols=["x"])
    with pytest.raises(DataError, match="the scaler knows no covariate 'x'; give data with the same covariates"):
        make_forecast_data(series, window=1, horizon=1, split=HALF, scaler=scaler)


@given(
    seen=st.lists(st.booleans(), min_size=16, max_size=16),
    now=st.integers(13, 23),
    missing=st.sampled_from(["mask", "interpolate", "zero"]),
)
def test_the_future_reaches_no_input_and_no_scaler(seen, now, missing):
    rng = np.random.default_rng(0)
    seen = np.array([*[True] * 7, *seen, True])
    seen[12:14] = True  # so that the test part has a window
    x, y = rng.normal(size=24), rng.normal(size=24)
    later = np.arange(24) >= now

    def data(values, covariate):
        frame = table(np.where(seen, values, np.nan), x=covariate)
        series = series_from_frame(frame, past_cols=["x"], missing=missing)
        return make_forecast_data(series, window=3, horizon=1, split=HALF)

    before, after = data(y, x), data(np.where(later, y + 9, y), np.where(later, x - 9, x))
    assert after.scaler == before.scaler
    assert after.train.inputs.tolist() == before.train.inputs.tolist()
    for name in PARTS:
        old, new = before.part(name), after.part(name)
        earlier = old.target_index <= now
        assert new.inputs[earlier].tolist() == old.inputs[earlier].tolist()
