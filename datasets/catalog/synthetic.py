"""Synthetic benchmark series: oscillators, special functions, NARMA systems and chaotic maps.

The definitions are those of the quantum-recurrent-network literature (QKAN-LSTM, arXiv 2512.05049, and the work it
compares with; Mackey-Glass and Lorenz: arXiv 2504.12416), so that published figures have a counterpart here. Every
function returns float64 values of shape (points,) and takes no options: a name in the registry always means the same
numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.integrate import solve_ivp
from scipy.special import jv

DECIMALS = 10  # another libm or SciPy differs in the last bits: rounded, both give the same series and fingerprint


def _solve(
    slope: Callable[[float, np.ndarray], list[float]], start: tuple[float, float], times: np.ndarray
) -> np.ndarray:
    solution = solve_ivp(slope, (times[0], times[-1]), start, method="DOP853", t_eval=times, rtol=1e-12, atol=1e-12)
    return np.round(solution.y, DECIMALS)


def damped_shm() -> np.ndarray:
    """Angular velocity of a damped pendulum, rad/s: 240 points on t in [0, 20] s.

    theta'' = -(b/m) theta' - g sin(theta) / l with b = 0.15, g = 9.81, l = m = 1 from (theta, theta') = (0, 3).
    """

    def slope(_: float, state: np.ndarray) -> list[float]:
        theta, velocity = state
        return [velocity, -0.15 * velocity - 9.81 * np.sin(theta)]

    return _solve(slope, (0.0, 3.0), np.linspace(0.0, 20.0, 240))[1]


def duffing() -> np.ndarray:
    """Position of a driven Duffing oscillator in its chaotic regime: 2,000 points on t in [0, 600].

    x'' = -0.3 x' + x - x^3 + 0.5 cos(1.2 t) from (x, x') = (1, 0). The system is chaotic: a difference in the last bit
    grows to 1e-5 by t = 90 and to everything by t = 200, so that another processor or SciPy may give another, equally
    valid, continuation.
    """

    def slope(time: float, state: np.ndarray) -> list[float]:
        position, velocity = state
        return [velocity, -0.3 * velocity + position - position**3 + 0.5 * np.cos(1.2 * time)]

    return _solve(slope, (1.0, 0.0), np.linspace(0.0, 600.0, 2000))[0]


def bessel_j2() -> np.ndarray:
    """Bessel function of the first kind and order 2 on 256 points of [2, 100]."""
    return np.round(jv(2, np.linspace(2.0, 100.0, 256)), DECIMALS)


def delayed_quantum_control() -> np.ndarray:
    """Decaying train of pulses: sum over n = 0..10 of exp(-10 (x - 2n)^2) exp(-x/16), x in [-2, 20) in steps of 0.01.

    The shape of a two-level atom driven with delayed feedback; a pulse every 200 steps.
    """
    position = np.arange(-200, 2000) / 100.0
    pulses = np.exp(-10.0 * (position[:, None] - 2.0 * np.arange(11)) ** 2).sum(axis=1)
    return np.round(pulses * np.exp(-position / 16.0), DECIMALS)


def narma(order: int) -> np.ndarray:
    """Nonlinear autoregressive moving average of the given order, 300 points, the first ``order`` of them 0.

    y_(t+1) = 0.3 y_t + 0.05 y_t sum_(j<order) y_(t-j) + 1.5 u_(t-order+1) u_t + 0.1, driven by
    u_t = 0.1 (sin(2 pi 2.11 t/T) sin(2 pi 3.73 t/T) sin(2 pi 4.11 t/T) + 1) with T = 300.
    """
    period = 300
    phase = 2.0 * np.pi * np.arange(period) / period
    drive = 0.1 * (np.sin(2.11 * phase) * np.sin(3.73 * phase) * np.sin(4.11 * phase) + 1.0)
    output = np.zeros(period)
    for t in range(order - 1, period - 1):
        memory = output[t - order + 1 : t + 1].sum()
        output[t + 1] = 0.3 * output[t] + 0.05 * output[t] * memory + 1.5 * drive[t - order + 1] * drive[t] + 0.1
    return np.round(output, DECIMALS)


def logistic_map() -> np.ndarray:
    """Every third iterate of x <- 3.97 x (1 - x) from 0.3 (the first point): 1,500 points, chaotic."""
    points = np.empty(1500)
    x = 0.3
    for index in range(len(points)):
        points[index] = x
        for _ in range(3):
            x = 3.97 * x * (1.0 - x)
    return points


def henon_map() -> np.ndarray:
    """x of (x, y) <- (1 - 1.4 x^2 + y, 0.3 x) from (0.1, 0.1) after the first 100 steps: 1,100 points, chaotic."""
    points = np.empty(1100)
    x, y = 0.1, 0.1
    for step in range(100 + len(points)):
        if step >= 100:
            points[step - 100] = x
        x, y = 1.0 - 1.4 * x * x + y, 0.3 * x
    return points


def mackey_glass() -> np.ndarray:
    """Mackey-Glass series x' = 0.2 x(t-17) / (1 + x(t-17)^10) - 0.1 x: 1,000 points, one a unit of time, from 1.2.

    One Runge-Kutta step of order 4 a point, over which the delayed value stands still; the 17 values before the first
    are 1.2 and a uniform noise of +-0.1. The numbers are those of reservoirpy 0.3.12 with its default arguments.
    """
    past = (1.2 + 0.2 * (np.random.default_rng(5555).random(17) - 0.5)).tolist()

    def slope(x: float, delayed: float) -> float:
        return -0.1 * x + 0.2 * delayed / (1.0 + delayed**10)

    points, x = np.empty(1000), 1.2
    for index in range(len(points)):
        points[index] = x
        past.append(x)
        delayed = past[index]
        k1 = slope(x, delayed)
        k2 = slope(x + 0.5 * k1, delayed)
        k3 = slope(x + 0.5 * k2, delayed)
        k4 = slope(x + k3, delayed)
        x = x + k1 / 6.0 + k2 / 3.0 + k3 / 3.0 + k4 / 6.0
    return np.round(points, DECIMALS)


def lorenz() -> np.ndarray:
    """Lorenz system x' = 10 (y - x), y' = x (28 - z) - y, z' = x y - 8/3 z from (1, 1, 1).

    Points 500 to 1,499, 0.03 apart; shape (1000, 3). The numbers are those of reservoirpy 0.3.12 with its default
    arguments, so the solver is SciPy's RK45 at its default tolerances: a path of the attractor, not the exact one from
    that start. It is chaotic, and as :func:`duffing` it may go on in another way on another processor or SciPy.
    """

    def slope(_: float, state: np.ndarray) -> list[float]:
        x, y, z = state
        return [10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z]

    end = 1500 * 0.03
    path = solve_ivp(slope, (0.0, end), (1.0, 1.0, 1.0), t_eval=np.linspace(0.0, end, 1500)).y.T
    return np.round(path[500:], DECIMALS)


def lorenz_x() -> np.ndarray:
    """First coordinate of :func:`lorenz`: 1,000 points."""
    return lorenz()[:, 0]
