"""Single time steps: recurrent modules with the call contracts of torch.nn.LSTMCell and nn.GRUCell."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from qkan.kernels.circuits.bloch.numba_cpu import numba_supported
from qkan.kernels.common.host_sync import tracing
from qkan.kernels.common.tensors import check_readable
from qkan.kernels.recurrence.numba_cpu import Stepper
from qkan.kernels.recurrence.types import Layout, layout_of
from qkan.layers.frozen import FrozenLayer
from qkan.layers.options import CircuitOptions, not_dense, positive_int
from qkan.rnn import nn_lstm_contract as sequence
from qkan.rnn.backend import Backend, HasBackend
from qkan.rnn.gates import Cell, QKANGates
from qkan.rnn.inner_hooks import is_hooked
from qkan.rnn.lstm import set_defaults
from qkan.rnn.unidirectional import States, UnidirectionalRNN


class _CellBase(HasBackend):
    """What cells share: gates for one step, and the checks of nn.LSTMCell and nn.GRUCell."""

    kind: Cell = "lstm"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, backend: Backend, options: CircuitOptions
    ) -> None:
        super().__init__()
        self.input_size = positive_int("input_size", input_size)
        self.hidden_size = positive_int("hidden_size", hidden_size)
        self.bias = bias
        set_defaults(options)
        gates = QKANGates(input_size, hidden_size, hidden_size, bias, options, self.kind)
        self.cell = UnidirectionalRNN(gates, hidden_size, 0, options, self.kind)
        self.backend = backend

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh initial values from ``generator``, or from torch's default one."""
        self.cell.reset_parameters(generator)

    def _checked(self, input: Tensor, hx: States | None, like: Tensor) -> States:
        """The initial states, zeros if None.

        Raises:
            TypeError: no tensor, or one that is sparse or nested.
            ValueError: another number of dimensions.
            RuntimeError: sizes or dtypes that do not fit.
        """
        name = type(self).__name__
        if not isinstance(input, Tensor) or input.layout is not torch.strided or input.is_nested:
            raise not_dense(input, name)
        check_readable(input)
        if hx is not None:
            hx = sequence.check_states(hx, 2 if self.kind == "lstm" else 1, name)
        if input.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        if input.size(-1) != self.input_size:
            raise RuntimeError(f"input has inconsistent input_size: got {input.size(-1)} expected {self.input_size}")
        shape = (*input.shape[:-1], self.hidden_size)
        if hx is None:
            hx = (torch.zeros(shape, dtype=like.dtype, device=like.device),) * (2 if self.kind == "lstm" else 1)
        for state in hx:
            if state.dim() not in (1, 2):
                raise ValueError(f"{name}: Expected hx to be 1D or 2D, got {state.dim()}D instead")
            if state.shape != shape:
                raise RuntimeError(f"hidden state has shape {tuple(state.shape)}, expected {tuple(shape)}")
        for tensor in (input, *hx):
            if not sequence.dtype_fits(tensor, like.dtype):
                raise RuntimeError(f"dtype {tensor.dtype} does not match weight dtype; convert with .to({like.dtype})")
        return hx

    def _walk(self, x: Tensor, states: States) -> States:
        """One step of a batch: of a sequence of one step."""
        layout = Layout if torch.compiler.is_compiling() or tracing() else layout_of
        output, (_, *others) = self.cell(x, layout((x.shape[0],), False), states, self._backend)
        return output, *others  # which is the new h, too; backward hooks see gradients of outputs alone

    def explain_backend(self, input: Tensor) -> str:
        """Print and return what runs for inputs like ``input``, (B, input_size) or (input_size,), and why."""
        x = input if input.dim() == 2 else input.unsqueeze(0)
        zeros = x.new_zeros(len(x), self.hidden_size)
        text = self._explain(x, (zeros, zeros) if self.kind == "lstm" else (zeros,))
        print(text)
        return text

    def _explain(self, x: Tensor, states: States) -> str:
        return self.cell.explain(x, states, self._backend)

    def extra_repr(self) -> str:
        """What print(module) shows."""
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class QKANGRUCell(_CellBase):
    """One time step of :class:`QKANGRU`, with the call contract of :class:`torch.nn.GRUCell`.

    Args:
        input_size, hidden_size, bias: as in nn.GRUCell.
        backend, options: as in :class:`QKANLSTMCell`.

    Raises:
        ValueError, TypeError: an argument outside its range.

    Examples:
        >>> import torch
        >>> from qkan import QKANGRUCell
        >>> QKANGRUCell(8, 16)(torch.randn(4, 8)).shape
        torch.Size([4, 16])
    """

    kind: Cell = "gru"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        backend: Backend = "auto",
        **options: Unpack[CircuitOptions],
    ) -> None:
        super().__init__(input_size, hidden_size, bias, backend, options)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """One step.

        Args:
            input: (B, input_size) or (input_size,).
            hx: h, (B, hidden_size) or (hidden_size,); zeros if None.

        Returns:
            h' of that shape.

        Raises:
            ValueError: another number of dimensions.
            RuntimeError: sizes or dtypes that do not fit.
        """
        (h,) = self._checked(input, None if hx is None else (hx,), self.cell.gates.like())
        if input.dim() == 2:
            return self._walk(input, (h,))[0]
        return self._walk(input.unsqueeze(0), (h.unsqueeze(0),))[0].squeeze(0)


