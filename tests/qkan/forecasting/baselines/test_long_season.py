"""SARIMA beside the profile of a longer season."""

import numpy as np
import pytest

from qkan.forecasting.baselines.interface import Interrupted
from qkan.forecasting.baselines.long_season import DoubleSarima, fit_double_sarima, long_season, profile_of
from qkan.forecasting.baselines.per_series import fit_one
from qkan.forecasting.baselines.statistical import fit_sarima

RNG = np.random.default_rng(0)
DAY, WEEK = 4, 28


def weekly(count: int, noise: float) -> np.ndarray:
    """Two days of seven are lower, in the middle of the day most."""
    steps = np.arange(count)
    rest = np.where(steps // DAY % 7 >= 5, -3.0 - (steps % DAY == 2), 0.0)
    return 10 + 2 * np.sin(2 * np.pi * steps / DAY) + rest + noise * RNG.normal(size=count)


@pytest.mark.parametrize(
    ("seasons", "longer"),
    [((24, 168), 168), ((24,), 168), ((96,), 672), ((7,), 0), ((7, 365), 0), ((169, 845), 845), ((), 0), ((1, 12), 0)],
)
def test_the_long_season_is_a_multiple_of_the_short_one(seasons: tuple[int, ...], longer: int) -> None:
    assert long_season(seasons) == longer


def test_the_profile_of_values_without_noise_is_what_the_days_do_not_share() -> None:
    known = weekly(5 * WEEK + DAY + 3, noise=0.0)
    profile = profile_of(known, DAY, WEEK)
    assert profile.share == 1.0
    week = weekly(WEEK, noise=0.0).reshape(7, DAY)
    np.testing.assert_allclose(profile.at(np.arange(WEEK)), (week - week.mean(axis=0)).ravel(), atol=1e-12)


def test_a_trend_is_no_profile() -> None:
    assert profile_of(3.0 * np.arange(6.0 * WEEK), DAY, WEEK).share == 0.0


def test_noise_is_hardly_a_profile() -> None:
    profile = profile_of(RNG.normal(size=10 * WEEK), DAY, WEEK)
    assert profile.share < 0.4


def test_too_few_weeks_have_no_profile() -> None:
    assert profile_of(weekly(2 * WEEK, 0.0), DAY, WEEK).share == 0.0
    assert profile_of(weekly(2 * WEEK + DAY, 0.0), DAY, WEEK).share == 1.0


def test_the_weekend_is_forecast() -> None:
    values = weekly(10 * WEEK, noise=0.2)
    known, first = values[: 8 * WEEK], np.arange(8 * WEEK, 10 * WEEK - 2 * DAY)
    model = fit_double_sarima(known, (DAY, WEEK))
    assert isinstance(model, DoubleSarima)
    target = values[first[:, None] + np.arange(2 * DAY)]
    error = np.abs(model.roll(values, first, 2 * DAY).mean - target).mean()
    plain = np.abs(fit_sarima(known, DAY).roll(values, first, 2 * DAY).mean - target).mean()
    assert error < 0.3 < 0.5 * plain
    assert " % of the profile of [28]" in model.choice
    assert model.parameters == model.model.parameters + WEEK
    again = fit_double_sarima(known, (DAY, WEEK), model.choice)
    np.testing.assert_array_equal(again.model.params, model.model.params)


def test_without_a_longer_season_it_is_sarima() -> None:
    known = weekly(3 * WEEK, 0.5)
    own, plain = fit_double_sarima(known, (DAY,)), fit_sarima(known, DAY)
    assert own.choice == plain.choice
    first = np.array([len(known)])
    np.testing.assert_array_equal(own.roll(known, first, 6).mean, plain.roll(known, first, 6).mean)


@pytest.mark.parametrize("name", ["sarima", "double-sarima", "ets"])
def test_a_fit_can_be_ended_after_any_step(name: str) -> None:
    seen = []

    def step() -> None:
        seen.append(1)
        if len(seen) == 3:
            raise Interrupted("enough")

    with pytest.raises(Interrupted, match="enough"):
        fit_one(name, weekly(3 * WEEK, 0.5), (DAY,), step=step)
    assert len(seen) == 3
