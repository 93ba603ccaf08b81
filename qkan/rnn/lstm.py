"""QKAN-LSTM, HQKAN-LSTM and QKAN-GRU: drop-in replacements of torch.nn.LSTM and nn.GRU whose gates are circuits.

An LSTM computes its four gates from an affine map of [x_t, h_(t-1)]. Here that map is a QKAN layer (QKAN-LSTM) or a
JHCG Net (HQKAN-LSTM), see arXiv 2512.05049. Both are additive over x and h up to the latent, so the x part of all time
steps is one batched call and only the h part is recurrent: one product over features a step, which the engines of
:mod:`qkan.kernels.recurrence.api` walk over a whole sequence at once.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from typing_extensions import Unpack

from qkan._util.module_list import module_list
from qkan.kan.jhcg import Latent
from qkan.kernels.circuits.ansatz import get_ansatz
from qkan.kernels.common.host_sync import tracing
from qkan.kernels.recurrence.types import Layout, layout_of
from qkan.layers.options import CircuitOptions, positive_int
from qkan.rnn import nn_lstm_contract as sequence
from qkan.rnn.backend import Backend, HasBackend
from qkan.rnn.gates import Cell, Gates, HybridGates, QKANGates
from qkan.rnn.unidirectional import States, UnidirectionalRNN


def set_defaults(options: CircuitOptions) -> None:
    """Fill in what gates are built with unless asked for otherwise: one repetition, no base branch, a linear start.

    The latter where the circuit has it and all its frequencies are equal; others need wide angles to be found.
    """
    options.setdefault("reps", 1)
    options.setdefault("base_activation", None)
    equal = isinstance(own := options.get("preact_init", "ones"), str) and own == "ones"
    if equal and options.get("init", "auto") == "auto" and get_ansatz(options.get("ansatz", "pz")).near_linear:
        options["init"] = "near_linear"


#: Names of nn.LSTM's parameters; the layer, and whether it is its reverse direction.
_WEIGHT_NAME = re.compile(r"(?:weight_(?:ih|hh|hr)|bias_(?:ih|hh))_l(\d+)(_reverse)?")


class Recurrent(HasBackend):
    """What nn.LSTM and nn.GRU share around any gates; subclasses say how gates are made."""

    cell: Cell = "lstm"
    #: As of nn.LSTM and nn.GRU: by it, other code knows how many states there are.
    mode = "LSTM"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        proj_size: int = 0,
        checkpoint_steps: int | None = None,
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
        self.checkpoint_steps = None if checkpoint_steps is None else positive_int("checkpoint_steps", checkpoint_steps)

    def _build(self, options: CircuitOptions, backend: Backend) -> None:
        directions = 2 if self.bidirectional else 1
        layers = []
        for layer in range(self.num_layers):
            inputs = self.input_size if layer == 0 else directions * self.output_size
            layers += [
                UnidirectionalRNN(
                    self._make_gates(inputs, options), self.hidden_size, self.proj_size, options, self.cell
                )
                for _ in range(directions)
            ]
        self.directions = module_list(layers)
        self.backend = backend

    def _make_gates(self, inputs: int, options: CircuitOptions) -> Gates:
        raise TypeError(f"{type(self).__name__} does not say how its gates are made; use QKANLSTM or HQKANLSTM")

    @property
    def output_size(self) -> int:
        """Size of h: ``proj_size`` if there is a projection, else ``hidden_size``."""
        return self.proj_size or self.hidden_size

    def _run(self, input: Tensor | PackedSequence, hx: States | None) -> tuple[Tensor | PackedSequence, States]:
        """The output and the final states, each (layers * directions, B, size)."""
        like = self._like()
        batch = sequence.unpack_input(input, self.batch_first, self.input_size, like, self.cell)
        start = self._initial_states(batch, hx, like)
        data, finals, outputs = batch.data, [], []
        directions = 2 if self.bidirectional else 1
        layout = Layout if torch.compiler.is_compiling() or tracing() else layout_of
        for index, walk in enumerate(self.directions):
            way = layout(batch.sizes, index % directions == 1)
            out, states = walk(data, way, start[index], self._backend, self.checkpoint_steps)
            outputs.append(out)
            finals.append(states)
            if len(outputs) == directions:
                data = out if directions == 1 else torch.cat(outputs, -1)
                outputs = []
                if self.dropout and index + 1 < len(self.directions):
                    data = nn.functional.dropout(data, self.dropout, self.training)
        ends = []
        for states in zip(*finals, strict=True):
            state = states[0].unsqueeze(0) if len(states) == 1 else torch.stack(states)
            ends.append(batch.pack_state(state))
        return batch.pack_output(data), tuple(ends)

    def _like(self) -> Tensor:
        """A tensor of the dtype and on the device of the module."""
        return self.directions[0].gates.like()

    def _initial_states(self, batch: sequence.Batch, hx: States | None, like: Tensor) -> list[States]:
        """Of every direction of every layer."""
        sizes: tuple[int, ...] = (self.hidden_size,)
        if self.cell == "lstm":
            sizes = (self.output_size, self.hidden_size)
        count, width = len(self.directions), batch.sizes[0]
        if hx is not None:
            hx = sequence.check_states(hx, len(sizes), type(self).__name__)
            return list(zip(*batch.unpack_states(hx, count, sizes, like), strict=True))
        zeros = like.new_zeros(width, sizes[0])
        if sizes[0] == sizes[-1]:  # nothing writes to them
            return [(zeros,) * len(sizes)] * count
        return [(zeros, like.new_zeros(width, sizes[1]))] * count

    def explain_backend(self, input: Tensor | PackedSequence) -> str:
        """Print and return what runs for inputs like ``input`` in every direction of every layer, and why."""
        like = self._like()
        batch = sequence.unpack_input(input, self.batch_first, self.input_size, like, self.cell)
        start, data, lines = self._initial_states(batch, None, like), batch.data, []
        directions = 2 if self.bidirectional else 1
        for index, direction in enumerate(self.directions):
            layer = index // directions
            width = self.input_size if layer == 0 else directions * self.output_size
            rows = data if layer == 0 else data.new_zeros(len(data), width)
            name = f"layer {layer}" + (", reverse" if index % directions else "")
            lines.append(f"{name}: {direction.explain(rows, start[index], self._backend)}")
        text = "\n".join(lines)
        print(text)
        return text

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh initial values from ``generator``, or from torch's default one."""
        for direction in self.directions:
            direction.reset_parameters(generator)

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """Parameters by layer and direction, as of nn.LSTM: one list for each, in the order of their names."""
        return [list(direction.parameters()) for direction in self.directions]

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            found = _WEIGHT_NAME.fullmatch(name)
            if found is None:
                raise
            index = int(found[1]) * (2 if self.bidirectional else 1) + (found[2] is not None)
            raise AttributeError(
                f"{type(self).__name__} has no {name}, because its gates are circuits, not two matrices; the "
                f"parameters of that layer and direction are those of directions[{index}]: see named_parameters()"
            ) from None

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
            ("backend", "auto"),
            ("checkpoint_steps", None),
        ):
            if getattr(self, name) != default:
                shown.append(f"{name}={getattr(self, name)!r}")
        return ", ".join(shown)


