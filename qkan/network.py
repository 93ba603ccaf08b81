"""QKAN: a stack of QKAN layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

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
