"""How every model is trained: in units of the training part, by Adam, then by LBFGS."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.quantum_series.cells import build, parameters, widest
from benchmarks.quantum_series.tasks import Part, Task
from qkan._util.lbfgs import loss_unit
from qkan.forecasting.training.lbfgs import descend

BATCH, PATIENCE, GRADIENT_NORM = 64, 20, 1.0
LOOKS = 10  # at the validation part, one every ten steps of LBFGS, without a lower error
RATES = {"tuned": (1e-2, 3e-2), "paper": (1e-3,)}
EPOCHS = {"tuned": 50, "paper": 500}
STEPS = {"tuned": 1000, "paper": 0}


class Standardized(nn.Module):
    """A model of values with zero mean and unit variance over the training part, for windows of other values."""

    def __init__(self, model: nn.Module, train: Part) -> None:
        super().__init__()
        self.model = model
        inputs, targets = train[0].flatten(0, 1), train[1]
        for name, values in (("input", inputs), ("target", targets)):
            self.register_buffer(f"{name}_mean", values.mean(dim=0))
            self.register_buffer(f"{name}_std", values.std(dim=0))

    def forward(self, window: Tensor) -> Tensor:
        """Map (B, window, features) to (B, features), both in the units of the task."""
        return self.target_mean + self.target_std * self.model((window - self.input_mean) / self.input_std)


class Error:
    """The mean squared error over all windows and coordinates of a part, in the dtype that a model has now.

    Args:
        model: The model.
        part: The windows.

    Attributes:
        unit: Factor that :meth:`with_gradient` counts the error with; see :func:`qkan._util.lbfgs.loss_unit`.
    """

    def __init__(self, model: nn.Module, part: Part) -> None:
        self.unit = 1.0
        dtype = next(model.parameters()).dtype
        self.model, self.inputs, self.targets = model, part[0].to(dtype), part[1].to(dtype)

    @torch.no_grad()
    def value(self) -> float:
        """The error."""
        return float(nn.functional.mse_loss(self.model(self.inputs), self.targets))

    def with_gradient(self) -> float:
        """The error times :attr:`unit`, with its gradient left in the parameters."""
        self.model.zero_grad()
        loss = nn.functional.mse_loss(self.model(self.inputs), self.targets) * self.unit
        loss.backward()
        return float(loss.detach())


@dataclass(frozen=True)
class Training:
    """How models are trained.

    Attributes:
        protocol: ``tuned`` or ``paper``.
        epochs: Of Adam, at most.
        steps: Of LBFGS behind them, at most.
        budget: Most parameters of a model.
    """

    protocol: str
    epochs: int
    steps: int
    budget: int

    def runs(self, cell: str, task: Task, rates: tuple[float, ...], seed: int) -> list[dict[str, Any]]:
        """Train one model a rate with Adam, go on with the one that has the lowest validation error, and judge all."""
        trained = [self._adam(cell, task, rate, seed) for rate in rates]
        model, row = min(trained, key=lambda found: found[1]["adam_validation"])
        row["chosen"] = True
        if self.steps:
            row.update(self._finish(model, task))
        return [row for _, row in trained]

    def _adam(self, cell: str, task: Task, rate: float, seed: int) -> tuple[nn.Module, dict[str, Any]]:
        train, validation, test = task.parts()
        features = train[1].shape[1]
        width = widest(cell, task, features, self.budget)
        torch.manual_seed(seed)
        model = build(cell, task, features, width)
        if self.protocol == "tuned":
            model = Standardized(model, train)
        begun, judged = time.perf_counter(), Error(model, validation)
        best, weights, best_epoch = judged.value(), copy.deepcopy(model.state_dict()), 0
        for epoch, failed in enumerate(self._epochs(model, train, rate), 1):
            now = judged.value()
            if now < best:
                best, weights, best_epoch = now, copy.deepcopy(model.state_dict()), epoch
            if failed or (self.protocol == "paper" and epoch - best_epoch >= PATIENCE):
                break
        seconds = time.perf_counter() - begun
        model.load_state_dict(weights)
        reached = Error(model, test).value()
        return model, {
            "cell": cell, "rate": rate, "seed": seed, "width": width, "parameters": parameters(model), "epochs": epoch,
            "best_epoch": best_epoch, "adam_validation": best, "adam_test": reached, "seconds": round(seconds, 3),
            "steps": 0, "validation": best, "test": reached, "finish_seconds": 0.0, "chosen": False,
        }  # fmt: skip

    def _finish(self, model: nn.Module, task: Task) -> dict[str, Any]:
        """Go on with LBFGS in float64."""
        begun, (train, validation, test) = time.perf_counter(), task.parts()
        judged = Error(model.double(), validation)
        objective = Error(model, train)
        objective.unit = loss_unit(objective.value())
        steps = descend(model, objective, judged, self.steps, patience=LOOKS)
        seconds = round(time.perf_counter() - begun, 3)
        reached = Error(model, test).value()
        return {"steps": steps, "validation": judged.value(), "test": reached, "finish_seconds": seconds}

    def _epochs(self, model: nn.Module, train: Part, rate: float) -> Iterator[bool]:
        """Train, and yield after every epoch whether its loss stopped being finite."""
        optimizer = torch.optim.Adam(model.parameters(), rate)
        steps = -(-len(train[0]) // BATCH)
        cycle = None
        if self.protocol == "tuned":
            cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=self.epochs * steps)
        for _ in range(self.epochs):
            for chosen in torch.randperm(len(train[0])).split(BATCH):
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(model(train[0][chosen]), train[1][chosen])
                loss.backward()
                if cycle is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
                optimizer.step()
                if cycle is not None:
                    cycle.step()
            yield not bool(torch.isfinite(loss))
