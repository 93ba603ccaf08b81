import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import j0, j1

from qkan.datasets.catalog import synthetic as oscillators

# Iterating the definitions in float64; no rounding mode or library enters, so every machine gives these digits.
# fmt: off
LOGISTIC_MAP_FIRST = [
    0.3, 0.982408396094168, 0.7516532432408874, 0.720481090741709, 0.9186767140936895,
    0.5647360656390957, 0.33652751521973434, 0.9525874517922179, 0.9643539321247215, 0.9883964289648967,
    0.5667714777145673, 0.34940795719845363, 0.9025018926972138, 0.3497371067401026, 0.9009930072860559,
    0.33150719005694906, 0.9670018739026773, 0.9778286449483741, 0.85260771725743, 0.029570432542531423,
    0.953393660994405, 0.9690942031933719, 0.964434541895398, 0.9881744061499749, 0.574801810408815,
    0.4023859289233405, 0.5648598401363104, 0.3373038080433721, 0.950091092627861, 0.9473340583459465,
]
HENON_MAP_FIRST = [
    0.46044563310508585, 0.9162503923713928, -0.037187004197497986, 1.272939095117759, -1.2796796170901563,
    -0.9107301628190847, -0.5451050863829139, 0.31078557387354094, 0.7012457319860572, 0.40479186488193664,
    0.9809746841713828, -0.22579830391462088, 1.2229135815804075, -1.161464170393734, -0.5217245522776447,
    0.2704856370528475, 0.7410551625240679, 0.3123178356508526, 1.0857571461053341, -0.556720661751064,
    0.8918140905228404, -0.2804815194024325, 1.1574063913400363, -0.9595698324214011, 0.058137948791480654,
    0.7073970207480265, 0.316866621688987, 1.0716528679075796, -0.5127558305056601, 0.9534099019677049,
]
# fmt: on


def runge_kutta(slope, state, step, count):
    """Classical fourth-order steps with plain floats: a check that shares nothing with SciPy's solver."""
    states = [state]
    for index in range(count):
        time = index * step
        k1 = slope(time, state)
        k2 = slope(time + step / 2, state + step / 2 * k1)
        k3 = slope(time + step / 2, state + step / 2 * k2)
        k4 = slope(time + step, state + step * k3)
        state = state + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        states.append(state)
    return np.array(states)


def test_damped_shm_agrees_with_an_independent_solver():
    def slope(_, state):
        return np.array([state[1], -0.15 * state[1] - 9.81 * np.sin(state[0])])

    fine = 10  # Runge-Kutta steps per point
    expected = runge_kutta(slope, np.array([0.0, 3.0]), 20.0 / 239 / fine, 239 * fine)[::fine, 1]
    assert oscillators.damped_shm() == pytest.approx(expected, abs=2e-6)


def test_damped_shm_starts_at_three_and_loses_energy():
    velocity = oscillators.damped_shm()
    assert (len(velocity), velocity[0]) == (240, 3.0)
    peaks = [np.abs(velocity[begin : begin + 60]).max() for begin in range(0, 240, 60)]
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[-1] == pytest.approx(0.85, abs=0.15)


def test_duffing_agrees_with_an_independent_solver_before_chaos_takes_over():
    def slope(time, state):
        x, v = state
        return np.array([v, -0.3 * v + x - x**3 + 0.5 * np.cos(1.2 * time)])

    fine = 20
    expected = runge_kutta(slope, np.array([1.0, 0.0]), 600.0 / 1999 / fine, 49 * fine)[::fine, 0]
    assert oscillators.duffing()[:50] == pytest.approx(expected, abs=1e-5)


def test_duffing_stays_on_the_double_well_attractor():
    position = oscillators.duffing()
    assert len(position) == 2000
    assert np.abs(position).max() == pytest.approx(1.5, abs=0.1)
    assert position.std() == pytest.approx(0.88, abs=0.05)
    assert 0.3 < (position > 0).mean() < 0.7  # it visits both wells


def test_bessel_j2_follows_the_recurrence_of_bessel_functions():
    x = np.linspace(2.0, 100.0, 256)
    assert oscillators.bessel_j2() == pytest.approx(2.0 / x * j1(x) - j0(x), abs=1e-9)


def test_delayed_quantum_control_has_a_decaying_pulse_every_two_units():
    values = oscillators.delayed_quantum_control()
    assert len(values) == 2200
    assert values[200::200] == pytest.approx(np.exp(-2.0 * np.arange(10) / 16.0), abs=1e-9)
    assert values[100] == pytest.approx(np.exp(-10.0 + 1.0 / 16.0), abs=1e-9)  # x = -1: one pulse, one unit away


