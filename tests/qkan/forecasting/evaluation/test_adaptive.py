"""Adaptive conformal intervals: coverage when the level moves, and no value before its time."""

import numpy as np
import pandas as pd
import pytest

from qkan.forecasting.evaluation.adaptive import adaptive_conformal
from qkan.forecasting.evaluation.conformal import fit_conformal

POINTS, FIRST = 2000, 500


def frames(values: np.ndarray, forecast: float = 0.0, horizon: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Forecasts of a constant from every moment, the first 500 of them to calibrate with."""
    cutoff = np.repeat(np.arange(len(values) - horizon), horizon)
    step = np.tile(np.arange(1, horizon + 1), len(values) - horizon)
    frame = pd.DataFrame({"unique_id": "a", "ds": cutoff + step, "cutoff": cutoff, "step": step})
    frame = frame.assign(y=values[frame["ds"]], M=forecast)
    return frame[frame["ds"] < FIRST].reset_index(drop=True), frame[frame["cutoff"] >= FIRST - 1].reset_index(drop=True)


def covered(frame: pd.DataFrame, level: int = 90) -> float:
    return 100 * frame["y"].between(frame[f"M-lo-{level}"], frame[f"M-hi-{level}"]).mean()


@pytest.mark.parametrize(("shift", "spread", "static"), [(0.0, 1.0, 90), (3.0, 1.0, 36), (0.0, 3.0, 58)])
def test_coverage_holds_when_level_or_spread_move(shift: float, spread: float, static: int) -> None:
    late = np.arange(POINTS) >= 1000
    noise = np.random.default_rng(0).standard_normal(POINTS)
    before, after = frames(np.where(late, shift + spread * noise, noise))
    fixed = fit_conformal(before, levels=(90,)).apply(after)
    assert covered(fixed) == pytest.approx(static, abs=5)
    assert covered(adaptive_conformal(before, after, levels=(90,))) == pytest.approx(90, abs=1)


def test_without_steps_of_the_level_it_is_the_quantile_of_the_last_errors() -> None:
    values = np.random.default_rng(1).standard_normal(700)
    before, after = frames(values)
    found = adaptive_conformal(before, after, levels=(80,), window=99, rate=0)
    for row in (0, 100):
        known = np.sort(np.abs(values[: FIRST + row][-99:]))
        assert found["M-hi-80"].iloc[row] == known[79]  # the 80th of 99


def test_a_value_counts_only_once_it_is_known() -> None:
    values = np.random.default_rng(2).standard_normal(700)
    changed = values.copy()
    changed[600] = 1e6
    tables = [adaptive_conformal(*frames(own, horizon=3), levels=(90,)) for own in (values, changed)]
    before = tables[0]["cutoff"] < 600
    one, other = (table.loc[before, ["M-lo-90", "M-hi-90"]] for table in tables)
    pd.testing.assert_frame_equal(one, other)
    assert (tables[0].loc[~before, "M-hi-90"] != tables[1].loc[~before, "M-hi-90"]).any()


def test_wider_levels_hold_narrower_ones() -> None:
    values = np.random.default_rng(3).standard_normal(POINTS) * np.where(np.arange(POINTS) % 700 < 350, 1, 4)
    found = adaptive_conformal(*frames(values), levels=(80, 85, 90), rate=0.3)
    assert (found["M-hi-90"] >= found["M-hi-85"]).all()
    assert (found["M-hi-85"] >= found["M-hi-80"]).all()


def test_too_few_errors_give_none_until_there_are_enough() -> None:
    before, after = frames(np.random.default_rng(4).standard_normal(700))
    found = adaptive_conformal(before.tail(5), after.head(20), levels=(90,))  # 9 errors are needed
    assert found["M-lo-90"].isna().tolist() == [True] * 4 + [False] * 16


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"levels": ()}, "levels is empty"),
        ({"window": 0}, "window must be a whole number of at least 1, got 0"),
        ({"rate": 2}, "rate must be a number between 0 and 1, got 2"),
    ],
)
def test_bad_arguments_are_one_sentence(options, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        adaptive_conformal(*frames(np.arange(700.0)), **options)
