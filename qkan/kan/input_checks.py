"""Checks of the samples and the losses that the toolbox of QKAN takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]


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
        raise ValueError(f"{name} of shape {tuple(values.shape)} is empty")
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
        raise ValueError(f"{where}y has {y.shape[-1]} columns, but the model has {prediction.shape[-1]} outputs")
    raise ValueError(f"{where}y of shape {tuple(y.shape)} must have the shape of the model's output, {wanted}{fix}")


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
