"""What matters in a network: the activity of edges, attribution scores and the four KAN feature selectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from qkan.kan import input_checks as checks
from qkan.kan.input_checks import Loss
from qkan.layers.edge_mask import EdgeMasked
from qkan.layers.options import check_input

METHODS = ("l1", "l2", "sensitivity", "knockout")


@dataclass(frozen=True)
class Attribution:
    """How much of the variation of the outputs passes through every node and edge.

    Attributes:
        nodes: one tensor a layer of nodes, (width[l],), inputs first; those of the outputs are 1.
        edges: one tensor a layer of edges, (width[l + 1], width[l]).

    Examples:
        >>> import torch
        >>> from qkan import QKAN
        >>> x = 2 * torch.rand(60, 2) - 1
        >>> net = QKAN([2, 1], reps=1)
        >>> found = net.attribute(x)
        >>> found.edges[0].shape, found.nodes[0].shape
        (torch.Size([1, 2]), torch.Size([2]))
    """

    nodes: list[Tensor]
    edges: list[Tensor]


def edge_samples(layer: EdgeMasked, x: Tensor) -> Tensor:
    """What every edge adds for ``x`` (..., in_features): (samples, out_features, in_features)."""
    edges = layer.edge_outputs(x)
    return edges.flatten(0, -3) if edges.dim() > 2 else edges.unsqueeze(0)


def edge_activity(layer: EdgeMasked, x: Tensor) -> Tensor:
    """Mean absolute deviation of every edge from its mean over the samples.

    That is the L1 norm of an activation function (arXiv 2404.19756, eq. 2.17) without the constant of the edge: edges
    carry constants, and a constant passes nothing of its input on. Gradients reach parameters and ``x``.

    Args:
        layer: the layer whose edges are measured.
        x: (..., in_features), real; all leading dimensions count as samples.

    Returns:
        (out_features, in_features), 0 or more, in the dtype of the parameters.

    Raises:
        ValueError, TypeError: an ``x`` that the layer refuses, or one without samples.
    """
    edges = edge_samples(layer, x)
    if edges.shape[0] == 0:
        raise ValueError(f"x of shape {tuple(x.shape)} holds no samples; the activity of an edge needs one or more")
    return (edges - edges.mean(0)).abs().mean(0)


def attribute(layers: Sequence[EdgeMasked], x: Tensor) -> Attribution:
    """Scores of nodes and edges (KAN 2.0, arXiv 2408.10205, section 4.1), from the outputs back to the inputs.

    With E_ji the standard deviation over the samples of the edge from node i to node j of the next layer, and N_j that
    of node j: the edge has the score B_ji = A_j E_ji / N_j, and node i has A_i = sum_j B_ji; outputs start with A = 1.
    A node that does not vary beyond rounding passes no score on. Edges that cancel out at a node may have scores above
    the node's.

    Args:
        layers: applied in turn.
        x: (..., in_features), two or more samples.

    Raises:
        TypeError, ValueError: another ``x``, or values that are not finite.
    """
    x = _samples(layers[0], x)
    nodes, ratios = x, []
    with torch.no_grad():
        for index, layer in enumerate(layers):
            edges = layer.edge_outputs(nodes)
            if not edges.isfinite().all():
                raise ValueError(f"edges of layer {index} are NaN or infinite on these data; give finite inputs")
            nodes = layer(nodes)
            spread = nodes.std(0, correction=0).unsqueeze(-1)
            rounding = 8 * torch.finfo(nodes.dtype).eps * nodes.abs().amax(0).unsqueeze(-1)
            ratios.append(torch.where(spread > rounding, edges.std(0, correction=0) / spread, 0))
        node_scores, edge_scores = [torch.ones_like(nodes[0])], list[Tensor]()
        for ratio in reversed(ratios):
            edge_scores.insert(0, node_scores[0].unsqueeze(-1) * ratio)
            node_scores.insert(0, edge_scores[0].sum(0))
    return Attribution(node_scores, edge_scores)


def feature_importance(
    layers: Sequence[EdgeMasked], x: Tensor, y: Tensor | None = None, *, method: str = "l2", loss: str | Loss = "mse"
) -> Tensor:
    r"""The importance of every input by one of the four KAN selectors (arXiv 2509.23366), on edges instead of splines.

    With phi_oi the edges of the first layer, <.> the mean over the samples, and ~phi = phi - <phi>:

    * ``"l1"`` (KAN-L1): sum_o <|~phi_oi|>.
    * ``"l2"`` (KAN-L2): sqrt(sum_o <~phi_oi^2>).
    * ``"sensitivity"`` (KAN-SI): std(x_i) sum_o <|d y_o / d x_i|>, y the outputs of the whole network.
    * ``"knockout"`` (KAN-KO): the rise of the loss when ~phi_oi = 0 for all o, that is, when the edges of input i are
      held at their means. Without ``y`` the outputs of the intact network take its place.

    For a network of one layer, with inputs that vary independently and the mean squared error against its own
    outputs, the knock-out is the square of l2 over the number of outputs.

    Args:
        layers: applied in turn.
        x: (..., in_features), two or more samples.
        y: what the outputs should be, for ``"knockout"`` only: of their shape, or whatever ``loss`` takes.
        method: one of the four.
        loss: for ``"knockout"``, as of :func:`qkan.kan.fitting.fit`.

    Returns:
        (in_features,); 0 or more, except for a knock-out that makes the loss smaller.

    Raises:
        TypeError, ValueError: another ``x``, ``y``, ``method`` or ``loss``, or values that are not finite.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; use one of {', '.join(METHODS)}")
    if y is not None and method != "knockout":
        raise ValueError(f"method {method!r} takes no y; leave it out, or use method='knockout'")
    function = checks.loss_function(loss)
    lead = x.shape[:-1] if isinstance(x, Tensor) else ()
    x = _samples(layers[0], x)
    if method == "sensitivity":
        return _sensitivity(layers, x)
    with torch.no_grad():
        if method == "knockout":
            return _knockout(layers, x, _target(layers, x, y, lead, exact=isinstance(loss, str)), function)
        edges = layers[0].edge_outputs(x)
        deviations = edges - edges.mean(0)
        if method == "l1":
            return deviations.abs().mean(0).sum(0)
        return deviations.square().mean(0).sum(0).sqrt()


