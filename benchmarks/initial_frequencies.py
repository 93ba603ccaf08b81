"""Frequencies that circuits start with, and the controls without circuits: the tables of docs/how/initialisation.md.

    python -m benchmarks.initial_frequencies                                      # about ten minutes of one core
    python -m benchmarks.initial_frequencies --only waves                         # the first table alone, one minute
    python -m benchmarks.initial_frequencies --only waves --restarts 3            # each the best of three starts
    python -m benchmarks.initial_frequencies --only cells --lbfgs-steps 300       # with a finish, a quarter of an hour

The first table fits one circuit of three repetitions with trained frequencies to waves on [-pi, pi] (Adam, 400 steps).
The second trains bare cells, without level, skip and season, on the logistic map's third iterate with the training loop
of ``qkan train``: learning rates 3e-2 and 1e-1, chosen by the lower median validation error.
"""

import math
import statistics
from typing import Any, NamedTuple

import click
import torch

from qkan import QKAN
from qkan.forecasting.config import TrainConfig
from qkan.forecasting.config.cells import CONTROL_CELLS
from qkan.forecasting.config.options import PREACT_INITS
from qkan.forecasting.data.batches import predict_windows
from qkan.forecasting.data.load import as_cut, load_windows, tensors
from qkan.forecasting.model.build import count_parameters, largest_hidden_size
from qkan.forecasting.training.fitting import fit_forecaster

WAVES = {
    "sin 9x": lambda x: torch.sin(9 * x),
    "sin 7.2x + cos 10.3x": lambda x: torch.sin(7.2 * x) + torch.cos(10.3 * x),
    "sin x + cos 2x": lambda x: torch.sin(x) + torch.cos(2 * x),
}
CELLS = ("qkan", "hqkan", *CONTROL_CELLS, "lowrank", "lstm")
BARE = {"season": "none", "level": "none", "skip": 0, "decoder": "last", "gate": False}


def r2(wave: str, preact_init: str, seed: int, restarts: int) -> float:
    """Coefficient of determination of one circuit fitted to a wave, the best of so many starts by the training loss."""
    x = torch.linspace(-math.pi, math.pi, 200).unsqueeze(1)
    y = WAVES[wave](x)
    generator = torch.Generator().manual_seed(seed)
    network = QKAN([1, 1], reps=3, preact_init=preact_init, postact_bias_trainable=True, generator=generator)
    torch.manual_seed(seed)  # restarts draw from torch's own generator
    network.fit(x, y, optimizer="adam", steps=400, lr=5e-2, entropy=0.0, restarts=restarts)
    return 1 - float((network(x).detach() - y).square().mean() / y.var(correction=0))


def waves(seeds: int, restarts: int) -> None:
    """Print the first table."""
    print(f"| median R2 of {seeds} seeds | {' | '.join(PREACT_INITS)} |\n|---|{'---|' * len(PREACT_INITS)}")
    for wave in WAVES:
        found = [statistics.median(r2(wave, name, seed, restarts) for seed in range(seeds)) for name in PREACT_INITS]
        print(f"| {wave} | {' | '.join(f'{value:.3f}' for value in found)} |", flush=True)


class Trained(NamedTuple):
    """Mean squared errors of scaled values, trained parameters, and seconds of training."""

    validation: float
    test: float
    parameters: int
    seconds: float


def errors(config: TrainConfig) -> Trained:
    """Train a cell and judge it."""
    data = load_windows(config)
    fitted = fit_forecaster(as_cut(config, data), data)
    test = predict_windows(fitted.model, tensors(data.test))[:, :, 0] - torch.from_numpy(data.test.targets)
    found = fitted.result
    return Trained(found.best_loss, float(test.square().mean()), count_parameters(fitted.model), found.seconds)


def cells(names: list[str], inits: list[str], rates: list[float], seeds: int, budget: int, **training: Any) -> None:
    """Print the second table."""
    print(f"\n| cell | frequencies | parameters | median test MSE of {seeds} seeds (range) | rate | seconds |")
    print("|---|---|---|---|---|---|")
    candidates = [
        (cell, {"reps": 4, "preact_trainable": True, "preact_init": name} if cell in ("qkan", "hqkan") else {})
        for cell in names
        for name in (inits if cell in ("qkan", "hqkan") else ("-",))
    ]
    for cell, own in candidates:
        options = {"data": "logistic-map", "window": 2, "device": "cpu", "cell": cell, **BARE, **training, **own}
        hidden = largest_hidden_size(TrainConfig(**options), budget)
        tried = []
        for lr in rates:
            runs = [errors(TrainConfig(**options, hidden_size=hidden, lr=lr, seed=seed)) for seed in range(seeds)]
            tried.append((statistics.median(run.validation for run in runs), lr, runs))
        _, lr, runs = min(tried, key=lambda found: found[0])
        tests, seconds = sorted(run.test for run in runs), statistics.median(run.seconds for run in runs)
        print(
            f"| {cell} | {own.get('preact_init', '-')} | {runs[0].parameters} | {statistics.median(tests):.2g} "
            f"({tests[0]:.2g} to {tests[-1]:.2g}) | {lr:g} | {seconds:.1f} |",
            flush=True,
        )


@click.command()
@click.option("--cells", "names", default=",".join(CELLS), show_default=True, help="Cells of the second table.")
@click.option("--inits", default=",".join(PREACT_INITS), show_default=True, help="Initial frequencies of circuits.")
@click.option("--rates", default="0.03,0.1", show_default=True, help="Learning rates to try.")
@click.option("--seeds", default=3, show_default=True, help="Seeds of every cell; a circuit alone has 8.")
@click.option("--epochs", default=30, show_default=True)
@click.option("--lbfgs-steps", default=0, show_default=True, help="As of qkan train lstm.")
@click.option(
    "--restarts", default=1, show_default=True, help="Starts of every fit, the best kept; auto tries every spectrum."
)
@click.option("--budget", default=140, show_default=True, help="Most parameters of a cell.")
@click.option("--only", type=click.Choice(["waves", "cells"]), help="One of the tables.  [default: both]")
def main(names: str, inits: str, rates: str, seeds: int, budget: int, only: str | None, **training: int) -> None:
    """Compare initial frequencies."""
    torch.set_num_threads(1)
    if only != "cells":
        waves(8, training["restarts"])
    if only != "waves":
        cells(names.split(","), inits.split(","), [float(rate) for rate in rates.split(",")], seeds, budget, **training)


if __name__ == "__main__":
    main()
