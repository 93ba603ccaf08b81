"""What works share: parts that are compared, gradients, options."""

import pytest
import torch

from benchmarks.harness.work import Options, gradient_error, seeded, spread

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("total", "wanted", "chosen"), [(5, 9, [0, 1, 2, 3, 4]), (9, 3, [0, 4, 8]), (9, 0, [0]), (1, 4, [0])]
)
def test_compared_part_is_spread_evenly(total: int, wanted: int, chosen: list[int]) -> None:
    assert spread(total, wanted, CPU).tolist() == chosen


def test_gradient_error_is_relative_to_the_largest_entry() -> None:
    expected = torch.tensor([[1.0, -4.0], [2.0, 0.5]], dtype=torch.float64)
    assert float(gradient_error(expected + 0.2, expected, (...,))) == pytest.approx(0.05)
    assert torch.equal(expected, torch.tensor([[1.0, -4.0], [2.0, 0.5]], dtype=torch.float64))  # left as they were


def test_gradients_outside_of_the_part_must_be_zero() -> None:
    got = torch.zeros(3, 4)
    got[:2, [1, 3]] = 2.0
    expected = torch.full((2, 2), 2.0, dtype=torch.float64)
    part = (slice(2), torch.tensor([1, 3]))
    assert float(gradient_error(got, expected, part)) == 0
    got[2, 1] = -0.5
    assert float(gradient_error(got, expected, part)) == 0.25


def test_gradient_that_is_exactly_zero_is_measured_by_another() -> None:
    zero = torch.zeros(2, dtype=torch.float64)
    assert float(gradient_error(zero + 1e-6, zero, (...,), torch.tensor(10.0))) == pytest.approx(1e-7)
    assert float(gradient_error(zero + 1e-6, zero, (...,))) > 1e100


def test_nan_is_an_error() -> None:
    got = torch.tensor([1.0, float("nan")])
    assert gradient_error(got, torch.ones(2, dtype=torch.float64), (...,)).isnan()


def test_stream_of_random_numbers_is_left_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    with seeded(1):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    assert not torch.equal(inside, expected)


def test_numbers_have_the_dtype_of_the_options() -> None:
    options = Options("uniform", "px", CPU, "bfloat16", 1, 2, 60.0, (), 3)
    drawn = options.numbers((50, 2, 3), "uniform", 1)
    assert (drawn.shape, drawn.dtype) == ((50, 2, 3), torch.bfloat16)
    assert 0.7 < drawn.abs().max() <= 0.8  # arguments of acos
    assert torch.equal(drawn, options.numbers((50, 2, 3), "uniform", 1))
    assert not torch.equal(drawn, options.numbers((50, 2, 3), "uniform", 2))
