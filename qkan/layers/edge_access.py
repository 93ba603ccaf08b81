"""The circuits of a layer edge by edge: their parameters; one to run, draw or export, its spectrum, its closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

from qkan.kernels.circuits.ansatz import Ansatz
from qkan.layers.edge_formula import EdgeFormula, Numbers, circuit_formula, edge_to_sympy
from qkan.layers.edge_mask import EdgeMasked
from qkan.layers.options import check_edge
from qkan.quantum import PennyLane
from qkan.quantum.edge_circuit import Edge
from qkan.quantum.pennylane import check_measurable
from qkan.quantum.spectrum import Spectrum, spectrum_of


class EdgeCircuits(EdgeMasked):
    """What :class:`qkan.QKANLayer` inherits: its circuits laid out per edge, and views of single ones."""

    edge_name = "circuit"
    constants_name: ClassVar[str] = "postact_bias"
    reps: int
    group: int | None
    ansatz: Ansatz
    readout: str
    theta: nn.Parameter
    preact_weight: nn.Parameter | None
    preact_bias: nn.Parameter | None
    postact_weight: nn.Parameter | None
    postact_bias: nn.Parameter | None

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
        """The exact closed form of one edge with all its weights, and its base branch; :meth:`KAN.to_sympy`'s options.

        Args:
            output, input: the edge.
            x: a SymPy symbol or expression to put in; default the symbol ``x``.

        Raises:
            ValueError, TypeError: no such edge, a bad option, more than 20,000 terms, or a callable base activation.
        """
        return edge_to_sympy(self, output, input, x, **options)

    def edge_formula(self, output: int, input: int, numbers: Numbers) -> EdgeFormula:
        """The closed form of one edge of circuits, not yet at any x."""
        return circuit_formula(self, output, input, numbers)  # type: ignore[arg-type]

    def constants(self) -> nn.Parameter:
        """Post-activation biases of 0, for a layer that has none."""
        zeros = self.theta.new_zeros(self.out_features, self.in_features)
        return nn.Parameter(zeros, requires_grad=self.theta.requires_grad)  # frozen layers stay frozen

    def add_constants(self, constants: Tensor) -> None:
        """Add constants (out,) to the post-activation bias of the kept edge of largest weight.

        A layer without such biases gets them. An output without kept edges is a hidden node that goes: nothing is
        added.
        """
        own = self.postact_weight
        weight: Tensor = constants.new_ones(self.out_features, self.in_features) if own is None else own
        size, receiver = self._kept(weight.abs()).max(1, keepdim=True)
        bias = torch.where(size > 0, constants.unsqueeze(1) / weight.gather(1, receiver), 0)
        if not bias.any():
            return
        if self.postact_bias is None:
            self.postact_bias = self.constants()
        self.postact_bias.scatter_add_(1, receiver, bias)

    def silence(self, mask: Tensor) -> list[tuple[nn.Parameter, Tensor]]:
        """Give edges weight 0 where a bool ``mask`` (out, in) is False; edges without post-activation weights stay.

        Returns:
            the parameters that hold one entry an edge, and for each the mask in a shape that broadcasts with it.
        """
        for name in ("postact_weight", "base_weight"):
            weight = getattr(self, name)
            if weight is not None and (name == "postact_weight" or self.postact_weight is not None):
                weight.data.mul_(mask)
        return [
            (parameter, mask.reshape(*mask.shape, *(1 for _ in parameter.shape[2:])))
            for parameter in self.parameters(recurse=False)
            if parameter.shape[:2] == mask.shape  # shared circuits stay trained
        ]

    def part(self, inputs: Tensor, outputs: Tensor) -> Self:
        """The layer of some of the inputs and outputs, (n,) places, with values and the mask of the edges between."""
        config = self.config | {"in_features": len(inputs), "out_features": len(outputs)}
        if self.group is not None and len(inputs) < self.in_features:
            config["group"] = "input"
        build: Callable[..., Self] = type(self)
        part = build(**config, generator=torch.Generator(), device=self.theta.device)
        inputs, outputs = inputs.to(self.theta.device), outputs.to(self.theta.device)
        state = {}
        for name, tensor in self.state_dict().items():
            if name.startswith("base_activation."):  # a module that both layers share
                continue
            circuit = name in ("theta", "preact_weight", "preact_bias")
            if circuit and config["group"] == "input":
                tensor = self._per_input(tensor)
            if not circuit or config["group"] in (None, "input"):
                tensor = tensor.index_select(1, inputs)
            shared = tensor.shape[0] == 1 and self.out_features > 1
            state[name] = tensor if shared else tensor.index_select(0, outputs)
        return self.take_values(part, state)
