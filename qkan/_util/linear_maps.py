"""Linear maps of any library: nn.Linear, quantised ones, Hugging Face's Conv1D; of pixels, 1 x 1 convolutions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import Tensor, nn


class Linear(NamedTuple):
    """A linear map and its sizes."""

    module: nn.Module
    inputs: int
    outputs: int

    @property
    def weight(self) -> Tensor:
        """Its weight."""
        return self.module.get_parameter("weight")

    @property
    def transposed(self) -> bool:
        """Whether its weight is (inputs, outputs), as Conv1D has it."""
        return kind(self.module) == "Conv1D"


def kind(module: nn.Module) -> str:
    """The class of a module."""
    return type(module).__name__


def linears_of(modules: Iterable[nn.Module]) -> list[Linear]:
    """Those of some modules that are linear maps."""
    found = []
    for module in modules:
        each: Any = module
        quantised = ".quantized" in type(each).__module__ and hasattr(each, "in_features")
        if isinstance(each, nn.Linear) or quantised:
            found.append(Linear(each, int(each.in_features), int(each.out_features)))
        elif kind(each) == "Conv1D" and isinstance(each.__dict__.get("nf"), int):
            weight = each._parameters.get("weight")
            if weight is not None and weight.dim() == 2:
                found.append(Linear(each, *weight.shape))
    return found


def pixel_maps_of(modules: Iterable[nn.Module]) -> list[Linear]:
    """Those of some modules that are linear maps of every pixel: 1 x 1 convolutions of stride 1 in one group."""
    return [
        Linear(each, each.in_channels, each.out_channels)
        for each in modules
        if isinstance(each, nn.Conv2d)
        and (each.kernel_size, each.stride, each.groups) == ((1, 1), (1, 1), 1)
        and each.padding in ((0, 0), "valid", "same")
    ]
