"""Pruning of networks: edges, hidden nodes and inputs go; KAN paper (arXiv 2404.19756), section 2.5.1.

Layers keep what is left in their ``edge_mask`` (:mod:`qkan.layers.edge_mask`). Layer l leads from the nodes of level l
to those of level l + 1; level 0 are the inputs, the last level are the outputs, the hidden nodes lie between.

Scores do not count the constant of an edge, so an edge that goes may leave a gap. Where data are given, its mean on
them moves to a bias of the same output.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from qkan.kan.importance import attribute, edge_samples
from qkan.layers.options import check_input, finite_float

if TYPE_CHECKING:
    from qkan.kan.kan import KAN

EDGE_THRESHOLD, NODE_THRESHOLD = 0.03, 0.01
Network = TypeVar("Network", bound="KAN")


@dataclass(frozen=True)
class Pruned:
    """What one call removed; ``print`` says it in words.

    Attributes:
        edges: (layer, output, input) of every edge that went.
        nodes: (level, node) of every hidden node that has lost its last edge to or from it.
        inputs: inputs that have lost their last edge.
        kept: edges that are left in the network.
        total: edges that it was built with.
        change: mean |f_before(x) - f_after(x)| over samples and outputs where data were given, else None.

    Examples:
        >>> import torch
        >>> from qkan import QKAN
        >>> x = 2 * torch.rand(60, 2) - 1
        >>> net = QKAN([2, 1], reps=1)
        >>> removed = net.prune_edges([(0, 0, 1)], x)
        >>> removed.edges, removed.kept, removed.total
        (((0, 0, 1),), 1, 2)
    """

    edges: tuple[tuple[int, int, int], ...]
    nodes: tuple[tuple[int, int], ...]
    inputs: tuple[int, ...]
    kept: int
    total: int
    change: float | None = None

    def __str__(self) -> str:
        text = (
            f"removed {len(self.edges)} edges, {len(self.nodes)} hidden nodes {list(self.nodes)} and "
            f"{len(self.inputs)} inputs {list(self.inputs)}; {self.kept} of {self.total} edges are left"
        )
        return text if self.change is None else f"{text}; outputs moved by {self.change:.3g} in the mean"


def masks_of(model: KAN) -> list[Tensor]:
    """The kept edges of every layer, bool (out, in) on the CPU."""
    return [
        torch.ones(layer.out_features, layer.in_features, dtype=torch.bool)
        if layer.edge_mask is None
        else layer.edge_mask.cpu()
        for layer in model.layers
    ]


def remove(model: KAN, removals: Sequence[Tensor], x: Tensor | None = None) -> Pruned:
    """Remove edges, bool (out, in) for every layer, True to remove; all or, after an error, none.

    With data ``x`` outputs keep the means of their removed edges, and the summary has the change.

    Raises:
        ValueError: some output would not depend on any input any more; no data, or an edge whose mean is not finite.
        TypeError: ``x`` is no tensor.
    """
    before = masks_of(model)
    after = [mask & ~removal.cpu() for mask, removal in zip(before, removals, strict=True)]
    _check_connected(after)
    edges = tuple(
        (index, *edge)
        for index, (old, new) in enumerate(zip(before, after, strict=True))
        for edge in (old & ~new).nonzero().tolist()
    )
    alive, left = _nodes(before), _nodes(after)
    gone = [(old & ~new).nonzero().flatten().tolist() for old, new in zip(alive, left, strict=True)]
    change = None
    with torch.no_grad():
        means = None if x is None else _means(model, x)
        reference = None if x is None else model(x)
        for index, (layer, old, new) in enumerate(zip(model.layers, before, after, strict=True)):
            layer.prune(~new)
            if means is not None and (old & ~new).any():
                layer.add_constants((means[index] * (old & ~new).to(means[index].device)).sum(1))
        if reference is not None:
            change = float((model(x) - reference).abs().mean())
    return Pruned(
        edges,
        tuple((level, node) for level in range(1, len(gone) - 1) for node in gone[level]),
        tuple(gone[0]),
        sum(int(mask.sum()) for mask in after),
        sum(mask.numel() for mask in after),
        change,
    )


def _means(model: KAN, x: Tensor) -> list[Tensor]:
    """The mean over samples of every edge, (out, in) for every layer.

    Raises:
        ValueError: no sample, or a mean that is not finite.
        TypeError: ``x`` is no tensor.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a torch.Tensor, got {type(x).__name__}; convert it with torch.as_tensor")
    means, read = [], x
    for layer in model.layers:
        means.append(edge_samples(layer, read).mean(0))
        read = layer(read)
    bad = sum(int((~mean.isfinite()).sum()) for mean in means)
    if bad:
        raise ValueError(
            f"{bad} edges have a mean of NaN or infinity over x of shape {tuple(x.shape)}; give one sample or more, "
            "with finite values of all inputs that are not pruned (nothing was removed)"
        )
    return means


