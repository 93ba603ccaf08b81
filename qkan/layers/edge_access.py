"""The circuits of a layer edge by edge: their parameters; one to run, draw or export, its spectrum, its closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from qkan.kernels.circuits.ansatz import Ansatz
from qkan.layers.edge_formula import edge_to_sympy
from qkan.layers.options import check_edge
from qkan.quantum import PennyLane
from qkan.quantum.edge_circuit import Edge
from qkan.quantum.pennylane import check_measurable
from qkan.quantum.spectrum import Spectrum, spectrum_of


class EdgeCircuits(nn.Module):
    """What :class:`qkan.QKANLayer` inherits: its circuits laid out per edge, and views of single ones."""

    in_features: int
    out_features: int
    reps: int
    group: int | None
    ansatz: Ansatz
    readout: str
    theta: nn.Parameter
    preact_weight: nn.Parameter | None
    preact_bias: nn.Parameter | None

    def _per_input(self, parameter: Tensor | None) -> Tensor | None:
        """Circuit parameters of a group laid out per input: (1, in, ...)."""
        if parameter is None or self.group in (None, self.in_features):
            return parameter
        return parameter.index_select(1, self._circuit_of_input())

    def _circuit_of_input(self) -> Tensor:
        """The place of the circuit of every input, (in,)."""
        return torch.arange(self.in_features, device=self.theta.device) % (self.group or self.in_features)

    def circuit_parameters(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Angles, pre-activation weights and biases laid out per input: (out, in, ...), 1 for out where outputs share.

        What is not trained is None.
        """
        theta = (
            self.theta
            if self.group in (None, self.in_features)
            else self.theta.index_select(1, self._circuit_of_input())
        )
        return theta, self._per_input(self.preact_weight), self._per_input(self.preact_bias)

    def circuit_of(self, output: int, input: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Angles (rows, angles), pre-activation weights and biases (reps,) of one edge, detached; None if not trained.

        Raises:
            ValueError, TypeError: the layer has no such edge.
        """
        check_edge(output, input, self.out_features, self.in_features)
        theta, *preactivations = self.circuit_parameters()

        def of_edge(parameter: Tensor) -> Tensor:
            return parameter[min(output, parameter.shape[0] - 1), input].detach()

        weight, bias = (None if p is None else of_edge(p) for p in preactivations)
        return of_edge(theta), weight, bias

    def edge(self, output: int, input: int, settings: PennyLane | None = None) -> Edge:
        """The circuit from one input to one output, to run, draw or export; see
        :class:`qkan.quantum.edge_circuit.Edge`.

        It holds copies of the values of now, without the weights behind the circuit and the base branch.

        Raises:
            ValueError: the layer has no such edge, or its readout is ``"amplitude"``, which no circuit measures.
        """
        theta, *preactivations = self.circuit_of(output, input)
        weight, bias = (None if p is None else p.clone() for p in preactivations)
        check_measurable(self.readout)
        settings = PennyLane() if settings is None else settings
        return Edge(self.ansatz, self.reps, theta.clone(), weight, bias, settings)

    def circuit(self, output: int, input: int, settings: PennyLane | None = None) -> Callable[[Any], Any]:
        """The PennyLane QNode of one edge, from x (a number or a batch) to <Z>; arguments and errors of :meth:`edge`.

        Raises:
            ModuleNotFoundError: PennyLane is not installed.
        """
        return self.edge(output, input, settings).qnode

    def spectrum(self, output: int, input: int) -> Spectrum:
        """The exact Fourier frequencies and coefficients of the circuit of one edge; errors of :meth:`edge`.

        Raises:
            ValueError: the ansatz encodes acos(x), or there are more than 3^12 frequencies.
        """
        edge = self.edge(output, input)
        return spectrum_of(edge.ansatz, edge.reps, edge.theta, edge.weight, edge.bias)

    def to_sympy(self, output: int, input: int, x: Any = None, **options: Any) -> Any:
        """The exact closed form of one edge with all its weights, and its base branch; :meth:`QKAN.to_sympy`'s options.

        Args:
            output, input: the edge.
            x: a SymPy symbol or expression to put in; default the symbol ``x``.

        Raises:
            ValueError, TypeError: no such edge, a bad option, more than 20,000 terms, or a callable base activation.
        """
        return edge_to_sympy(self, output, input, x, **options)  # type: ignore[arg-type]
