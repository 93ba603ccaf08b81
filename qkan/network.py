"""QKAN: a stack of QKAN layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from torch import Generator, Tensor, nn
from typing_extensions import Unpack

from qkan.checks import Loss
from qkan.fit_history import FitHistory
from qkan.fitting import Callback, fit
from qkan.importance import Attribution, attribute, feature_importance
from qkan.kernels.choice import Radius
from qkan.kernels.recurrence_types import Operands
from qkan.layers import QKANLayer
from qkan.options import LayerOptions
from qkan.regularization import regularization

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from qkan.symbolic_network import Suggestions, SymbolicQKAN


class QKAN(nn.Module):
    """A Kolmogorov-Arnold network of :class:`QKANLayer` s (arXiv 2509.14026).

    Shapes: input (..., width[0]), output (..., width[-1]).

    Args:
        width: sizes of the layers from input to output, two or more.
        options: the keyword options of :class:`QKANLayer`, the same for every layer. One ``generator`` feeds all layers
            in order, so equal-shaped layers start differently.

    Raises:
        ValueError, TypeError: fewer than two sizes, or what QKANLayer refuses.
    """

    def __init__(self, width: Sequence[int], **options: Unpack[LayerOptions]) -> None:
        super().__init__()
        width = list(width)
        if len(width) < 2:
            raise ValueError(f"width {width} needs an input and an output size, for example [2, 5, 1]")
        self.width = width
        self.layers = nn.ModuleList(QKANLayer(n_in, n_out, **options) for n_in, n_out in pairwise(width))

    def prepare(self, radius: Radius = None) -> Callable[[Tensor], Tensor]:
        """The network as a function of x with everything computed that depends on parameters alone; see QKANLayer."""
        first, *others = self.layers
        steps = [first.prepare(radius), *(layer.prepare() for layer in others)]  # type: ignore[operator]

        def run(x: Tensor) -> Tensor:
            for step in steps:
                x = step(x)
            return x

        return run

    def operands(self, radius: Radius = None) -> Operands | str:
        """As of :class:`QKANLayer`: a network of one layer has them."""
        if len(self.layers) > 1:
            return f"a network of {len(self.layers)} layers is not one product"
        return self.layers[0].operands(radius)  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers in turn to ``x`` (..., width[0])."""
        for layer in self.layers:
            x = layer(x)
        return x

    def fit(
        self,
        x: Tensor,
        y: Tensor,
        *,
        validation: tuple[Tensor, Tensor] | None = None,
        optimizer: str = "adam+lbfgs",
        steps: int | tuple[int, int] = 200,
        lr: float | None = None,
        batch_size: int | None = None,
        loss: str | Loss = "mse",
        l1: float = 0.0,
        entropy: float = 0.0,
        generator: Generator | None = None,
        callback: Callback | None = None,
    ) -> FitHistory:
        """Fit the network to samples ``x`` (samples, ..., width[0]) and ``y``; see :func:`qkan.fitting.fit`."""
        return fit(
            self,
            x,
            y,
            validation=validation,
            optimizer=optimizer,
            steps=steps,
            lr=lr,
            batch_size=batch_size,
            loss=loss,
            l1=l1,
            entropy=entropy,
            generator=generator,
            callback=callback,
        )

    def regularization(self, x: Tensor, *, l1: float = 0.0, entropy: float = 0.0) -> Tensor:
        """L1 and entropy of the edge activities for ``x``, a scalar; see :mod:`qkan.regularization`."""
        return regularization(self._qkan_layers(), x, l1=l1, entropy=entropy)

    def attribute(self, x: Tensor) -> Attribution:
        """Scores of nodes and edges for ``x``, back from the outputs; see :func:`qkan.importance.attribute`."""
        return attribute(self._qkan_layers(), x)

    def feature_importance(
        self, x: Tensor, y: Tensor | None = None, *, method: str = "l2", loss: str | Loss = "mse"
    ) -> Tensor:
        """Importance of the inputs for ``x``, (width[0],); see :func:`qkan.importance.feature_importance`."""
        return feature_importance(self._qkan_layers(), x, y, method=method, loss=loss)

    def _qkan_layers(self) -> list[QKANLayer]:
        return list(self.layers)  # type: ignore[arg-type]

    def to_sympy(
        self,
        variables: Sequence[Any] | None = None,
        *,
        tolerance: float = 0.0,
        digits: int | None = None,
        nested: bool = True,
    ) -> list[Any]:
        """The network as SymPy expressions, exact: nothing is fitted.

        Args:
            variables: symbols, names or expressions, one per input; default x1, x2, ...
            tolerance: drop what has a coefficient not larger in modulus, >= 0.
            digits: significant digits that numbers are rounded to, 1 to 15, or None for all.
            nested: one expression per output, composed through the layers; False: for every layer a list of pairs of a
                symbol (h1_1, h1_2, ..., y1, ...) and its definition in those of the layer before.

        Raises:
            ValueError, TypeError: a bad option, more than 20,000 terms, or a callable base activation.
        """
        from qkan.symbolic import network_to_sympy

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
                :data:`qkan.symbolic_library.LIBRARY`; ``penalty``, default 0.5: functions are ranked by
                log10(1 - R^2) + penalty * complexity.

        Raises:
            ValueError, TypeError: no such edge, a bad option, or activations that are not finite.
        """
        from qkan.symbolic_network import suggest_symbolic

        return suggest_symbolic(self, layer_index, output, input, x, k, **options)

    def auto_symbolic(self, x: Tensor, library: Any = None, r2: float = 0.99, *, penalty: float = 0.5) -> SymbolicQKAN:
        """A new network with every edge snapped to the best function of a library; this one is not changed.

        Args:
            x: (..., width[0]) inputs, on which edges are fitted and the error is measured.
            library, penalty: as of :meth:`suggest_symbolic`.
            r2: an edge takes the best-ranked function whose R^2 reaches this, and stays a circuit if none does.

        Raises:
            ValueError, TypeError: a bad option, more than 2,000 edges, or activations that are not finite.
        """
        from qkan.symbolic_network import auto_symbolic

        return auto_symbolic(self, x, library, r2, penalty=penalty)

    def plot(self, x: Tensor | None = None, **options: Any) -> Figure:
        """The network as a matplotlib figure, with the function of every edge; see :func:`qkan.plotting.plot_network`.

        Args:
            x: (..., width[0]) inputs to take ranges and activities from; None takes 256 uniform ones in [-1, 1].
            options: ``input_names``, ``output_names``, ``title``, ``beta``, ``max_edges``.
        """
        from qkan.plotting import plot_network

        return plot_network(self, x, **options)

    def plot_edge(self, layer_index: int, output: int, input: int, x: Tensor | None = None) -> Figure:
        """One edge, its circuit and its base branch, over the range of what reaches it for inputs ``x``."""
        from qkan.plotting import plot_edge

        return plot_edge(self, layer_index, output, input, x)
