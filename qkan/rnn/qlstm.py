"""QLSTM: a long short-term memory whose gates are circuits of entangled qubits (Chen, Yoo, Fang, arXiv 2009.01783)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from qkan._util.optional import require_pennylane
from qkan.kan.jhcg import Affine
from qkan.kernels.common.host_sync import gibibytes, memory
from qkan.kernels.common.tensors import fix_gradient_strides
from qkan.kernels.multiqubit import circuit as entangled
from qkan.kernels.multiqubit import pauli, statevector
from qkan.kernels.registry import Registry
from qkan.kernels.spectral.basis import Operands
from qkan.layers.init import uniform_
from qkan.layers.options import CircuitOptions, check_dtype
from qkan.rnn import qlstm_pennylane
from qkan.rnn.backend import Backend
from qkan.rnn.gates import Bound, Gates
from qkan.rnn.inner_hooks import is_linear
from qkan.rnn.lstm import _LSTMBase

#: ``auto`` is ``pauli`` where that is the faster one, else ``state``.
BACKENDS = Registry(
    "circuits of this size", (pauli.ENGINE, statevector.ENGINE, qlstm_pennylane.ENGINE), (), ("pennylane",)
)

_GATES = 4


def _empty(options: CircuitOptions, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape, device=options.get("device"), dtype=options.get("dtype")))


class CircuitGates(Gates):
    """The four gates: one affine map of [x, h] to the qubits, a circuit per gate, an affine map per gate.

    Parameters: ``input_encoder`` and ``hidden_encoder`` (affine to the qubits), ``theta`` (4, qubits, 3 layers - 1),
    ``decoder`` (4 hidden, qubits), whose rows read the circuit of their own gate, and ``bias`` (4 hidden).
    """

    def __init__(
        self, inputs: int, hidden: int, recurrent: int, bias: bool, size: tuple[int, int], options: CircuitOptions
    ) -> None:
        super().__init__()
        self.qubits, self.layers = size
        bound = 1 / math.sqrt(hidden)
        self.input_encoder = Affine(inputs, self.qubits, bias, bound, options)
        self.hidden_encoder = Affine(recurrent, self.qubits, False, bound, options)
        self.theta = _empty(options, _GATES, *entangled.angles_of(self.qubits, self.layers))
        self.decoder = _empty(options, _GATES * hidden, self.qubits)
        self.bias = _empty(options, _GATES * hidden) if bias else None
        self.use_backend("auto")
        self.reset_parameters(options.get("generator"))

    def use_backend(self, backend: str) -> None:
        """Evaluate the circuits by the one of :data:`BACKENDS` with that name.

        Raises:
            ValueError: unknown, or not for circuits of this size.
            ImportError: PennyLane is asked for and not installed.
        """
        if backend == "pennylane":
            require_pennylane()
        engine = BACKENDS.choose(backend, (self.qubits, self.layers), ())
        self.backend = engine.name
        # Held here: were they made by the first call, and that one were traced, its tracer's tensors would stay cached.
        self._tables = engine.tables(self.qubits, self.layers)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw everything afresh; the forget gate's bias is 1, so that a fresh cell remembers."""
        self.input_encoder.reset_parameters(generator)
        self.hidden_encoder.reset_parameters(generator)
        uniform_(self.theta, math.pi, generator)
        uniform_(self.decoder, 1 / math.sqrt(self.qubits), generator)
        if self.bias is not None:
            with torch.no_grad():
                self.bias.zero_()
                self.bias.view(_GATES, -1)[1] = 1.0

    def inputs(self, x: Tensor) -> Tensor:
        """What the inputs of all time steps add to the qubits' numbers: (steps, qubits)."""
        return self.input_encoder(x)

    def operands(self, steps: Tensor, bound: Bound) -> Operands | str:
        """As of :class:`Gates`."""
        return f"circuits of entangled qubits run at every step, by backend {self.backend!r}"

    def prepare(self, steps: Tensor, bound: Bound, call: bool = False) -> Callable[[Tensor, Tensor], Tensor]:
        """The gates before their activations, (batch, 4 hidden) in the order i, f, g, o, of (inputs' part, h).

        Args:
            steps: what ``inputs`` made of the inputs of all time steps.
            bound: not needed.
            call: as of :class:`qkan.rnn.gates.Gates`.

        Raises:
            ValueError: the backward pass would need more memory than there is.
        """
        del bound
        self._check_memory(steps)
        engine = BACKENDS.choose(self.backend, (self.qubits, self.layers), ())
        values, matrix = engine.prepare(self.theta, tuple(table.to(self.theta.device) for table in self._tables))
        encoder: Tensor | None = None
        if not call and is_linear(self.hidden_encoder):
            encoder = fix_gradient_strides(self.hidden_encoder.weight).t()
        own: Tensor = fix_gradient_strides(self.decoder)
        decoder = torch.block_diag(*own.unflatten(0, (_GATES, -1)).transpose(1, 2))
        bias = self.bias
        if matrix is not None:
            decoder = decoder.to(matrix.dtype)
            (strings, readings), gates = matrix.shape, decoder.shape[1]
            if strings * gates <= (strings + gates) * readings:  # one product for two, where that is less work
                matrix, decoder = None, matrix @ decoder

        def gate_map(from_input: Tensor, h: Tensor) -> Tensor:
            z = from_input + self.hidden_encoder(h) if encoder is None else torch.addmm(from_input, h, encoder)
            read = values(z)
            if matrix is not None:
                read = read @ matrix
            read = read.to(decoder.dtype)
            gates = read @ decoder if bias is None else torch.addmm(bias.to(decoder.dtype), read, decoder)
            return gates.to(from_input.dtype)

        return gate_map

    def _check_memory(self, steps: Tensor) -> None:
        if self.backend != "state" or not torch.is_grad_enabled():
            return
        needed = statevector.kept_bytes(steps.shape[0], self.theta)
        available = memory(steps.device)
        if available is not None and needed > available:
            raise ValueError(
                f"the backward pass through {steps.shape[0]} rows (batch x time steps) of four circuits with "
                f"{self.qubits} qubits and {self.layers} layers needs {gibibytes(needed)} for their states, but "
                f"{steps.device} has {gibibytes(available)}; use checkpoint_steps, or fewer qubits, circuit_layers, "
                "sequences or time steps"
            )


