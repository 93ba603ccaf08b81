"""Initial values of circuit parameters.

Three schemes. ``"near_linear"`` starts every edge at ``phi(x) ~ sin(a) sin(w_0 x)`` with a small random ``a``, whatever
the number of repetitions, so that a fresh layer behaves like a fresh :class:`torch.nn.Linear` and signals neither
vanish nor saturate; it needs an ansatz that has such a point. ``"normal"`` draws all angles from a narrow normal
distribution, ``"wide"`` from one that nearly covers the circle, so that all frequencies have amplitudes from the start.
``"auto"`` takes the first for one repetition, where it exists, else the third where frequencies differ
(``preact_init``), and the second otherwise; recurrent modules take the first for any number of repetitions of equal
frequencies. Why: docs/how/initialisation.md.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from qkan.kernels.circuits.ansatz import Ansatz

INITS = ("auto", "near_linear", "normal", "wide")
#: Standard deviation of the angles under ``"normal"``, radians.
NORMAL_STD = 0.3
#: The same under ``"wide"``.
WIDE_STD = 1.0
#: Standard deviation of the angles around the near-linear point, radians: enough to break symmetries.
NEAR_LINEAR_STD = 0.05


def _fill(tensor: Tensor, draw: Callable[[Tensor], Tensor], generator: torch.Generator | None) -> None:
    """Fill in place; a generator of another device draws there and the values are copied over."""
    with torch.no_grad():
        if generator is None or generator.device == tensor.device or tensor.device.type == "meta":
            draw(tensor)
        else:
            tensor.copy_(draw(torch.empty_like(tensor, device=generator.device)))


def uniform_(tensor: Tensor, bound: float, generator: torch.Generator | None) -> None:
    """Fill with U(-bound, bound)."""
    _fill(tensor, lambda t: t.uniform_(-bound, bound, generator=generator), generator)


def normal_(tensor: Tensor, std: float, generator: torch.Generator | None) -> None:
    """Fill with N(0, std^2)."""
    _fill(tensor, lambda t: t.normal_(0.0, std, generator=generator), generator)


def circuit_angles_(
    theta: Tensor,
    ansatz: Ansatz,
    reps: int,
    scheme: str,
    slopes: tuple[float, float],
    generator: torch.Generator | None,
    *,
    wide: bool = False,
) -> None:
    """Fill ``theta`` (..., rows, angles), radians.

    Args:
        theta: filled in place.
        ansatz, reps: whose angles these are.
        scheme: one of :data:`INITS`.
        slopes: near-linear edges draw the angle ``a`` of their slope between these two.
        generator: source of randomness, or None for torch's own.
        wide: whether ``"auto"`` takes ``"wide"`` where it takes no near-linear start.

    Raises:
        ValueError: unknown scheme, or ``"near_linear"`` for an ansatz without such a point.
    """
    if scheme not in INITS:
        raise ValueError(f"unknown init {scheme!r}; use one of {', '.join(INITS)}")
    if scheme == "near_linear" and ansatz.near_linear is None:
        raise ValueError(f"ansatz {ansatz.name!r} has no near-linear point; use init='normal' or init='auto'")
    near_linear = ansatz.near_linear
    if scheme == "auto" and (reps > 1 or near_linear is None):
        scheme = "wide" if wide else "normal"
    if near_linear is None or scheme in ("normal", "wide"):
        normal_(theta, WIDE_STD if scheme == "wide" else NORMAL_STD, generator)
        return
    normal_(theta, NEAR_LINEAR_STD, generator)
    low, high = slopes
    # The first encoding alone is read, and the others leave alone what row 1 makes of it: turns about z do not move
    # <Z>; where another axis is encoded, the line lies along that axis until the last row turns it to z.
    drawn = torch.empty_like(theta[..., 1, ansatz.slope])
    uniform_(drawn, (high - low) / 2, generator)
    with torch.no_grad():
        theta[..., 1, ansatz.slope] = drawn + (low + high) / 2
        theta[..., 1 if ansatz.encoding == "rz" else -1, :] += theta.new_tensor(near_linear)
