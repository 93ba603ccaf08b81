"""The finish of a training: LBFGS on all training windows at once, which the validation part stops and judges."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qkan.forecasting.config import TrainConfig
from qkan.forecasting.data.batches import Batch, WindowTensors, in_order
from qkan.forecasting.model.losses import loss_of

STEPS_BETWEEN_LOOKS = 10
LOOKS_WITHOUT_GAIN = 10
"""After so many looks at the validation part without a lower loss the finish ends."""
_EVALUATIONS = 3 * STEPS_BETWEEN_LOOKS  # of the loss between two looks: the line search takes one or two a step
_MEMORY = 100  # steps that the curvature is estimated from
_MANY_PARAMETERS, _SHORT_MEMORY = 100_000, 10  # the memory holds two numbers a step for every parameter


@dataclass(frozen=True)
class Finish:
    """What LBFGS did behind the epochs of a training.

    Attributes:
        steps: Steps until the kept weights; 0 if none of them lowers the validation loss, and the epoch's are kept.
        evaluations: How often the loss of all training windows and its gradient were computed.
        before, after: Validation loss of the epoch that it starts from and of the kept weights.
        seconds: Its part of the training time.
    """

    steps: int
    evaluations: int
    before: float
    after: float
    seconds: float


def finish_with_lbfgs(model: nn.Module, train: WindowTensors, validation: WindowTensors, config: TrainConfig) -> Finish:
    """Go on from the weights of a trained model with LBFGS and a strong Wolfe line search, in place.

    The weights with the lowest validation loss among those of the start and of every tenth step are kept, so the model
    is never worse by validation. No random number is drawn: the same start gives the same end. It computes in the
    dtype of the weights, in float64 with ``precision="64-true"``; a mixed precision is too coarse for its line search.

    Args:
        model: The model with the weights of its best epoch, on the device to compute on; its dtype stays.
        train: Windows to train on, all in each evaluation of the loss.
        validation: Windows to stop and judge by, one or more.
        config: ``lbfgs_steps``, the loss, its quantiles and ``precision`` are used.
    """
    begin, was_training = time.perf_counter(), model.training
    kept = next(model.parameters()).dtype
    objective = _Objective(model.to(torch.float64 if config.precision == "64-true" else kept), train, config)
    judged = _Objective(model, validation, config)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.train()  # which changes nothing without a dropout, and cuDNN's LSTM has no gradient elsewhere
    before = judged.value()
    best, weights, best_steps = before, _copy(model), 0
    steps, looks = 0, 0
    optimizer = _optimizer(parameters)
    while steps < config.lbfgs_steps and looks < LOOKS_WITHOUT_GAIN:
        optimizer.param_groups[0]["max_iter"] = min(STEPS_BETWEEN_LOOKS, config.lbfgs_steps - steps)
        optimizer.step(objective.with_gradient)
        made = optimizer.state[parameters[0]]["n_iter"]
        loss, looks = judged.value(), looks + 1
        if loss < best:
            best, weights, best_steps, looks = loss, _copy(model), made, 0
        if made == steps or not math.isfinite(loss):  # nothing lowers the training loss, or it went out of range
            break
        steps = made
    model.load_state_dict(weights)
    model.to(kept).train(was_training)
    for parameter in parameters:
        parameter.grad = None
    return Finish(best_steps, objective.evaluations, before, best, time.perf_counter() - begin)


def _optimizer(parameters: list[nn.Parameter]) -> torch.optim.LBFGS:
    few = sum(parameter.numel() for parameter in parameters) <= _MANY_PARAMETERS
    return torch.optim.LBFGS(
        parameters,
        max_eval=_EVALUATIONS,
        history_size=_MEMORY if few else _SHORT_MEMORY,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


class _Objective:
    """The mean loss of all observed targets of windows, computed in pieces of bounded size."""

    def __init__(self, model: nn.Module, windows: WindowTensors, config: TrainConfig) -> None:
        like = next(model.parameters())
        self.model, self.loss, self.dtype = model, loss_of(config), like.dtype
        self.windows, self.evaluations = windows.to(like.device), 0
        whole = [self.windows.batch(index).observed() for index in in_order(len(windows))]
        self.observed = torch.stack(whole).sum()

    def value(self) -> float:
        """The loss."""
        with torch.no_grad():
            return math.fsum(float(self._part(index)) for index in in_order(len(self.windows)))

    def with_gradient(self) -> float:
        """The loss, with its gradient left in the parameters."""
        self.evaluations += 1
        self.model.zero_grad()
        total = []
        with torch.enable_grad():
            for index in in_order(len(self.windows)):
                part = self._part(index)
                part.backward()
                total.append(float(part.detach()))
        return math.fsum(total)

    def _part(self, index: Tensor) -> Tensor:
        """What some windows add to the mean."""
        batch: Batch = self.windows.batch(index)
        predicted = self.model(*(argument.to(self.dtype) for argument in batch.arguments))
        share = batch.observed() / self.observed
        return self.loss(predicted, batch.targets.to(self.dtype), batch.weights) * share.to(self.dtype)
