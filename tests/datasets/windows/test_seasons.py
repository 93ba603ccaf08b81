from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from qkan.datasets import DataError, Series
from qkan.datasets.windows import Probe, choose_seasons, find_seasons, seasons_of

STEPS = np.arange(1200)
NOISE = np.random.default_rng(0).standard_normal(1200)


def day(season: int = 24) -> np.ndarray:
    return np.sin(2 * np.pi * STEPS / season) + 0.5 * np.cos(6 * np.pi * STEPS / season)


def made(values, season=()) -> Series:
    frame = pd.DataFrame({"unique_id": "a", "ds": np.arange(len(values), dtype=np.int64), "y": values})
    return Series("made", frame, season=season)


class Ends(NamedTuple):
    """A split whose training part has so many steps."""

    train: int
    has_validation, has_test = False, True

    def boundaries(self, length: int) -> tuple[int, int]:
        return self.train, self.train


def test_a_day_is_found_in_noise_and_trend():
    assert find_seasons([day() + 0.3 * NOISE]) == (24,)
    assert find_seasons([day() + 0.3 * NOISE + 0.05 * STEPS]) == (24,)
    assert find_seasons([day() + 0.3 * NOISE, 100 * day() - STEPS]) == (24,)


def test_a_week_is_found_beside_the_day():
    weekend = np.where(STEPS // 24 % 7 >= 5, -1.5, 0.0)
    assert find_seasons([day() + weekend + 0.3 * NOISE]) == (24, 168)


def test_an_odd_season_is_found_to_the_step():
    assert find_seasons([np.tile(np.arange(17) ** 2.0, 60)]) == (17,)


@pytest.mark.parametrize(
    "values",
    [NOISE, np.cumsum(NOISE), STEPS.astype(float), np.ones(1200), np.zeros(3), np.array([]), 1e-200 * NOISE],
    ids=["noise", "walk", "line", "constant", "short", "empty", "tiny noise"],
)
def test_nothing_is_found_where_nothing_repeats(values):
    assert find_seasons([values]) == ()


def test_scale_and_level_do_not_matter():
    values = day() + 0.3 * NOISE
    assert find_seasons([1e-150 * values]) == find_seasons([1e80 * values + 1e81]) == (24,)


def test_values_behind_the_training_part_are_not_looked_at():
    quiet = np.concatenate([NOISE[:600], np.tile(np.arange(6.0), 100)])
    assert seasons_of(made(quiet), Ends(600), "auto") == ()
    assert seasons_of(made(quiet), Ends(1200), "auto") != ()


def test_declared_seasons_come_first_as_far_as_they_fit_twice():
    series = made(day(), season=(7, 365))
    assert seasons_of(series, Ends(800), "auto") == (7, 365)
    assert seasons_of(series, Ends(700), "auto") == (7,)
    assert seasons_of(series, Ends(800), "none") == ()
    assert seasons_of(series, Ends(800), (12, 24)) == (12, 24)


def test_a_season_that_the_training_part_does_not_hold_twice_is_refused():
    with pytest.raises(DataError, match=r"season 401 is too long: .* has 800 steps .* use at most 400, or season none"):
        seasons_of(made(day()), Ends(800), (24, 401))


def swing(count: int = 400) -> np.ndarray:
    """A damped oscillation of 17.3 steps."""
    steps = np.arange(count)
    return np.exp(-steps / 200) * np.sin(2 * np.pi * steps / 17.3)


def test_a_swing_that_the_last_values_explain_is_no_season():
    assert find_seasons([swing()]) == (17,)
    seasons, why = choose_seasons(made(swing()), Ends(400))
    assert seasons == ()
    assert why.startswith("17 steps repeat, but the last values leave ")
    two = np.sin(2 * np.pi * STEPS / 20) + 0.7 * np.sin(2 * np.pi * STEPS / 14.14)
    assert find_seasons([two])
    assert seasons_of(made(two), Ends(1200)) == ()


def test_a_cycle_without_a_clock_is_no_season():
    cycle = np.zeros(1200)
    for step in range(2, 1200):  # a stochastic cycle of about 13 steps, whose phase wanders
        cycle[step] = 1.75 * cycle[step - 1] - 0.98 * cycle[step - 2] + NOISE[step]
    assert find_seasons([cycle]) == (13,)
    seasons, why = choose_seasons(made(cycle), Ends(1200))
    assert seasons == ()
    assert "but the phase does not help: error " in why


def test_a_season_by_the_clock_stays():
    assert seasons_of(made(day() + 0.3 * NOISE), Ends(1200)) == (24,)
    assert seasons_of(made(day() + 0.05 * STEPS), Ends(1200)) == (24,)  # repeats exactly, but for its trend
    assert seasons_of(made(np.cumsum(NOISE) + 4 * day()), Ends(1200)) == (24,)
    counts = np.random.default_rng(4).poisson(6 + 4 * day().clip(-1.4, 1.4)).astype(float)
    assert choose_seasons(made(counts), Ends(1200)) == ((24,), "24 steps repeat in the training part")
    weekend = np.where(STEPS // 24 % 7 >= 5, -1.5, 0.0)
    assert seasons_of(made(day() + weekend + 0.3 * NOISE), Ends(1200)) == (24, 168)


def test_values_behind_the_training_part_choose_no_season():
    values = np.concatenate([swing(), 5 * np.tile(np.arange(17.0), 50)])
    for later in (values, np.concatenate([swing(), np.zeros(850)])):
        assert choose_seasons(made(later), Ends(400)) == choose_seasons(made(swing()), Ends(400))


def test_series_without_a_training_part_do_not_matter():
    frames = [
        pd.DataFrame({"unique_id": name, "ds": np.arange(n), "y": day()[:n]}) for name, n in (("a", 900), ("b", 9))
    ]
    series = Series("made", pd.concat(frames, ignore_index=True))

    class AllButTen(NamedTuple):
        has_validation, has_test = False, True

        def boundaries(self, length: int) -> tuple[int, int]:
            return max(length - 10, 0), max(length - 10, 0)

    assert seasons_of(series, AllButTen()) == (24,)


def test_a_noisy_season_is_found_to_the_step():
    for seed in range(6):
        walk = np.cumsum(np.random.default_rng(seed + 1).standard_normal(480)) + 3 * np.sin(
            2 * np.pi * STEPS[:480] / 12
        )
        assert find_seasons([walk]) == (12,)


def test_a_day_stays_in_a_series_so_long_that_one_window_of_24_is_looked_at():
    steps = np.arange(72_000)
    noise = np.random.default_rng(0).standard_normal(len(steps)) * 1.5
    values = noise + 3 * ((steps % 24 > 7) & (steps % 24 < 19)) + 2 * (steps % 24 == 8)
    assert seasons_of(made(values), Ends(72_000)) == (24,)


def test_windows_of_a_long_series_have_every_phase():
    [rows] = Probe([np.arange(72_000.0)], 12).rows
    assert len(rows) == 3000
    assert set(rows % 24) == set(range(24))
    assert (np.diff(rows) > 0).all()
    assert 12 <= rows[0] < rows[-1] < 72_000


def test_a_short_series_of_a_panel_does_not_hide_the_season_of_the_others():
    panel = [day() + 0.3 * NOISE] * 3
    for short in (0, 9, 30, 100):
        assert find_seasons([*panel, panel[0][:short]]) == (24,)


def test_a_declared_season_that_does_not_fit_is_named_in_the_reason():
    assert choose_seasons(made(day(), season=(7, 365)), Ends(700)) == (
        (7,),
        "of the series or its clock; the training part does not hold 365 twice",
    )


def sines(season: int, count: int, noise: float, seed: int) -> np.ndarray:
    steps, rng = np.arange(count), np.random.default_rng(seed)
    wave = np.sin(2 * np.pi * steps / season) + 0.5 * np.sin(4 * np.pi * steps / season + 1)
    return wave + noise * rng.standard_normal(count)


@pytest.mark.parametrize(
    ("season", "count", "noise", "seed"),
    [(24, 480, 0.1, 0), (30, 240, 0.1, 0), (30, 240, 0.3, 1), (30, 240, 0.6, 1), (30, 480, 0.3, 1), (30, 480, 0.6, 1)],
)
def test_a_sum_of_sines_keeps_its_season_where_lags_say_the_next_value_as_well(season, count, noise, seed):
    values = made(sines(season, count, noise, seed))
    assert choose_seasons(values, Ends(count)) == ((season,), f"{season} steps repeat in the training part")


@pytest.mark.parametrize(("season", "count", "seed"), [(12, 480, 0), (24, 960, 0), (30, 480, 0), (30, 240, 1)])
def test_neither_a_multiple_of_a_season_nor_a_part_of_it_is_taken_by_chance(season, count, seed):
    assert find_seasons([sines(season, count, 1.0, seed)]) == (season,)


def test_a_limit_cycle_of_no_whole_number_of_steps_is_no_season():
    cycle = np.sin(2 * np.pi * STEPS[:350] / 38.07) + 0.3 * np.sin(6 * np.pi * STEPS[:350] / 38.07)
    seasons, why = choose_seasons(made(cycle), Ends(350))
    assert seasons == ()
    assert why.startswith("38 steps repeat, but the last values leave ")
