"""Cells as C functions of one time step, and how far the errors of their tables can grow over a window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from qkan.forecasting.c99.latents import latent_lines
from qkan.forecasting.c99.layers import Part, affine_part, circuit_part, numpy_of
from qkan.forecasting.c99.source import Source
from qkan.forecasting.io.files import RunError
from qkan.kan.network import QKAN
from qkan.layers.qkan_layer import QKANLayer
from qkan.rnn.gates import HybridGates, QKANGates
from qkan.rnn.lstm import Recurrent
from qkan.rnn.unidirectional import UnidirectionalRNN


class Gates(NamedTuple):
    """The gates of one layer of a cell, before their activations.

    Attributes:
        error: A bound on what tables change in every gate, (gates,).
        of_input, of_state: Bounds on the derivatives, (gates, inputs) and (gates, hidden).
        size: A bound on every gate, (gates,); may be infinite.
        kinds: What circuits became, in words.
        bends: With ``bent``, a bound on what a change e of the state adds to a gate beyond its derivative:
            ``bends`` @ (``bent`` @ e)^2 / 2, (gates, latent) and (latent, hidden).
    """

    error: np.ndarray
    of_input: np.ndarray
    of_state: np.ndarray
    size: np.ndarray
    kinds: tuple[str, ...]
    bends: np.ndarray
    bent: np.ndarray


class Cell(NamedTuple):
    """A cell in C.

    Attributes:
        hidden: Width of its output.
        states: Numbers that a step carries: of all layers h, with an LSTM h and c.
        layers: The gates of every layer.
        lstm: Whether it is an LSTM; else it is a GRU.
    """

    hidden: int
    states: int
    layers: tuple[Gates, ...]
    lstm: bool

    @property
    def kinds(self) -> list[str]:
        """What circuits became, in words, each once."""
        return list(dict.fromkeys(kind for layer in self.layers for kind in layer.kinds))

    def output_error(self, steps: int) -> np.ndarray:
        """A proven bound on what tables change in the output after so many steps, (hidden,).

        It follows the errors of all states step by step: activations have slopes of at most 1/4 and 1, a gate's value
        is bounded by that of its map, and an output lies in [-1, 1], so an error is never above 2.
        """
        states = [(np.zeros(self.hidden), np.zeros(self.hidden), np.zeros(self.hidden)) for _ in self.layers]
        for _ in range(steps):
            below = np.zeros(self.layers[0].of_input.shape[1])
            for place, layer in enumerate(self.layers):
                of_h, of_c, size = states[place]
                follow = _lstm_error if self.lstm else _gru_error
                states[place] = follow(layer, below, of_h, of_c, size)
                below = states[place][0]
        return states[-1][0]


_States = tuple[np.ndarray, np.ndarray, np.ndarray]


def _lstm_error(layer: Gates, below: np.ndarray, of_h: np.ndarray, of_c: np.ndarray, size: np.ndarray) -> _States:
    """Errors of h and c, and a bound on |c|, a step later."""
    changed = layer.error + layer.of_input @ below + layer.of_state @ of_h
    d_i, d_f, d_g, d_o = np.split(changed, 4)
    i, f, _, o = np.split(1 / (1 + np.exp(-layer.size - changed)), 4)
    of_c = f * of_c + size * d_f / 4 + d_i / 4 + i * d_g
    size = f * size + i
    return np.minimum(d_o / 4 + o * np.minimum(of_c, 2.0), 2.0), of_c, size


def _gru_error(layer: Gates, below: np.ndarray, of_h: np.ndarray, of_c: np.ndarray, size: np.ndarray) -> _States:
    """The error of h a step later; ``layer.size`` of n bounds what r multiplies."""
    changed = layer.error + layer.of_input @ below + layer.of_state @ of_h
    d_r, d_z, d_n = np.split(changed, 3)
    inside = np.split(layer.size, 3)[2]
    with np.errstate(invalid="ignore"):
        d_n = np.minimum(np.where(d_r > 0, d_n + inside * d_r / 4, d_n), 2.0)
    return np.minimum(d_z / 2 + np.maximum(d_n, of_h), 2.0), of_c, size


def write_cell(source: Source, cell: nn.Module, edges: str) -> Cell:
    """Write ``static void qkan_cell(const float *x, float *state)``, one time step of all layers.

    Raises:
        RunError: the cell is none that can be written.
    """
    if isinstance(cell, nn.LSTM | nn.GRU):
        layers = [_torch_layer(source, cell, place) for place in range(cell.num_layers)]
        lstm = isinstance(cell, nn.LSTM)
    elif isinstance(cell, Recurrent):
        directions = list(cell.directions)
        layers = []
        for place, direction in enumerate(directions):
            if not isinstance(direction, UnidirectionalRNN):
                raise _refused(cell)
            if direction.projection is not None or len(directions) != cell.num_layers:
                raise RunError("a cell with a projection or two directions cannot be exported to C; export to ONNX")
            if not isinstance(direction.gates, QKANGates | HybridGates):
                raise _refused(cell)
            layers.append(_own_layer(source, direction.gates, place, direction.cell, edges))
        lstm = cell.cell == "lstm"
    else:
        raise _refused(cell)
    hidden = layers[0].of_state.shape[1]
    each = 2 * hidden if lstm else hidden
    calls, x = [], "x"
    for place in range(len(layers)):
        h = f"state + {place * each}" if place else "state"
        calls.append(f"qkan_layer{place}({x}, {h}{f', {h} + {hidden}' if lstm else ''});")
        x = h
    body = "\n    ".join(calls)
    source.functions.append(
        f"/* one time step; the output is state[{(len(layers) - 1) * each}] and the next {hidden - 1} */\n"
        f"static void qkan_cell(const float *x, float *state)\n{{\n    {body}\n}}"
    )
    return Cell(hidden, each * len(layers), tuple(layers), lstm)


def _refused(cell: nn.Module) -> RunError:
    return RunError(
        f"a {type(cell).__name__} cell cannot be exported to C, which takes QKAN-LSTM, HQKAN-LSTM with any latent, "
        "LSTM, GRU and the linear cells; export the run to ONNX"
    )


def _torch_layer(source: Source, cell: nn.LSTM | nn.GRU, place: int) -> Gates:
    """A layer of nn.LSTM or nn.GRU, whose order of gates is ours."""
    own = {name: getattr(cell, f"{name}_l{place}") for name in ("weight_ih", "weight_hh")}
    bias = [numpy_of(getattr(cell, f"{name}_l{place}")) if cell.bias else None for name in ("bias_ih", "bias_hh")]
    lstm, what = isinstance(cell, nn.LSTM), f"layer {place}"
    y = "a" if lstm else "b"
    parts = (
        affine_part(source, own["weight_ih"], "x", "a", f"{what}, inputs", unit=place > 0),
        affine_part(source, own["weight_hh"], "h", y, f"{what}, state", unit=True),
    )
    biases: list[np.ndarray | None] = list(bias)
    if lstm and bias[0] is not None and bias[1] is not None:
        biases = [bias[0] + bias[1], None]
    return _write_layer(source, place, parts, biases, lstm=lstm)


def _own_layer(source: Source, gates: nn.Module, place: int, kind: str, edges: str) -> Gates:
    lstm = kind == "lstm"
    if isinstance(gates, HybridGates):
        return _hybrid_layer(source, gates, place, edges)
    if not (
        isinstance(gates, QKANGates) and isinstance(gates.input, QKANLayer) and isinstance(gates.hidden, QKANLayer)
    ):
        raise RunError(f"gates of {type(gates).__name__} cannot be exported to C; export the run to ONNX")
    what = f"layer {place}"
    of_input, first = circuit_part(source, gates.input, "x", "a", f"{what}, inputs", unit=place > 0, edges=edges)
    of_state, second = circuit_part(
        source, gates.hidden, "h", "a" if lstm else "b", f"{what}, state", unit=True, edges=edges
    )
    bias = first + (0 if gates.bias is None else numpy_of(gates.bias))
    biases: list[np.ndarray | None] = [bias + second, None] if lstm else [bias, second]
    return _write_layer(source, place, (of_input, of_state), biases, lstm=lstm)


def _write_layer(
    source: Source, place: int, parts: tuple[Part, Part], biases: Sequence[np.ndarray | None], *, lstm: bool
) -> Gates:
    """Write the function of a layer whose gates are a sum of what inputs and states say."""
    gates, hidden = parts[1].slopes.shape
    source.use("lstm" if lstm else "gru")
    lines = _start(source, "a", biases[0], gates, f"layer {place}, bias")
    if not lstm:
        lines += _start(source, "b", biases[1], gates, f"layer {place}, bias of the state")
    lines += [*parts[0].lines, *parts[1].lines]
    lines.append(f"qkan_lstm(a, {hidden}, h, c);" if lstm else f"qkan_gru(a, b, {hidden}, h);")
    _function(source, place, lines, lstm=lstm)
    offsets = [np.zeros(gates) if bias is None else np.abs(bias) for bias in biases]
    size = parts[0].size + parts[1].size + offsets[0] + offsets[1]
    if not lstm:
        size = parts[1].size + offsets[1]
    kinds = parts[0].kinds + parts[1].kinds
    error, bends = parts[0].error + parts[1].error, parts[1].bends
    return Gates(error, parts[0].slopes, parts[1].slopes, size, kinds, bends, np.eye(hidden))


def _hybrid_layer(source: Source, gates: HybridGates, place: int, edges: str) -> Gates:
    """Encoders, a latent and a decoder."""
    what = f"layer {place}"
    for linear in (gates.input_encoder, gates.hidden_encoder, gates.decoder):
        if not isinstance(linear, nn.Linear):
            raise RunError("an encoder or decoder that is no nn.Linear cannot be exported to C; export to ONNX")
    width, outputs = gates.decoder.in_features, gates.decoder.out_features
    first = affine_part(source, gates.input_encoder.weight, "x", "z", f"{what}, encoder of inputs", unit=place > 0)
    second = affine_part(source, gates.hidden_encoder.weight, "h", "z", f"{what}, encoder of the state", unit=True)
    lines = [*_start(source, "z", _numpy(gates.input_encoder.bias), width, f"{what}, bias of the encoder")]
    lines += [*first.lines, *second.lines]
    error, slopes, size = np.zeros(width), np.eye(width), np.full(width, np.inf)
    bends = np.zeros((width, width))
    kinds: tuple[str, ...] = ()
    z = "z"
    if isinstance(gates.latent, QKAN):
        for step, layer in enumerate(gates.latent.layers):
            if not isinstance(layer, QKANLayer):
                raise RunError(f"a latent of {type(layer).__name__} cannot be exported to C; export the run to ONNX")
            part, constants = circuit_part(source, layer, z, f"y{step}", f"{what}, latent", unit=False, edges=edges)
            lines += [
                *_start(source, f"y{step}", constants, layer.out_features, f"{what}, latent constants"),
                *part.lines,
            ]
            bends = part.bends if step == 0 else np.full_like(part.bends, np.inf)
            error, slopes = part.error + part.slopes @ error, part.slopes @ slopes
            kinds, size, z = kinds + part.kinds, part.size + np.abs(constants), f"y{step}"
    else:
        lines += latent_lines(source, gates.latent, width, "z")
    weight = np.abs(numpy_of(gates.decoder.weight))
    lines += _start(source, "a", _numpy(gates.decoder.bias), outputs, f"{what}, bias")
    last = affine_part(source, gates.decoder.weight, z, "a", f"{what}, decoder", unit=False)
    hidden = outputs // 4
    source.use("lstm")
    _function(source, place, [*lines, *last.lines, f"qkan_lstm(a, {hidden}, h, c);"], lstm=True)
    bias = 0 if gates.decoder.bias is None else np.abs(numpy_of(gates.decoder.bias))
    with np.errstate(invalid="ignore"):
        reach = np.nan_to_num(weight @ size + bias, nan=np.inf, posinf=np.inf)
    through = weight @ slopes
    return Gates(
        weight @ error, through @ first.slopes, through @ second.slopes, reach, kinds, weight @ bends, second.slopes
    )


def _numpy(tensor: Tensor | None) -> np.ndarray | None:
    return None if tensor is None else numpy_of(tensor)


def _start(source: Source, name: str, bias: np.ndarray | None, size: int, what: str) -> list[str]:
    """An array that begins with a bias."""
    if bias is None or not bias.any():
        return [f"float {name}[{size}] = {{0.0f}};"]
    source.use("copy")
    return [f"float {name}[{size}];", f"qkan_copy({source.table(bias, what)}, {size}, {name});"]


def _function(source: Source, place: int, lines: Sequence[str], *, lstm: bool) -> None:
    body = "\n    ".join(lines)
    states = "float *h, float *c" if lstm else "float *h"
    source.functions.append(f"static void qkan_layer{place}(const float *x, {states})\n{{\n    {body}\n}}")
