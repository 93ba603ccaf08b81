"""QKAN-LSTM and HQKAN-LSTM: drop-in replacements of torch.nn.LSTM whose gates are circuits (arXiv 2512.05049).

An LSTM computes its four gates from an affine map of [x_t, h_(t-1)]. Here that map is a QKAN layer (QKAN-LSTM) or a
JHCG Net (HQKAN-LSTM). Both are additive over x and h up to the latent, so the x part of all time steps is one batched
call and only the h part is recurrent.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from typing_extensions import Unpack

from qkan import sequence
from qkan.hybrid import Latent, affine, build_latent
from qkan.layers import QKANLayer
from qkan.network import QKAN
from qkan.options import LayerOptions, positive_int

States = tuple[Tensor, Tensor]
GateMap = Callable[[Tensor, Tensor], Tensor]
Bound = Callable[[], float]


class _QKANGates(nn.Module):
    """The four gates as one QKAN layer of 4 hidden_size outputs over [x, h]."""

    def __init__(self, inputs: int, hidden: int, recurrent: int, bias: bool, options: LayerOptions) -> None:
        super().__init__()
        generator, slope = options.get("generator"), 1 / math.sqrt(hidden)
        widest = max(inputs, recurrent)
        self.input = QKANLayer(inputs, 4 * hidden, **_with_circuits_for(inputs, widest, options))
        self.hidden = QKANLayer(recurrent, 4 * hidden, **_with_circuits_for(recurrent, widest, options))
        for layer in (self.input, self.hidden):
            layer.reset_parameters(generator, slope=slope)
        self.bias = _gate_bias(hidden, options) if bias else None

    def inputs(self, x: Tensor) -> Tensor:
        """What the inputs of all time steps add to the gates: (steps, 4 hidden)."""
        y = self.input(x)
        return y if self.bias is None else y + self.bias

    def prepare(self, steps: Tensor, bound: Bound) -> GateMap:
        """The gates before their activations, (batch, 4 hidden) in the order i, f, g, o, of (inputs' part, h).

        Args:
            steps: what ``inputs`` made of the inputs of all time steps.
            bound: finds a bound on every |h| that comes.
        """
        hidden = self.hidden.prepare(bound)
        return lambda from_input, h: from_input + hidden(h)


class _HybridGates(nn.Module):
    """The four gates as one JHCG Net: affine encoder of [x, h], latent network, affine decoder."""

    def __init__(
        self,
        inputs: int,
        hidden: int,
        recurrent: int,
        bias: bool,
        latent_features: int,
        latent: Latent,
        options: LayerOptions,
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(hidden)
        self.input_encoder = affine(inputs, latent_features, bias, bound, options)
        self.hidden_encoder = affine(recurrent, latent_features, False, bound, options)
        self.latent = build_latent(latent, latent_features, options)
        self.decoder = affine(latent_features, 4 * hidden, False, 1 / math.sqrt(latent_features), options)
        self.decoder.register_parameter("bias", _gate_bias(hidden, options) if bias else None)

    def inputs(self, x: Tensor) -> Tensor:
        """What the inputs of all time steps add to the latent: (steps, latent)."""
        return self.input_encoder(x)

    def prepare(self, steps: Tensor, bound: Bound) -> GateMap:
        """As of :class:`_QKANGates`."""

        def latent_bound() -> float:
            reach = self.hidden_encoder.weight.detach().abs().sum(-1).max()
            return float(steps.detach().abs().max() + reach * bound()) if steps.numel() else 0.0

        latent = self.latent.prepare(latent_bound) if isinstance(self.latent, QKAN) else self.latent
        return lambda from_input, h: self.decoder(latent(from_input + self.hidden_encoder(h)))


def _with_circuits_for(inputs: int, widest: int, options: LayerOptions) -> LayerOptions:
    """Options of one of the two parts: a number of circuits that only the wider part has inputs for is cut here."""
    group = options.get("group")
    if group is None or isinstance(group, str):
        return options
    return {**options, "group": min(positive_int("group", group, widest), inputs)}


def _gate_bias(hidden: int, options: LayerOptions) -> nn.Parameter:
    """Zeros, and ones for the forget gate, so that a fresh cell remembers."""
    bias = torch.zeros(4 * hidden, device=options.get("device"), dtype=options.get("dtype"))
    bias[hidden : 2 * hidden] = 1.0
    return nn.Parameter(bias)


_Gates = _QKANGates | _HybridGates


class _Direction(nn.Module):
    """One direction of one layer: gates and, with ``proj_size``, the projection of the hidden state."""

    def __init__(self, gates: _Gates, hidden: int, proj_size: int, options: LayerOptions) -> None:
        super().__init__()
        self.gates = gates
        self.projection = affine(hidden, proj_size, False, 1 / math.sqrt(hidden), options) if proj_size else None

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

    def _make_gates(self, inputs: int, options: LayerOptions) -> _Gates:
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
        like = next(self.parameters())
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
        options.setdefault("reps", 1)
        options.setdefault("base_activation", None)
        self._build(options)

    def _make_gates(self, inputs: int, options: LayerOptions) -> _Gates:
        return _QKANGates(inputs, self.hidden_size, self.output_size, self.bias, options)


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
            options.setdefault("reps", 1)
            options.setdefault("base_activation", None)
        self._build(options)

    def _make_gates(self, inputs: int, options: LayerOptions) -> _Gates:
        return _HybridGates(
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
        options.setdefault("reps", 1)
        options.setdefault("base_activation", None)
        gates = _QKANGates(input_size, hidden_size, hidden_size, bias, options)
        self.cell = _Direction(gates, hidden_size, 0, options)

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
        like = next(self.parameters())
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
