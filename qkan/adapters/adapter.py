"""What adapters of linear layers have in common."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from qkan._util.linear_maps import linears_of
from qkan.layers.init import uniform_
from qkan.layers.options import positive_int

_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


class Adapter(nn.Module):
    """A linear layer with a trained change beside its weight, which stays as it is.

    A subclass gives ``forward``, and ``weight_change`` where the change is one of the weight. ``base`` is the layer,
    whose sizes, ``weight`` and ``bias`` are read as if they were the adapter's.

    Shapes: input (..., in_features), output (..., out_features).

    Args:
        linear: an nn.Linear, or Hugging Face's Conv1D, whose weight is (in_features, out_features).
        rank: of the change, from 1 to the smaller size of the weight.
        dropout: probability with which inputs of the change (not of the layer) are zero in training.

    Raises:
        TypeError: no linear layer, or one with a forward of its own.
        ValueError: a quantised layer, a rank or probability outside its range.

    Examples:
        >>> from torch import nn
        >>> from qkan import CircuitLoRA
        >>> from qkan.adapters import Adapter
        >>> isinstance(CircuitLoRA(nn.Linear(6, 4), 2), Adapter)
        True
    """

    #: The layer; Any, since its weight may be another tensor for a while (torch.func.functional_call).
    base: Any
    #: What :attr:`config` holds beside the sizes.
    options: ClassVar[tuple[str, ...]] = ()

    def __init__(self, linear: nn.Module, rank: int, dropout: float = 0.0) -> None:
        super().__init__()
        found = linears_of([linear]) if isinstance(linear, nn.Module) else []
        if not found or (isinstance(linear, nn.Linear) and type(linear).forward is not nn.Linear.forward):
            raise TypeError(f"an adapter needs an nn.Linear or a Conv1D with their own forward, got {type(linear)}")
        ((_, inputs, outputs),) = found
        weight: Any = linear.weight
        if not isinstance(weight, Tensor) or weight.dtype not in _DTYPES:
            raise ValueError(
                f"the weight of this {type(linear).__name__} is quantised, which adapters cannot add to; adapt the "
                "model before it is quantised"
            )
        positive_int("rank", rank, min(inputs, outputs))
        if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
            raise ValueError(f"dropout {dropout!r} must be a probability in [0, 1)")
        self.base = linear
        self.rank, self.in_features, self.out_features, self.dropout = rank, inputs, outputs, float(dropout)
        self.transposed = found[0].transposed

    @property
    def weight(self) -> Tensor:
        """The weight with the change added, in the layout of the layer's."""
        raise NotImplementedError

    @property
    def bias(self) -> Tensor | None:
        """The bias of the layer."""
        return self.base.bias

    @property
    def config(self) -> dict[str, Any]:
        """What it was built with, in words of JSON."""
        names = ("rank", "in_features", "out_features", "dropout", *self.options)
        return {"kind": type(self).__name__} | {name: getattr(self, name) for name in names}

    def weight_change(self) -> Tensor:
        """dW (out_features, in_features).

        Raises:
            ValueError: the change is none of the weight.
        """
        raise ValueError(
            f"{type(self).__name__} changes outputs by a nonlinear function of the inputs, which no weight can hold, "
            "so it cannot be merged; keep it in the model, or use CircuitLoRA"
        )

    def new_parameters(self) -> dict[str, nn.Parameter]:
        """Parameters of the change by name, without those of the layer."""
        return {name: p for name, p in self.named_parameters() if not name.startswith("base.")}

    def factory(self) -> dict[str, Any]:
        """Device and dtype of new parameters: single precision beside narrower weights, which take no small steps."""
        weight = self.base.weight
        return {"device": weight.device, "dtype": torch.promote_types(weight.dtype, torch.float32)}

    def extra_repr(self) -> str:
        """What print(model) shows."""
        shown = {name: value for name, value in self.config.items() if name != "kind"}
        return ", ".join(f"{name}={value!r}" for name, value in shown.items())


def draw_input_side(tensor: Tensor, generator: torch.Generator | None) -> None:
    """Draw A (rank, in) from U(-1, 1) / sqrt(in), as LoRA does; B starts at zero."""
    uniform_(tensor, 1 / math.sqrt(tensor.shape[1]), generator)


def adapters_of(model: nn.Module, verb: str | None = None) -> dict[str, Adapter]:
    """The adapters in a model by the name of their layer.

    Raises:
        ValueError: there are none, or the model is one itself, and ``verb`` says what they were needed for.
    """
    found = {name: module for name, module in model.named_modules() if isinstance(module, Adapter)}
    if verb is not None and not found:
        raise ValueError(
            f"{type(model).__name__} has no adapters to {verb}: none were added, or they are merged or removed "
            "already; call qkan.add_adapters first"
        )
    if verb is not None and "" in found:
        raise ValueError(
            f"cannot {verb} a model that is an adapter itself, without a parent that gives it a name; put it into "
            "nn.Sequential, or take its .base"
        )
    return found
