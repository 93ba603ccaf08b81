"""Which candidate is trusted, on errors that are made up."""

import numpy as np

from qkan.forecasting.automatic.choice import Contest, blocks_of, choose, leads


def contest(errors: list[np.ndarray], kinds: tuple[int, ...]) -> Contest:
    """Candidates that miss targets of zero by these errors, one step ahead, a block for every origin."""
    forecasts = np.stack(errors)[:, :, None]
    count = forecasts.shape[1]
    return Contest(forecasts, kinds, np.zeros((count, 1)), np.ones((count, 1)), np.arange(count))


def test_a_clear_gain_beats_a_simple_method() -> None:
    ones = np.ones(40)
    assert choose(contest([2 * ones, ones], (0, 3))).members == (1,)


def test_a_gain_within_noise_does_not() -> None:
    noise = np.random.default_rng(0).normal(size=40)
    simple, network = np.abs(1 + noise), np.abs(0.99 - noise)
    assert choose(contest([simple, network], (0, 3))).members == (0,)


def test_of_one_kind_the_smaller_error_wins() -> None:
    noise = np.random.default_rng(0).normal(size=40)
    assert choose(contest([np.abs(1 + noise), np.abs(0.8 + noise)], (2, 2))).members == (1,)


def test_errors_of_opposite_signs_are_averaged() -> None:
    ones = np.ones(40)
    choice = choose(contest([ones, -ones, 3 * ones], (1, 2, 3)))
    assert (choice.members, choice.loss) == ((0, 1), 0.0)


def test_the_same_forecast_twice_is_no_average() -> None:
    ones = np.ones(40)
    assert choose(contest([ones, ones], (0, 3))).members == (0,)


def test_a_single_block_leads_nothing() -> None:
    assert not leads(np.array([1.0]), np.array([9.0]), 1.0)
    assert leads(np.array([1.0, 1.0]), np.array([9.0, 9.0]), 1.0)


def test_blocks_of_few_horizons_count_for_every_series() -> None:
    series, known = np.array([0, 0, 0, 1, 1, 1]), np.array([6, 7, 8, 16, 17, 18])
    assert blocks_of(series, known, np.array([10, 20]), 2).tolist() == [1, 0, 0, 3, 2, 2]


def test_blocks_of_many_horizons_are_shared_by_all_series() -> None:
    known = np.arange(20)
    series = np.repeat([0, 1], 20)
    blocks = blocks_of(series, np.tile(known, 2), np.array([21, 21]), 2)
    assert blocks[:20].tolist() == blocks[20:].tolist() == [(19 - place) // 2 for place in range(20)]
