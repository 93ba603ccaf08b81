"""The elementary functions of Numba kernels against NumPy's in higher precision."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from qkan.kernels.common import numba_math as fast
from qkan.kernels.common.numba_compile import OPTIONS

#: Without the cache on disk, which would not notice a change of the functions under test.
compiled = njit(**OPTIONS)
SPECIAL = [math.nan, math.inf, -math.inf]


@compiled
def run_sincos(x, sin, cos):
    for i in range(len(x)):
        sin[i], cos[i] = fast.sincos(x[i])


@compiled
def run_sincos_rounded(x, sin, cos):
    for i in range(len(x)):
        sin[i], cos[i] = fast.sincos_rounded(x[i])


@compiled
def run_sincos_arrays(x, sin, cos):
    fast.sincos_arrays(x, sin, cos)


@compiled
def run_exp(x, y):
    for i in range(len(x)):
        y[i] = fast.exp(x[i])


@compiled
def run_sigmoid(x, y):
    for i in range(len(x)):
        y[i] = fast.sigmoid(x[i])


@compiled
def run_tanh(x, y):
    for i in range(len(x)):
        y[i] = fast.tanh(x[i])


def both(run, x: np.ndarray, dtype=None) -> tuple[np.ndarray, np.ndarray]:
    sin, cos = (np.full(x.shape, np.nan, dtype or x.dtype) for _ in range(2))
    run(x, sin, cos)
    return sin, cos


def one(run, x: np.ndarray) -> np.ndarray:
    y = np.full_like(x, np.nan)
    run(x, y)
    return y


def grid(bound: float, dtype, count: int = 200_001) -> np.ndarray:
    """Evenly over [-bound, bound], then numbers of every size below, then quarter turns and their neighbours."""
    quarters = (np.arange(-600, 601) * (math.pi / 4)).astype(dtype)
    around = [quarters, np.nextafter(quarters, dtype(9e9)), np.nextafter(quarters, dtype(-9e9))]
    small = np.geomspace(1e-30, bound, 2001)
    x = np.concatenate([np.linspace(-bound, bound, count), small, -small, *around]).astype(dtype)
    return x[abs(x) <= bound]


def off(got: np.ndarray, exact: np.ndarray) -> float:
    return float(np.max(np.abs(got - exact)))


@pytest.mark.parametrize("bound", [2.0, 100.0, fast.SINCOS_RANGE])
def test_sincos_single(bound: float) -> None:
    x = grid(bound, np.float32)
    sin, cos = both(run_sincos, x)
    assert off(sin, np.sin(x.astype(np.float64))) <= 1.2e-7
    assert off(cos, np.cos(x.astype(np.float64))) <= 1.2e-7


@pytest.mark.parametrize("bound", [2.0, 100.0, fast.SINCOS_RANGE_DOUBLE])
def test_sincos_double(bound: float) -> None:
    x = grid(bound, np.float64)
    sin, cos = both(run_sincos, x)
    assert off(sin, np.sin(x.astype(np.longdouble))) <= 3e-16
    assert off(cos, np.cos(x.astype(np.longdouble))) <= 3e-16


def test_sincos_of_a_double_rounded_to_single() -> None:
    x = grid(fast.SINCOS_RANGE_DOUBLE, np.float64)
    sin, cos = both(run_sincos_rounded, x, np.float32)
    assert sin.dtype == np.float32
    assert off(sin, np.sin(x)) <= 1.2e-7
    assert off(cos, np.cos(x)) <= 1.2e-7


def test_small_arguments_keep_their_digits() -> None:
    x = np.geomspace(1e-30, 0.1, 1001).astype(np.float32)
    exact = x.astype(np.float64)
    assert np.max(np.abs(both(run_sincos, x)[0] / np.sin(exact) - 1)) <= 1.5e-7
    assert np.max(np.abs(one(run_tanh, x) / np.tanh(exact) - 1)) <= 1.5e-7


@settings(max_examples=200)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.sampled_from([np.float32, np.float64]))
def test_arrays_of_any_size(value: float, dtype) -> None:
    x = np.array([0.5, value, -1.0], dtype)
    sin, cos = both(run_sincos_arrays, x)
    tolerance = 1.2e-7 if dtype is np.float32 else 3e-16
    for i in range(3):
        assert abs(sin[i] - math.sin(x[i])) <= tolerance
        assert abs(cos[i] - math.cos(x[i])) <= tolerance


def test_identity_of_sine_and_cosine() -> None:
    x = grid(fast.SINCOS_RANGE, np.float32)
    sin, cos = (part.astype(np.float64) for part in both(run_sincos, x))
    assert off(sin**2 + cos**2, np.ones(len(x))) <= 3e-7


@pytest.mark.parametrize("run", [run_sincos, run_sincos_arrays])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_sine_of_what_is_not_finite(run, dtype) -> None:
    for part in both(run, np.array(SPECIAL, dtype)):
        assert np.isnan(part).all()


def test_exp_single() -> None:
    x = grid(86.5, np.float32)
    exact = np.exp(x.astype(np.float64))
    assert np.max(np.abs(one(run_exp, x) / exact - 1)) <= 1.5e-7


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp_at_the_ends(dtype) -> None:
    y = one(run_exp, np.array([*SPECIAL, 1e4, -1e4, 0.0, 88.7], dtype))
    assert np.isnan(y[0])
    assert y[1:6].tolist() == [math.inf, 0.0, math.inf, 0.0, 1.0]
    assert y[6] == pytest.approx(math.exp(dtype(88.7)), rel=1.5e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("run", "exact", "ends"), [(run_sigmoid, lambda x: 1 / (1 + np.exp(-x)), [1, 0]), (run_tanh, np.tanh, [1, -1])]
)
def test_gates(run, exact, ends: list[int], dtype) -> None:
    x = grid(30.0, dtype)
    tolerance = 1.5e-7 if dtype is np.float32 else 5e-16
    assert off(one(run, x), exact(x.astype(np.longdouble))) <= tolerance
    y = one(run, np.array([*SPECIAL, 1e30, -1e30], dtype))
    assert np.isnan(y[0])
    assert y[1:].tolist() == ends * 2


@given(st.floats(-30, 30))
def test_from_python_they_are_exact(value: float) -> None:
    assert fast.sincos(value) == (math.sin(value), math.cos(value))
    assert fast.exp(value) == math.exp(value)
    assert fast.tanh(value) == math.tanh(value)
    assert fast.sigmoid(value) == pytest.approx(torch.sigmoid(torch.tensor(value, dtype=torch.float64)).item(), 1e-15)


def test_other_types_are_refused() -> None:
    with pytest.raises(Exception, match="sincos"):
        run_sincos(np.array([1, 2]), np.zeros(2), np.zeros(2))
