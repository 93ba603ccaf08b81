"""The time of a search, with a clock that the tests move."""

import pytest

from qkan.forecasting.automatic.budget import Budget, OutOfTime, Stage, in_words
from qkan.forecasting.automatic.options import parse_budget


class Clock:
    """Seconds that stand still until a test moves them."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_is_left_keeps_back_the_last_fit() -> None:
    clock = Clock()
    budget = Budget(30.0, clock)
    clock.now += 10
    budget.reserved = 5.0
    assert (budget.spent, budget.left) == (10.0, 15.0)


def test_work_that_would_not_fit_is_refused_before_it_begins() -> None:
    budget = Budget(30.0, Clock())
    budget.check(30.0)
    with pytest.raises(OutOfTime, match=r"^it would take about 40 s, and 30 s are left$"):
        budget.check(40.0)


def test_a_candidate_is_given_up_as_soon_as_its_pace_is_too_slow() -> None:
    clock = Clock()
    budget = Budget(30.0, clock)
    stage = Stage(budget)
    clock.now += 1
    stage.at(0.1)  # 10 s to judge it and 10 s to fit it again
    clock.now += 1
    with pytest.raises(OutOfTime, match=r"^it would take about 40 s, and 30 s were left$"):
        stage.at(0.1)


def test_no_limit() -> None:
    clock = Clock()
    stage = Stage(Budget(None, clock))
    clock.now += 1e6
    stage.at(0.001)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30.0), ("2min", 120.0), ("1.5 h", 5400.0), ("45", 45.0), ("none", None)]
)
def test_how_a_budget_is_written(text: str, seconds: float | None) -> None:
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-1s", "2 weeks", "fast", "nan"])
def test_a_budget_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration above 0; write it as 30s, 2min or 1h, or none for no limit"):
        parse_budget(text)


def test_durations_in_words() -> None:
    assert [in_words(seconds) for seconds in (0.25, 8.2, 61.0, 600.0)] == ["0.25 s", "8.2 s", "61 s", "10 min"]
