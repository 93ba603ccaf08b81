"""Frequencies that circuits start with, and the controls without circuits: the tables of docs/initialisation.md.

    python -m benchmarks.initial_frequencies            # about ten minutes of one core
    python -m benchmarks.initial_frequencies --waves    # the first table alone, one minute

The first table fits one circuit of three repetitions with trained frequencies to waves on [-pi, pi] (Adam, 400 steps).
The second trains bare cells, without level, skip and season, on the logistic map's third iterate with the training loop
of ``qkan train``: learning rates 3e-2 and 1e-1, chosen by the lower median validation error.
"""

import math
import statistics

import click
import torch

from qkan import QKAN
from qkan.forecasting.config import TrainConfig
from qkan.forecasting.config.options import CONTROL_CELLS, PREACT_INITS
from qkan.forecasting.data.batches import predict_windows
from qkan.forecasting.data.load import as_cut, load_windows, tensors
from qkan.forecasting.model.build import count_parameters, largest_hidden_size
from qkan.forecasting.training.fitting import fit_forecaster

WAVES = {
    "sin 9x": lambda x: torch.sin(9 * x),
    "sin 7.2x + cos 10.3x": lambda x: torch.sin(7.2 * x) + torch.cos(10.3 * x),
    "sin x + cos 2x": lambda x: torch.sin(x) + torch.cos(2 * x),
}
BARE = {"season": "none", "level": "none", "skip": 0, "decoder": "last", "gate": False}


def r2(wave: str, preact_init: str, seed: int) -> float:
    """Coefficient of determination of one circuit fitted to a wave."""
    x = torch.linspace(-math.pi, math.pi, 200).unsqueeze(1)
    y = WAVES[wave](x)
    generator = torch.Generator().manual_seed(seed)
    network = QKAN([1, 1], reps=3, preact_init=preact_init, postact_bias_trainable=True, generator=generator)
    network.fit(x, y, optimizer="adam", steps=400, lr=5e-2, entropy=0.0)
    return 1 - float((network(x).detach() - y).square().mean() / y.var(correction=0))


def waves(seeds: int) -> None:
    """Print the first table."""
    print(f"| median R2 of {seeds} seeds | {' | '.join(PREACT_INITS)} |\n|---|{'---|' * len(PREACT_INITS)}")
    for wave in WAVES:
        found = [statistics.median(r2(wave, name, seed) for seed in range(seeds)) for name in PREACT_INITS]
        print(f"| {wave} | {' | '.join(f'{value:.3f}' for value in found)} |", flush=True)


def errors(config: TrainConfig) -> tuple[float, float, int]:
    """Validation and test mean squared error of scaled values, and trained parameters."""
    data = load_windows(config)
    fitted = fit_forecaster(as_cut(config, data), data)
    test = predict_windows(fitted.model, tensors(data.test))[:, :, 0] - torch.from_numpy(data.test.targets)
    return fitted.result.best_loss, float(test.square().mean()), count_parameters(fitted.model)


def cells(seeds: int, epochs: int, budget: int) -> None:
    """Print the second table."""
    print(f"\n| cell | frequencies | parameters | median test MSE of {seeds} seeds, {epochs} epochs | rate |")
    print("|---|---|---|---|---|")
    circuits = [
        (cell, {"reps": 4, "preact_trainable": True, "preact_init": name})
        for cell in ("qkan", "hqkan")
        for name in PREACT_INITS
    ]
    for cell, own in (*circuits, *((cell, {}) for cell in (*CONTROL_CELLS, "lowrank", "lstm"))):
        options = {"data": "logistic-map", "window": 2, "epochs": epochs, "device": "cpu", "cell": cell, **BARE, **own}
        hidden = largest_hidden_size(TrainConfig(**options), budget)
        medians = []
        for lr in (3e-2, 1e-1):
            runs = [errors(TrainConfig(**options, hidden_size=hidden, lr=lr, seed=seed)) for seed in range(seeds)]
            medians.append((*(statistics.median(run[k] for run in runs) for k in (0, 1)), runs[0][2], lr))
        _, test, parameters, lr = min(medians)
        print(f"| {cell} | {own.get('preact_init', '-')} | {parameters} | {test:.2g} | {lr:g} |", flush=True)


@click.command()
@click.option("--seeds", default=3, show_default=True, help="Seeds of every cell; a circuit alone has 8.")
@click.option("--epochs", default=30, show_default=True)
@click.option("--budget", default=140, show_default=True, help="Most parameters of a cell.")
@click.option("--waves", "only_waves", is_flag=True, help="Leave out the cells.")
def main(seeds: int, epochs: int, budget: int, only_waves: bool) -> None:
    """Compare initial frequencies."""
    torch.set_num_threads(1)
    waves(8)
    if not only_waves:
        cells(seeds, epochs, budget)


if __name__ == "__main__":
    main()
