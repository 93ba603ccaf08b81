"""What a group-rational activation is, and what an engine that computes it must do.

Channels come in groups of neighbours; group g has the activation (arXiv 2409.10594, section 4.2)

    F(x) = P(x) / Q(x),   P(x) = a_0 + a_1 x + ... + a_m x^m,

over one of two denominators without zeros on the real line:

* ``abs_terms``: Q(x) = 1 + |b_1| |x| + ... + |b_n| |x|^n,
* ``abs_sum``:   Q(x) = 1 + |b_1 x + ... + b_n x^n|.

The slope of |.| at zero is taken as 1, not as 0: coefficients that start at zero would otherwise never move.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: x, numerator and denominator, as engines are asked about them.
Tensors = tuple[Any, ...]
DENOMINATORS = ("abs_terms", "abs_sum")
#: Largest orders of numerator and denominator.
MAX_ORDER = 8
#: Float32 (and narrower) inputs beyond this are computed in float64, where x^8 does not overflow.
LIMIT = 4096.0


@dataclass(frozen=True)
class Spec:
    """The form of a group-rational activation.

    Attributes:
        groups: number of groups, at least 1.
        order: (m, n), 0 <= m <= 8 and 1 <= n <= 8.
        denominator: one of :data:`DENOMINATORS`.

    Raises:
        ValueError, TypeError: a field outside its range.
    """

    groups: int
    order: tuple[int, int] = (5, 4)
    denominator: str = "abs_terms"

    def __post_init__(self) -> None:
        if isinstance(self.groups, bool) or not isinstance(self.groups, int):
            raise TypeError(f"groups must be an int, got {type(self.groups).__name__}")
        if self.groups < 1:
            raise ValueError(f"groups {self.groups} must be at least 1")
        pair = self.order
        whole = isinstance(pair, (tuple, list)) and all(isinstance(k, int) and not isinstance(k, bool) for k in pair)
        if not whole or len(pair) != 2:
            raise TypeError(f"order must be two ints (m, n), the degrees of numerator and denominator, got {pair!r}")
        m, n = pair
        if not (0 <= m <= MAX_ORDER and 1 <= n <= MAX_ORDER):
            raise ValueError(f"order ({m}, {n}) is outside m in [0, {MAX_ORDER}], n in [1, {MAX_ORDER}]")
        object.__setattr__(self, "order", (m, n))
        if self.denominator not in DENOMINATORS:
            raise ValueError(f"unknown denominator {self.denominator!r}; use one of {', '.join(DENOMINATORS)}")


class Gradients(NamedTuple):
    """What a backward pass gives.

    Attributes:
        x: of the shape and dtype of x.
        numerator, denominator: (groups, m + 1) and (groups, n) in the dtype of the coefficients, summed over all
            elements of a group; None if they were not asked for.
    """

    x: Tensor
    numerator: Tensor | None
    denominator: Tensor | None


class Engine(NamedTuple):
    """A way to compute group-rational activations.

    Tensors it is given: ``x`` and ``grad`` contiguous (rows, groups, run), where element [r, g, i] belongs to group g,
    in float64, float32, bfloat16 or float16, with at least one element; ``numerator`` (groups, m + 1) and
    ``denominator`` (groups, n), contiguous, in :func:`compute_dtype` of x. All on one device. What it returns is
    computed in that dtype (inputs beyond :data:`LIMIT` in float64) and stored in x's. Equal calls give equal bits.

    Attributes:
        name: the ``backend`` under which users ask for it.
        unsupported_reason: (spec, tensors) to None if it can run them, else the reason in words; tensors are x,
            numerator and denominator.
        forward: (spec, x, numerator, denominator) to F(x), contiguous, with the shape and dtype of x.
        backward: (spec, x, numerator, denominator, grad, coefficients) to :class:`Gradients`; ``coefficients`` says
            whether theirs are wanted.
    """

    name: str
    unsupported_reason: Callable[[Spec, Tensors], str | None]
    forward: Callable[[Spec, Tensor, Tensor, Tensor], Tensor]
    backward: Callable[[Spec, Tensor, Tensor, Tensor, Tensor, bool], Gradients]


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """What numbers of a dtype are computed in: float64 for itself, float32 for all others."""
    import torch  # not above: the command line reads the names in this module

    return torch.float64 if dtype == torch.float64 else torch.float32
