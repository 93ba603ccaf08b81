"""The importances that QKANSelector can rank by, beside a random forest: the measurement behind its default.

    python -m benchmarks.feature_selection             # about three minutes of one core

Every problem has a few features that make the target and others that are noise; a run is right if the selector, told
how many there are, keeps exactly those. One fit serves all methods.
"""

from collections import Counter
from collections.abc import Callable

import click
import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from qkan import QKANSelector
from qkan.kan.importance import METHODS

Problem = tuple[int, int, int, Callable[[np.ndarray, np.ndarray], np.ndarray]]

#: rows, features, how many of them (the first ones) make the target, and the target from features and noise
PROBLEMS: dict[str, Problem] = {
    "sin + square, 2 of 5": (400, 5, 2, lambda x, e: np.sin(3 * x[:, 0]) + x[:, 1] ** 2 + 0.1 * e),
    "the same, 100 rows, noise 0.3": (100, 5, 2, lambda x, e: np.sin(3 * x[:, 0]) + x[:, 1] ** 2 + 0.3 * e),
    "product, 2 of 5": (400, 5, 2, lambda x, e: 2 * x[:, 0] * x[:, 1] + 0.1 * e),
    "linear, 3 of 10, noise 0.5": (300, 10, 3, lambda x, e: x[:, 0] - x[:, 1] + 0.7 * x[:, 2] + 0.5 * e),
    "Friedman 1, 5 of 10": (
        400,
        10,
        5,
        lambda x, e: (
            10 * np.sin(np.pi * (x[:, 0] + 1) * (x[:, 1] + 1) / 4)
            + 5 * x[:, 2] ** 2
            + 5 * x[:, 3]
            + 2.5 * x[:, 4]
            + 0.5 * e
        ),
    ),
    "two classes in a ring, 2 of 6": (
        400,
        6,
        2,
        lambda x, e: ((x[:, 0] ** 2 + x[:, 1] ** 2 + 0.05 * e) > 0.6).astype(int),
    ),
}


def right(problem: Problem, seed: int, l1: float) -> Counter[str]:
    """The methods that keep exactly the features that matter, for one draw of data and weights."""
    rows, features, informative, target = problem
    draw = np.random.default_rng(seed)
    x = draw.uniform(-1, 1, (rows, features))
    order = draw.permutation(features)
    y = target(x, draw.standard_normal(rows))
    x, wanted = x[:, order], set(np.flatnonzero(order < informative).tolist())
    selector = QKANSelector(informative, method="knockout", l1=l1, random_state=seed).fit(x, y)
    inputs = torch.from_numpy((x - x.mean(0)) / x.std(0))
    forest = RandomForestRegressor if y.dtype.kind == "f" else RandomForestClassifier
    others = (name for name in METHODS if name != "knockout")
    scores = {name: selector.network_.feature_importance(inputs, method=name).numpy() for name in others}
    scores["knockout"] = selector.feature_importances_
    if l1 == 0:
        scores["random forest"] = forest(random_state=seed).fit(x, y).feature_importances_
    return Counter(name for name, values in scores.items() if set(np.argsort(-values)[:informative].tolist()) == wanted)


@click.command()
@click.option("--seeds", default=8, show_default=True)
@click.option("--l1", "weights", multiple=True, type=float, default=(0.0, 0.01), show_default=True)
def main(seeds: int, weights: tuple[float, ...]) -> None:
    """Print how many seeds every method gets right."""
    torch.set_num_threads(1)
    for name, problem in PROBLEMS.items():
        for l1 in weights:
            found = sum((right(problem, seed, l1) for seed in range(seeds)), Counter())
            columns = [*METHODS, "random forest"] if l1 == 0 else METHODS
            print(f"{name:32} l1 {l1:<6g}", *(f"{column} {found[column]}" for column in columns), sep="  ", flush=True)


if __name__ == "__main__":
    main()
