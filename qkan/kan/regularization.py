"""L1 and entropy regularisation of a network's edges, with the true gradient."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from qkan.kan.importance import edge_activity
from qkan.kan.input_checks import FitPlan, Loss, Pair
from qkan.layers.edge_mask import EdgeMasked
from qkan.layers.options import finite_float

SPARSE_ENTROPY = 0.03  # for targets of variance 1; docs/guides/kan-formula.md shows what it finds


def sparse_weights(scale: float) -> dict[str, float]:
    """l1 and entropy that leave few edges, where the best constant has the loss ``scale``: the variance of the targets.

    Entropy alone: it leaves few edges without making them small. l1 also shrinks the hidden layer, behind which trained
    frequencies grow, until a prune takes edges that matter.
    """
    return {"l1": 0.0, "entropy": SPARSE_ENTROPY * scale}


def fit_weights(model: nn.Module, plan: FitPlan, data: Pair, loss: Loss) -> tuple[dict[str, float], float]:
    """The weights of l1 and entropy in the first steps of a fit, and the scale of the loss if it chose them, else 0.

    Raises:
        TypeError: weights for a model without a method ``regularization``.
    """
    known = callable(getattr(model, "regularization", None))
    if known and plan.l1 is None and plan.entropy is None:
        scale = _scale(model, data, loss, exact=isinstance(plan.loss, str))
        return sparse_weights(scale), scale
    weights = {"l1": plan.l1 or 0.0, "entropy": plan.entropy or 0.0}
    if any(weights.values()) and not known:
        raise TypeError(
            "l1 and entropy need a model with a method regularization(x, l1=, entropy=), as KAN and QKAN have one, but "
            f"{type(model).__name__} has none; leave them out"
        )
    return weights, 0.0


def _scale(model: nn.Module, data: Pair, loss: Loss, *, exact: bool) -> float:
    """The loss of a model that looks at no input: of the mean target if they are numbers, else of its mean output."""
    x, y = data
    with torch.no_grad():
        outputs = y if exact else model(x)
        value = abs(float(loss(outputs.mean(0, keepdim=True).expand_as(outputs), y)))
    return value if math.isfinite(value) else 0.0


def regularization(layers: Iterable[EdgeMasked], x: Tensor, *, l1: float = 0.0, entropy: float = 0.0) -> Tensor:
    r"""L1 and entropy of the edge activities of a stack of layers (arXiv 2404.19756, eqs. 2.17 to 2.20).

    With the activities a_e of :func:`qkan.kan.importance.edge_activity`, A_l their sum over the edges e of layer l:
    sum over layers of [ l1 A_l + entropy S_l ], S_l = - sum_e (a_e / A_l) log(a_e / A_l). The first term makes
    activities small, the second makes few edges carry most of them. An edge without activity adds nothing to S_l, and
    nothing to its gradient.

    Args:
        layers: applied in turn, the first to ``x``.
        x: (..., in_features), real; all leading dimensions count as samples.
        l1, entropy: weights of the two terms, 0 or more.

    Returns:
        A scalar in the dtype of the parameters. Gradients reach every parameter: no activity is a stored number.

    Raises:
        TypeError, ValueError: a weight that is no number of 0 or more, or an ``x`` that the layers refuse.
    """
    l1, entropy = finite_float("l1", l1), finite_float("entropy", entropy)
    terms: list[Tensor] = []
    previous: EdgeMasked | None = None
    for layer in layers:
        x = x if previous is None else previous(x)
        activity = edge_activity(layer, x)
        terms.append(l1 * activity.sum() + entropy * _entropy(activity))
        previous = layer
    return torch.stack(terms).sum()


def _entropy(activity: Tensor) -> Tensor:
    share = activity / activity.sum().clamp_min(torch.finfo(activity.dtype).tiny)
    # log 0 has no gradient: idle edges take log 1 in its place, and share 0 times anything is 0.
    return -(share * torch.where(share > 0, share, 1).log()).sum()
