"""Quantum dynamics: what is measured of a driven transmon, and of an atom in a cavity.

As in :mod:`~qkan.datasets.catalog.synthetic`, functions take no options, so that a name always means the same numbers.
"""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp
from scipy.stats import poisson

from qkan.datasets.catalog.synthetic import DECIMALS

POINTS = 3000


def driven_transmon() -> np.ndarray:
    """Population of the first excited state of a driven transmon: 3,000 points, one every nanosecond.

    H(t) / 2 pi = f n + alpha n (n - 1) / 2 + W cos(2 pi f_d t) (a + a^+) with the six lowest levels, f = 5 GHz, alpha =
    -200 MHz, a drive of f_d = 5 GHz and W = 100 MHz, from the ground state; nothing is averaged away, nothing decays.
    The drive has five whole periods a nanosecond, so powers of the propagator of one period are exact at every point.
    """
    levels = np.arange(6)
    energy = 2.0 * np.pi * (5.0 * levels - 0.1 * levels * (levels - 1))  # rad/ns
    lower = np.diag(np.sqrt(levels[1:]), 1)
    coupling = 2.0 * np.pi * 0.1 * (lower + lower.T)

    def slope(time: float, state: np.ndarray) -> np.ndarray:
        columns = state.reshape(coupling.shape)
        return -1j * (energy[:, None] * columns + np.cos(10.0 * np.pi * time) * (coupling @ columns)).ravel()

    start = np.eye(len(levels), dtype=np.complex128).ravel()
    period = solve_ivp(slope, (0.0, 0.2), start, method="DOP853", rtol=1e-13, atol=1e-15).y[:, -1]
    step = np.linalg.matrix_power(period.reshape(coupling.shape), 5)
    state, population = np.eye(len(levels))[0], np.empty(POINTS)
    for index in range(POINTS):
        population[index] = abs(state[1]) ** 2
        state = step @ state
    return np.round(population, DECIMALS)


def jaynes_cummings() -> np.ndarray:
    """Inversion of an atom in a cavity that holds a coherent state of 16 photons on average: collapses and revivals.

    W(t) = sum over n of p_n cos(2 g sqrt(n + 1) t), p_n = exp(-16) 16^n / n!, at resonance and from the excited state:
    3,000 points of g t in steps of 0.05. The first revival is at g t = 2 pi sqrt(16) = 25.1, step 503.
    """
    photons = np.arange(120)  # beyond: less than 1e-50
    rotation = 2.0 * np.sqrt(photons + 1.0)
    time = 0.05 * np.arange(POINTS)
    return np.round(np.cos(time[:, None] * rotation) @ poisson.pmf(photons, 16), DECIMALS)
