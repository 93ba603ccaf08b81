"""Near-linear against normal initial angles: the measurement behind the default (docs/decisions.md).

    python -m benchmarks.initial_values             # about five minutes of one core

Trains each cell on each series with both schemes through the training loop of ``qkan train``, at learning rates 3e-2
and 1e-1, and prints the median test error over seeds at the learning rate of the lower median validation error.
"""

import statistics
from collections.abc import Callable

import click
import torch
from torch import nn

from qkan import HQKANLSTM, QKANLSTM
from qkan.forecasting.config import TrainConfig
from qkan.forecasting.data.batches import predict_windows
from qkan.forecasting.data.load import load_windows, tensors
from qkan.forecasting.model.build import count_parameters
from qkan.forecasting.model.forecaster import RecurrentForecaster, Surroundings
from qkan.forecasting.training.loop import fit

Make = Callable[[str, torch.Generator], nn.Module]


def _qkan(hidden: int, **options: object) -> tuple[int, Make]:
    return hidden, lambda init, generator: QKANLSTM(
        1, hidden, batch_first=True, init=init, generator=generator, **options
    )


def _hqkan(hidden: int, **options: object) -> tuple[int, Make]:
    return hidden, lambda init, generator: HQKANLSTM(
        1, hidden, batch_first=True, init=init, generator=generator, **options
    )


SHARED = {"group": "input", "postact_weight_trainable": True}
CASES: list[tuple[str, str, int, tuple[int, Make]]] = [
    ("telecom", "QKAN-LSTM, circuit per input, hidden 3, R = 1", 12, _qkan(3, **SHARED)),
    ("damped-shm", "QKAN-LSTM, circuit per edge, hidden 1, R = 1, no bias", 4, _qkan(1, bias=False)),
    ("bessel-j2", "QKAN-LSTM, circuit per edge, hidden 1, R = 1, no bias", 4, _qkan(1, bias=False)),
    ("damped-shm", "QKAN-LSTM, circuit per edge, hidden 2, R = 2", 4, _qkan(2, reps=2)),
    ("narma-5", "QKAN-LSTM, circuit per edge, hidden 2, R = 2", 4, _qkan(2, reps=2)),
    ("narma-5", "HQKAN-LSTM, latent 2, hidden 4, R = 2", 4, _hqkan(4, reps=2)),
    (
        "logistic-map",
        "HQKAN-LSTM, latent 2, hidden 4, R = 4, trained pre-activations",
        2,
        _hqkan(4, reps=4, preact_trainable=True),
    ),
]


def errors(
    data: str, window: int, hidden: int, make: Make, init: str, lr: float, seed: int
) -> tuple[float, float, int]:
    """Validation and test mean squared error of scaled values, and trained parameters."""
    epochs = 12 if data == "telecom" else 30
    config = TrainConfig(data=data, window=window, epochs=epochs, lr=lr, seed=seed, patience=epochs, season="none")
    windows = load_windows(config)
    torch.manual_seed(seed)  # the head
    cell = make(init, torch.Generator().manual_seed(seed))
    model = RecurrentForecaster(cell, 1, hidden, 1, Surroundings(window))
    fitted = fit(model, tensors(windows.train), tensors(windows.validation), config)
    error = (predict_windows(model, tensors(windows.test))[:, :, 0] - torch.from_numpy(windows.test.targets)).square()
    return fitted.best_loss, error.mean().item(), count_parameters(model)


@click.command()
@click.option("--seeds", default=3, show_default=True)
@click.option("--skip-telecom", is_flag=True, help="Leave out the series that takes longest.")
def main(seeds: int, skip_telecom: bool) -> None:
    """Compare the two schemes of initial angles."""
    torch.set_num_threads(1)
    print("| series | cell | parameters | near-linear | normal |\n|---|---|---|---|---|")
    for data, name, window, (hidden, make) in CASES:
        if skip_telecom and data == "telecom":
            continue
        shown, parameters = [], 0
        for init in ("near_linear", "normal"):
            medians = []
            for lr in (3e-2, 1e-1):
                runs = [errors(data, window, hidden, make, init, lr, seed) for seed in range(seeds)]
                medians.append((statistics.median(r[0] for r in runs), statistics.median(r[1] for r in runs)))
                parameters = runs[0][2]
            shown.append(f"{min(medians)[1]:.2g}")
        print(f"| {data} | {name} | {parameters} | {shown[0]} | {shown[1]} |", flush=True)


if __name__ == "__main__":
    main()
