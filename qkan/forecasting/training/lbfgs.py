"""The finish of a training: LBFGS on all training windows at once, which the validation part stops and judges."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from qkan._util.lbfgs import loss_unit
from qkan.forecasting.config import TrainConfig
from qkan.forecasting.config.idle import idle_options
from qkan.forecasting.config.options import FINISH_PARAMETERS, FINISH_STEPS, FINISH_VALUES
from qkan.forecasting.data.batches import WindowTensors
from qkan.forecasting.model.losses import loss_of
from qkan.forecasting.training.objective import Objective
from qkan.forecasting.training.progress import FinishProgress

STEPS_BETWEEN_LOOKS = 10
LOOKS_WITHOUT_GAIN = 25
"""After so many looks at the validation part without a lower loss the finish ends.

Where the parts of a series differ it takes that many: beside an exact regression the loss may rise for 150 steps before
it falls to a quarter.
"""
_EVALUATIONS = 3 * STEPS_BETWEEN_LOOKS  # of the loss between two looks: the line search takes one or two a step
_MEMORY = 100  # steps that the curvature is estimated from
_MANY_PARAMETERS, _SHORT_MEMORY = 100_000, 10  # the memory holds two numbers a step for every parameter


class Judged(Protocol):
    """A loss of a model's weights."""

    def value(self) -> float:
        """The loss."""


class Minimised(Protocol):
    """A loss of a model's weights with its gradient."""

    def with_gradient(self) -> float:
        """The loss, with its gradient left in the parameters."""


@dataclass(frozen=True)
class Finish:
    """What LBFGS did behind the epochs of a training.

    Attributes:
        steps: Steps until the kept weights; 0 if none of them lowers the validation loss, and the epoch's are kept.
        evaluations: How often the loss of all training windows and its gradient were computed.
        before, after: Validation loss of the weights that it starts from and of the kept ones.
        seconds: Its part of the training time.
    """

    steps: int
    evaluations: int
    before: float
    after: float
    seconds: float


def finish_steps(config: TrainConfig, parameters: int, windows: int) -> int:
    """Return how many steps of LBFGS a training ends with at most.

    Unless it was asked for, that is none beside options that it cannot go with, and none for large models or many
    windows, whose steps would take longer than the epochs.

    Args:
        config: The options; ``lbfgs_steps`` of ``None`` was not asked for.
        parameters: Trained parameters of the model.
        windows: Training windows.
    """
    if config.lbfgs_steps is not None:
        return config.lbfgs_steps
    values = windows * (config.context + config.trained_horizon)
    small = parameters <= FINISH_PARAMETERS and values <= FINISH_VALUES
    return FINISH_STEPS if small and "lbfgs_steps" not in idle_options(config) else 0


def finish_with_lbfgs(
    model: nn.Module,
    train: WindowTensors,
    validation: WindowTensors,
    config: TrainConfig,
    steps: int,
    shown: FinishProgress | None = None,
) -> Finish:
    """Go on from the weights of a trained model with LBFGS and a strong Wolfe line search, in place.

    The weights with the lowest validation loss among those of the start and of every tenth step are kept, so the model
    is never worse by validation. No random number is drawn: the same start gives the same end. It computes in float64,
    since a line search in float32 ends early where neighbouring values are nearly the same; models of many parameters
    stay as they are.

    Args:
        model: The model with the weights to go on from, on the device to compute on; its dtype stays.
        train: Windows to train on, all in each evaluation of the loss.
        validation: Windows to stop and judge by, one or more.
        config: The loss and its quantiles are used.
        steps: Most steps.
        shown: Told about every look at the validation part.
    """
    begin, was_training, loss = time.perf_counter(), model.training, loss_of(config)
    kept = next(model.parameters()).dtype
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    before, start = Objective(model, validation, loss).value(), _copy(model)
    model.to(torch.float64 if _few(parameters) else kept)
    model.train()  # cuDNN's LSTM has no gradient elsewhere; there is no dropout
    objective = Objective(model, train, loss)
    objective.unit = loss_unit(objective.value())

    def told(done: int, in_unit: float, val_loss: float) -> None:
        if shown is not None:
            shown.lbfgs_step(done, in_unit / objective.unit, val_loss)

    if shown is not None:
        shown.lbfgs_start(steps)
    best_steps = descend(model, objective, Objective(model, validation, loss), steps, told=told)
    if shown is not None:
        shown.lbfgs_finish()
    model.to(kept).train(was_training)
    for parameter in parameters:
        parameter.grad = None
    after = Objective(model, validation, loss).value()
    if not after < before:  # also where the gain is lost with the digits
        model.load_state_dict(start)
        after, best_steps = before, 0
    return Finish(best_steps, objective.evaluations, before, after, time.perf_counter() - begin)


def descend(
    model: nn.Module,
    objective: Minimised,
    judged: Judged,
    steps: int,
    *,
    patience: int = LOOKS_WITHOUT_GAIN,
    told: Callable[[int, float, float], None] | None = None,
) -> int:
    """Lower an objective with LBFGS, in the dtype that the weights have, and keep the weights that are judged best.

    Args:
        model: Its trained parameters are moved, and end at the best judged weights, those of the start included.
        objective: The loss that LBFGS lowers.
        judged: What every tenth step is judged by.
        steps: Most steps.
        patience: After so many looks without a lower value the search ends.
        told: Called at every look with the steps made, the objective some steps ago and the judged value.

    Returns:
        The steps until the kept weights; 0 for those of the start.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = _optimizer(parameters)
    (group,) = optimizer.param_groups
    best, weights, best_steps = judged.value(), _copy(model), 0
    done, looks = 0, 0
    while done < steps and looks < patience:
        group["max_iter"] = min(STEPS_BETWEEN_LOOKS, steps - done)
        before = optimizer.step(objective.with_gradient)
        made = optimizer.state[group["params"][0]]["n_iter"]
        loss, looks = judged.value(), looks + 1
        if told is not None:
            told(made, before, loss)
        if loss < best:
            best, weights, best_steps, looks = loss, _copy(model), made, 0
        if made == done or not math.isfinite(loss):  # nothing lowers the training loss, or it went out of range
            break
        done = made
    model.load_state_dict(weights)
    return best_steps


def _few(parameters: list[nn.Parameter]) -> bool:
    return sum(parameter.numel() for parameter in parameters) <= _MANY_PARAMETERS


def _optimizer(parameters: list[nn.Parameter]) -> torch.optim.LBFGS:
    return torch.optim.LBFGS(
        parameters,
        max_eval=_EVALUATIONS,
        history_size=_MEMORY if _few(parameters) else _SHORT_MEMORY,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}
