"""A layer whose nodes choose the family of their edges while they train (S-KAN, arXiv 2408.08338)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from qkan._util.module_list import module_list
from qkan.layers.kan_layer import KANLayer
from qkan.layers.options import check_input

#: Families unless told otherwise: local, periodic and polynomial.
FAMILIES = ("bspline", "fourier", "chebyshev")


class KANMixture(nn.Module):
    r"""A :class:`qkan.KANLayer` of several families at once: y_o = c_o + sum_i sum_f w_if phi_oi^f(x_i).

    Every input node i has weights w_i = softmax of trained logits over the families, all alike at first; phi^f are the
    edges of a layer of family f. The weights multiply coefficients, so that a mixture costs what its layers cost. Once
    the nodes have decided, :meth:`prune` leaves the winner.

    Shapes: input (..., in_features), output (..., out_features). Parameters: ``logits`` (in, families), ``bias``
    (out,), and the coefficients of ``layers``, one a family.

    Args:
        in_features, out_features: sizes of the last dimension.
        families: names that :class:`qkan.KANLayer` takes as its basis, at least two, each once; not ``"rational"``,
            whose functions are trained.
        terms: functions of an edge in every family, or one number a family.
        radius: half the width of the domain, of every family.
        bias: train c; else there is none.
        generator: source of the initial values; None takes torch's default one.
        device, dtype: of the parameters.

    Raises:
        ValueError, TypeError: an option outside what is listed above.

    Examples:
        >>> import torch
        >>> from qkan import KANMixture
        >>> layer = KANMixture(3, 2, ("bspline", "rbf"))
        >>> layer(torch.rand(5, 3)).shape, layer.weights().tolist()[0]
        (torch.Size([5, 2]), [0.5, 0.5])
        >>> layer.prune().basis
        'bspline'
    """

    bias: nn.Parameter | None
    logits: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        families: Sequence[str] = FAMILIES,
        *,
        terms: int | Sequence[int] = 8,
        radius: float = 1.0,
        bias: bool = True,
        generator: torch.Generator | None = None,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        families = _checked(families)
        counts = [terms] * len(families) if isinstance(terms, int) else list(terms)
        if len(counts) != len(families):
            raise ValueError(
                f"terms has {len(counts)} numbers for {len(families)} families; give one for each, or one for all"
            )
        factory: dict[str, Any] = {"generator": generator, "device": device, "dtype": dtype}
        self.layers = module_list(
            KANLayer(in_features, out_features, family, terms=count, radius=radius, bias=False, **factory)
            for family, count in zip(families, counts, strict=True)
        )
        self.in_features, self.out_features, self.families = in_features, out_features, families
        self.logits = nn.Parameter(torch.zeros(in_features, len(families), device=device, dtype=dtype))
        zeros = torch.zeros(out_features, device=device, dtype=dtype)
        self.register_parameter("bias", nn.Parameter(zeros) if bias else None)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh initial values from ``generator``, or from torch's default one; all families weigh alike."""
        for layer in self.layers:
            layer.reset_parameters(generator)
        with torch.no_grad():
            for parameter in (self.logits, self.bias):
                if parameter is not None:
                    parameter.zero_()

    def weights(self) -> Tensor:
        """How much every family weighs at every input node, (in_features, families): rows add up to 1."""
        if self.logits is not None:
            return torch.softmax(self.logits, -1)
        like = self.layers[0].coefficients
        weights = like.new_zeros(self.in_features, len(self.families))
        for place in range(len(self.families)):
            weights[self._inputs(place), place] = 1.0
        return weights

    def entropy(self) -> Tensor:
        """The mean entropy of the nodes' weights, from 0, one family each, to 1, all alike: a loss that makes them
        decide."""
        if self.logits is None:
            return self.layers[0].coefficients.new_zeros(())
        logarithms = torch.log_softmax(self.logits, -1)  # those of weights that have become 0 have no slope
        return -(logarithms.exp() * logarithms).sum(-1).mean() / math.log(max(2, len(self.families)))

    def winners(self) -> list[str]:
        """The family that weighs most at every input node."""
        return [self.families[place] for place in self.weights().argmax(-1).tolist()]

    def _inputs(self, place: int) -> Tensor:
        """The inputs of a family, where every node has chosen."""
        return self.get_buffer(f"inputs_{place}")

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to ``x`` (..., in_features); (..., out_features).

        Raises:
            ValueError: another last size.
            TypeError: an input that is not floating point.
        """
        check_input(x, self.in_features, type(self).__name__)
        weights = None if self.logits is None else self.weights()
        total: Tensor | None = None
        for place, layer in enumerate(self.layers):
            if weights is None:
                y = layer(x.index_select(-1, self._inputs(place)))
            else:
                y = layer.sum_with(x, layer.coefficients * weights[:, place].view(1, -1, 1))
            total = y if total is None else total + y
        if total is None:
            raise RuntimeError("a mixture has lost its families")
        return total if self.bias is None else total + self.bias

    def edge_outputs(self, x: Tensor) -> Tensor:
        """What every edge adds to its output, (..., out_features, in_features); with the bias their sum is forward."""
        check_input(x, self.in_features, type(self).__name__)
        weights = self.weights()
        if self.logits is not None:
            parts = [layer.edge_outputs(x) * weights[:, place] for place, layer in enumerate(self.layers)]
            return torch.stack(parts).sum(0)
        out = x.new_zeros(*x.shape[:-1], self.out_features, self.in_features, dtype=weights.dtype)
        for place, layer in enumerate(self.layers):
            inputs = self._inputs(place)
            out = out.index_copy(-1, inputs, layer.edge_outputs(x.index_select(-1, inputs)))
        return out

    def prune(self, *, per_node: bool = False) -> KANLayer | KANMixture:
        """What is left of the winner, with copies of its parameters; this layer stays as it is.

        A family that is left alone weighs 1, as softmax has it, so outputs change by what the others added: nothing
        where weights are 0 and 1. Train on afterwards where they are not.

        Args:
            per_node: every input node keeps the family that weighs most there; else all keep the one that weighs most
                in the mean.

        Returns:
            a plain :class:`qkan.KANLayer` if one family is left, else a mixture whose layers share out the inputs.
        """
        if self.logits is None:
            return self
        weights = self.weights().detach()
        chosen = weights.argmax(-1) if per_node else weights.mean(0).argmax().expand(self.in_features)
        left = sorted(set(chosen.tolist()))
        if len(left) == 1:
            return self._part(left[0], torch.arange(self.in_features, device=chosen.device), self.bias)
        kept = KANMixture.__new__(KANMixture)
        nn.Module.__init__(kept)
        kept.in_features, kept.out_features = self.in_features, self.out_features
        kept.families = tuple(self.families[place] for place in left)
        inputs = [(chosen == place).nonzero().squeeze(-1) for place in left]
        kept.layers = module_list(self._part(place, own, None) for place, own in zip(left, inputs, strict=True))
        for place, own in enumerate(inputs):
            kept.register_buffer(f"inputs_{place}", own)
        kept.register_parameter("logits", None)
        kept.register_parameter("bias", None if self.bias is None else nn.Parameter(self.bias.detach().clone()))
        return kept

    def _part(self, place: int, inputs: Tensor, bias: Tensor | None) -> KANLayer:
        """The layer of a family over some inputs, with a bias."""
        whole = self.layers[place]
        part = whole.part(inputs, torch.arange(self.out_features, device=inputs.device))
        part.coefficients.requires_grad_(whole.coefficients.requires_grad)
        if bias is not None:
            part.bias = nn.Parameter(bias.detach().clone(), requires_grad=bias.requires_grad)
        return part

    def extra_repr(self) -> str:
        """What print(layer) shows."""
        return f"in_features={self.in_features}, out_features={self.out_features}, families={self.families}"


def _checked(families: Sequence[str]) -> tuple[str, ...]:
    """The families as a tuple.

    Raises:
        ValueError, TypeError: fewer than two, one twice, or something that is no name.
    """
    if isinstance(families, str) or not isinstance(families, Sequence):
        raise TypeError(f"families must be a sequence of names, got {families!r}; use ('bspline', 'fourier')")
    for family in families:
        if not isinstance(family, str):
            raise TypeError(f"families must be names, got {type(family).__name__}; use ('bspline', 'fourier')")
    if "rational" in families:
        raise ValueError("families cannot be 'rational', whose functions are trained; use bspline, or KANLayer alone")
    if len(families) < 2 or len(set(families)) < len(families):
        raise ValueError(
            f"families must be at least two, each once, got {tuple(families)}; use KANLayer for one family"
        )
    return tuple(families)
