"""QKAN: a stack of QKAN layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Self, Unpack

from qkan._util.module_list import module_list
from qkan._util.periodogram import wanted_frequencies
from qkan.kan.input_checks import checked_width
from qkan.kan.kan import KAN
from qkan.layers.edge_mask import EdgeMasked
from qkan.layers.extend_reps import extend
from qkan.layers.options import LayerOptions
from qkan.layers.qkan_layer import QKANLayer

#: Options of a layer that a network has by default: they make edges that can be read. docs/decisions.md says why.
DEFAULTS: LayerOptions = {"preact_trainable": True, "postact_weight_trainable": True, "base_activation": None}


class QKAN(KAN):
    """A Kolmogorov-Arnold network of :class:`QKANLayer` s (arXiv 2509.14026), with the toolbox of :class:`KAN`.

    Shapes: input (..., width[0]), output (..., width[-1]).

    Args:
        width: sizes of the layers from input to output, two or more.
        options: the keyword options of :class:`QKANLayer`, the same for every layer. Three of them have other defaults
            than in a single layer: ``preact_trainable=True`` and ``postact_weight_trainable=True``, frequencies and
            sizes that are no whole numbers, and ``base_activation=None``, nothing beside the circuit. Options with
            which trained pre-activations make no sense (``ansatz="px"``, ``init``s) keep theirs. One ``generator``
            feeds all layers in order, so equal-shaped layers start differently. With ``preact_init="auto"`` the first
            :meth:`fit` starts from the frequencies of y over each input (peaks of their periodogram), and layers
            behind the first, whose inputs nobody knows yet, from ones; ``restarts`` try other frequencies as well.

    Raises:
        ValueError, TypeError: fewer than two sizes, or what QKANLayer refuses.

    Examples:
        >>> import torch
        >>> from qkan import QKAN
        >>> network = QKAN([2, 5, 1])
        >>> network(torch.rand(10, 2)).shape
        torch.Size([10, 1])
        >>> network.width
        [2, 5, 1]
    """

    layers: Sequence[QKANLayer]  # an nn.ModuleList
    _kinds: ClassVar[tuple[type[EdgeMasked], str]] = (QKANLayer, "QKANLayers")

    def __init__(self, width: Sequence[int], **options: Unpack[LayerOptions]) -> None:
        nn.Module.__init__(self)
        self.width = checked_width(width)
        self.layers = module_list(
            QKANLayer(n_in, n_out, **(DEFAULTS | options)) for n_in, n_out in pairwise(self.width)
        )

    def start_frequencies(self, x: Tensor, y: Tensor, start: int = 0) -> None:
        """Give the first layer the frequencies of ``y`` over its inputs ``x``, if it waits for data.

        Starts after the first, 0, give all layers that wait those of :meth:`QKANLayer.start_otherwise`.

        Raises:
            ValueError: targets that are constant, fewer samples than frequencies need, or other shapes.
        """
        first = self.layers[0]
        if not isinstance(first, QKANLayer) or not first.awaits_data:
            return
        waiting = [layer for layer in self.layers if isinstance(layer, QKANLayer) and layer.awaits_data]
        if all(layer.start_otherwise(start) for layer in waiting):
            return
        if y.shape[: x.dim() - 1] != x.shape[:-1]:
            raise ValueError(
                f"preact_init='auto' needs a target for every input, got {tuple(y.shape)} for {tuple(x.shape)}; use "
                "preact_init='binary'"
            )
        inputs = x.reshape(-1, first.in_features)
        targets = y.reshape(len(inputs), -1)
        found = torch.stack([wanted_frequencies(own.unsqueeze(1), targets, first.reps) for own in inputs.unbind(1)])
        first.set_frequencies(found if first.group is None else found[: first.group])

    def refine(self, reps: int) -> Self:
        """Extend every circuit to ``reps`` repetitions in place, without changing the function; the network itself.

        Build the optimizer after this: circuit parameters are new tensors. See :meth:`QKANLayer.refine`.

        Raises:
            ValueError, TypeError: as of :meth:`QKANLayer.refine`; no layer changes then.
        """
        extend(self.layers, reps)
        return self
