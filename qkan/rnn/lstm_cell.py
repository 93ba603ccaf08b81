"""Single time steps: recurrent modules with the call contract of torch.nn.LSTMCell."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from qkan.kernels.circuits.bloch.numba_cpu import numba_supported
from qkan.kernels.common.host_sync import tracing
from qkan.kernels.recurrence.numba_cpu import Stepper
from qkan.kernels.recurrence.types import Layout, layout_of
from qkan.layers.frozen import FrozenLayer
from qkan.layers.options import CircuitOptions, positive_int
from qkan.rnn import nn_lstm_contract as sequence
from qkan.rnn.backend import Backend, HasBackend
from qkan.rnn.gates import QKANGates
from qkan.rnn.lstm import set_defaults
from qkan.rnn.unidirectional import States, UnidirectionalRNN


class QKANLSTMCell(HasBackend):
    """One time step of :class:`QKANLSTM`, with the call contract of :class:`torch.nn.LSTMCell`.

    Args:
        input_size, hidden_size, bias: as in nn.LSTMCell.
        backend: as in :class:`QKANLSTM`.
        options: further keyword options of :class:`qkan.QKANLayer`, with ``reps`` 1 and no base branch unless asked
            for.

    Raises:
        ValueError, TypeError: an argument outside its range.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        backend: Backend = "auto",
        **options: Unpack[CircuitOptions],
    ) -> None:
        super().__init__()
        self.input_size = positive_int("input_size", input_size)
        self.hidden_size = positive_int("hidden_size", hidden_size)
        self.bias = bias
        set_defaults(options)
        gates = QKANGates(input_size, hidden_size, hidden_size, bias, options)
        self.cell = UnidirectionalRNN(gates, hidden_size, 0, options)
        self.backend = backend
        self._prepared: tuple[list[tuple[int, int]], list[Tensor], Stepper | None] | None = None

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh initial values from ``generator``, or from torch's default one."""
        self.cell.reset_parameters(generator)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles prepare their own step."""
        return {**self.__dict__, "_prepared": None}

    def forward(self, input: Tensor, hx: States | None = None) -> States:
        """One step.

        Args:
            input: (B, input_size) or (input_size,).
            hx: (h, c), each (B, hidden_size) or (hidden_size,); zeros if None.

        Returns:
            (h', c') of those shapes.

        Raises:
            ValueError: another number of dimensions.
            RuntimeError: sizes or dtypes that do not fit.
        """
        own = self._frozen()
        like = self.cell.gates.like() if own is None else own[0]
        if input.dim() not in (1, 2):
            raise ValueError(f"QKANLSTMCell: Expected input to be 1D or 2D, got {input.dim()}D instead")
        if input.size(-1) != self.input_size:
            raise RuntimeError(f"input has inconsistent input_size: got {input.size(-1)} expected {self.input_size}")
        shape = (*input.shape[:-1], self.hidden_size)
        if hx is None:
            zeros = torch.zeros(shape, dtype=like.dtype, device=like.device)
            hx = (zeros, zeros)
        for state in hx:
            if state.dim() not in (1, 2):
                raise ValueError(f"QKANLSTMCell: Expected hx to be 1D or 2D, got {state.dim()}D instead")
            if state.shape != shape:
                raise RuntimeError(f"hidden state has shape {tuple(state.shape)}, expected {tuple(shape)}")
        for tensor in (input, *hx):
            if not sequence.dtype_fits(tensor, like.dtype):
                raise RuntimeError(f"dtype {tensor.dtype} does not match weight dtype; convert with .to({like.dtype})")
        if input.dim() == 2:
            return self._step(own, input, *hx)
        h, c = self._step(own, *(tensor.unsqueeze(0) for tensor in (input, *hx)))
        return h.squeeze(0), c.squeeze(0)

    def _step(self, own: list[Tensor] | None, x: Tensor, h: Tensor, c: Tensor) -> States:
        """One step of a batch: of a sequence of one step, unless a frozen cell has prepared its own."""
        stepper = self._stepper(own, x, h, c)
        if stepper is not None:
            return stepper(x, h, c)
        layout = Layout if torch.compiler.is_compiling() or tracing() else layout_of
        _, states = self.cell(x, layout((x.shape[0],), False), (h, c), self._backend)
        return states

    def explain_backend(self, input: Tensor) -> str:
        """Print and return what runs for inputs like ``input``, (B, input_size) or (input_size,), and why."""
        own = self._frozen()
        x = input if input.dim() == 2 else input.unsqueeze(0)
        zeros = x.new_zeros(len(x), self.hidden_size)
        with torch.no_grad():
            frozen = self._stepper(own, x, zeros, zeros) is not None
        text = "numba: one step of frozen gates" if frozen else self.cell.explain(x, (zeros, zeros), self._backend)
        print(text)
        return text

    def _frozen(self) -> list[Tensor] | None:
        """All tensors of frozen gates, without a walk over the modules; None where they are not frozen."""
        gates: Any = self._modules["cell"]._modules["gates"]  # type: ignore[union-attr]  # attributes of modules are slow
        if "bias" not in gates._parameters:  # parametrized or pruned by torch's own tools
            return None
        own: list[Tensor | None] = [gates._parameters["bias"]]
        for name in ("input", "hidden"):
            layer = gates._modules[name]
            if not isinstance(layer, FrozenLayer):
                return None
            own += [*layer._buffers.values(), *layer.phi._buffers.values()]
        return [tensor for tensor in own if tensor is not None]

    def _stepper(self, own: list[Tensor] | None, *tensors: Tensor) -> Stepper | None:
        """One fused CPU kernel for a step of frozen gates, prepared once; None where it does not apply.

        Parameters may change in ways that nothing notices (``.data``), so only frozen gates are prepared: their
        buffers, and whatever writes to them counts their versions.
        """
        # Under autocast, inputs of any dtype come here; the kernel reads all tensors as numbers of one.
        if own is None or not own[0].is_cpu or not numba_supported(*tensors, dtype=own[0].dtype):
            return None
        for tensor in (*tensors, *own):
            if tensor.requires_grad:
                return None
        for tensor in own:
            if tensor.is_inference():  # its versions are not counted
                return None
        state = [(id(tensor), tensor._version) for tensor in own]
        if self._prepared is None or self._prepared[0] != state:
            gates = self.cell.gates
            operands = gates.joined(tensors[0], lambda: math.inf) if isinstance(gates, QKANGates) else None
            stepper = None if operands is None else Stepper(operands, self.input_size)
            # The tensors are kept, so that none takes over the identity of another.
            self._prepared = (state, own, stepper)
        return self._prepared[2]

    def extra_repr(self) -> str:
        """What print(module) shows."""
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")
