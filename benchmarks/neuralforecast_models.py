"""Our models in neuralforecast beside its own LSTM of the same number of trained parameters: accuracy and time.

    pip install 'qkan-seq[neuralforecast]'
    python -m benchmarks.neuralforecast_models

Data: AirPassengersPanel, two monthly series that come with neuralforecast. Rolling origin: the last 24 months in two
windows of 12. All models have the same decoder, scaler, learning rate and steps; only the encoder differs.
"""

import logging
import statistics
import time
import warnings
from itertools import pairwise
from typing import Any

import click
import torch
from torch import nn

OURS = ("QKANLSTM", "HQKANLSTM", "QKANGRU")


def encoder_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.hist_encoder.parameters())  # type: ignore[union-attr]


def of_size(kind: Any, budget: int, options: dict[str, Any]) -> dict[str, Any]:
    """The options with the largest hidden size whose encoder has at most ``budget`` trained parameters."""
    size = 1
    while encoder_parameters(kind(**options, encoder_hidden_size=size + 1)) <= budget:
        size += 1
    return {**options, "encoder_hidden_size": size}


def trial(kind: Any, options: dict[str, Any]) -> tuple[float, float]:
    """Mean absolute error over two windows, and milliseconds of CPU time a training step, the first ten left out."""
    from neuralforecast import NeuralForecast
    from neuralforecast.utils import AirPassengersPanel
    from pytorch_lightning.callbacks import Callback

    stamps: list[float] = []

    class Clock(Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            stamps.append(time.process_time())

    model = kind(**options, callbacks=[Clock()])
    folds = NeuralForecast([model], freq="ME").cross_validation(AirPassengersPanel, n_windows=2, step_size=12)
    steps = [after - before for before, after in pairwise(stamps[9:])]
    return float((folds["y"] - folds[repr(model)]).abs().mean()), 1e3 * statistics.median(steps)


@click.command()
@click.option("--hidden-size", default=16, show_default=True, help="Units of neuralforecast's LSTM.")
@click.option("--steps", default=150, show_default=True, help="Training steps.")
@click.option("--seeds", default=3, show_default=True, help="Repetitions.")
@click.option("--scaler", default="minmax1", show_default=True, help="scaler_type of every model.")
def main(hidden_size: int, steps: int, seeds: int, scaler: str) -> None:
    from neuralforecast.models import LSTM

    from qkan.interop import neuralforecast as ours

    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    warnings.filterwarnings("ignore")
    options: dict[str, Any] = {
        "h": 12,
        "input_size": 24,
        "max_steps": steps,
        "learning_rate": 5e-3,
        "encoder_n_layers": 1,
        "decoder_hidden_size": 32,
        "scaler_type": scaler,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "logger": False,
    }
    theirs = {**options, "encoder_hidden_size": hidden_size}
    budget = encoder_parameters(LSTM(**theirs))
    rows = {"LSTM": (LSTM, theirs)}
    for name in OURS:
        kind = getattr(ours, name)
        rows[name] = (kind, of_size(kind, budget, options | ({"latent_features": 8} if name == "HQKANLSTM" else {})))
    print("| model | units | encoder's parameters | MAE, median (all seeds) | CPU ms a step |")
    print("|---|---|---|---|---|")
    for name, (kind, chosen) in rows.items():
        trials = [trial(kind, {**chosen, "random_seed": seed}) for seed in range(1, seeds + 1)]
        errors = [error for error, _ in trials]
        spread = ", ".join(f"{error:.1f}" for error in errors)
        print(
            f"| {name} | {chosen['encoder_hidden_size']} | {encoder_parameters(kind(**chosen))} | "
            f"{statistics.median(errors):.1f} ({spread}) | {statistics.median(ms for _, ms in trials):.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
