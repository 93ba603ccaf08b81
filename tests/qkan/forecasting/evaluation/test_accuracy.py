"""Errors and interval scores against numbers worked out by hand and against the metrics of a run."""

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from qkan.forecasting.baselines import baseline_forecasts
from qkan.forecasting.evaluation import accuracy, mase_scales
from qkan.forecasting.evaluation.metrics import forecast_metrics


def by_hand() -> pd.DataFrame:
    """Two series, three values each; b is shorter of scale and lacks model N."""
    return pd.DataFrame(
        {
            "unique_id": ["a", "a", "a", "b", "b", "b"],
            "ds": [1, 2, 3] * 2,
            "cutoff": [0, 1, 2] * 2,
            "y": [10.0, 12.0, 14.0, 1.0, 0.0, 3.0],
            "M": [11.0, 10.0, 14.0, 1.5, 0.0, 1.0],
            "M-lo-80": [9.0, 9.0, 13.0, 1.2, -1.0, 0.0],
            "M-hi-80": [12.0, 11.0, 15.0, 2.0, 1.0, 2.0],
            "N": [10.0, 12.0, 15.0, np.nan, np.nan, np.nan],
        }
    )


def test_errors_by_hand() -> None:
    found = accuracy(by_hand(), scales={"a": 2.0, "b": 0.5})
    row = found.per_series.set_index(["unique_id", "model"]).loc[("a", "M")]
    assert row["n"] == 3
    assert row["mae"] == pytest.approx(1.0)
    assert row["rmse"] == pytest.approx((5 / 3) ** 0.5)
    assert row["smape"] == pytest.approx(200 * (1 / 21 + 2 / 22 + 0) / 3)
    assert row["mase"] == pytest.approx(0.5)
    pooled = found.pooled.set_index("model")
    assert list(found.pooled["model"]) == ["M", "N"]
    assert pooled.loc["M", ["series", "n"]].tolist() == [2, 6]
    assert pooled.loc["N", ["series", "n"]].tolist() == [1, 3]
    assert pooled.loc["M", "mae"] == pytest.approx(5.5 / 6)
    assert pooled.loc["M", "rmse"] == pytest.approx(((1 + 4 + 0.25 + 4) / 6) ** 0.5)
    assert pooled.loc["M", "mase"] == pytest.approx((0.5 + (1 + 0 + 4) / 3) / 2)  # the mean of the two series
    assert found.median.set_index("model").loc["M", "mae"] == pytest.approx((1.0 + 2.5 / 3) / 2)


def test_interval_scores_by_hand() -> None:
    pooled = accuracy(by_hand()).pooled.set_index("model")
    assert pooled.loc["M", "coverage-80"] == pytest.approx(100 * 3 / 6)
    assert pooled.loc["M", "width-80"] == pytest.approx((3 + 2 + 2 + 0.8 + 2 + 2) / 6)
    # misses: 12 above 11, 1.0 below 1.2, 3 above 2; each costs 2 / 0.2 per unit
    assert pooled.loc["M", "winkler-80"] == pytest.approx((11.8 + 10 * (1 + 0.2 + 1)) / 6)
    # 2 / alpha (...) + width is the pinball losses at 0.1 and 0.9, divided by alpha / 2
    ends = pooled.loc["M", "winkler-80"] * 0.1 * 2
    assert pooled.loc["M", "quantile_loss"] == pytest.approx((pooled.loc["M", "mae"] + ends) / 3)
    assert np.isnan(pooled.loc["N", ["coverage-80", "width-80", "winkler-80", "quantile_loss"]].astype(float)).all()


def test_quantile_loss_tends_to_the_crps() -> None:
    levels = np.arange(1, 100)
    frame = pd.DataFrame({"unique_id": "a", "ds": [1], "cutoff": [0], "y": [0.7], "M": [0.0]})
    ends = {
        f"M-{side}-{level}": sign * norm.ppf(0.5 + level / 200)
        for level in levels
        for side, sign in (("lo", -1), ("hi", 1))
    }
    crps, _ = quad(lambda x: (norm.cdf(x) - (x >= 0.7)) ** 2, -12, 12, points=[0.7])
    assert accuracy(pd.concat([frame, pd.DataFrame(ends, index=[0])], axis=1)).pooled["quantile_loss"][
        0
    ] == pytest.approx(crps, rel=0.01)


