"""The classic example of the KAN paper over seeds: a [2, 5, 1] network that becomes exp(sin(pi x) + y^2).

    python -m benchmarks.kan_formula             # about two minutes of one core

Every seed draws other data and other weights. A row shows the shape and edges that pruning leaves, the mean squared
error of the network and of the formula on fresh data, and the formula.
"""

import math

import click
import torch

from qkan import QKAN

READABLE = {"preact_trainable": True, "postact_weight_trainable": True, "base_activation": None}


def samples(seed: int, count: int = 500) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs in [-1, 1] and targets."""
    x = 2 * torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) - 1
    return x, torch.exp(torch.sin(math.pi * x[:, :1]) + x[:, 1:] ** 2)


def found(seed: int) -> tuple[bool, bool, str]:
    """Whether one seed ends at [2, 1, 1] with three edges and at the exact formula, and its row."""
    x, y = samples(1000 + seed)
    fresh, wanted = samples(5000 + seed)
    net = QKAN([2, 5, 1], generator=torch.Generator().manual_seed(seed), **READABLE)
    for _ in range(2):
        net.fit(x, y, sparse=True)
        edges = net.prune(x).kept
        net = net.compact()
    net.fit(x, y)
    formula = net.auto_symbolic(x, y=y)
    with torch.no_grad():
        network_error = (net(fresh) - wanted).square().mean().item()
        formula_error = (formula(fresh) - wanted).square().mean().item()
    text = str(formula.symbolic_formula(digits=4, tolerance=1e-3))
    row = f"{seed:4}  {net.width!s:10} {edges:5}  {network_error:7.1e}  {formula_error:7.1e}  {text}"
    return net.width == [2, 1, 1] and edges == 3, formula_error < 1e-9, row


@click.command()
@click.option("--seeds", default=10, show_default=True)
@click.option("--first", default=0, show_default=True)
def main(seeds: int, first: int) -> None:
    """Print a row a seed, and how many find the shape and the formula."""
    torch.set_num_threads(1)
    print("seed  width      edges  network  formula")
    rows = []
    for seed in range(first, first + seeds):
        rows.append(found(seed))
        print(rows[-1][2], flush=True)
    print(f"[2, 1, 1]: {sum(row[0] for row in rows)} of {seeds}; exact: {sum(row[1] for row in rows)} of {seeds}")


if __name__ == "__main__":
    main()
