import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkan.datasets import DataError, SplitFractions


def test_the_default_split_is_70_10_20():
    assert SplitFractions().boundaries(27_716) == (19_401, 22_173)


@pytest.mark.parametrize(
    ("length", "boundaries"), [(10, (7, 8)), (240, (168, 192)), (256, (179, 205)), (3, (2, 2)), (1, (1, 1))]
)
def test_boundaries_are_the_nearest_whole_numbers(length, boundaries):
    assert SplitFractions(0.7, 0.1, 0.2).boundaries(length) == boundaries


def test_a_split_without_validation_part():
    assert SplitFractions(0.8, 0.0, 0.2).boundaries(100) == (80, 80)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ((0.0, 0.5, 0.5), "the train share of the split is 0.0; it must be above 0"),
        ((0.8, 0.2, 0.0), "the test share of the split is 0.0; it must be above 0"),
        ((0.9, -0.1, 0.2), "the validation share of the split is -0.1; it must be at least 0"),
        ((float("nan"), 0.1, 0.2), "the train share of the split is nan"),
        ((0.7, 0.1, float("inf")), "the test share of the split is inf"),
        ((0.7, 0.2, 0.2), "the split 0.7, 0.2, 0.2 sums to 1.1; it must sum to 1"),
        ((0.7, 0.1, 0.2 + 2e-9), "it must sum to 1"),
    ],
)
def test_impossible_shares_are_refused(shares, message):
    with pytest.raises(DataError, match=message):
        SplitFractions(*shares)


@given(
    cuts=st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)).map(sorted),
    length=st.integers(1, 10**7),
)
def test_parts_are_in_order_and_as_large_as_asked(cuts, length):
    train, validation, test = cuts[0], cuts[1] - cuts[0], 1.0 - cuts[1]
    first, second = SplitFractions(train, validation, test).boundaries(length)
    assert 0 <= first <= second <= length
    assert abs(first - length * train) <= 0.5
    assert abs(length - second - length * test) <= 0.5 + 1e-6
