"""The circuit options that layers, networks and recurrent modules share, and the checks of their values."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, TypedDict

import torch
from torch import Tensor, nn

from qkan.kernels.backends import SIMULATORS, Backend
from qkan.kernels.circuits.ansatz import Ansatz
from qkan.kernels.common.host_sync import gibibytes, memory
from qkan.kernels.common.tensors import has_memory
from qkan.kernels.edges.activations import BASES
from qkan.layers.frequencies import PreactInit
from qkan.quantum import PennyLane

MAX_FEATURES = 2**20
SIMULATORS["pennylane"] = cache(PennyLane)
BaseActivation = str | nn.Module | Callable[[Tensor], Tensor] | None


class CircuitOptions(TypedDict, total=False):
    """Keyword options of :class:`qkan.QKANLayer` but ``backend``; see there for what each one does."""

    reps: int
    group: int | Literal["input"] | None
    ansatz: str | Ansatz
    preact_trainable: bool | Literal["input"]
    preact_init: PreactInit
    postact_weight_trainable: bool
    postact_bias_trainable: bool
    base_activation: BaseActivation
    base_trainable: bool
    readout: str
    init: str
    generator: torch.Generator | None
    device: torch.device | str | int | None
    dtype: torch.dtype | None


class LayerOptions(CircuitOptions, total=False):
    """Keyword options of :class:`qkan.QKANLayer`."""

    backend: Backend


def base_function(activation: BaseActivation) -> Callable[[Tensor], Tensor] | None:
    """The function of a base branch from its name, itself, or None.

    Raises:
        ValueError: no function has that name.
        TypeError: neither a name nor callable.
    """
    if activation is None or (callable(activation) and not isinstance(activation, str)):
        return activation
    if not isinstance(activation, str):
        raise TypeError(f"base_activation must be a name, a callable or None, got {type(activation).__name__}")
    if activation not in BASES:
        known = ", ".join(BASES)
        raise ValueError(
            f"unknown base_activation {activation!r}; use one of {known}, a callable, or None to leave it out"
        )
    return BASES[activation][0]


def config_of(layer: Any) -> dict[str, Any]:
    """The arguments of a QKANLayer, without the source and place of its values."""
    group = "input" if layer.group == layer.in_features else layer.group
    given = ("in_features", "out_features", "reps", "ansatz", "preact_trainable", "base_activation", "base_trainable")
    return {name: getattr(layer, name) for name in (*given, "preact_init", "readout", "init", "backend")} | {
        "group": group,
        "postact_weight_trainable": layer.postact_weight is not None,
        "postact_bias_trainable": layer.postact_bias is not None,
        "dtype": layer.theta.dtype,
    }


def check_dtype(dtype: torch.dtype | None) -> None:
    """Check that ``dtype`` can hold angles.

    Raises:
        TypeError: an integer, boolean or complex type.
    """
    if dtype is not None and not dtype.is_floating_point:
        raise TypeError(f"dtype must be a real floating-point type such as torch.float32, got {dtype}")


def positive_int(name: str, value: int, limit: int = MAX_FEATURES) -> int:
    """Return ``value`` if it is an int in [1, limit].

    Raises:
        TypeError: not an int.
        ValueError: outside the range.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, got {type(value).__name__}")
    if not 1 <= value <= limit:
        raise ValueError(f"{name} {value} is outside [1, {limit}]")
    return value


def finite_float(name: str, value: Any, *, positive: bool = False, fix: str = "") -> float:
    """``value`` as a float if it is a finite number of 0 or more, with ``positive`` above 0.

    Raises:
        TypeError: not a number; messages end with ``fix``.
        ValueError: outside that range.
    """
    fix = f"; {fix}" if fix else ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}{fix}")
    if not math.isfinite(value) or value < 0 or (positive and value == 0):
        raise ValueError(f"{name} {value} must be a finite number {'above 0' if positive else 'of 0 or more'}{fix}")
    return float(value)


def group_size(group: int | str | None, in_features: int) -> int | None:
    """How many circuits the inputs share: None for one per edge, else a number of at most ``in_features``.

    Raises:
        ValueError: a word other than ``"input"``, or a number outside [1, in_features].
        TypeError: neither.
    """
    if group is None:
        return None
    if isinstance(group, str):
        if group != "input":
            raise ValueError(f"group {group!r} must be 'input', a number in [1, {in_features}], or None for no sharing")
        return in_features
    return positive_int("group", group, in_features)


def check_memory(owner: str, numbers: int, device: torch.device | str | int | None, dtype: torch.dtype | None) -> None:
    """Check that a device has room for ``numbers`` parameters at all.

    Raises:
        ValueError: it does not; the message names the size.
    """
    where = torch.empty(0, device=device).device
    size, available = numbers * (dtype or torch.get_default_dtype()).itemsize, memory(where)
    if available is not None and size > available:
        raise ValueError(
            f"{owner} needs {gibibytes(size)} for its parameters, but {where} has {gibibytes(available)}; use fewer "
            'features or repetitions, or group="input" (one circuit per input)'
        )


def check_input(x: Tensor, features: int, owner: str, device: torch.device | None = None) -> None:
    """Check that ``x`` is real floating point with ``features`` as its last size, and on ``device`` if that is given.

    Raises:
        TypeError: no tensor, or another dtype.
        ValueError: another last size or device, or memory that has been taken away.
    """
    if not isinstance(x, Tensor) or x.layout is not torch.strided or x.is_nested:
        raise not_dense(x, owner)
    if not x.is_floating_point():
        raise TypeError(f"{owner} needs a floating-point input, got {x.dtype}; convert it with x.float()")
    if x.dim() == 0 or x.shape[-1] != features:
        raise ValueError(f"{owner} needs an input of shape (..., {features}), got {tuple(x.shape)}")
    if x.is_cpu and type(x) is Tensor and not torch.compiler.is_compiling():
        has_memory(x)
    if device is not None and x.device != device:
        raise ValueError(
            f"{owner} is on {device}, but its input is on {x.device}; move one of them with .to({str(device)!r})"
        )


def not_dense(x: object, owner: str) -> TypeError:
    """What to raise for something that is no tensor, or one that is sparse or nested."""
    if not isinstance(x, Tensor):
        return TypeError(f"{owner} needs a torch.Tensor, got {type(x).__name__}; convert it with torch.as_tensor")
    if x.is_nested:
        return TypeError(f"{owner} needs a dense tensor, got a nested one; convert it with x.to_padded_tensor(0.0)")
    return TypeError(f"{owner} needs a dense tensor, got one of layout {x.layout}; convert it with x.to_dense()")


def check_edge(output: int, input: int, out_features: int, in_features: int) -> None:
    """Check that a layer of these sizes has an edge from ``input`` to ``output``.

    Raises:
        ValueError: it has not.
        TypeError: an index that is not an int.
    """
    for name, index, size in (("output", output, out_features), ("input", input, in_features)):
        if isinstance(index, bool) or not isinstance(index, int):
            raise TypeError(f"{name} must be an int, got {type(index).__name__}")
        if not 0 <= index < size:
            raise ValueError(f"{name} {index} is outside [0, {size - 1}]: the layer has no such edge")
