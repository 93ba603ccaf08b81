"""Measure the prices of ``qkan.kernels.backend_cost`` on this machine's CPU: times of layers of many sizes, least
squares.

Prints one line to copy into ``PRICES``, and how far the estimates are from the measured times. Takes about a minute.
"""

import itertools
import statistics
import time

import click
import numpy as np
import torch
from scipy.optimize import nnls

from qkan import QKANLayer
from qkan.kernels.backend_cost import PRICES, Prices, Work, seconds

SIZES = [(16, 8, 8), (64, 8, 20), (256, 16, 16), (256, 64, 64), (1024, 32, 32), (64, 128, 128), (2048, 96, 96)]
NAMES = ("step", "fixed", "trained", "feature", "product", "call", "point_step", "point_fixed", "point_trained")


def measure(layer: QKANLayer, x: torch.Tensor, rounds: int) -> float:
    parameters = [x, *layer.parameters()]
    upstream = torch.randn(x.shape[0], layer.out_features)
    times = []
    for _ in range(rounds + 2):
        start = time.perf_counter()
        torch.autograd.grad(layer(x), parameters, upstream)
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def row(work: Work, backend: str, points: int) -> list[float]:
    """How much of each price an estimate contains: the model is linear in them."""
    none = dict.fromkeys((*NAMES, "fused"), 0.0)
    amounts = []
    for name in NAMES:
        PRICES["one"] = Prices(**{**none, name: 1.0})
        amounts.append(seconds(work, backend, "one", points))
    return amounts


@click.command()
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1), help="Threads of PyTorch.")
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(1), help="Timed steps a size.")
def main(threads: int, rounds: int) -> None:
    torch.set_num_threads(threads)
    rows, times = [], []
    for (batch, inputs, outputs), reps, trained in itertools.product(SIZES, (1, 3, 6), (False, True)):
        x = (2 * torch.rand(batch, inputs) - 1).requires_grad_()
        work = Work(batch, inputs, outputs, inputs * outputs, reps, trained)
        for backend in ("spectral", "bloch"):
            if backend == "bloch" and batch * inputs * outputs > 2**21:
                continue  # seconds of what no choice depends on
            layer = QKANLayer(inputs, outputs, reps, preact_trainable=trained, base_activation=None, backend=backend)
            _, plan = layer._circuits().choose(x)
            rows.append(row(work, backend, 0 if plan is None else plan.points))
            times.append(measure(layer, x, rounds))
    amounts, measured = np.array(rows), np.array(times)
    prices, _ = nnls(amounts / measured[:, None], np.ones(len(measured)))  # relative errors count alike
    ratios = amounts @ prices / measured
    click.echo("  ".join(f"{name} {price:.2g}" for name, price in zip(NAMES, prices, strict=True)))
    low, middle, high = np.quantile(ratios, (0.1, 0.5, 0.9))
    click.echo(f"{len(ratios)} times; estimate / measured: 10 % {low:.2f}, median {middle:.2f}, 90 % {high:.2f}")


if __name__ == "__main__":
    main()