def test_levels_can_be_chosen_and_a_model_without_them_has_no_quantile_loss() -> None:
    pooled = accuracy(by_hand(), models=["M"], levels=[80, 95]).pooled
    assert pooled["coverage-80"][0] == pytest.approx(50)
    assert np.isnan(pooled["coverage-95"][0])
    assert np.isnan(pooled["quantile_loss"][0])
    assert "coverage-80" not in accuracy(by_hand(), levels=[]).pooled


def test_the_metrics_are_those_of_a_run(make_data) -> None:
    rng = np.random.default_rng(1)
    data = make_data({"a": rng.normal(5, 1, 40).tolist(), "b": rng.normal(-3, 2, 30).tolist()}, season=(4,), horizon=3)
    rows = data.target_rows("test")
    forecasts = data.target_values("test") + rng.normal(0, 1, rows.shape)
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat(np.array(data.ids)[data.test.series], 3),
            "ds": data.target_times("test").ravel(),
            "cutoff": np.repeat(data.series.times[rows[:, 0] - 1], 3),
            "y": data.target_values("test").ravel(),
            "M": forecasts.ravel(),
        }
    )
    whole = data.series.frame
    ends = dict(zip(data.ids, data.boundaries[:, 0], strict=True))
    training = whole[whole.groupby("unique_id").cumcount() < whole["unique_id"].map(ends)]
    found = accuracy(frame, scales=mase_scales(training, 4)).pooled.iloc[0]
    for name, value in forecast_metrics(data, forecasts).items():
        if name in found:
            assert found[name] == pytest.approx(value, rel=1e-12), name


def test_the_baselines_are_those_of_a_run(make_data) -> None:
    from qkan.forecasting.baselines import Origins
    from qkan.forecasting.baselines.simple import SeasonalNaive, naive

    data = make_data({"a": np.random.default_rng(0).normal(size=30).tolist()}, horizon=5)
    cutoffs = data.series.times[data.target_rows("test")[:, 0] - 1]
    frame = baseline_forecasts(data.series.frame, cutoffs, 5, 3, models=("naive", "seasonal-naive")).frame
    np.testing.assert_array_equal(frame["Naive"], naive(data).ravel())
    repeated = SeasonalNaive(data, 3).forecast(Origins.of(data)).mean
    np.testing.assert_array_equal(frame["SeasonalNaive(3)"], repeated.ravel())


def test_scales_are_mean_seasonal_changes() -> None:
    training = pd.DataFrame(
        {
            "unique_id": ["a"] * 4 + ["b"] * 4 + ["c"],
            "ds": [0, 1, 2, 3, 3, 2, 1, 0, 0],
            "y": [1, 2, 4, 8, 0, 5, 0, 5, 1.0],
        }
    )
    assert mase_scales(training, 2) == pytest.approx({"a": 4.5, "b": np.nan, "c": np.nan}, nan_ok=True)
    assert mase_scales(training)["b"] == pytest.approx(5.0)


def test_a_series_without_scale_takes_no_mase_from_the_others() -> None:
    found = accuracy(by_hand(), scales={"a": 2.0}, models=["M"])
    assert found.per_series.set_index("unique_id")["mase"].isna().tolist() == [False, True]
    assert found.pooled["mase"].tolist() == found.median["mase"].tolist() == pytest.approx([0.5])
    assert accuracy(by_hand(), scales={"c": 2.0}, models=["M"]).pooled["mase"].isna().all()


@pytest.mark.parametrize("season", [0, 1.5, True])
def test_bad_seasons_are_refused(season) -> None:
    with pytest.raises(ValueError, match="must be a whole number of steps, at least 1"):
        mase_scales(by_hand(), season)
