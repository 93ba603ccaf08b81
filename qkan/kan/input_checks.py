"""Checks of the samples, the losses and the options that the toolbox of QKAN takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qkan.kan.fit_history import FitRow
from qkan.layers.options import finite_float, positive_int

Loss = Callable[[Tensor, Tensor], Tensor]
Callback = Callable[[FitRow], Any]
Pair = tuple[Tensor, Tensor]

OPTIMIZERS = ("adam+lbfgs", "adam", "lbfgs")
STEPS = 400


def samples(name: str, values: Any, least: int = 1) -> Tensor:
    """``values`` if it is a tensor of ``least`` samples or more (its first dimension) without NaN or infinity.

    Raises:
        TypeError: not a tensor.
        ValueError: no dimension, too few samples, or values that are not finite.
    """
    if not isinstance(values, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(values).__name__}; convert it with torch.as_tensor")
    if values.dim() == 0 or values.shape[0] < least:
        raise ValueError(
            f"{name} of shape {tuple(values.shape)} must hold {least} or more samples in its first dimension"
        )
    if values.numel() == 0:
        raise ValueError(f"{name} of shape {tuple(values.shape)} is empty; give at least one value a sample")
    bad = values.numel() - int(torch.isfinite(values).sum())
    if bad:
        raise ValueError(f"{name} has {bad} of {values.numel()} values that are NaN or infinite; remove or fill them")
    return values


def paired_samples(x: Any, y: Any, where: str = "") -> tuple[Tensor, Tensor]:
    """``x`` and ``y`` if they are :func:`samples` of the same number, x of shape (samples, ..., features), real.

    Args:
        x, y: the values to check.
        where: what to call them in messages, put in front of "x" and "y".

    Raises:
        TypeError, ValueError: they are not.
    """
    x, y = samples(f"{where}x", x), samples(f"{where}y", y)
    if not x.is_floating_point():
        raise TypeError(f"{where}x must be floating point, got {x.dtype}; convert it with x.float()")
    if x.dim() < 2:
        raise ValueError(f"{where}x of shape {tuple(x.shape)} must have the shape (samples, ..., features)")
    if x.shape[0] != y.shape[0]:
        raise ValueError(f"{where}x has {x.shape[0]} samples but {where}y has {y.shape[0]}; they must be as many")
    return x, y


def same_shape(prediction: Tensor, y: Tensor, where: str = "") -> None:
    """Check that targets have the shape of predictions but for the number of samples, so that no loss broadcasts.

    Raises:
        ValueError: it has another one.
    """
    wanted = (y.shape[0], *prediction.shape[1:])
    if wanted == tuple(y.shape):
        return
    fix = "; use y.unsqueeze(-1)" if wanted == (*y.shape, 1) else ""
    if wanted[:-1] == tuple(y.shape[:-1]):
        raise ValueError(
            f"{where}y has {y.shape[-1]} columns, but the model has {prediction.shape[-1]} outputs; "
            "give one column an output, or build the model with as many outputs"
        )
    raise ValueError(f"{where}y of shape {tuple(y.shape)} must have the shape of the model's output, {wanted}{fix}")


def checked_width(width: Sequence[int]) -> list[int]:
    """Sizes of layers as a list.

    Raises:
        TypeError: no sequence.
        ValueError: fewer than two.
    """
    if not isinstance(width, Iterable):
        raise TypeError(f"width must be a sequence of sizes such as [2, 5, 1], got {width!r}")
    width = list(width)
    if len(width) < 2:
        raise ValueError(f"width {width} needs an input and an output size, for example [2, 5, 1]")
    return width


def loss_function(loss: str | Loss) -> Loss:
    """The loss of that name, or ``loss`` itself if it is callable.

    Raises:
        ValueError: an unknown name.
        TypeError: neither a name nor callable.
    """
    if isinstance(loss, str):
        if loss != "mse":
            raise ValueError(f"unknown loss {loss!r}; use 'mse' or a callable of (prediction, target)")
        return F.mse_loss
    if not callable(loss):
        raise TypeError(f"loss must be 'mse' or a callable of (prediction, target), got {type(loss).__name__}")
    return loss


class FitOptions(TypedDict, total=False):
    """The options of :func:`fit`; see there."""

    validation: Pair | None
    optimizer: str
    steps: int | tuple[int, int]
    restarts: int
    lr: float | None
    batch_size: int | None
    loss: str | Loss
    l1: float | None
    entropy: float | None
    generator: torch.Generator | None
    callback: Callback | None


@dataclass(frozen=True, kw_only=True)
class FitPlan:
    """The options of a fit, checked."""

    validation: Pair | None = None
    optimizer: str = "adam+lbfgs"
    steps: int | tuple[int, int] = STEPS
    restarts: int = 1
    lr: float | None = None
    batch_size: int | None = None
    loss: str | Loss = "mse"
    l1: float | None = None
    entropy: float | None = None
    generator: torch.Generator | None = None
    callback: Callback | None = None

    def __post_init__(self) -> None:
        budget = self.budget()
        positive_int("restarts", self.restarts)
        if self.lr is not None:
            finite_float("lr", self.lr, positive=True)
        if self.batch_size is not None:
            positive_int("batch_size", self.batch_size)
            if not budget["adam"]:
                raise ValueError(f"batch_size {self.batch_size} is for Adam, but LBFGS takes all samples; leave it out")
        for name in ("l1", "entropy"):
            if getattr(self, name) is not None:
                finite_float(name, getattr(self, name), fix="leave it out for what a QKAN does by itself")

    def budget(self) -> dict[str, int]:
        """The steps of Adam and of LBFGS."""
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"unknown optimizer {self.optimizer!r}; use one of {', '.join(OPTIMIZERS)}")
        if self.optimizer != "adam+lbfgs":
            count = positive_int("steps", self.steps)  # type: ignore[arg-type]
            return {"adam": 0, "lbfgs": 0, self.optimizer: count}
        if isinstance(self.steps, tuple | list):
            if len(self.steps) != 2:
                raise ValueError(f"steps {self.steps} must be one number, or two: those of Adam and of LBFGS")
            adam, lbfgs = self.steps
            return {"adam": positive_int("steps of adam", adam), "lbfgs": positive_int("steps of lbfgs", lbfgs)}
        total = positive_int("steps", self.steps)
        return {"adam": -(-total // 4), "lbfgs": total - -(-total // 4)}

    def phases(self, sparse: bool) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """Optimizers and their steps: those of every attempt at few edges, and those after it, or all of them."""
        phases = [(name, count) for name, count in self.budget().items() if count]
        if not sparse:
            return [], phases
        name, count = phases.pop()
        third = -(-count // 3)
        return [*phases, (name, third)], [(name, count - third)] if count > third else []


def checked_data(x: Tensor, y: Tensor, validation: Pair | None) -> tuple[Pair, Pair | None]:
    """Samples to train on and, if any, to validate with, in the form of :func:`paired_samples`."""
    data = paired_samples(x, y)
    if validation is None:
        return data, None
    if not isinstance(validation, tuple | list) or len(validation) != 2:
        raise TypeError(f"validation must be a pair (x, y) of tensors, got {type(validation).__name__}")
    return data, paired_samples(*validation, "validation ")


def probe(model: nn.Module, pair: Pair, loss: Loss, *, exact: bool, where: str = "") -> None:
    """Try one sample, so that a wrong shape is an error before the first step and no loss broadcasts silently."""
    x, y = pair[0][:1], pair[1][:1]
    model.eval()
    with torch.no_grad():
        prediction = model(x)
        if not isinstance(prediction, Tensor):
            raise TypeError(f"{type(model).__name__} must return one tensor, got {type(prediction).__name__}")
        if exact:
            same_shape(prediction, pair[1], where)
        value = loss(prediction, y)
    if not isinstance(value, Tensor) or value.dim():
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"loss must give a scalar tensor, got {shape}; take the mean over the samples")
