"""What modules return."""

from typing import Any

from torch import Tensor


def first(y: Any) -> Tensor:
    """The first tensor of nested outputs."""
    return y if isinstance(y, Tensor) else first(y[0])
