"""KAN: a stack of layers whose edges are functions, and the toolbox of such networks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Self, Unpack

from qkan._util.module_list import module_list
from qkan.kan import pruning
from qkan.kan import serialization as saving
from qkan.kan.fit_history import FitHistory
from qkan.kan.fitting import fit
from qkan.kan.importance import Attribution, attribute, feature_importance
from qkan.kan.input_checks import FitOptions, Loss, checked_width
from qkan.kan.pruning import Pruned
from qkan.kan.regularization import regularization
from qkan.kernels.backend_choice import Radius
from qkan.kernels.spectral.basis import BasisFunctions, Operands
from qkan.layers.edge_mask import EdgeMasked
from qkan.layers.free_edges import extend_all, refine_all
from qkan.layers.kan_layer import KANLayer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from qkan.kan.symbolic_fit import Suggestions, SymbolicKAN


class KAN(nn.Module):
    """A Kolmogorov-Arnold network (arXiv 2404.19756) of :class:`KANLayer` s of any basis.

    :class:`qkan.QKAN` is such a network whose edges are circuits. What stands below works for both, and for networks of
    both kinds of layers (:meth:`from_layers`).

    Shapes: input (..., width[0]), output (..., width[-1]).

    Args:
        width: sizes of the layers from input to output, two or more.
        basis: of every edge, as of :class:`KANLayer`: ``"bspline"``, ``"fourier"``, ``"chebyshev"``, ``"rff"``, ... or
            :class:`qkan.BasisFunctions`.
        terms: functions of an edge, as of :class:`KANLayer`.
        options: the other keyword options of :class:`KANLayer`, the same for every layer. ``base_activation`` is
            ``"silu"`` unless given, as in the paper: splines are zero beyond their grid, and what a hidden layer gives
            the next one knows of no grid. One ``generator`` feeds all layers in order.

    Raises:
        ValueError, TypeError: fewer than two sizes, or what KANLayer refuses.

    Examples:
        >>> import torch
        >>> from qkan import KAN
        >>> network = KAN([2, 5, 1], "bspline", terms=8)
        >>> network(torch.rand(10, 2)).shape
        torch.Size([10, 1])
    """

    layers: Sequence[Any]  # an nn.ModuleList of EdgeMasked
    #: What :meth:`from_layers` takes, and its name.
    _kinds: ClassVar[tuple[type[EdgeMasked], str]] = (EdgeMasked, "KANLayers or QKANLayers")

    def __init__(
        self, width: Sequence[int], basis: str | BasisFunctions = "bspline", *, terms: int | None = None, **options: Any
    ) -> None:
        super().__init__()
        self.width = checked_width(width)
        options = {"base_activation": None if basis == "rational" else "silu"} | options
        self.layers = module_list(
            KANLayer(n_in, n_out, basis, terms=terms, **options) for n_in, n_out in pairwise(self.width)
        )

    def prepare(self, radius: Radius = None) -> Callable[[Tensor], Tensor]:
        """The network as a function of x with everything computed that depends on parameters alone."""
        first, *others = self.layers
        steps = [first.prepare(radius) if hasattr(first, "prepare") else first]
        steps += [layer.prepare() if hasattr(layer, "prepare") else layer for layer in others]

        def run(x: Tensor) -> Tensor:
            for step in steps:
                x = step(x)
            return x

        return run

    def operands(self, radius: Radius = None) -> Operands | str:
        """The network as features and a matrix, which one layer has; else the reason why there are none, in words."""
        if len(self.layers) > 1:
            return f"a network of {len(self.layers)} layers is not one product"
        if not hasattr(self.layers[0], "operands"):  # wrapped by somebody
            return f"its layer is a {type(self.layers[0]).__name__}"
        return self.layers[0].operands(radius)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers in turn to ``x`` (..., width[0])."""
        for layer in self.layers:
            x = layer(x)
        return x

    def fit(
        self,
        x: Tensor,
        y: Tensor,
        **options: Unpack[FitOptions],
    ) -> FitHistory:
        """Fit the network to samples ``x`` (samples, ..., width[0]) and ``y``.

        Options, result and errors of :func:`qkan.kan.fitting.fit`.
        """
        return fit(self, x, y, **options)

    def regularization(self, x: Tensor, *, l1: float = 0.0, entropy: float = 0.0) -> Tensor:
        """L1 and entropy of the edge activities for ``x``, a scalar; see :mod:`qkan.kan.regularization`."""
        return regularization(self.layers, x, l1=l1, entropy=entropy)

    def attribute(self, x: Tensor) -> Attribution:
        """Scores of nodes and edges for ``x``, back from the outputs; see :func:`qkan.kan.importance.attribute`."""
        return attribute(self.layers, x)

    def feature_importance(
        self, x: Tensor, y: Tensor | None = None, *, method: str = "l2", loss: str | Loss = "mse"
    ) -> Tensor:
        """Importance of the inputs for ``x``, (width[0],); see :func:`qkan.kan.importance.feature_importance`."""
        return feature_importance(self.layers, x, y, method=method, loss=loss)

    def to_sympy(
        self,
        variables: Sequence[Any] | None = None,
        *,
        tolerance: float = 0.0,
        digits: int | None = None,
        nested: bool = True,
    ) -> list[Any]:
        """The network as SymPy expressions, exact: nothing is fitted.

        ``print`` of the list is short; its elements are whole.

        Args:
            variables: symbols, names or expressions, one per input; default x1, x2, ...
            tolerance: drop what has a coefficient not larger in modulus, >= 0.
            digits: significant digits that numbers are rounded to, 1 to 15, or None for all.
            nested: one expression per output, composed through the layers; False: for every layer a list of pairs of a
                symbol (h1_1, h1_2, ..., y1, ...) and its definition in those of the layer before.

        Raises:
            ValueError, TypeError: a bad option, more than 20,000 terms, a callable base activation, or basis functions
                of your own.
        """
        from qkan.kan.closed_form import network_to_sympy

        return network_to_sympy(self, variables, tolerance=tolerance, digits=digits, nested=nested)

    def suggest_symbolic(
        self, layer_index: int, output: int, input: int, x: Tensor, k: int = 5, **options: Any
    ) -> Suggestions:
        """The elementary functions c f(a x + b) + d that fit one edge best; ``to_frame()`` is their table.

        Args:
            layer_index, output, input: the edge; layer 0 takes the inputs.
            x: (..., width[0]) inputs of the network; the edge is fitted on what reaches it.
            k: how many functions to list.
            options: ``library``, names or a mapping from names to :class:`qkan.SymbolicFunction`, default all of
                :data:`qkan.kan.symbolic_functions.LIBRARY`; ``penalty``, default 0.5: functions are ranked by
                log10(1 - R^2) + penalty * complexity.

        Raises:
            ValueError, TypeError: no such edge, a bad option, or activations that are not finite.
        """
        from qkan.kan.symbolic_fit import suggest_symbolic

        return suggest_symbolic(self, layer_index, output, input, x, k, **options)

    def auto_symbolic(
        self, x: Tensor, library: Any = None, r2: float = 0.99, *, y: Tensor | None = None, penalty: float = 0.5
    ) -> SymbolicKAN:
        """A new network with every edge snapped to the best function of a library; this one is not changed.

        Args:
            x: (..., width[0]) inputs, on which edges are fitted and the error is measured.
            library, penalty: as of :meth:`suggest_symbolic`.
            r2: an edge takes the best-ranked function whose R^2 reaches this, and stays what it is if none does.
            y: (..., width[-1]), what the network was trained on: the functions of all edges are then chosen together,
                by the error of the whole formula on these data, to which its numbers are fitted. For networks with at
                most 60 edges left.

        Raises:
            ValueError, TypeError: a bad option, more than 2,000 edges, or 60 with ``y``, or activations that are not
                finite.
        """
        from qkan.kan.symbolic_fit import auto_symbolic

        return auto_symbolic(self, x, library, r2, y=y, penalty=penalty)

    def plot(self, x: Tensor | None = None, **options: Any) -> Figure:
        """The network as a matplotlib figure, with the function of every edge; see
        :func:`qkan.kan.plotting.plot_network`.

        Args:
            x: (..., width[0]) inputs to take ranges and activities from; None takes 256 uniform ones in [-1, 1].
            options: ``input_names``, ``output_names``, ``title``, ``beta``, ``max_edges``.
        """
        from qkan.kan.plotting import plot_network

        return plot_network(self, x, **options)

    def plot_edge(self, layer_index: int, output: int, input: int, x: Tensor | None = None) -> Figure:
        """One edge, its base branch and the rest, over the range of what reaches it for inputs ``x``."""
        from qkan.kan.plotting import plot_edge

        return plot_edge(self, layer_index, output, input, x)

    @classmethod
    def from_layers(cls, layers: Iterable[EdgeMasked]) -> Self:
        """A network of given layers, which it takes as they are; they may differ in their options.

        Raises:
            ValueError: no layer, or one that does not take as many inputs as the one in front has outputs.
            TypeError: something else than layers of this kind of network.
        """
        layers, (kind, name) = list(layers), cls._kinds
        for layer in layers:
            if not isinstance(layer, kind):
                chosen = "; call prune() of a KANMixture first, which leaves the winner" * hasattr(layer, "winners")
                raise TypeError(f"layers must be {name}, got {type(layer).__name__}{chosen}")
        for index, (first, second) in enumerate(pairwise(layers)):
            if first.out_features != second.in_features:
                raise ValueError(
                    f"layer {index + 1} takes {second.in_features} inputs, but layer {index} has {first.out_features} "
                    "outputs; they must be equal"
                )
        if not layers:
            raise ValueError(f"a network needs at least one layer, got none; pass {name}, the first one first")
        network = cls.__new__(cls)
        nn.Module.__init__(network)
        network.width = [layers[0].in_features, *(layer.out_features for layer in layers)]
        network.layers = module_list(layers)
        return network

    @property
    def config(self) -> dict[str, Any]:
        """``width``, and ``layers``: the ``config`` of each."""
        return {"width": list(self.width), "layers": [layer.config for layer in self.layers]}

    def prune(
        self,
        x: Tensor,
        *,
        edge_threshold: float | None = pruning.EDGE_THRESHOLD,
        node_threshold: float | None = pruning.NODE_THRESHOLD,
        input_threshold: float | None = None,
    ) -> Pruned:
        """Remove in place what does little on data ``x`` (..., width[0]); KAN paper (arXiv 2404.19756), section 2.5.1.

        The measure are the scores of :meth:`attribute`: shares, whatever the scale of the outputs and of the hidden
        nodes, in which an edge that makes all of one output has 1. Removed are edges below ``edge_threshold``, and
        inputs and hidden nodes whose kept edges on the way out add up to less than ``input_threshold`` and
        ``node_threshold``. None leaves that kind alone, except for hidden nodes that have no edge on one side any more:
        they always go. What was pruned before stays pruned.

        Scores do not count constants: an output keeps the mean of what it loses, in the bias of a KANLayer or the
        post-activation bias of a kept edge. A layer without such biases gets them, so build the optimizer after this.

        Returns:
            what went, and by how much that moved the outputs on ``x``.

        Raises:
            ValueError: an output would have no input left (nothing is removed then); a threshold below 0; fewer than
                two samples, or NaN or infinite edges.
            TypeError: a threshold that is not a number, or an ``x`` that is no floating-point tensor.
        """
        return pruning.prune(self, x, edge_threshold, node_threshold, input_threshold)

    def silence(self, x: Tensor) -> list[tuple[nn.Parameter, Tensor]]:
        """Give the edges that ``prune(x)`` would remove the weight 0, without removing them; :meth:`fit` uses this.

        Circuits without post-activation weights stay as they are.

        Returns:
            the parameters that hold one entry an edge, and for each where it is kept, a bool that broadcasts with it;
            empty if some output would lose all its inputs: nothing changes then.
        """
        with torch.no_grad():
            return pruning.silence(self, x)

    def prune_edges(self, edges: Iterable[tuple[int, int, int]] | Sequence[Tensor], x: Tensor | None = None) -> Pruned:
        """Remove edges in place.

        Args:
            edges: (layer, output, input) of each, or a bool tensor (out, in) for every layer, True to remove.
            x: data (..., width[0]) on which outputs keep the means of their removed edges, as in :meth:`prune`; None
                removes these, too.

        Raises:
            ValueError, TypeError: as of :meth:`prune`, or no such edge.
        """
        return pruning.prune_edges(self, edges, x)

    def prune_nodes(self, nodes: Iterable[tuple[int, int]], x: Tensor | None = None) -> Pruned:
        """Remove all edges to and from hidden nodes (level, node) in place; level l are the outputs of layer l - 1.

        ``x`` as of :meth:`prune_edges`.

        Raises:
            ValueError, TypeError: as of :meth:`prune`, or no such hidden node.
        """
        return pruning.prune_nodes(self, nodes, x)

    def prune_inputs(self, inputs: Iterable[int], x: Tensor | None = None) -> Pruned:
        """Remove all edges of inputs in place; forward does not read their values any more, so they may be NaN there.

        Fitting, importance and figures still refuse data that are not finite.

        ``x`` as of :meth:`prune_edges`.

        Raises:
            ValueError, TypeError: as of :meth:`prune`, or no such input.
        """
        return pruning.prune_inputs(self, inputs, x)

    def restore(self) -> int:
        """Bring back all pruned edges, with the parameters that they have kept; returns how many.

        Means that :meth:`prune` moved to other edges stay there.
        """
        return sum(layer.restore() for layer in self.layers)

    def compact(self) -> Self:
        """A smaller copy with the same function, without hidden nodes that no output depends on.

        Hidden nodes without inputs stay where outputs use them: they are constants. Inputs stay, so that calls do. In a
        layer that loses inputs, circuits that a number of inputs shared (``group``) become one per input. A module as
        base activation is shared with the original.

        Raises:
            ValueError: an output without any input.
        """
        return pruning.compact(self)

    def refine(self, terms: int) -> Self:
        """Give every edge ``terms`` functions in place, the same function on its domain as before; the network itself.

        Layers with more functions than others, as extended ones have, grow by the same factor. Splines on finer grids
        reach less far, so call :meth:`extend` first where hidden values leave the domain. Build the optimizer after
        this: coefficients are new tensors. See :meth:`KANLayer.refine` and :meth:`SplineLayer.refine`.

        Raises:
            ValueError, TypeError: as of these; no layer changes then.
        """
        refine_all(self.layers, terms)
        return self

    def extend(self, x: Tensor) -> Self:
        """Widen the grids of layers in place to what reaches them for ``x`` (..., width[0]); the network itself.

        Splines, bumps and Gaussians get whole intervals more (:meth:`KANLayer.extend`), so functions stay as they are;
        layers of other bases stay, too. Build the optimizer after this.

        Raises:
            ValueError, TypeError: an ``x`` that the network refuses, or that takes more than 512 functions an edge.
        """
        extend_all(self.layers, x)
        return self

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write values, pruned edges and all options as one safetensors file, which :meth:`load` reads.

        A crash leaves either the old file or the new one.

        Raises:
            FileExistsError: there is a file already, and overwrite is not True.
            ValueError: a base activation or backend that is an object: a file cannot hold it.
            OSError: the file cannot be written.
        """
        saving.save(self, path, overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: torch.device | str | int = "cpu") -> Self:
        """The network that :meth:`save` wrote, on a device; nothing in the file is executed.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a damaged file, another kind of file, or tensors that are missing, unknown or misshapen.
        """
        return saving.load(cls, path, device)