@pytest.mark.parametrize("order", [5, 10])
def test_narma_follows_its_recursion(order):
    y = oscillators.narma(order)
    t = np.arange(300)
    waves = [np.sin(2.0 * np.pi * frequency * t / 300) for frequency in (2.11, 3.73, 4.11)]
    u = 0.1 * (waves[0] * waves[1] * waves[2] + 1.0)
    assert y[:order].tolist() == [0.0] * order
    for now in range(order - 1, 299):
        memory = sum(y[now - j] for j in range(order))
        expected = 0.3 * y[now] + 0.05 * y[now] * memory + 1.5 * u[now - order + 1] * u[now] + 0.1
        assert y[now + 1] == pytest.approx(expected, abs=1e-9)


def test_narma_starts_as_computed_by_hand():
    # u_0 = 0.1 and u_4 = 0.1 (1 + sin(0.17677) sin(0.31248) sin(0.34432)) = 0.1018247, so y_5 = 0.15 u_4 + 0.1
    assert oscillators.narma(5)[5] == pytest.approx(0.1152737, abs=2e-6)


def test_logistic_map_begins_with_its_thirty_known_values():
    assert oscillators.logistic_map()[:30].tolist() == LOGISTIC_MAP_FIRST


def test_logistic_map_keeps_every_third_iterate():
    points = oscillators.logistic_map()
    step = points
    for _ in range(3):
        step = 3.97 * step * (1.0 - step)
    assert points[1:].tolist() == step[:-1].tolist()


def test_logistic_map_fills_its_attractor():
    points = oscillators.logistic_map()
    assert len(points) == 1500
    assert points.max() == pytest.approx(3.97 / 4, abs=1e-4)
    assert points.min() == pytest.approx(3.97 * 0.9925 * 0.0075, abs=1e-4)
    assert (points.mean(), points.std()) == pytest.approx((0.54, 0.335), abs=0.02)


def test_henon_map_begins_with_its_thirty_known_values():
    assert oscillators.henon_map()[:30].tolist() == HENON_MAP_FIRST


def test_henon_map_obeys_its_second_order_form():
    x = oscillators.henon_map()
    assert x[2:] == pytest.approx(1.0 - 1.4 * x[1:-1] ** 2 + 0.3 * x[:-2], abs=1e-12)


def test_henon_map_starts_after_one_hundred_steps():
    x, y = 0.1, 0.1
    for _ in range(100):
        x, y = 1.0 - 1.4 * x * x + y, 0.3 * x
    assert oscillators.henon_map()[0] == x


def test_henon_map_fills_its_attractor():
    points = oscillators.henon_map()
    assert len(points) == 1100
    assert (points.min(), points.max()) == pytest.approx((-1.283, 1.273), abs=2e-3)
    assert (points.mean(), points.std()) == pytest.approx((0.26, 0.72), abs=0.03)


def test_mackey_glass_has_the_numbers_of_reservoirpy():
    x = oscillators.mackey_glass()
    assert len(x) == 1000
    known = [1.2, 1.1354969068838492, 0.4675952944832385, 0.454855039044518, 1.2987879341478634, 1.0832410908936039]
    assert x[[0, 1, 17, 18, 100, 500]] == pytest.approx(known, abs=1e-9)
    assert x[999] == pytest.approx(1.005295481778754, abs=1e-9)


def test_mackey_glass_obeys_its_equation():
    """While the delayed value stands still the equation is linear, and its solution a decaying exponential."""
    x = oscillators.mackey_glass()
    now, delayed = x[17:-1], x[:-18]
    limit = 2.0 * delayed / (1.0 + delayed**10)
    assert x[18:] == pytest.approx(limit + (now - limit) * np.exp(-0.1), abs=1e-6)


def test_lorenz_has_the_numbers_of_reservoirpy_before_chaos_takes_over(monkeypatch):
    """The first points of the path, which the series leaves out, are the ones that every machine gives."""
    path = {}

    def kept(slope, span, start, **options):
        path["solution"] = solve_ivp(slope, span, start, **options)
        return path["solution"]

    monkeypatch.setattr(oscillators, "solve_ivp", kept)
    points = oscillators.lorenz()
    assert points.shape == (1000, 3)
    first = path["solution"].y.T
    assert first[0] == pytest.approx([1.0, 1.0, 1.0])
    assert first[2] == pytest.approx([1.4098078606141624, 2.7403541695069356, 0.9727347635671606], abs=1e-9)
    assert first[4] == pytest.approx([2.6656398938937227, 5.655823485217054, 1.2934437714139881], abs=1e-9)
    assert points[0] == pytest.approx(first[500], abs=1e-9)
    assert oscillators.lorenz_x().tolist() == points[:, 0].tolist()


def test_lorenz_follows_its_equation_from_every_point():
    """An exact solver agrees with each step of the path to the tolerance that the path was computed with."""
    points = oscillators.lorenz()

    def slope(_, state):
        x, y, z = state.T
        return np.stack([10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z], axis=-1)

    step = 45.0 / 1499
    following = runge_kutta(slope, points[:-1], step / 4, 4)[-1]
    assert np.abs(following - points[1:]).max() < 0.3
    assert np.median(np.abs(following - points[1:])) < 0.01
    assert points.std(axis=0) == pytest.approx([7.9, 9.0, 8.6], abs=0.8)
