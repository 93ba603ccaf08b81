"""Formulas of the KAN papers over seeds: fit, prune and snap with all defaults, from a network larger than needed.

    python -m benchmarks.kan_formula                        # about six minutes of one core
    python -m benchmarks.kan_formula --formula product

Every seed draws other data and other weights. A row shows the shape and edges that pruning leaves, the shares of the
variance on fresh data that network and formula miss, and the formula.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import click
import torch
from torch import Tensor

from qkan import QKAN


class Formula(NamedTuple):
    """A formula, the network it is looked for in, and the smallest one that holds it."""

    targets: Callable[[Tensor, Tensor], Tensor]
    width: list[int]
    smallest: list[int]
    edges: int


FORMULAS = {
    "exp": Formula(lambda a, b: torch.exp(torch.sin(math.pi * a) + b**2), [2, 5, 1], [2, 1, 1], 3),
    "sum": Formula(lambda a, b: torch.sin(math.pi * a) + b**2, [2, 5, 1], [2, 1, 1], 3),
    "root": Formula(lambda a, b: torch.sqrt(a**2 + b**2), [2, 5, 1], [2, 1, 1], 3),
    "product": Formula(lambda a, b: a * b, [2, 5, 1], [2, 2, 1], 6),
}


def samples(formula: Formula, seed: int, count: int = 500) -> tuple[Tensor, Tensor]:
    """Inputs in [-1, 1] and targets."""
    x = 2 * torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) - 1
    return x, formula.targets(x[:, :1], x[:, 1:])


def found(formula: Formula, seed: int) -> tuple[bool, bool, str]:
    """Whether one seed ends at the smallest shape and at the exact formula, and its row."""
    x, y = samples(formula, 1000 + seed)
    fresh, wanted = samples(formula, 5000 + seed)
    net = QKAN(formula.width, generator=torch.Generator().manual_seed(seed))
    net.fit(x, y)
    edges = net.prune(x).kept
    net = net.compact()
    symbolic = net.auto_symbolic(x, y=y)
    with torch.no_grad():
        missed = [(float((model(fresh) - wanted).square().mean() / wanted.var())) for model in (net, symbolic)]
    text = " ".join(str(symbolic.symbolic_formula(digits=4, tolerance=1e-3)).split())
    row = f"{seed:4}  {net.width!s:10} {edges:5}  {missed[0]:7.1e}  {missed[1]:7.1e}  {text[:100]}"
    return net.width == formula.smallest and edges == formula.edges, missed[1] < 1e-9, row


@click.command()
@click.option("--formula", "names", multiple=True, type=click.Choice(list(FORMULAS)), help="All unless named.")
@click.option("--seeds", default=10, show_default=True)
@click.option("--first", default=0, show_default=True)
def main(names: tuple[str, ...], seeds: int, first: int) -> None:
    """Print a row a seed, and how many find the shape and the formula."""
    torch.set_num_threads(1)
    for name in names or FORMULAS:
        print(f"{name}\nseed  width      edges  network  formula")
        rows = []
        for seed in range(first, first + seeds):
            rows.append(found(FORMULAS[name], seed))
            print(rows[-1][2], flush=True)
        shapes, exact = (sum(row[kind] for row in rows) for kind in (0, 1))
        print(f"{FORMULAS[name].smallest}: {shapes} of {seeds}; exact: {exact} of {seeds}\n", flush=True)


if __name__ == "__main__":
    main()
