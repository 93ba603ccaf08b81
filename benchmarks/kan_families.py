"""``python -m benchmarks.kan_families``: which family of edges fits which function, at equal size and equal tuning."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import click
import torch
from torch import Tensor, nn

from qkan import KANLayer, KANMixture

HIDDEN, TERMS, SAMPLES, STEPS = 6, 8, 512, 400
#: What is tuned for every family and function alike, on one seed and validation data: learning rate and radius.
RATES, RADII = (0.01, 0.03, 0.1), (1.0, 2.0)
#: Of two inputs, uniform on [-1, 1].
FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "smooth: exp(sin(pi x) + y^2)": lambda x, y: torch.exp(torch.sin(math.pi * x) + y**2),
    "product: x y": lambda x, y: x * y,
    "waves: sin(9 x) + cos(7 y)": lambda x, y: torch.sin(9 * x) + torch.cos(7 * y),
    "bends: |x - 0.3| + max(x + y, 0)": lambda x, y: (x - 0.3).abs() + (x + y).clamp_min(0),
}
FAMILIES = ("bspline", "rbf", "relu", "silu-quad1", "chebyshev", "fourier", "rational", "KANMixture", "MLP")
#: Of the mixture, with a third of the functions in each.
MIXED = {"bspline": 4, "fourier": 2, "chebyshev": 2}


def network(family: str, radius: float, seed: int) -> nn.Module:
    """Two layers with as many parameters as any family's, about."""
    generator = torch.Generator().manual_seed(seed)
    size = HIDDEN * 3 * TERMS
    if family == "MLP":
        hidden = size // 4
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Sequential(nn.Linear(2, hidden), nn.SiLU(), nn.Linear(hidden, 1))
    if family == "rational":
        hidden = size // 5  # few numbers an edge, so more nodes
        first = KANLayer(2, hidden, "rational", generator=generator)
        return nn.Sequential(first, KANLayer(hidden, 1, "rational", generator=generator))

    def layer(inputs: int, outputs: int) -> nn.Module:
        if family == "KANMixture":
            options = {"terms": tuple(MIXED.values()), "radius": radius, "generator": generator}
            return KANMixture(inputs, outputs, tuple(MIXED), **options)
        return KANLayer(inputs, outputs, family, terms=TERMS, radius=radius, generator=generator)

    return nn.Sequential(layer(2, HIDDEN), layer(HIDDEN, 1))


def data(function: str, seed: int, samples: int = SAMPLES) -> tuple[Tensor, Tensor]:
    """Inputs (samples, 2) and targets (samples, 1) of unit variance."""
    x = 2 * torch.rand(samples, 2, generator=torch.Generator().manual_seed(seed)) - 1
    dense = 2 * torch.rand(10_000, 2, generator=torch.Generator().manual_seed(99)) - 1
    scale = FUNCTIONS[function](*dense.unbind(1))
    return x, ((FUNCTIONS[function](*x.unbind(1)) - scale.mean()) / scale.std()).unsqueeze(1)


def error(family: str, function: str, rate: float, radius: float, seed: int, *, validation: bool) -> float:
    """Root mean squared error, in standard deviations of the function, after training."""
    model, (x, y) = network(family, radius, seed), data(function, seed)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()
        schedule.step()
    x, y = data(function, 1000 if validation else 2000, 4096)
    with torch.no_grad():
        return float((model(x) - y).square().mean().sqrt())


def rows(families: tuple[str, ...], functions: tuple[str, ...], seeds: int) -> Iterator[dict[str, object]]:
    """The chosen options and the test errors of every family and function."""
    for family in families:
        count = sum(p.numel() for p in network(family, 1.0, 0).parameters())
        for function in functions:
            radii = RADII if family not in ("fourier", "rational", "MLP") else RADII[:1]
            tried = {
                (rate, radius): error(family, function, rate, radius, 0, validation=True)
                for rate, radius in product(RATES, radii)
            }
            rate, radius = min(tried, key=tried.__getitem__)
            errors = [error(family, function, rate, radius, seed, validation=False) for seed in range(1, seeds + 1)]
            yield {
                "family": family, "parameters": count, "function": function, "rate": rate, "radius": radius,
                "median": statistics.median(errors), "errors": errors,
            }  # fmt: skip


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, help="Networks of each.")
@click.option("--family", "families", multiple=True, type=click.Choice(FAMILIES), help="Only these; may be repeated.")
@click.option("--function", "functions", multiple=True, type=click.Choice(tuple(FUNCTIONS)), help="Only these.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File for all figures, as JSON.")
def main(seeds: int, families: tuple[str, ...], functions: tuple[str, ...], out: Path | None) -> None:
    """Fit four functions of two inputs with two layers of every family, of about equal size.

    Learning rate and radius are chosen for each on validation data of one seed; errors are those of other seeds on test
    data, in standard deviations of the function, the median of all.
    """
    torch.set_num_threads(1)
    found = []
    for row in rows(families or FAMILIES, functions or tuple(FUNCTIONS), seeds):
        found.append(row)
        shown = f"{row['family']:11} {row['parameters']:4} parameters, rate {row['rate']:<5g} radius {row['radius']:g}"
        click.echo(f"{shown}  {row['median']:.4f}  {row['function']}")
    if out is not None:
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.kan_families")
