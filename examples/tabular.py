"""Tables of numbers: a KAN and a QKAN against an MLP, a linear model and boosted trees, with and without selection.

    python examples/tabular.py                        # a few minutes of one core; needs scikit-learn
    python examples/tabular.py --data diabetes --kinds MLP QKAN

The tables diabetes (442 rows, 10 features, a number), breast-cancer (569, 30, two classes) and wine (178, 13, three
classes) ship with scikit-learn; alloys is made: 300 alloys of eight elements, their shares, descriptors and four
numbers without meaning, and a hardness that few of the descriptors decide. Five folds test; of the other rows a quarter
validates: it stops the training and chooses among three learning rates (penalties of the linear model), tried on the
first two folds. Features are standardised by the training rows. Selection keeps the half of the features that a
QKANSelector finds in the training rows. Networks have about as many parameters as the QKAN on the same features.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import equal_tuning
import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split
from torch import Tensor, nn
from torch.nn import functional as F

from qkan import QKAN, KANLayer, QKANLayer, QKANSelector

FOLDS, HIDDEN, EPOCHS, BATCH = 5, 5, 60, 64
#: Learning rates of networks, of boosted trees, and penalties of linear models.
RATES, TREES, PENALTIES = (1e-2, 3e-2, 1e-1), (0.03, 0.1, 0.3), (0.1, 1.0, 10.0)
Table = tuple[np.ndarray, np.ndarray]
Network = Callable[[int, int, int], nn.Module]


def alloys() -> Table:
    """300 made alloys: shares of eight elements, five descriptors and four numbers without meaning, and a hardness."""
    draw = np.random.default_rng(0)
    shares = draw.dirichlet(np.full(8, 0.7), 300)
    radius, pull, electrons = draw.uniform(1.2, 1.7, 8), draw.uniform(1.3, 2.2, 8), draw.integers(3, 12, 8)

    def spread(values: np.ndarray) -> np.ndarray:
        return np.sqrt((shares * (values - (shares @ values)[:, None]) ** 2).sum(1))

    entropy = -(shares * np.log(shares + 1e-12)).sum(1)
    mismatch, count = spread(radius) / (shares @ radius), shares @ electrons
    described = np.stack([entropy, mismatch, spread(pull), count, shares @ radius], 1)
    hardness = 300 / (1 + np.exp(2 * (count - 7.5))) + 250 * np.sin(20 * mismatch) * entropy + 200
    return np.hstack([shares, described, draw.standard_normal((300, 4))]), hardness + draw.normal(0, 20, 300)


DATA: dict[str, Callable[[], Table]] = {
    "diabetes": lambda: load_diabetes(return_X_y=True),
    "breast-cancer": lambda: load_breast_cancer(return_X_y=True),
    "wine": lambda: load_wine(return_X_y=True),
    "alloys": alloys,
}


@dataclass(frozen=True)
class Fold:
    """Standardised rows, and targets: standardised numbers (n, 1), or classes (n,); how many classes, 1 for numbers."""

    x: tuple[np.ndarray, np.ndarray, np.ndarray]  # training, validation, test
    y: tuple[np.ndarray, np.ndarray, np.ndarray]
    classes: int


@dataclass(frozen=True)
class Result:
    """Losses (squared error of standardised targets, or nats), R2 or accuracy, size, and seconds of one training."""

    validation_loss: float
    test_loss: float
    score: float
    parameters: int
    seconds: float


@cache
def fold_of(data: str, number: int) -> Fold:
    """One fold of a table."""
    x, y = DATA[data]()
    numeric = y.dtype.kind == "f"
    folds = (KFold if numeric else StratifiedKFold)(FOLDS, shuffle=True, random_state=0)
    rest, test = list(folds.split(x, y))[number]
    train, val = train_test_split(rest, test_size=0.25, random_state=number, stratify=None if numeric else y[rest])
    if numeric:
        y = ((y - y[train].mean()) / y[train].std())[:, None]
    x = (x - x[train].mean(0)) / x[train].std(0)
    parts = (train, val, test)
    return Fold(tuple(x[part] for part in parts), tuple(y[part] for part in parts), 1 if numeric else int(y.max()) + 1)


@cache
def selected(data: str, number: int) -> tuple[Fold, float]:
    """A fold with the half of its features that matter to a QKAN, and the seconds that took."""
    fold, start = fold_of(data, number), time.perf_counter()
    task = "regression" if fold.classes == 1 else "classification"
    kept = QKANSelector(task=task, steps=50, random_state=0).fit(fold.x[0], fold.y[0].squeeze()).get_support()
    return Fold(tuple(x[:, kept] for x in fold.x), fold.y, fold.classes), time.perf_counter() - start


def qkan(inputs: int, hidden: int, outputs: int) -> nn.Module:
    """Two layers of circuits."""
    return QKAN.from_layers([QKANLayer(inputs, hidden, 2), QKANLayer(hidden, outputs, 2)])


def kan(inputs: int, hidden: int, outputs: int) -> nn.Module:
    """Two layers of splines with SiLU beside them."""
    options = {"terms": 8, "radius": 3.0, "base_activation": "silu"}
    return nn.Sequential(
        KANLayer(inputs, hidden, "bspline", **options), KANLayer(hidden, outputs, "bspline", **options)
    )


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Module:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, outputs)
    )


def loss_of(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squared error of numbers, cross-entropy of classes."""
    return F.mse_loss(outputs, targets) if targets.is_floating_point() else F.cross_entropy(outputs, targets)


