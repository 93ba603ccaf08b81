"""The layers of circuits in a model, and one backend for all of them."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from qkan.kernels.backends import Backend
from qkan.layers.qkan_layer import QKANLayer

Module = TypeVar("Module", bound=nn.Module)


def circuit_layers(model: nn.Module) -> dict[str, QKANLayer]:
    """The layers of circuits in a model, by name.

    Raises:
        ValueError: it has none.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, QKANLayer)}
    if not layers:
        raise ValueError("the model has no layer of single-qubit circuits; use a run of --cell qkan or hqkan")
    return layers


def with_backend(model: Module, backend: Backend) -> Module:
    """The model itself, every layer of circuits set to ``backend``.

    Raises:
        ValueError: it has no circuits.

    Examples:
        >>> from qkan import QKAN
        >>> from qkan.validation import with_backend
        >>> model = with_backend(QKAN([2, 3, 1]), "reference")
        >>> {layer.backend for layer in model.layers}
        {'reference'}
    """
    for layer in circuit_layers(model).values():
        layer.backend = backend
    return model