class QKANLSTMCell(_CellBase):
    """One time step of :class:`QKANLSTM`, with the call contract of :class:`torch.nn.LSTMCell`.

    Args:
        input_size, hidden_size, bias: as in nn.LSTMCell.
        backend: as in :class:`QKANLSTM`.
        options: further keyword options of :class:`qkan.QKANLayer`, with ``reps`` 1 and no base branch unless asked
            for.

    Raises:
        ValueError, TypeError: an argument outside its range.

    Examples:
        >>> import torch
        >>> from qkan import QKANLSTMCell
        >>> cell = QKANLSTMCell(8, 16)
        >>> h, c = cell(torch.randn(4, 8))
        >>> h, c = cell(torch.randn(4, 8), (h, c))
        >>> h.shape
        torch.Size([4, 16])
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
        super().__init__(input_size, hidden_size, bias, backend, options)
        self._prepared: tuple[list[tuple[int, int]], list[Tensor], Stepper | None] | None = None

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
        hx = self._checked(input, hx, like)
        if input.dim() == 2:
            return self._step(own, input, *hx)
        h, c = self._step(own, *(tensor.unsqueeze(0) for tensor in (input, *hx)))
        return h.squeeze(0), c.squeeze(0)

    def _step(self, own: list[Tensor] | None, x: Tensor, h: Tensor, c: Tensor) -> States:
        """One step of a batch, which a frozen cell has prepared."""
        stepper = self._stepper(own, x, h, c)
        if stepper is not None:
            return stepper(x, h, c)
        return self._walk(x, (h, c))

    def _explain(self, x: Tensor, states: States) -> str:
        own = self._frozen()
        with torch.no_grad():
            frozen = self._stepper(own, x, *states) is not None
        return "numba: one step of frozen gates" if frozen else super()._explain(x, states)

    def _frozen(self) -> list[Tensor] | None:
        """All tensors of frozen gates, without a walk over the modules; None where they are not frozen."""
        gates: Any = self._modules["cell"]._modules["gates"]  # type: ignore[union-attr]  # attributes of modules are slow
        if "bias" not in gates._parameters or is_hooked(self._modules["cell"], gates):  # type: ignore[arg-type]
            return None  # parametrized, pruned or watched by torch's own tools
        own: list[Tensor | None] = [gates._parameters["bias"]]
        for name in ("input", "hidden"):
            layer = gates._modules[name]
            if not isinstance(layer, FrozenLayer) or is_hooked(layer, layer.phi):
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
