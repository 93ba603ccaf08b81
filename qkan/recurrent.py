"""QKAN-LSTM and HQKAN-LSTM: drop-in replacements of torch.nn.LSTM whose gates are circuits (arXiv 2512.05049).

An LSTM computes its four gates from an affine map of [x_t, h_(t-1)]. Here that map is a QKAN layer (QKAN-LSTM) or a
JHCG Net (HQKAN-LSTM). Both are additive over x and h up to the latent, so the x part of all time steps is one batched
call and only the h part is recurrent.
"""

from __future__ import annotations

import math
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from typing_extensions import Unpack

from qkan import sequence
from qkan.gates import Gates, HybridGates, QKANGates
from qkan.hybrid import Latent, affine, reset_affine
from qkan.options import LayerOptions, positive_int

States = tuple[Tensor, Tensor]


def _set_defaults(options: LayerOptions) -> None:
    """Fill in what gates are built with unless asked for otherwise: one repetition, no base branch."""
    options.setdefault("reps", 1)
    options.setdefault("base_activation", None)


def _first_tensor(module: nn.Module) -> Tensor:
    """A tensor of the dtype and on the device of a module; where circuits are frozen it may be a buffer."""
    return next(chain(module.parameters(), module.buffers()))


class _Direction(nn.Module):
    """One direction of one layer: gates and, with ``proj_size``, the projection of the hidden state."""

    def __init__(self, gates: Gates, hidden: int, proj_size: int, options: LayerOptions) -> None:
        super().__init__()
        self.gates = gates
        self.projection = affine(hidden, proj_size, False, 1 / math.sqrt(hidden), options) if proj_size else None

    def reset_parameters(self, generator: torch.Generator | None) -> None:
        """Draw fresh initial values of gates and projection."""
        self.gates.reset_parameters(generator)
        if self.projection is not None:
            reset_affine(self.projection, 1 / math.sqrt(self.projection.in_features), generator)

    def prepare(self, steps: Tensor, h_0: Tensor) -> sequence.Step:
        """One time step, (h, c) to (h', c'), with what depends on parameters alone computed once for all steps.

        Args:
            steps: what the gates' ``inputs`` made of the inputs of all time steps.
            h_0: the hidden state to start from.
        """

        def bound() -> float:
            # |o tanh(c)| < 1, a projection stretches it by at most a row sum, and the caller's h_0 may be larger.
            own = 1.0 if self.projection is None else float(self.projection.weight.detach().abs().sum(-1).max())
            return max(own, float(h_0.detach().abs().max())) if h_0.numel() else own

        gates = self.gates.prepare(steps, bound)

        def step(from_input: Tensor, state: States) -> States:
            h, c = state
            i, f, g, o = gates(from_input, h).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            return (h if self.projection is None else self.projection(h)), c

        return step


class _LSTMBase(nn.Module):
    """The call contract of nn.LSTM around any gates; subclasses say how gates are made."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        proj_size: int,
    ) -> None:
        super().__init__()
        self.input_size = positive_int("input_size", input_size)
        self.hidden_size = positive_int("hidden_size", hidden_size)
        self.num_layers = positive_int("num_layers", num_layers, limit=1024)
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = sequence.check_dropout(dropout, num_layers)
        self.bidirectional = bidirectional
        self.proj_size = sequence.check_proj_size(proj_size, hidden_size)

    def _build(self, options: LayerOptions) -> None:
        directions = 2 if self.bidirectional else 1
        layers = []
        for layer in range(self.num_layers):
            inputs = self.input_size if layer == 0 else directions * self.output_size
            layers += [
                _Direction(self._make_gates(inputs, options), self.hidden_size, self.proj_size, options)
                for _ in range(directions)
            ]
        self.directions = nn.ModuleList(layers)

    def _make_gates(self, inputs: int, options: LayerOptions) -> Gates:
        raise TypeError(f"{type(self).__name__} does not say how its gates are made; use QKANLSTM or HQKANLSTM")

    @property
    def output_size(self) -> int:
        """Size of h: ``proj_size`` if there is a projection, else ``hidden_size``."""
        return self.proj_size or self.hidden_size

    def forward(
        self, input: Tensor | PackedSequence, hx: States | None = None
    ) -> tuple[Tensor | PackedSequence, States]:
        """Run over a sequence; the contract of :class:`torch.nn.LSTM`.

        Args:
            input: (T, B, input_size), (B, T, input_size) with ``batch_first``, (T, input_size) unbatched, or a
                PackedSequence.
            hx: (h_0, c_0) of shapes (num_layers * directions, B, output_size) and (num_layers * directions, B,
                hidden_size), without B if the input is unbatched; zeros if None.

        Returns:
            output, (h_n, c_n): output holds h of the last layer at every step, (T, B, directions * output_size) or
            laid out as the input was; the states are shaped as ``hx``.

        Raises:
            ValueError: an input that is neither 2-D nor 3-D, or whose dtype is not that of the parameters.
            RuntimeError: sizes, numbers of dimensions or dtypes of states that do not fit, as nn.LSTM raises them.
        """
        like = _first_tensor(self)
        batch = sequence.unpack_input(input, self.batch_first, self.input_size, like.dtype)
        h_0, c_0 = self._initial_states(batch, hx, like)
        data, finals = batch.data, []
        directions = 2 if self.bidirectional else 1
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(directions):
                index = layer * directions + direction
                cell = self.directions[index]
                steps = cell.gates.inputs(data)  # type: ignore[operator, union-attr]
                out, state = sequence.scan(
                    cell.prepare(steps, h_0[index]),  # type: ignore[operator]
                    steps,
                    batch.sizes,
                    (h_0[index], c_0[index]),
                    reverse=direction == 1,
                )
                outputs.append(out)
                finals.append(state)
            data = outputs[0] if directions == 1 else torch.cat(outputs, -1)
            if self.dropout and layer + 1 < self.num_layers:
                data = nn.functional.dropout(data, self.dropout, self.training)
        h_n, c_n = (torch.stack(states) for states in zip(*finals, strict=True))
        return batch.pack_output(data), (batch.pack_state(h_n), batch.pack_state(c_n))

    def _initial_states(self, batch: sequence.Batch, hx: States | None, like: Tensor) -> States:
        count = len(self.directions)
        width = batch.sizes[0]
        if hx is None:
            h = torch.zeros(count, width, self.output_size, dtype=like.dtype, device=like.device)
            c = torch.zeros(count, width, self.hidden_size, dtype=like.dtype, device=like.device)
            return h, c
        return batch.unpack_states(hx, count, (self.output_size, self.hidden_size), like.dtype)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh initial values from ``generator``, or from torch's default one."""
        for direction in self.directions:
            direction.reset_parameters(generator)  # type: ignore[operator]

    def flatten_parameters(self) -> None:
        """Does nothing: there is no flat weight buffer; here because code written for nn.LSTM calls it."""

    def extra_repr(self) -> str:
        """What print(module) shows."""
        shown = [f"{self.input_size}, {self.hidden_size}"]
        for name, default in (
            ("num_layers", 1),
            ("bias", True),
            ("batch_first", False),
            ("dropout", 0.0),
            ("bidirectional", False),
            ("proj_size", 0),
        ):
            if getattr(self, name) != default:
                shown.append(f"{name}={getattr(self, name)}")
        return ", ".join(shown)


