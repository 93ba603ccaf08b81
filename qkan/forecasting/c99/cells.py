"""Cells as C functions of one time step, and how far the errors of their tables can grow over a window."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import nn

from qkan.forecasting.c99.layers import Part, map_part
from qkan.forecasting.c99.source import Source
from qkan.forecasting.io.files import RunError
from qkan.forecasting.model.cell_maps import Layer, Map, cell_layers
from qkan.layers.qkan_layer import QKANLayer


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
    try:
        described = cell_layers(cell)
    except ValueError as error:
        raise RunError(
            f"a {type(cell).__name__} cell cannot be exported to C, which takes QKAN-LSTM, HQKAN-LSTM with any latent, "
            f"LSTM, GRU and the linear cells ({error}); export the run to ONNX"
        ) from error
    layers = [_write_layer(source, layer, place, edges) for place, layer in enumerate(described)]
    if not any(isinstance(module, QKANLayer) for module in cell.modules()):
        layers = [layer._replace(kinds=()) for layer in layers]
    lstm, hidden = described[0].kind == "lstm", described[0].hidden
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


def _write_layer(source: Source, layer: Layer, place: int, edges: str) -> Gates:
    """Write the function of a layer."""
    what, hidden, lstm = f"layer {place}", layer.hidden, layer.kind == "lstm"
    source.use(layer.kind)
    of_input, first = map_part(source, layer.of_input, "x", "a", f"{what}, inputs", unit=place > 0, edges=edges)
    y = "a" if lstm else "b"
    of_state, second = map_part(source, layer.of_state, "h", y, f"{what}, state", unit=True, edges=edges)
    width = len(first)
    lines = _start(source, "a", first + second if lstm else first, width, f"{what}, bias")
    if not lstm:
        lines += _start(source, "b", second, width, f"{what}, bias of the state")
    lines += [*of_input.lines, *of_state.lines]
    sizes = (of_input.size + np.abs(first) if lstm else 0) + of_state.size + np.abs(second)
    found = Gates(
        of_input.error + of_state.error, of_input.slopes, of_state.slopes, sizes, of_input.kinds + of_state.kinds,
        of_state.bends, np.eye(hidden),
    )  # fmt: skip
    array = "a"
    for step, own in enumerate(layer.chain):
        part, constants = map_part(source, own, array, f"y{step}", f"{what}, map {step}", unit=False, edges=edges)
        lines += [*_start(source, f"y{step}", constants, len(constants), f"{what}, constants"), *part.lines]
        found, array = _through(found, own, part, constants, first=step == 0), f"y{step}"
    lines.append(f"qkan_lstm({array}, {hidden}, h, c);" if lstm else f"qkan_gru(a, b, {hidden}, h);")
    body = "\n    ".join(lines)
    states = "float *h, float *c" if lstm else "float *h"
    source.functions.append(f"static void qkan_layer{place}(const float *x, {states})\n{{\n    {body}\n}}")
    return found


def _through(before: Gates, own: Map, part: Part, constants: np.ndarray, *, first: bool) -> Gates:
    """What holds of sums behind one more map, from what holds in front of it, where the maps of a layer are affine."""
    with np.errstate(invalid="ignore"):  # nothing times infinity
        size, bends = part.slopes @ before.size if own.affine else part.size, part.bends
        if not first:
            bends = part.slopes @ before.bends if own.affine else np.full((len(constants), len(before.bent)), np.inf)
    return Gates(
        part.error + part.slopes @ before.error, part.slopes @ before.of_input, part.slopes @ before.of_state,
        np.nan_to_num(size, nan=np.inf, posinf=np.inf) + np.abs(constants), before.kinds + part.kinds, bends,
        before.of_state if first else before.bent,
    )  # fmt: skip


def _start(source: Source, name: str, bias: np.ndarray | None, size: int, what: str) -> list[str]:
    """An array that begins with a bias."""
    if bias is None or not bias.any():
        return [f"float {name}[{size}] = {{0.0f}};"]
    source.use("copy")
    return [f"float {name}[{size}];", f"qkan_copy({source.table(bias, what)}, {size}, {name});"]
