"""Conformal intervals: the finite-sample quantile, and coverage measured on exchangeable data."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkan.forecasting.evaluation import accuracy, fit_conformal
from qkan.forecasting.evaluation.conformal import conformal_rank, fewest_scores


def point_frame(errors: np.ndarray, *, horizon: int = 1, prefix: str = "s") -> pd.DataFrame:
    """A frame whose model M errs by ``errors``, (series, origins * horizon)."""
    series, rows = errors.shape
    cutoff = np.tile(np.repeat(np.arange(rows // horizon), horizon), series)
    step = np.tile(np.arange(1, horizon + 1), series * rows // horizon)
    names = np.repeat([f"{prefix}{index}" for index in range(series)], rows)
    return pd.DataFrame(
        {"unique_id": names, "ds": cutoff + step, "cutoff": cutoff, "y": errors.ravel() + 7.0, "M": 7.0}
    )


@pytest.mark.parametrize(
    ("n", "level", "rank"), [(9, 90, 9), (8, 90, 9), (99, 90, 90), (100, 90, 91), (4, 80, 4), (19, 95, 19), (10, 50, 6)]
)
def test_rank_of_the_finite_sample_quantile(n: int, level: float, rank: int) -> None:
    assert conformal_rank(n, level) == rank


@given(level=st.floats(0.5, 99.5))
def test_the_fewest_scores_are_just_enough(level: float) -> None:
    least = fewest_scores(level)
    assert conformal_rank(least, level) <= least
    assert least == 1 or conformal_rank(least - 1, level) > least - 1


def test_radius_is_the_ranked_error_of_its_series_and_step() -> None:
    errors = np.array([[3.0, -30.0, 1.0, 10.0, -2.0, 20.0, 4.0, 40.0], [0.5, 5.0, 0.1, 1.0, 0.2, 2.0, -0.3, -3.0]])
    fitted = fit_conformal(point_frame(errors, horizon=2), levels=[60, 80])
    table = fitted.table.set_index(["unique_id", "step", "level"])["radius"]
    # 4 errors: ceil(5 * 0.6) = 3rd, ceil(5 * 0.8) = 4th
    assert table.to_dict() == pytest.approx({
        ("s0", 1, 60.0): 3.0, ("s0", 2, 60.0): 30.0, ("s1", 1, 60.0): 0.3, ("s1", 2, 60.0): 3.0,
        ("s0", 1, 80.0): 4.0, ("s0", 2, 80.0): 40.0, ("s1", 1, 80.0): 0.5, ("s1", 2, 80.0): 5.0,
    })  # fmt: skip
    future = pd.DataFrame({"unique_id": ["s1", "s0", "s0", "s1"], "ds": [9, 10, 9, 10], "M": [1.0, 2.0, 3.0, 4.0]})
    made = fitted.apply(future)
    assert made["M-lo-80"].tolist() == pytest.approx([0.5, -38.0, -1.0, -1.0])
    assert made["M-hi-80"].tolist() == pytest.approx([1.5, 42.0, 7.0, 9.0])
    assert "M-lo-80" not in future


def test_pooled_radius_is_in_units_of_the_scales() -> None:
    errors = np.array([[1.0, -2.0], [30.0, 40.0]])
    fitted = fit_conformal(point_frame(errors), levels=[80], per="pooled", scales={"s0": 1.0, "s1": 10.0})
    made = fitted.apply(point_frame(errors))
    np.testing.assert_allclose(made["M-hi-80"] - made["M"], [4.0, 4.0, 40.0, 40.0])


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 10**6), n=st.integers(19, 60), level=st.sampled_from([50, 80, 90, 95]))
def test_coverage_of_exchangeable_errors(seed: int, n: int, level: int) -> None:
    """Over 1000 calibrations, mean coverage is k / (n + 1) up to its sampling error, whatever the distribution."""
    rng = np.random.default_rng(seed)
    errors = rng.standard_t(2, size=(1000, n + 1)) + 0.5  # heavy tails and a bias
    fitted = fit_conformal(point_frame(errors[:, :n]), levels=[level])
    made = fitted.apply(point_frame(errors[:, n:]))
    expected = conformal_rank(n, level) / (n + 1)
    sigma = 100 * (expected * (1 - expected) / 1000) ** 0.5
    assert accuracy(made).pooled[f"coverage-{level}"][0] == pytest.approx(100 * expected, abs=4.5 * sigma)
    assert 100 * expected >= level - 1e-9


def test_quantile_regression_is_mended_by_measured_misses() -> None:
    """Intervals far too narrow and far too wide both end at their level, with the shape that they had."""
    rng = np.random.default_rng(3)
    spread = rng.uniform(0.5, 4.0, size=(1, 6000))  # known to the model: its intervals follow it
    for factor in (0.3, 3.0):
        frame = point_frame(rng.normal(size=spread.shape) * spread)
        half = factor * 1.645 * spread[0]
        frame = frame.assign(**{"M-lo-90": frame["M"] - half, "M-hi-90": frame["M"] + half})
        calibration, test = frame.iloc[:3000], frame.iloc[3000:]
        made = fit_conformal(calibration, levels=[90], kind="quantile").apply(test)
        # test and calibration, 3000 values each, have a standard error of 0.55 % each
        assert accuracy(made).pooled["coverage-90"][0] == pytest.approx(90, abs=4 * 100 * (0.09 / 1500) ** 0.5)
        change = (made["M-hi-90"] - test["M-hi-90"]).to_numpy()
        assert (change > 0).all() if factor < 1 else (change < 0).all()


def test_quantile_scores_by_hand() -> None:
    frame = point_frame(np.array([[0.0, 3.0, -4.0, 1.0]])).assign(**{"M-lo-80": 6.0, "M-hi-80": 9.0})
    fitted = fit_conformal(frame, levels=[80], kind="quantile")
    # y is 7, 10, 3, 8; scores max(6 - y, y - 9): -1, 1, 3, -1
    assert fitted.table["radius"].tolist() == [3.0]
    assert fitted.apply(frame)[["M-lo-80", "M-hi-80"]].iloc[0].tolist() == [3.0, 12.0]


def test_an_interval_turned_inside_out_is_its_middle() -> None:
    frame = point_frame(np.zeros((1, 4))).assign(**{"M-lo-80": 0.0, "M-hi-80": 20.0})
    narrow = frame.assign(**{"M-lo-80": 6.0, "M-hi-80": 9.0})
    made = fit_conformal(frame, levels=[80], kind="quantile").apply(narrow)  # every score is -7
    assert made[["M-lo-80", "M-hi-80"]].iloc[0].tolist() == [7.5, 7.5]


def test_models_that_lack_a_series_get_no_interval_there() -> None:
    frame = point_frame(np.random.default_rng(0).normal(size=(2, 20)))
    frame["M"] = frame["M"].where(frame["unique_id"] == "s0")
    made = fit_conformal(frame).apply(frame)
    assert made.groupby("unique_id")["M-hi-90"].count().to_dict() == {"s0": 20, "s1": 0}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"levels": [96]}, "level 96 needs at least 24 calibration errors, M has 20 of series 's0', step 1; .*pooled"),
        ({"levels": [98], "per": "pooled"}, "level 98 needs at least 49 calibration errors, M has 40 of step 1"),
        ({"levels": []}, "levels is empty"),
        ({"levels": [0]}, "level 0 is out of range"),
        ({"kind": "squared"}, "unknown kind 'squared'; choose one of absolute, quantile"),
        ({"per": "model"}, "unknown per 'model'; choose one of series, pooled"),
        ({"per": "pooled", "scales": {"s0": 1.0}}, "series 's1' has no scale above 0"),
        ({"per": "pooled", "scales": {"s0": 1.0, "s1": 0.0}}, "series 's1' has no scale above 0"),
        ({"kind": "quantile"}, "no model of the calibration frame has an interval"),
        ({"kind": "quantile", "models": ["M"]}, "has no column 'M-lo-80'"),
        ({"models": ["N"]}, "there is no model 'N'"),
    ],
)
def test_bad_arguments_are_refused(arguments, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        fit_conformal(point_frame(np.ones((2, 20))), **arguments)


def test_what_was_not_calibrated_gets_no_interval() -> None:
    fitted = fit_conformal(point_frame(np.ones((1, 20))), levels=[80])
    with pytest.raises(ValueError, match="no calibration error of series 'x0' at step 1"):
        fitted.apply(point_frame(np.ones((1, 5)), prefix="x"))
    with pytest.raises(ValueError, match="no calibration error of series 's0' at step 2"):
        fitted.apply(point_frame(np.ones((1, 6)), horizon=2))
    with pytest.raises(ValueError, match="has no column 'M'"):
        fitted.apply(point_frame(np.ones((1, 5))).drop(columns="M"))