class QLSTM(_LSTMBase):
    """A long short-term memory whose gates are circuits of entangled qubits.

    One affine map takes [x_t, h_(t-1)] to as many numbers as there are qubits. A circuit per gate encodes them as
    angles, entangles the qubits by layers of CNOTs and trained rotations, and gives <Z> of every qubit (see
    :mod:`qkan.kernels.multiqubit.circuit`). An affine map per gate takes these values to the hidden size; from there on
    it is an LSTM. The circuits are those of arXiv 2009.01783; the affine maps, which that paper does without, make the
    number of qubits independent of input and hidden size, and its two further circuits behind the cell state are left
    out, as usual in later work.

    The first arguments, the input, the states and the output are those of :class:`torch.nn.LSTM`. Affine maps start
    like nn.LSTM's weights, angles uniformly in a whole turn, and the forget gate's bias at 1.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size: as in nn.LSTM;
            ``bias`` is one bias per qubit and one per gate unit.
        qubits: of every circuit, 1 to 12.
        circuit_layers: entangling layers of every circuit, 1 to 64.
        backend: ``"pauli"`` (observables as sums of Pauli strings: exact, one matrix product a step; several layers
            take it up to 6 qubits), ``"state"`` (state vectors, exact), ``"pennylane"`` (a broadcast QNode call a step,
            for validation) or ``"auto"``, the faster one of the first two.
        checkpoint_steps: as in :class:`qkan.QKANLSTM`.
        generator: source of the initial values, or None for torch's own.
        device, dtype: of the parameters.

    Raises:
        ValueError, TypeError: an argument outside its range.
        ImportError: PennyLane is asked for and not installed.

    Examples:
        >>> import torch
        >>> from qkan import QLSTM
        >>> output, (h, c) = QLSTM(3, 4, qubits=3)(torch.randn(6, 2, 3))
        >>> output.shape
        torch.Size([6, 2, 4])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        qubits: int = 4,
        circuit_layers: int = 1,
        backend: Backend = "auto",
        checkpoint_steps: int | None = None,
        generator: torch.Generator | None = None,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        contract = (num_layers, bias, batch_first, dropout, bidirectional, proj_size)
        super().__init__(input_size, hidden_size, *contract, checkpoint_steps=checkpoint_steps)
        entangled.check_size(qubits, circuit_layers)
        check_dtype(dtype)
        self.qubits, self.circuit_layers = qubits, circuit_layers
        self._build({"generator": generator, "device": device, "dtype": dtype}, backend)

    def _make_gates(self, inputs: int, options: CircuitOptions) -> Gates:
        size = (self.qubits, self.circuit_layers)
        return CircuitGates(inputs, self.hidden_size, self.output_size, self.bias, size, options)

    def _use_backend(self, backend: Backend) -> None:
        for gates in self.modules():
            if isinstance(gates, CircuitGates):
                gates.use_backend(str(backend))

    def extra_repr(self) -> str:
        """What print(module) shows."""
        return f"{super().extra_repr()}, qubits={self.qubits}, circuit_layers={self.circuit_layers}"
