import numpy as np
import pytest
from scipy.linalg import expm

from qkan.datasets.catalog import quantum

KNOWN_TRANSMON = [0.0900591451, 0.012857551, 0.5525706187, 0.1788613335]
KNOWN_CAVITY = [0.9162628822, -0.5126953193, -0.0691567761, 0.1199035204]


def test_jaynes_cummings_agrees_with_the_evolution_of_the_hamiltonian():
    """H = g (a sigma^+ + a^+ sigma^-) on 60 photons, stepped by its exponential from |e> and a coherent state."""
    photons = np.arange(60)
    lower = np.diag(np.sqrt(photons[1:]), 1)
    excited_ground = np.array([[0.0, 1.0], [0.0, 0.0]])  # |e><g| in the order e, g
    hamiltonian = np.kron(lower, excited_ground) + np.kron(lower.T, excited_ground.T)
    amplitudes = np.exp(-8.0) * np.cumprod(np.r_[1.0, 4.0 / np.sqrt(photons[1:])])
    state = np.kron(amplitudes, [1.0, 0.0]).astype(complex)
    step = expm(-0.05j * hamiltonian)
    expected = []
    for _ in range(600):  # past the first revival
        weights = np.abs(state.reshape(-1, 2)) ** 2
        expected.append(weights[:, 0].sum() - weights[:, 1].sum())
        state = step @ state
    assert quantum.jaynes_cummings()[:600] == pytest.approx(np.array(expected), abs=1e-8)


def test_jaynes_cummings_collapses_and_revives():
    inversion = quantum.jaynes_cummings()
    assert (len(inversion), inversion[0]) == (3000, 1.0)
    # Below the mean of n + 1 = 17 the collapse is a Gaussian of (g t)^2 / 2 around the Rabi frequency 2 sqrt(17).
    time = 0.05 * np.arange(12)
    collapse = np.cos(2.0 * np.sqrt(17.0) * time) * np.exp(-(time**2) / 2.0)
    assert inversion[:12] == pytest.approx(collapse, abs=0.06)
    assert np.abs(inversion[100:250]).max() < 1e-3
    assert abs(int(np.abs(inversion[250:750]).argmax()) + 250 - 503) < 20
    assert np.abs(inversion[450:560]).max() > 0.5


@pytest.fixture(scope="module")
def population():
    return quantum.driven_transmon()


def test_driven_transmon_agrees_with_an_independent_integrator(population):
    """Small steps of the midpoint rule, each the exact exponential of the Hamiltonian at its middle."""
    n = np.arange(6)
    still = 2.0 * np.pi * np.diag(5.0 * n - 0.1 * n * (n - 1.0))
    drive = 2.0 * np.pi * 0.1 * (np.diag(np.sqrt(n[1:]), 1) + np.diag(np.sqrt(n[1:]), -1))
    fine = 400  # steps of a period of 0.2 ns
    period = np.eye(6, dtype=complex)
    for index in range(fine):
        middle = 0.2 * (index + 0.5) / fine
        period = expm(-1j * (0.2 / fine) * (still + np.cos(2.0 * np.pi * 5.0 * middle) * drive)) @ period
    state = np.eye(6)[:, 0].astype(complex)
    expected = []
    for _ in range(200):
        expected.append(abs(state[1]) ** 2)
        for _ in range(5):
            state = period @ state
    assert population[:200] == pytest.approx(np.array(expected), abs=1e-3)


def test_driven_transmon_is_that_of_the_rotating_frame_but_for_what_turns_the_other_way(population):
    """H = alpha n (n - 1) / 2 + W / 2 (a + a^+), in closed form: what a drive far below 5 GHz leaves out is W / 4 f."""
    n = np.arange(6)
    lower = np.diag(np.sqrt(n[1:]), 1)
    energies, vectors = np.linalg.eigh(2.0 * np.pi * (np.diag(-0.1 * n * (n - 1.0)) + 0.05 * (lower + lower.T)))
    time = np.arange(60)
    amplitude = (vectors[1] * vectors[0]) @ np.exp(-1j * energies[:, None] * time)
    assert population[:60] == pytest.approx(np.abs(amplitude) ** 2, abs=0.02)


def test_driven_transmon_leaks_out_of_its_two_lowest_levels(population):
    assert (len(population), population[0]) == (3000, 0.0)
    assert 0.75 < population.max() < 1.0
    assert population.min() >= 0.0


def test_values_of_both_series_are_known(population):
    assert population[[1, 10, 100, 2999]] == pytest.approx(KNOWN_TRANSMON, abs=1e-8)
    assert quantum.jaynes_cummings()[[1, 10, 500, 2999]] == pytest.approx(KNOWN_CAVITY, abs=1e-8)