class _LSTMBase(Recurrent):
    """The call contract of nn.LSTM."""

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
            RuntimeError: sizes, numbers of dimensions, dtypes or devices that do not fit, as nn.LSTM raises them.
        """
        return self._run(input, hx)


class QKANLSTM(_LSTMBase):
    """A long short-term memory whose gates are QKAN layers: f = sigma(Q_f[h, x]), i and o alike, g = tanh(Q_g[h, x]).

    The first arguments, the input, the states and the output are those of :class:`torch.nn.LSTM`; the keyword options
    are those of :class:`qkan.QKANLayer`, with ``reps`` 1 and no base branch unless asked for. Initial slopes come from
    U(-1/sqrt(hidden_size), 1/sqrt(hidden_size)), the range of nn.LSTM's weights, and the forget gate's bias is 1.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size: as in nn.LSTM;
            ``bias`` is one bias per gate unit.
        backend: what runs. ``"numba"`` (CPU), ``"triton"`` (CUDA and ROCm) and ``"torch"`` run whole sequences, which
            needs gates that are a matrix product over features. ``"reference"``, the slow ground truth, ``"spectral"``,
            ``"bloch"``, ``"pennylane"`` or a :class:`qkan.PennyLane` run step by step, with
            circuits evaluated by that backend of :class:`qkan.QKANLayer`. ``"auto"`` takes the first of the former that
            can run, else goes step by step. :meth:`explain_backend` tells which and why.
        checkpoint_steps: keep only the states of every so many steps and walk again in the backward pass: memory for
            long sequences at the price of a second forward pass; None keeps what the backward pass needs.
        options: further keyword options of QKANLayer, the same for all layers.

    Raises:
        ValueError, TypeError: an argument outside its range.

    Examples:
        >>> import torch
        >>> from qkan import QKANLSTM
        >>> lstm = QKANLSTM(8, 32, num_layers=2, batch_first=True)
        >>> output, (h, c) = lstm(torch.randn(16, 50, 8))
        >>> output.shape, h.shape
        (torch.Size([16, 50, 32]), torch.Size([2, 16, 32]))
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
        backend: Backend = "auto",
        checkpoint_steps: int | None = None,
        **options: Unpack[CircuitOptions],
    ) -> None:
        contract = (num_layers, bias, batch_first, dropout, bidirectional, proj_size)
        super().__init__(input_size, hidden_size, *contract, checkpoint_steps=checkpoint_steps)
        set_defaults(options)
        self._build(options, backend)

    def _make_gates(self, inputs: int, options: CircuitOptions) -> Gates:
        return QKANGates(inputs, self.hidden_size, self.output_size, self.bias, options)