def _nodes(masks: Sequence[Tensor]) -> list[Tensor]:
    """The nodes of every level that have an edge on each side, bool."""
    leave = [mask.any(0) for mask in masks] + [masks[-1].new_ones(len(masks[-1]))]
    enter = [masks[0].new_ones(masks[0].shape[1])] + [mask.any(1) for mask in masks]
    return [a & b for a, b in zip(leave, enter, strict=True)]


def _reached(masks: Sequence[Tensor]) -> Tensor:
    """The outputs that some input reaches, bool."""
    reached = masks[0].new_ones(masks[0].shape[1])
    for mask in masks:
        reached = (mask & reached).any(1)
    return reached


def _check_connected(masks: Sequence[Tensor]) -> None:
    lost = (~_reached(masks)).nonzero().flatten().tolist()
    if lost:
        raise ValueError(
            f"pruning would leave outputs {lost} of the network without any input; use a lower threshold or remove "
            "fewer edges (nothing was removed)"
        )


def prune(
    model: KAN, x: Tensor, edge_threshold: float | None, node_threshold: float | None, input_threshold: float | None
) -> Pruned:
    """See :meth:`qkan.KAN.prune`."""
    thresholds = {"edge": edge_threshold, "node": node_threshold, "input": input_threshold}
    for name, value in thresholds.items():
        if value is not None:
            finite_float(f"{name}_threshold", value, fix=f"None keeps every {name}")
    check_input(x, model.width[0], type(model).__name__)
    if x.dim() < 2 or x.shape[:-1].numel() < 2:
        raise ValueError(f"x of shape {tuple(x.shape)} must hold two or more samples: what varies is what counts")
    kept = _kept(model, x, edge_threshold, node_threshold, input_threshold)
    return remove(model, [~mask for mask in kept], x)


def _kept(
    model: KAN, x: Tensor, edge_threshold: float | None, node_threshold: float | None, input_threshold: float | None
) -> list[Tensor]:
    scores = [found.cpu() for found in attribute(model.layers, x).edges]
    masks = masks_of(model)
    if edge_threshold is not None:
        masks = [mask & (found >= edge_threshold) for mask, found in zip(masks, scores, strict=True)]
    if input_threshold is not None:
        masks[0] = masks[0] & ((scores[0] * masks[0]).sum(0) >= input_threshold)
    return _without_idle_nodes(masks, scores, 0.0 if node_threshold is None else node_threshold)


def silence(model: KAN, x: Tensor) -> list[tuple[nn.Parameter, Tensor]]:
    """See :meth:`qkan.KAN.silence`."""
    kept = _kept(model, x, EDGE_THRESHOLD, NODE_THRESHOLD, None)
    if not _reached(kept).all():
        return []
    return [
        pair
        for layer, mask in zip(model.layers, kept, strict=True)
        for pair in layer.silence(mask.to(layer.first_parameter.device))
    ]


