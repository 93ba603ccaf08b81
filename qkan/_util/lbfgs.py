"""In what unit ``torch.optim.LBFGS`` should count a loss."""

from __future__ import annotations

import math

_COUNTED = 1e6
_STEEPEST = 1e4


def loss_unit(loss: float, steepest: float = 0.0) -> float:
    """The factor to count a loss with, so that LBFGS keeps estimating its curvature while the loss falls.

    The optimizer leaves out pairs of changes of weights and gradient whose product is at most 1e-10, whatever the size
    of the loss. Where the loss itself is near that, as a mean of small squared errors is, it keeps none, and its steps
    are those of steepest descent with an ever older length. A factor changes neither the minimum nor the direction.

    Args:
        loss: Where the search starts, 0 or more.
        steepest: The largest entry of the gradient there, for a search in single precision: a line search multiplies
            slopes with each other, and next to a minimum those of a trial can be 1e7 times as large as at its start.

    Returns:
        The factor that makes it 1e6, or ``steepest`` 1e4 if that is less; 1 for a loss of zero or one that is not
        finite.
    """
    unit = _COUNTED / loss if loss > 0 and math.isfinite(_COUNTED / loss) else 1.0
    return min(unit, _STEEPEST / steepest) if steepest > 0 else unit
