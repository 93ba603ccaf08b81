"""Which edges of a layer are kept: one boolean buffer that every route of the layer honours.

Removing edges is the sparsification of the KAN paper (arXiv 2404.19756, section 2.5.1).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

if TYPE_CHECKING:
    from qkan.layers.edge_formula import EdgeFormula, Numbers

Edges = Tensor | Iterable[tuple[int, int]]


class EdgeMasked(nn.Module):
    """What layers with edges inherit, :class:`qkan.QKANLayer` and :class:`qkan.KANLayer`: the edges that are kept.

    What stands here, and ``refine(size)``, is all that the toolbox of networks (:mod:`qkan.kan`) asks of a layer.

    Buffer ``edge_mask``: None while every edge is there, and then absent from ``state_dict``; else bool, (out_features,
    in_features), True where the edge is kept. Loading the state of a pruned layer makes the buffer (and biases that
    :meth:`qkan.KAN.prune` has made); loading the state of a layer with all edges into a pruned one is the missing key
    ``edge_mask``, an error unless ``strict=False``.

    A pruned edge adds exactly 0 to its output, whatever its finite parameters and input, and they get exactly 0 as
    gradients. An input without any kept edge is not read at all: it may be NaN or infinite.
    """

    in_features: int
    out_features: int
    base_activation: Any
    base_weight: nn.Parameter | None
    edge_mask: Tensor | None
    #: What tables and figures call an edge that is no elementary function, and its part beside the base branch.
    edge_name: str = "edge"
    #: The parameter that takes the means of pruned edges.
    constants_name: ClassVar[str] = "bias"

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("edge_mask", None)

    @property
    def first_parameter(self) -> Tensor:
        """A parameter: its dtype and device are the layer's."""
        return next(self.parameters())

    @property
    def node_bias(self) -> Tensor | None:
        """What the layer adds to the sums of its edges, (out_features,), or None for nothing."""
        return None

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that build such a layer with other values, by name."""
        raise NotImplementedError

    def edge_outputs(self, x: Tensor) -> Tensor:
        """What every edge adds to its output: (..., out_features, in_features) for ``x`` (..., in_features)."""
        raise NotImplementedError

    def edge_formula(self, output: int, input: int, numbers: Numbers) -> EdgeFormula:
        """The closed form of one edge, not yet at any x."""
        raise NotImplementedError

    def add_constants(self, constants: Tensor) -> None:
        """Add constants (out,) to the outputs."""
        raise NotImplementedError

    def silence(self, mask: Tensor) -> list[tuple[nn.Parameter, Tensor]]:
        """Give edges weight 0 where a bool ``mask`` (out, in) is False.

        Returns:
            the parameters that hold one entry an edge, and for each the mask in a shape that broadcasts with it.
        """
        raise NotImplementedError

    def part(self, inputs: Tensor, outputs: Tensor) -> Self:
        """The layer of some of the inputs and outputs, (n,) places, with values and the mask of the edges between."""
        raise NotImplementedError

    def constants(self) -> nn.Parameter:
        """The parameter named by ``constants_name``, as zeros; :meth:`add_constants` makes it where there is none."""
        first = self.first_parameter
        return nn.Parameter(first.new_zeros(self.out_features), requires_grad=first.requires_grad)

    def _kept(self, per_edge: Tensor) -> Tensor:
        """``per_edge`` (out, in) with 0 for pruned edges; a product would let through a NaN and its gradient."""
        return per_edge if self.edge_mask is None else torch.where(self.edge_mask, per_edge, 0)

    def _read(self, x: Tensor) -> Tensor:
        """The inputs (..., in), with 0 for those that no kept edge reads."""
        return x if self.edge_mask is None else torch.where(self.edge_mask.any(0), x, 0)

    def prune(self, edges: Edges) -> int:
        """Remove edges; those removed before stay removed.

        Args:
            edges: pairs (output, input), or a bool tensor (out_features, in_features), True for every edge to remove.

        Returns:
            how many edges were there and are not any more.

        Raises:
            ValueError: an edge outside the layer, a tensor of another shape, or no edge would be left. Outputs may lose
                all of theirs: in a network they may be nodes to remove. :meth:`qkan.KAN.prune_edges` looks at that.
            TypeError: neither pairs of ints nor a bool tensor.
        """
        removed = self.mask_of(edges)
        with torch.no_grad():
            before = torch.ones_like(removed) if self.edge_mask is None else self.edge_mask
            count = int((before & removed).sum())
            if not (before & ~removed).any():
                raise ValueError(
                    f"pruning would leave none of the {removed.numel()} edges of the layer; keep one at least "
                    "(nothing was removed)"
                )
            if count:
                # A new tensor: what was prepared or saved from the old one keeps it.
                self.edge_mask = before & ~removed
        return count

    def restore(self, edges: Edges | None = None) -> int:
        """Bring pruned edges back, with the parameters that they have kept; None stands for all.

        Returns:
            how many edges came back.

        Raises:
            ValueError, TypeError: as of :meth:`prune`.
        """
        back = None if edges is None else self.mask_of(edges)
        if self.edge_mask is None:
            return 0
        back = torch.ones_like(self.edge_mask) if back is None else back
        count = int((~self.edge_mask & back).sum())
        mask = self.edge_mask | back
        self.edge_mask = None if bool(mask.all()) else mask
        return count

    def take_values(self, part: Self, state: dict[str, Tensor]) -> Self:
        """``part`` of this layer with the values of ``state``, and trained where this one is."""
        if "edge_mask" in state and state["edge_mask"].all():
            del state["edge_mask"]
        part.load_state_dict(state, strict=False)  # a module in the base branch is there already
        for name, parameter in part.named_parameters(recurse=False):
            parameter.requires_grad_(getattr(self, name).requires_grad)
        return part

    def mask_of(self, edges: Edges) -> Tensor:
        """Edges as a bool tensor (out, in) on the device of the parameters."""
        shape, device = (self.out_features, self.in_features), self.first_parameter.device
        if isinstance(edges, Tensor):
            if edges.dtype != torch.bool:
                raise TypeError(f"edges as a tensor must be bool, got {edges.dtype}; compare it, e.g. activity < 0.01")
            if tuple(edges.shape) != shape:
                raise ValueError(f"edges of shape {tuple(edges.shape)} do not fit; they must be (out, in) = {shape}")
            return edges.detach().to(device)
        mask = torch.zeros(shape, dtype=torch.bool)
        for edge in edges:
            pair = tuple(edge) if isinstance(edge, tuple | list) else None
            if pair is None or len(pair) != 2 or any(type(index) is not int for index in pair):
                raise TypeError(f"edge {edge!r} must be a pair of ints (output, input)")
            if not all(0 <= index < size for index, size in zip(pair, shape, strict=True)):
                raise ValueError(
                    f"edge {pair} is outside the layer: outputs are 0 to {shape[0] - 1}, inputs 0 to {shape[1] - 1}"
                )
            mask[pair] = True
        return mask.to(device)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        saved = state_dict.get(f"{prefix}edge_mask")
        shape = (self.out_features, self.in_features)
        fits = isinstance(saved, Tensor) and tuple(saved.shape) == shape
        made = saved is not None and self.edge_mask is None
        if made:
            self.edge_mask = torch.ones(shape, dtype=torch.bool, device=self.first_parameter.device)
            # Pruning on data may have made biases for the means of the edges that went.
            bias = state_dict.get(f"{prefix}{self.constants_name}")
            if getattr(self, self.constants_name) is None and isinstance(bias, Tensor) and fits:
                own = self.constants()
                if own.shape == bias.shape:
                    setattr(self, self.constants_name, own.requires_grad_())
        super()._load_from_state_dict(state_dict, prefix, *args)
        if made and not fits:
            self.edge_mask = None  # the error is on its way; the layer stays as it was
        elif self.edge_mask is not None and self.edge_mask.dtype != torch.bool:
            self.edge_mask = self.edge_mask.bool()  # assign=True takes the dtype of the file


def edge_is_kept(layer: EdgeMasked, output: int, input: int) -> bool:
    """False for an edge that pruning has set to zero."""
    mask = layer.edge_mask
    return mask is None or bool(mask[output, input])


def kept_edges(layer: EdgeMasked) -> list[tuple[int, int]]:
    """(output, input) of every edge that is not pruned, by output."""
    mask = layer.edge_mask
    if mask is None:
        return list(itertools.product(range(layer.out_features), range(layer.in_features)))
    return [(o, i) for o, i in mask.nonzero().tolist()]