class QKANLSTM(_LSTMBase):
    """A long short-term memory whose gates are QKAN layers: f = sigma(Q_f[h, x]), i and o alike, g = tanh(Q_g[h, x]).

    The first arguments, the input, the states and the output are those of :class:`torch.nn.LSTM`; the keyword options
    are those of :class:`qkan.QKANLayer`, with ``reps`` 1 and no base branch unless asked for. Initial slopes come from
    U(-1/sqrt(hidden_size), 1/sqrt(hidden_size)), the range of nn.LSTM's weights, and the forget gate's bias is 1.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size: as in nn.LSTM;
            ``bias`` is one bias per gate unit.
        options: keyword options of QKANLayer, the same for all layers.

    Raises:
        ValueError, TypeError: an argument outside its range.
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
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size)
        _set_defaults(options)
        self._build(options)

    def _make_gates(self, inputs: int, options: LayerOptions) -> Gates:
        return QKANGates(inputs, self.hidden_size, self.output_size, self.bias, options)


class HQKANLSTM(_LSTMBase):
    """A long short-term memory whose gates are one JHCG Net: affine encoder of [x, h], latent QKAN, affine decoder.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size: as in nn.LSTM.
        latent_features: width of the latent.
        latent: ``"qkan"``; ``"linear"``, no circuit at all: a low-rank LSTM, the ablation of the circuit; ``"tanh"``;
            or a function from the latent width to a module.
        options: keyword options of :class:`qkan.QKANLayer` for the QKAN latent, with ``reps`` 1 and no base branch
            unless asked for.

    Raises:
        ValueError, TypeError: an argument outside its range.
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
        latent_features: int = 2,
        latent: Latent = "qkan",
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size)
        self.latent_features = positive_int("latent_features", latent_features)
        self.latent = latent
        if latent == "qkan":
            _set_defaults(options)
        self._build(options)

    def _make_gates(self, inputs: int, options: LayerOptions) -> Gates:
        return HybridGates(
            inputs, self.hidden_size, self.output_size, self.bias, self.latent_features, self.latent, options
        )


class QKANLSTMCell(nn.Module):
    """One time step of :class:`QKANLSTM`, with the call contract of :class:`torch.nn.LSTMCell`.

    Args:
        input_size, hidden_size, bias: as in nn.LSTMCell.
        options: keyword options of :class:`qkan.QKANLayer`, with ``reps`` 1 and no base branch unless asked for.

    Raises:
        ValueError, TypeError: an argument outside its range.
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, **options: Unpack[LayerOptions]) -> None:
        super().__init__()
        self.input_size = positive_int("input_size", input_size)
        self.hidden_size = positive_int("hidden_size", hidden_size)
        self.bias = bias
        _set_defaults(options)
        gates = QKANGates(input_size, hidden_size, hidden_size, bias, options)
        self.cell = _Direction(gates, hidden_size, 0, options)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh initial values from ``generator``, or from torch's default one."""
        self.cell.reset_parameters(generator)

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
        like = _first_tensor(self)
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
        from_input = self.cell.gates.inputs(input)
        return self.cell.prepare(from_input, hx[0])(from_input, hx)

    def extra_repr(self) -> str:
        """What print(module) shows."""
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")
