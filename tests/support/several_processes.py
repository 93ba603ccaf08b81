"""Trainings that several processes and a single one must end alike; run as a module, this is one of two processes."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from qkan.forecasting import train
from qkan.forecasting.config import TrainConfig
from qkan.forecasting.data.batches import WindowTensors
from qkan.forecasting.model.build import build_forecaster
from qkan.forecasting.training.distributed import rank_of
from qkan.forecasting.training.loop import FitResult, fit
from qkan.forecasting.training.progress import Silent

_TINY = {"data": "(made)", "window": 4, "epochs": 3, "lr": 0.03, "device": "cpu", "hidden_size": 2, "season": "none"}

CASES = {
    # 3 series of 23 windows in batches of 17: the last batch has a single window, which only one of two processes has.
    "masked": TrainConfig(**_TINY, cell="lstm", batch_size=17, missing="mask", loss="mae"),
    "sharded": TrainConfig(**_TINY, cell="qkan", batch_size=16, horizon=2, loss="quantile", shards=2),
    "precise": TrainConfig(**_TINY, cell="gru", batch_size=8, precision="64-true", patience=1),
}


def panel(config: TrainConfig, per_series: int, seed: int) -> WindowTensors:
    """Windows of three series one after the other; with ``mask``, a third of the values is missing at random."""
    rng = np.random.default_rng(seed)
    length = per_series + config.window + config.horizon - 1
    values = torch.from_numpy(rng.normal(size=(3 * length, 1)).cumsum(0)).float() / 5
    first = torch.cat([series * length + torch.arange(per_series) for series in range(3)])
    series, weights = torch.arange(3).repeat_interleave(per_series), None
    if config.missing == "mask":
        weights = torch.from_numpy(rng.random(3 * length) > 1 / 3).float()
        values = torch.cat([values, weights[:, None]], dim=1)
        useful = weights[first + config.window] > 0
        first, series = first[useful], series[useful]
    known = torch.zeros(len(values), 0)
    return WindowTensors(values, known, weights, first, config.window, config.horizon, weights is not None, series)


class Keeping(Silent):
    """Keeps a copy of the checkpoint of the first epoch."""

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint

    def epoch(self, metrics) -> None:
        """Copy before the checkpoint of this epoch replaces it."""
        if metrics["epoch"] == 2:
            shutil.copy(self.checkpoint, f"{self.checkpoint}.first")


def trained(config: TrainConfig, checkpoint: Path) -> dict:
    """Train and return weights and history, as plain values."""
    model = build_forecaster(config, torch.Generator().manual_seed(config.seed))
    training, validation = panel(config, 23, seed=0), panel(config, 3, seed=1)
    result: FitResult = fit(model, training, validation, config, checkpoint=checkpoint, progress=Keeping(checkpoint))
    return {"weights": model.state_dict(), "history": result.history, "best": result.best_epoch}


def panel_config(folder: Path, **options: int) -> TrainConfig:
    """A training on the panel in a folder, in two shards."""
    shape = {"window": 4, "hidden_size": 2, "epochs": 2, "batch_size": 16, "shards": 2, "lbfgs_steps": 0}
    return TrainConfig(data=str(folder / "panel"), cell="lstm", device="cpu", **{**shape, **options})


def main(folder: Path) -> None:
    """Do every case in two processes, one from a checkpoint of a single one too, and one from a panel on disk."""
    torch.set_num_threads(1)
    results = {name: trained(replace(c, devices=2), folder / f"two-{name}") for name, c in CASES.items()}
    resumed = replace(CASES["masked"], devices=2)
    results["resumed"] = trained(resumed, folder / "two-resumed")
    run = train(panel_config(folder, devices=2), folder / "two-panel")
    results["panel"] = {"weights": run.model.state_dict(), "mapped": run.metrics["mapped_values"]}
    torch.save(results, folder / f"results{rank_of(resumed)}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
