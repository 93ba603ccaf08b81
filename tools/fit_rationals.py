"""Fit the rational activations that ``qkan.GroupRational`` starts from, and write ``qkan/layers/rational_fits.json``.

    python tools/fit_rationals.py

For every function, denominator and order the largest error on [-3, 3] is made small. Given the denominator's
coefficients those of the numerator follow from linear least squares, so the search is over the denominator alone, from
a few fixed starting points; then points are reweighted by their errors (Lawson's algorithm), which turns least squares
into least maximum. Points up to 6 count a little, so that what lies beyond does not run away. Nothing is random.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares
from scipy.special import erf, expit

TABLE = Path(__file__).parents[1] / "qkan" / "layers" / "rational_fits.json"
FUNCTIONS = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x < 0, 0.01 * x, x),
    "elu": lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x),
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
    "silu": lambda x: x * expit(x),
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "softplus": lambda x: np.logaddexp(0, x),
    "tanh": np.tanh,
    "sigmoid": expit,
}
ORDERS = ((1, 1), (2, 2), (3, 2), (4, 4), (5, 4), (6, 6), (7, 6), (8, 8))
RADIUS, FAR = 3.0, 6.0
_LAWSON = 16


def denominators(form: str, b: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Q at points x, of either form."""
    terms = (np.abs(x) if form == "abs_terms" else x)[:, None] ** np.arange(1, len(b) + 1)
    return 1 + (terms @ np.abs(b) if form == "abs_terms" else np.abs(terms @ b))


def _numerator(b: np.ndarray, form: str, m: int, x: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    columns = x[:, None] ** np.arange(m + 1) / denominators(form, b, x)[:, None]
    return np.linalg.lstsq(columns * w[:, None], y * w, rcond=1e-13)[0]


def _fitted(b: np.ndarray, form: str, m: int, x: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    a = _numerator(b, form, m, x, y, w)
    return (x[:, None] ** np.arange(m + 1)) @ a / denominators(form, b, x)


def _starts(n: int) -> list[np.ndarray]:
    """Denominators to begin with, in the variable x / 3."""
    even = np.where(np.arange(1, n + 1) % 2 == 0, 1.0, 0.0)
    powers = 3.0 ** np.arange(1, n + 1)
    found = [np.ones(n), 0.1 + 2 * even, even * powers / np.cumprod(np.arange(1, n + 1.0))]
    return [*found, 0.01 * np.ones(n), 0.05 + 10 * even * np.arange(1, n + 1)]


def fit(name: str, form: str, order: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, float]:
    """(a, b, largest error on [-3, 3]) of the best fit found."""
    m, n = order
    if name == "identity":  # exact
        return np.eye(1, m + 1, 1)[0], np.zeros(n), 0.0
    x = np.concatenate((np.linspace(-RADIUS, RADIUS, 201), np.linspace(-FAR, FAR, 41))) / RADIUS
    y, near = FUNCTIONS[name](x * RADIUS), np.arange(len(x)) < 201
    best: tuple[float, np.ndarray, np.ndarray] = (np.inf, np.zeros(m + 1), np.zeros(n))
    for start in _starts(n):
        w, b = np.where(near, 1.0, 0.02), start
        for step in range(_LAWSON):
            residual = lambda b, w=w: w * (_fitted(b, form, m, x, y, w) - y)  # noqa: E731
            b = least_squares(residual, b, method="lm", max_nfev=300 if step == 0 else 50).x
            error = np.abs(_fitted(b, form, m, x, y, w) - y)
            largest = error[near].max()
            if largest < best[0]:
                best = (largest, _numerator(b, form, m, x, y, w), b)
            if step == 6 and largest > 3 * best[0]:
                break  # not the way to a better one
            w = np.where(near, w * (0.1 + error / largest) ** 0.5, w)
            w = w / w[near].max()
    a, b = best[1] / RADIUS ** np.arange(m + 1), best[2] / RADIUS ** np.arange(1, n + 1)
    b = np.abs(b) if form == "abs_terms" else b
    points = np.linspace(-RADIUS, RADIUS, 20001)
    found = (points[:, None] ** np.arange(m + 1)) @ a / denominators(form, b, points)
    return a, b, float(np.abs(found - FUNCTIONS[name](points)).max())


def gain(form: str, a: np.ndarray, b: np.ndarray) -> float:
    """E[x^2] / E[F(x)^2] for x ~ N(0, 1), by the trapezoidal rule on [-12, 12]."""
    x = np.linspace(-12, 12, 48001)
    f = (x[:, None] ** np.arange(len(a))) @ a / denominators(form, b, x)
    density = np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
    return float(1 / (np.sum(density * f * f) * (x[1] - x[0])))


def main() -> None:
    """Fit all and write the table."""
    rows = []
    for name in FUNCTIONS:
        for form in ("abs_terms", "abs_sum"):
            for order in ORDERS:
                a, b, error = fit(name, form, order)
                row = {"function": name, "form": form, "order": list(order), "max_error": error}
                row |= {"gain": gain(form, a, b), "numerator": a.tolist(), "denominator": b.tolist()}
                rows.append(row)
                print(f"{name:11}{form:10}{order!s:8}{error:.1e}", flush=True)
    TABLE.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


if __name__ == "__main__":
    main()
