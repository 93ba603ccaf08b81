"""Tables of circuits err by at most what is proven of them, and not by much less."""

import numpy as np
import pytest

from qkan.forecasting import RunError
from qkan.forecasting.c99.tables import (
    CUBIC_TOLERANCE,
    Tables,
    Waves,
    cubic_tables,
    int8_tables,
    sine_table,
    wave_error,
)


def drawn(period: float | None, circuits: int = 8, fastest: float = 4.0) -> Waves:
    """Circuits with drawn waves: of whole frequencies if they have a period."""
    rng = np.random.default_rng(0)
    frequencies = np.tile([1.0, 2.0, 3.0], (circuits, 1)) if period else rng.uniform(0.1, fastest, (circuits, 3))
    cosines, sines = rng.normal(0, 0.3, (2, circuits, 3))
    return Waves(frequencies, cosines, sines, np.zeros(circuits), period)


def values_of(tables: Tables, x: np.ndarray) -> np.ndarray:
    """What tables say at places, (circuits, places)."""
    coefficients = tables.coefficients.astype(np.float64)
    if tables.steps is not None:
        coefficients = coefficients * tables.steps[:, None].astype(np.float64)
    begin, length = (0.0, 2 * np.pi) if tables.periodic else (-1.0, 2.0)
    place = (x - begin) / length * tables.intervals
    first = np.minimum(place.astype(int), tables.intervals - 1)
    t = place - first
    weights = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * (1 - t) ** 3 - 6 * (1 - t) ** 2 + 4, t**3]
    return sum(weight / 6 * coefficients[:, first + k] for k, weight in enumerate(weights))


@pytest.mark.parametrize("period", [2 * np.pi, None])
@pytest.mark.parametrize("kind", ["cubic", "int8"])
def test_the_error_of_a_table_is_within_its_bound_and_near_it(period, kind):
    waves = drawn(period)
    tables = int8_tables(waves) if kind == "int8" else cubic_tables(waves, np.ones(8), np.zeros(8, dtype=int))
    x = np.linspace(0, 2 * np.pi, 5001)[:-1] if period else np.linspace(-1, 1, 5001)
    angles = waves.frequencies[:, :, None] * x
    wanted = (waves.cosines[:, :, None] * np.cos(angles) + waves.sines[:, :, None] * np.sin(angles)).sum(axis=1)
    errors = np.abs(values_of(tables, x) - wanted).max(axis=1)
    single = 1e-7 * waves.sizes  # coefficients are rounded to single precision
    assert (errors <= tables.errors + single).all()
    assert (errors >= 0.4 * tables.errors).all()
    if kind == "cubic":
        assert tables.errors.sum() <= CUBIC_TOLERANCE


def test_the_error_of_a_wave_is_below_that_of_any_function():
    """Hall and Meyer (1976): 5 / 384 h^4 max |f''''|; a wave comes to 1 / 360 as the places get close."""
    turns = np.linspace(1e-3, 3.14, 2000)
    assert (wave_error(turns) < 5 / 384 * turns**4).all()
    assert wave_error(np.array([1e-2])) == pytest.approx(1e-8 / 360, rel=1e-3)
    below, above = wave_error(np.array([0.05 - 1e-9, 0.05 + 1e-9]))
    assert below == pytest.approx(above, rel=3e-3)


def test_tables_have_as_few_places_as_keep_the_tolerance():
    waves = drawn(2 * np.pi, circuits=1)
    found = cubic_tables(waves, np.ones(1), np.zeros(1, dtype=int))
    assert found.errors[0] <= CUBIC_TOLERANCE
    fewer = (waves.amplitudes * wave_error(waves.frequencies * 2 * np.pi / (found.intervals - 1))).sum()
    assert fewer > CUBIC_TOLERANCE


def test_one_table_of_the_sine_serves_cosines_and_every_frequency():
    table, error = sine_table(np.array([1.0]))
    assert table.intervals % 4 == 0
    assert error <= CUBIC_TOLERANCE
    x = np.linspace(0, 2 * np.pi, 4001)[:-1]
    for phase in (0.0, 0.3, np.pi / 2):
        errors = np.abs(values_of(table, (x + phase) % (2 * np.pi))[0] - np.sin(x + phase))
        assert 0.4 * error <= errors.max() <= error + 2e-7


def test_a_circuit_that_is_constant_has_a_table_of_zeros():
    waves = Waves(np.ones((1, 1)), np.zeros((1, 1)), np.zeros((1, 1)), np.ones(1), 2 * np.pi)
    assert not int8_tables(waves).coefficients.any()
    assert int8_tables(waves).errors[0] == 0.0


def test_frequencies_that_no_table_can_hold_are_refused():
    with pytest.raises(
        RunError, match=r"frequencies up to 4e\+04 would need more than 16,384 places; use edges='exact'"
    ):
        cubic_tables(
            Waves(np.full((1, 1), 4e4), np.ones((1, 1)), np.ones((1, 1)), np.zeros(1), None),
            np.ones(1),
            np.zeros(1, dtype=int),
        )
