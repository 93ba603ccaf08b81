import numpy as np
import pandas as pd
import pytest

from qkan.datasets import DataError, Series, SplitFractions, autocorrelation, naive_test_mae
from qkan.datasets.steps import step_frame


def series_of(*columns):
    frames = [step_frame(np.asarray(values), f"s{i}") for i, values in enumerate(columns)]
    return Series("test", pd.concat(frames, ignore_index=True))


def test_autocorrelation_by_hand():
    # deviations -1.5 -0.5 0.5 1.5: lag 1 gives (0.75 - 0.25 + 0.75) / 5, lag 3 gives -2.25 / 5
    assert autocorrelation(series_of([1.0, 2.0, 3.0, 4.0]), 1) == pytest.approx(0.25)
    assert autocorrelation(series_of([1.0, 2.0, 3.0, 4.0]), 3) == pytest.approx(-0.45)


def test_autocorrelation_is_the_mean_over_the_series_that_have_one():
    long, flat, short = np.arange(4.0), np.full(9, 2.0), np.array([1.0, 2.0])
    assert autocorrelation(series_of(long, long, flat, short), 3) == pytest.approx(-0.45)


@pytest.mark.parametrize("values", [[5.0, 5.0, 5.0], [1.0, 2.0]])
def test_autocorrelation_of_a_flat_or_short_series_is_unknown(values):
    assert autocorrelation(series_of(values), 2) is None


def test_naive_error_by_hand():
    values = [0.0, 0, 0, 0, 0, 0, 0, 1, 3, 7]  # the test part is 3, 7
    assert naive_test_mae(series_of(values)) == pytest.approx((2 + 4) / 2)
    assert naive_test_mae(series_of(values), 2) == pytest.approx((3 + 6) / 2)
    assert naive_test_mae(series_of(values), 1, SplitFractions(0.5, 0.4, 0.1)) == pytest.approx(4.0)


def test_naive_error_pools_all_series():
    assert naive_test_mae(series_of(np.arange(10.0), np.arange(20.0) * 4)) == pytest.approx((2 * 1 + 4 * 4) / 6)


def test_naive_error_is_unknown_when_the_season_is_longer_than_the_past():
    assert naive_test_mae(series_of(np.arange(10.0)), 8) == pytest.approx(8.0)
    assert naive_test_mae(series_of(np.arange(10.0)), 9) is None


def test_naive_error_is_unknown_without_a_test_part():
    assert naive_test_mae(series_of([1.0, 2.0])) is None


@pytest.mark.parametrize("statistic", [autocorrelation, naive_test_mae])
def test_a_lag_below_one_is_refused(statistic):
    with pytest.raises(DataError, match="lag is 0; it must be at least 1 step"):
        statistic(series_of([1.0, 2.0, 3.0]), 0)