class HQKANLSTM(_LSTMBase):
    """A long short-term memory whose gates are one JHCG Net: affine encoder of [x, h], latent QKAN, affine decoder.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size: as in nn.LSTM.
        latent_features: width of the latent.
        backend, checkpoint_steps: as in :class:`QKANLSTM`.
        latent: ``"qkan"``; ``"linear"``, no circuit at all: a low-rank LSTM, the ablation of the circuit; ``"tanh"``;
            ``"fourier"``, ``"rff"``, ``"spline"``, ``"chebyshev"``, a :class:`qkan.KANLayer`: free coefficients in the
            place of circuits; ``"mlp"`` and ``"gr-kan"``, rational functions and linear maps, which run step by step;
            or a function from the latent width to a module.
        options: keyword options of :class:`qkan.QKANLayer` for the QKAN latent, with ``reps`` 1 and no base branch
            unless asked for.

    Raises:
        ValueError, TypeError: an argument outside its range.

    Examples:
        >>> import torch
        >>> from qkan import HQKANLSTM
        >>> lstm = HQKANLSTM(8, 32, latent_features=4, bidirectional=True)
        >>> output, (h, c) = lstm(torch.randn(50, 16, 8))
        >>> output.shape
        torch.Size([50, 16, 64])
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
        backend: Backend = "auto",
        checkpoint_steps: int | None = None,
        **options: Unpack[CircuitOptions],
    ) -> None:
        contract = (num_layers, bias, batch_first, dropout, bidirectional, proj_size)
        super().__init__(input_size, hidden_size, *contract, checkpoint_steps=checkpoint_steps)
        self.latent_features = positive_int("latent_features", latent_features)
        self.latent = latent
        if latent == "qkan":
            set_defaults(options)
        self._build(options, backend)

    def _make_gates(self, inputs: int, options: CircuitOptions) -> Gates:
        return HybridGates(
            inputs, self.hidden_size, self.output_size, self.bias, self.latent_features, self.latent, options
        )


class QKANGRU(Recurrent):
    """A gated recurrent unit whose gates are QKAN layers, with the call contract of :class:`torch.nn.GRU`.

    r = sigma(Q_r[x, h]), z = sigma(Q_z[x, h]), n = tanh(Q_n[x] + r Q_n[h]), h' = (1 - z) n + z h. The keyword options
    are those of :class:`QKANLSTM`; the update gate's bias starts at 1, so that a fresh cell remembers.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional: as in nn.GRU; ``bias`` is one
            bias per gate unit.
        backend, checkpoint_steps, options: as in :class:`QKANLSTM`.

    Raises:
        ValueError, TypeError: an argument outside its range.

    Examples:
        >>> import torch
        >>> from qkan import QKANGRU
        >>> output, h = QKANGRU(8, 16)(torch.randn(50, 4, 8))
        >>> output.shape, h.shape
        (torch.Size([50, 4, 16]), torch.Size([1, 4, 16]))
    """

    cell: Cell = "gru"
    mode = "GRU"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        backend: Backend = "auto",
        checkpoint_steps: int | None = None,
        **options: Unpack[CircuitOptions],
    ) -> None:
        contract = (num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__(input_size, hidden_size, *contract, checkpoint_steps=checkpoint_steps)
        set_defaults(options)
        self._build(options, backend)

    def _make_gates(self, inputs: int, options: CircuitOptions) -> Gates:
        return QKANGates(inputs, self.hidden_size, self.hidden_size, self.bias, options, self.cell)

    def forward(
        self, input: Tensor | PackedSequence, hx: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        """Run over a sequence; the contract of :class:`torch.nn.GRU`.

        Args:
            input: (T, B, input_size), (B, T, input_size) with ``batch_first``, (T, input_size) unbatched, or a
                PackedSequence.
            hx: h_0 (num_layers * directions, B, hidden_size), without B if the input is unbatched; zeros if None.

        Returns:
            output, h_n: h of the last layer at every step, (T, B, directions * hidden_size) or laid out as the input
            was; the final states, shaped as ``hx``.

        Raises:
            ValueError, RuntimeError: as of :class:`QKANLSTM`.
        """
        output, states = self._run(input, None if hx is None else (hx,))
        return output, states[0]