def _without_idle_nodes(masks: list[Tensor], scores: list[Tensor], threshold: float) -> list[Tensor]:
    """Without hidden nodes whose kept edges on the way out have a score below the threshold or that lost all edges.

    Repeated until none is left, since a node that goes takes edges of its neighbours with it.
    """
    count = -1
    while count != (count := sum(int(mask.sum()) for mask in masks)):
        for level in range(1, len(masks)):
            score = (scores[level] * masks[level]).sum(0)
            keep = (score >= threshold) & masks[level - 1].any(1) & masks[level].any(0)
            masks[level - 1] = masks[level - 1] & keep.unsqueeze(1)
            masks[level] = masks[level] & keep
    return masks


def prune_edges(model: KAN, edges: Iterable[tuple[int, int, int]] | Sequence[Tensor], x: Tensor | None) -> Pruned:
    """See :meth:`qkan.KAN.prune_edges`."""
    given: list[Any] = list(edges)
    layers = model.layers
    if given and all(isinstance(edge, Tensor) for edge in given):
        if len(given) != len(layers):
            raise ValueError(f"{len(given)} masks do not fit; give one for each of the {len(layers)} layers")
        return remove(model, [layer.mask_of(mask) for layer, mask in zip(layers, given, strict=True)], x)
    by_layer: list[list[Any]] = [[] for _ in layers]
    for edge in given:
        if not isinstance(edge, tuple | list) or len(edge) != 3 or type(edge[0]) is not int:
            raise TypeError(f"edge {edge!r} must be three ints (layer, output, input)")
        by_layer[_inside("layer", edge[0], 0, len(layers) - 1)].append(tuple(edge[1:]))
    return remove(model, [layer.mask_of(pairs) for layer, pairs in zip(layers, by_layer, strict=True)], x)


def prune_nodes(model: KAN, nodes: Iterable[tuple[int, int]], x: Tensor | None) -> Pruned:
    """See :meth:`qkan.KAN.prune_nodes`."""
    removals = [torch.zeros_like(mask) for mask in masks_of(model)]
    for node in nodes:
        if not isinstance(node, tuple | list) or len(node) != 2 or any(type(index) is not int for index in node):
            raise TypeError(f"node {node!r} must be two ints (level, node)")
        if len(removals) == 1:
            raise ValueError(f"node {tuple(node)} does not exist: a network of one layer has no hidden nodes")
        level = _inside("level", node[0], 1, len(removals) - 1)
        index = _inside(f"node of level {level}", node[1], 0, removals[level].shape[1] - 1)
        removals[level - 1][index] = True
        removals[level][:, index] = True
    return remove(model, removals, x)


def prune_inputs(model: KAN, inputs: Iterable[int], x: Tensor | None) -> Pruned:
    """See :meth:`qkan.KAN.prune_inputs`."""
    removals = [torch.zeros_like(mask) for mask in masks_of(model)]
    for index in inputs:
        if type(index) is not int:
            raise TypeError(f"input {index!r} must be an int")
        removals[0][:, _inside("input", index, 0, removals[0].shape[1] - 1)] = True
    return remove(model, removals, x)


def _inside(name: str, index: int, low: int, high: int) -> int:
    if not low <= index <= high:
        raise ValueError(f"{name} {index} is outside the network: {low} to {high}")
    return index


def compact(model: Network) -> Network:
    """See :meth:`qkan.KAN.compact`."""
    masks = masks_of(model)
    _check_connected(masks)
    alive = [torch.ones(masks[-1].shape[0], dtype=torch.bool)]
    for mask in reversed(masks):
        alive.insert(0, (mask & alive[0].unsqueeze(1)).any(0))
    alive[0] = torch.ones_like(alive[0])
    levels = [level.nonzero().flatten() for level in alive]
    layers = [layer.part(levels[index], levels[index + 1]) for index, layer in enumerate(model.layers)]
    return type(model).from_layers(layers).train(model.training)
