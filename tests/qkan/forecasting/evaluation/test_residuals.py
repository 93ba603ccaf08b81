"""Residual diagnostics: what they find in noise, in bias and in a forecast that leaves structure behind."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, chi2, norm

from qkan.forecasting.evaluation import residual_acf, residual_diagnostics


def one_step_frame(errors: np.ndarray) -> pd.DataFrame:
    """A frame whose model M has these errors, (series, origins)."""
    parts = [
        pd.DataFrame(
            {"unique_id": f"s{i}", "ds": np.arange(1, len(e) + 1), "cutoff": np.arange(len(e)), "y": e, "M": 0.0}
        )
        for i, e in enumerate(errors)
    ]
    return pd.concat(parts, ignore_index=True)


def test_ljung_box_and_bias_by_hand() -> None:
    errors = np.array([1.0, -1.0, 2.0, 0.0, 3.0, 1.0])
    row = residual_diagnostics(one_step_frame(errors[None]), lags=2).iloc[0]
    c = errors - 1.0
    r = [(c[k:] @ c[:-k]) / (c @ c) for k in (1, 2)]
    statistic = 6 * 8 * (r[0] ** 2 / 5 + r[1] ** 2 / 4)
    assert (row["model"], row["unique_id"], row["n"], row["lags"], row["bias"]) == ("M", "s0", 6, 2, 1.0)
    assert row["acf1"] == pytest.approx(r[0])
    assert row["ljung_box"] == pytest.approx(statistic)
    assert row["p_value"] == pytest.approx(chi2.sf(statistic, 2))


def test_noise_is_rejected_as_often_as_the_level_says() -> None:
    table = residual_diagnostics(one_step_frame(np.random.default_rng(5).normal(size=(200, 100))))
    low, high = binom.ppf([0.0005, 0.9995], 200, 0.05)
    assert low <= (table["p_value"] < 0.05).sum() <= high
    assert low <= (table["bias_p"] < 0.05).sum() <= high
    assert set(table["lags"]) == {10}


def test_structure_and_bias_are_found() -> None:
    noise = np.random.default_rng(6).normal(size=201)
    table = residual_diagnostics(one_step_frame((noise[1:] + 0.6 * noise[:-1] + 0.5)[None]))
    assert table["p_value"][0] < 1e-6
    assert table["acf1"][0] == pytest.approx(0.6 / 1.36, abs=0.15)
    assert table["bias"][0] == pytest.approx(0.5, abs=0.3)
    assert table["bias_p"][0] < 1e-3


def test_only_first_steps_count(make_frame) -> None:
    frame = make_frame(horizon=3, series=1)
    first = frame[frame["ds"] - frame["cutoff"] == 1]
    pd.testing.assert_frame_equal(residual_diagnostics(frame), residual_diagnostics(first))


@pytest.mark.parametrize(("n", "season", "lags"), [(200, 12, 24), (200, 2, 10), (60, 24, 12), (4, 1, 1)])
def test_lags_follow_season_and_length(n: int, season: int, lags: int, make_frame) -> None:
    table = residual_diagnostics(make_frame(origins=n, series=1), season=season)
    assert set(table["lags"]) == {lags}


def test_errors_that_do_not_vary_have_no_test() -> None:
    table = residual_diagnostics(one_step_frame(np.full((1, 20), 0.3)))
    assert table["bias"][0] == pytest.approx(0.3)
    assert table[["bias_p", "acf1", "ljung_box", "p_value"]].isna().all(axis=None)
    assert len(residual_acf(one_step_frame(np.zeros((1, 20))))) == 0


def test_acf_is_averaged_over_series() -> None:
    errors = np.random.default_rng(7).normal(size=(3, 50))
    table = residual_acf(one_step_frame(errors), lags=4)
    c = errors - errors.mean(axis=1, keepdims=True)
    expected = [np.mean([(row[k:] @ row[:-k]) / (row @ row) for row in c]) for k in (1, 2, 3, 4)]
    assert list(table["lag"]) == [1, 2, 3, 4]
    np.testing.assert_allclose(table["acf"], expected)
    np.testing.assert_allclose(table["band"], norm.ppf(0.975) / 50**0.5, rtol=1e-4)


def test_a_series_that_a_model_lacks_is_left_out(make_frame) -> None:
    frame = make_frame()
    frame.loc[frame["unique_id"] == "s1", "good"] = np.nan
    table = residual_diagnostics(frame)
    assert list(zip(table["model"], table["unique_id"], strict=True)) == [("good", "s0"), ("bad", "s0"), ("bad", "s1")]


@pytest.mark.parametrize("arguments", [{"lags": 0}, {"season": 0}, {"lags": True}])
def test_bad_arguments_are_refused(arguments, make_frame) -> None:
    with pytest.raises(ValueError, match="must be a whole number of at least 1"):
        residual_diagnostics(make_frame(), **arguments)


def test_frames_without_a_first_step_are_refused(make_frame) -> None:
    with pytest.raises(ValueError, match="no forecast of step 1"):
        residual_diagnostics(make_frame().assign(step=2))
    with pytest.raises(ValueError, match="lags must be a whole number of at least 1, got 0"):
        residual_acf(make_frame(), lags=0)
