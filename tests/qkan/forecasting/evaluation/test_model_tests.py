"""Tests of equal accuracy against closed forms, statsmodels' HAC regression, and their size under the null."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, ttest_1samp
from scipy.stats import t as student

from qkan.forecasting.evaluation import compare_models, diebold_mariano
from qkan.forecasting.evaluation.model_tests import POOLED, holm


def test_one_step_ahead_it_is_a_t_test() -> None:
    d = np.random.default_rng(0).normal(0.2, 1.0, 37)
    test = diebold_mariano(d)
    own = ttest_1samp(d, 0.0)
    # n + 1 - 2 h + h (h - 1) / n = n - 1: divisor n of the variance becomes n - 1
    assert test.statistic == pytest.approx(own.statistic, rel=1e-12)
    assert test.p_value == pytest.approx(own.pvalue, rel=1e-12)
    assert (test.n, test.bandwidth, test.difference) == (37, 0, d.mean())


def test_by_hand_two_steps_ahead() -> None:
    # d = 1, 2, 3, 6: mean 3, deviations -2, -1, 0, 3; n g_0 = 14, n g_1 = 2; V = (14 + 2 * 0.5 * 2) / 16 = 1
    test = diebold_mariano([1.0, 2.0, 3.0, 6.0], horizon=2)
    statistic = 3 * math.sqrt((4 + 1 - 4 + 2 / 4) / 4)
    assert test.statistic == pytest.approx(statistic, rel=1e-12)
    assert test.p_value == pytest.approx(2 * student.sf(statistic, 3), rel=1e-12)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(12, 90),
    horizon=st.integers(1, 8),
    bandwidth=st.sampled_from([None, 0, 3, "auto"]),
)
def test_variance_is_that_of_statsmodels(seed: int, n: int, horizon: int, bandwidth) -> None:
    rng = np.random.default_rng(seed)
    d = 0.3 + np.convolve(rng.normal(size=n + 3), [1, 0.8, 0.5, 0.2], "valid")
    test = diebold_mariano(d, horizon=horizon, bandwidth=bandwidth)
    expected = {None: horizon - 1, "auto": max(horizon - 1, math.floor(4 * (n / 100) ** (2 / 9)))}
    lags = expected.get(bandwidth, bandwidth)
    hac = sm.OLS(d, np.ones(n)).fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False})
    correction = math.sqrt((n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n)
    assert test.bandwidth == lags
    assert test.statistic == pytest.approx(correction * hac.tvalues[0], rel=1e-9)


@pytest.mark.parametrize(("horizon", "size"), [(1, 0.05), (4, 0.085)])
def test_size_under_the_null(horizon: int, size: float) -> None:
    """How often 500 true nulls are rejected at 5 %, with errors that are moving averages of order h - 1.

    With h > 1 that is too often, because Bartlett's weights shrink the autocovariances: 8.5 % of 4000 at h = 4.
    """
    rng = np.random.default_rng(12)
    noise = rng.normal(size=(500, 2, 160 + horizon - 1))
    errors = np.lib.stride_tricks.sliding_window_view(noise, horizon, axis=-1).sum(-1)
    d = np.abs(errors[:, 0]) - np.abs(errors[:, 1])
    rejected = sum(diebold_mariano(row, horizon=horizon).p_value < 0.05 for row in d)
    low, high = binom.ppf([0.0005, 0.9995], 500, size)
    assert low <= rejected <= high
    if horizon > 1:  # what ignoring the overlap would do
        assert sum(diebold_mariano(row).p_value < 0.05 for row in d) > 2 * rejected


@pytest.mark.parametrize(
    ("d", "horizon"), [([], 1), ([1.0], 1), ([1.0, 2.0, 3.0], 3), ([0.0] * 20, 1), ([0.1 + 0.2, 0.3] * 9, 1)]
)
def test_too_few_or_equal_differences_have_no_test(d: list[float], horizon: int) -> None:
    test = diebold_mariano(d, horizon=horizon)
    assert np.isnan([test.statistic, test.p_value]).all()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"differences": [[1.0]]}, r"one row of numbers, got shape \(1, 1\)"),
        ({"differences": [1.0, np.nan]}, "difference 1 is nan, and all must be finite"),
        ({"differences": [1.0, 2.0], "horizon": 0}, "horizon must be a whole number of at least 1, got 0"),
        ({"differences": [1.0, 2.0], "bandwidth": -1}, "bandwidth must be a whole number of at least 0"),
        ({"differences": [1.0, 2.0], "bandwidth": "most"}, "bandwidth must be .* got 'most'"),
    ],
)
def test_bad_arguments_are_refused(arguments, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        diebold_mariano(**arguments)


def test_holm_by_hand() -> None:
    assert holm([0.01, np.nan, 0.04, 0.03]) == pytest.approx([0.03, np.nan, 0.06, 0.06], nan_ok=True)
    assert np.isnan(holm([np.nan, np.nan])).all()


def test_pooled_averages_over_series_at_each_origin(make_frame) -> None:
    frame = make_frame(series=3, origins=25, horizon=2)
    table = compare_models(frame, "good")
    lost = {name: (frame["y"] - frame[name]).abs() for name in ("good", "bad")}
    d = (lost["good"] - lost["bad"]).groupby(frame["cutoff"]).mean()
    own = diebold_mariano(d, horizon=2)
    row = table.iloc[0]
    assert (row["model"], row["reference"], row["unique_id"], row["series"]) == ("bad", "good", POOLED, 3)
    assert (row["n"], row["difference"], row["p_value"]) == (
        25,
        pytest.approx(own.difference),
        pytest.approx(own.p_value),
    )
    assert row["difference"] < 0
    assert row["p_holm"] == row["p_value"] < 0.001


def test_per_series_one_step_squared_and_scaled(make_frame) -> None:
    frame = make_frame(series=2, origins=25, horizon=3, good=0.5, bad=2.0, worse=3.0)
    table = compare_models(
        frame, "bad", loss="squared", step=3, per_series=True, scales={"s0": 2.0, "s1": 4.0}, models=["good", "worse"]
    )
    assert list(table["model"]) == ["good", "good", "worse", "worse"]
    assert list(table["unique_id"]) == ["s0", "s1"] * 2
    own = frame[(frame["unique_id"] == "s1") & (frame["ds"] - frame["cutoff"] == 3)]
    d = (((own["y"] - own["bad"]) / 4) ** 2 - ((own["y"] - own["good"]) / 4) ** 2).to_numpy()
    expected = diebold_mariano(d, horizon=3)
    assert table["statistic"][1] == pytest.approx(expected.statistic)
    np.testing.assert_allclose(table["p_holm"], holm(table["p_value"]))


def test_series_that_a_model_or_a_scale_lacks_are_left_out(make_frame) -> None:
    frame = make_frame(series=3)
    frame.loc[frame["unique_id"] == "s2", "bad"] = np.nan
    assert compare_models(frame, "good")["series"][0] == 2
    assert compare_models(frame, "good", scales={"s0": 1.0, "s1": np.nan})["series"][0] == 1


def test_a_model_that_lacks_everything_has_no_test(make_frame) -> None:
    table = compare_models(make_frame().assign(none=np.nan), "good")
    assert list(table["n"]) == [30, 0]
    assert table["p_holm"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"reference": "best"}, "there is no model 'best' in the frame"),
        ({"reference": "good", "models": ["good"]}, "'good' is the only model"),
        ({"reference": "good", "loss": "cubic"}, "unknown loss 'cubic'; choose one of absolute, squared"),
        ({"reference": "good", "step": 2}, "there is no step 2 in the frame; it has 1 to 1"),
    ],
)
def test_bad_comparisons_are_refused(arguments, sentence: str, make_frame) -> None:
    with pytest.raises(ValueError, match=sentence):
        compare_models(make_frame(), **arguments)