def _samples(layer: EdgeMasked, x: Tensor) -> Tensor:
    """``x`` as (samples, in_features)."""
    checks.samples("x", x)
    check_input(x, layer.in_features, "the network", layer.first_parameter.device)
    return checks.samples("x", x.detach().reshape(-1, layer.in_features), least=2)


def _target(layers: Sequence[EdgeMasked], x: Tensor, y: Tensor | None, lead: Iterable[int], *, exact: bool) -> Tensor:
    """What the outputs for the flat ``x`` are compared with."""
    outputs = _run(layers, x)
    if y is None:
        return outputs
    lead = tuple(lead)
    checks.samples("y", y)
    if exact:
        checks.same_shape(outputs.reshape(*lead, -1), y)
    if tuple(y.shape[: len(lead)]) != lead:
        raise ValueError(f"y of shape {tuple(y.shape)} must have the leading dimensions of x, {lead}")
    return y.reshape(x.shape[0], *y.shape[len(lead) :])


def _run(layers: Iterable[EdgeMasked], x: Tensor) -> Tensor:
    return reduce(lambda values, layer: layer(values), layers, x)


def _sensitivity(layers: Sequence[EdgeMasked], x: Tensor) -> Tensor:
    with torch.enable_grad():
        inputs = x.clone().requires_grad_()
        outputs = _run(layers, inputs).sum(0)
        slopes = torch.stack(
            [torch.autograd.grad(output, inputs, retain_graph=True)[0].abs().mean(0) for output in outputs]
        )
    return (slopes.sum(0) * x.std(0, correction=0)).to(outputs.dtype)


def _knockout(layers: Sequence[EdgeMasked], x: Tensor, y: Tensor, loss: Loss) -> Tensor:
    edges, nodes = layers[0].edge_outputs(x), layers[0](x)
    deviations = edges - edges.mean(0)
    intact = loss(_run(layers[1:], nodes), y)
    without = [loss(_run(layers[1:], nodes - deviation), y) for deviation in deviations.unbind(-1)]
    return torch.stack(without) - intact