def score_of(outputs: np.ndarray, targets: np.ndarray) -> float:
    """R2, or accuracy."""
    if targets.ndim == 2:
        return float(1 - ((outputs - targets) ** 2).mean() / targets.var())
    return float((outputs.argmax(1) == targets).mean())


def train_network(make: Network, fold: Fold, rate: float, seed: int) -> Result:
    """Train with AdamW, one cycle of the rate; the epoch with the lowest validation loss counts."""
    start = time.perf_counter()
    torch.manual_seed(seed)
    x = [torch.as_tensor(part, dtype=torch.float32) for part in fold.x]
    y = [torch.as_tensor(part, dtype=torch.float32 if fold.classes == 1 else torch.int64) for part in fold.y]
    inputs = x[0].shape[1]
    room = equal_tuning.size(qkan(inputs, HIDDEN, fold.classes))
    model = make(inputs, equal_tuning.widest(lambda hidden: make(inputs, hidden, fold.classes), room), fold.classes)
    batches, steps = torch.Generator().manual_seed(seed), EPOCHS * -(-len(x[0]) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    best, state = math.inf, model.state_dict()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x[0]), generator=batches).split(BATCH):
            optimizer.zero_grad()
            loss_of(model(x[0][rows]), y[0][rows]).backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            validation = float(loss_of(model(x[1]), y[1]))
        if validation < best:
            best, state = validation, copy.deepcopy(model.state_dict())
    model.load_state_dict(state)
    with torch.no_grad():
        outputs = model(x[2])
    seconds = time.perf_counter() - start
    score = score_of(outputs.double().numpy(), fold.y[2])
    return Result(best, float(loss_of(outputs, y[2])), score, equal_tuning.size(model), seconds)


def train_classical(trees: bool, fold: Fold, choice: float, seed: int) -> Result:
    """Boosted trees with a learning rate, or a ridge or logistic regression with a penalty."""
    start, numeric = time.perf_counter(), fold.classes == 1
    if trees:
        kind = HistGradientBoostingRegressor if numeric else HistGradientBoostingClassifier
        model = kind(learning_rate=choice, random_state=seed)
    else:
        model = Ridge(alpha=10 * choice) if numeric else LogisticRegression(C=1 / choice, max_iter=2000)
    model.fit(fold.x[0], fold.y[0].squeeze())
    outputs = [(model.predict if numeric else model.predict_proba)(x) for x in fold.x[1:]]
    if numeric:
        outputs = [each.reshape(-1, 1) for each in outputs]
        losses = [float(((a - b) ** 2).mean()) for a, b in zip(outputs, fold.y[1:], strict=True)]
    else:
        losses = [log_loss(b, a, labels=range(fold.classes)) for a, b in zip(outputs, fold.y[1:], strict=True)]
    return Result(*losses, score_of(outputs[1], fold.y[2]), 0, time.perf_counter() - start)


NETWORKS: dict[str, Network] = {"MLP": mlp, "KAN, splines": kan, "QKAN": qkan}
KINDS = ("linear", "boosted trees", *NETWORKS, "MLP, half", "KAN, splines, half", "QKAN, half")


def train(data: str, kind: str, choice: float, number: int) -> Result:
    """One training of a kind on a fold."""
    if kind in ("linear", "boosted trees"):
        return train_classical(kind == "boosted trees", fold_of(data, number), choice, number)
    if not kind.endswith(", half"):
        return train_network(NETWORKS[kind], fold_of(data, number), choice, number)
    fold, _ = selected(data, number)
    return train_network(NETWORKS[kind.removesuffix(", half")], fold, choice, number)


def table(data: str, kinds: Sequence[str]) -> None:
    """Tune, train and print the table of one data set."""
    classes = fold_of(data, 0).classes
    loss, score = ("squared error", "R2") if classes == 1 else ("nats", "accuracy")
    print(f"\n### {data}\n\n| kind | parameters | choice | test {loss}, median (range) | {score} | seconds |")
    print("|---|---|---|---|---|---|", flush=True)
    for kind in kinds:
        choices = {"linear": PENALTIES, "boosted trees": TREES}.get(kind, RATES)

        def run(choice: float, number: int, kind: str = kind) -> Result:
            return train(data, kind, choice, number)

        tuned = equal_tuning.tune(run, choices, 2, FOLDS)
        size = f"{tuned.results[0].parameters:,}" if kind.split(",")[0] in ("MLP", "KAN", "QKAN") else ""
        print(
            f"| {kind} | {size} | {tuned.choice:g} | {tuned.spread('test_loss', '.3f')} "
            f"| {tuned.spread('score', '.3f')} | {tuned.median('seconds'):.2f} |",
            flush=True,
        )
    if any(kind.endswith("half") for kind in kinds):
        print(f"\nSelection took {np.median([selected(data, each)[1] for each in range(FOLDS)]):.1f} seconds a fold.")


def main(arguments: list[str] | None = None) -> None:
    """Print a table for every data set."""
    made = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    made.add_argument("--data", nargs="+", choices=DATA, default=list(DATA), help="tables (default all)")
    made.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="what to train (default all)")
    options = made.parse_args(arguments)
    torch.set_num_threads(1)
    for data in options.data:
        table(data, options.kinds)


if __name__ == "__main__":
    main()
