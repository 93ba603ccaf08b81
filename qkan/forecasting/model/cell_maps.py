"""A recurrent cell as plain data: the maps that streams run and C files spell out.

A cell is layers, the first of which reads x (I,), every other one the state h (H,) of the one below. A layer adds a map
of what it reads and a map of its own state h; the sum goes through the maps of ``chain``, one behind the other, and
what comes out are its gates. An lstm has i, f, g, o: c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c').
A gru, which has no chain, has r, q, n; its two maps are added but for n = tanh(a_n + r b_n), and h' = (1 - q) n + q h.

A :class:`Map` of z (I,) says

    y_o = bias_o + sum over functions k and inputs i of F_k(z_i) matrix[k, i, o],

with F_k by ``kind``, the size K and the radius A:

* ``fourier``: cos z .. cos K z, sin z .. sin K z. With K = 0 nothing but the base activation is left.
* ``waves``: cos w_ki z_i for all k, then the sines; ``own`` holds w, (K, I), or (K, 1) for all inputs.
* ``tanh-chebyshev``: T_1 .. T_K of tanh(z / A).
* ``bspline``: cubic B-splines of K equal intervals of [-A, A].
* ``rational``: (a_0 + .. + a_m z^m) / (1 + b_1 |z| + .. + b_n |z|^n), one function; K = m + 1, and ``own`` holds the a,
  then the b of every input, (m + 1 + n, I).
* ``circuit``: <Z> of a circuit of :class:`Circuits`, one function.

The base activation, where there is one, is one function more, the last. With ``coeffs`` (functions + 1, I) every input
has one activation, u_i = coeffs_0i + sum of coeffs_ki F_k(z_i), which takes the place of the functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from qkan.kan.network import QKAN
from qkan.kernels.circuits.ansatz import Ansatz
from qkan.kernels.edges.activations import BASES
from qkan.kernels.edges.families import SPLINE_ORDER
from qkan.kernels.spectral.basis import Basis, Operands
from qkan.layers.kan_layer import KANLayer
from qkan.layers.qkan_layer import QKANLayer
from qkan.layers.rational import GRKAN, GroupRational
from qkan.quantum.spectrum import spectrum_of
from qkan.rnn.gates import HybridGates, QKANGates
from qkan.rnn.lstm import Recurrent
from qkan.rnn.unidirectional import UnidirectionalRNN

_SMALLEST = 1e-9  # of frequencies: below, a wave is a constant
_FUNCTIONS = ("fourier", "rff", "bspline", "tanh-chebyshev")  # of a :class:`qkan.KANLayer`
MOST_WAVES = 64
"""Waves of an activation of trained frequencies that streams compute: beyond, rotations take less time."""


class Circuits(NamedTuple):
    """Circuits whose frequencies are no whole numbers: as they are.

    Attributes:
        ansatz, reps: As of :class:`qkan.QKANLayer`.
        theta: (rows, I, ...), rows 1 where outputs share circuits.
        weight, bias: (rows, I, reps), or ``None``.
    """

    ansatz: Ansatz
    reps: int
    theta: Tensor
    weight: Tensor | None
    bias: Tensor | None

    @property
    def rows(self) -> int:
        """Circuits of an input."""
        return max(part.shape[0] for part in (self.theta, self.weight, self.bias) if part is not None)

    def waves(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Frequencies, cosines and sines (I * rows, K) and constants (I * rows,) of all circuits, input by input.

        Waves with zero amplitude fill the rows of those that have less.
        """
        spectra = []
        for i in range(self.theta.shape[1]):
            for row in range(self.rows):
                of = (None if p is None else p[min(row, len(p) - 1), i] for p in (self.theta, self.weight, self.bias))
                theta, weight, bias = of
                if theta is None:
                    raise ValueError("a circuit has angles")
                spectra.append(spectrum_of(self.ansatz, self.reps, theta, weight, bias))
        frequencies = [own.frequencies.numpy() for own in spectra]
        coefficients = [own.coefficients.numpy() for own in spectra]
        width = max(1, *(int((own > _SMALLEST).sum()) for own in frequencies))
        w, cosines, sines = (np.zeros((len(spectra), width)) for _ in range(3))
        constants = np.zeros(len(spectra))
        for place, (own, numbers) in enumerate(zip(frequencies, coefficients, strict=True)):
            kept = own > _SMALLEST
            at = slice(int(kept.sum()))
            constants[place] = numbers.real[np.abs(own) <= _SMALLEST].sum()
            w[place, at], cosines[place, at], sines[place, at] = (
                own[kept], 2 * numbers.real[kept], -2 * numbers.imag[kept],
            )  # fmt: skip
        return w, cosines, sines, constants


@dataclass(frozen=True, eq=False)
class Map:
    """See the head of this module.

    Attributes:
        matrix: (functions, I, O), or (1 or 2, I, O) with ``coeffs``; float64, as all arrays.
        bias: (O,).
        kind, size, radius, base, coeffs, own: As above.
        circuits: Of the kind ``circuit``.
    """

    matrix: np.ndarray
    bias: np.ndarray
    kind: str = "fourier"
    size: int = 0
    radius: float = 1.0
    base: str | None = "identity"
    coeffs: np.ndarray | None = None
    own: np.ndarray | None = None
    circuits: Circuits | None = None

    @property
    def affine(self) -> bool:
        """Whether it is a matrix and a bias alone."""
        return self.kind == "fourier" and self.size == 0 and self.base == "identity"

    def of_inputs(self, chosen: np.ndarray) -> Map:
        """The part of some inputs, without the bias."""
        own = self.own if self.own is None or self.own.shape[1] == 1 else self.own[:, chosen]
        coeffs = None if self.coeffs is None else self.coeffs[:, chosen]
        return replace(self, matrix=self.matrix[:, chosen], bias=0 * self.bias, coeffs=coeffs, own=own)

    def with_inputs(self, count: int) -> Map:
        """With more inputs behind the others, which do not matter."""
        more = count - self.matrix.shape[1]
        own = self.own if self.own is None or self.own.shape[1] == 1 else np.pad(self.own, ((0, 0), (0, more)))
        coeffs = None if self.coeffs is None else np.pad(self.coeffs, ((0, 0), (0, more)))
        return replace(self, matrix=np.pad(self.matrix, ((0, 0), (0, more), (0, 0))), coeffs=coeffs, own=own)

    def with_blocks(self, blocks: int, width: int) -> Map:
        """With more outputs, zeros, behind each of some blocks of them."""
        more = width - self.matrix.shape[2] // blocks
        matrix, bias = self.matrix.reshape(*self.matrix.shape[:2], blocks, -1), self.bias.reshape(blocks, -1)
        matrix, bias = np.pad(matrix, ((0, 0), (0, 0), (0, 0), (0, more))), np.pad(bias, ((0, 0), (0, more)))
        return replace(self, matrix=matrix.reshape(*self.matrix.shape[:2], -1), bias=bias.ravel())

    def then(self, other: Map) -> Map:
        """Followed by an affine map."""
        weight = other.matrix[0]
        return replace(self, matrix=self.matrix @ weight, bias=self.bias @ weight + other.bias)

    def without_circuits(self) -> Map:
        """The same, its circuits of trained frequencies as waves.

        Raises:
            ValueError: it has a circuit an edge, or too many waves.
        """
        if self.circuits is None:
            return self
        if self.circuits.rows > 1:
            raise ValueError("its circuits of trained frequencies are one an edge, which have no waves in common")
        w, cosines, sines, constants = self.circuits.waves()
        if w.shape[1] > MOST_WAVES:
            raise ValueError(f"its circuits have {w.shape[1]} waves")
        coeffs = np.concatenate([constants[None], cosines.T, sines.T])
        return replace(self, kind="waves", size=w.shape[1], own=w.T, coeffs=coeffs, circuits=None)

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """(B, O) of (B, I), float64; what kernels and C compute is compared with it."""
        functions = self._functions(z)
        if self.coeffs is not None:
            count = len(self.coeffs) - 1
            weighted = (w * own for w, own in zip(self.coeffs[1:], functions[:count], strict=True))
            functions = [sum(weighted, self.coeffs[0]), *functions[count:]]
        return sum((f @ matrix for f, matrix in zip(functions, self.matrix, strict=True)), self.bias)

    def _functions(self, z: np.ndarray) -> list[np.ndarray]:
        base = [] if self.base is None else [BASES[self.base][0](torch.from_numpy(z)).numpy()]
        if self.kind == "waves":
            return [np.cos(w * z) for w in self._own] + [np.sin(w * z) for w in self._own] + base
        if self.kind == "rational":
            above, below = self._own[: self.size], self._own[self.size :]
            top = sum(a * z**k for k, a in enumerate(above))
            return [top / (1 + sum(b * np.abs(z) ** (k + 1) for k, b in enumerate(below))), *base]
        if self.kind == "circuit":
            raise ValueError("circuits of trained frequencies are computed as waves")
        basis = Basis(self.kind, self.size, self.radius, self.base)
        return [own.numpy() for own in basis.functions(torch.from_numpy(z))]

    @property
    def _own(self) -> np.ndarray:
        if self.own is None:
            raise ValueError(f"functions of kind {self.kind!r} have numbers of their own")
        return self.own


class Layer(NamedTuple):
    """A layer of a cell; see the head of this module.

    Attributes:
        kind: ``lstm`` or ``gru``.
        of_input, of_state: Their sum goes into the chain.
        chain: Up to the gates.
        hidden: H.
    """

    kind: str
    of_input: Map
    of_state: Map
    chain: tuple[Map, ...]
    hidden: int

    def without_circuits(self) -> Layer:
        """The same, as of :meth:`Map.without_circuits`."""
        parts = (self.of_input, self.of_state, *self.chain)
        of_input, of_state, *chain = (own.without_circuits() for own in parts)
        return self._replace(of_input=of_input, of_state=of_state, chain=tuple(chain))

    def widened(self, hidden: int, below: int | None) -> Layer:
        """The same with more units, which stay at zero, above a layer that has ``below`` units."""
        gates = 4 if self.kind == "lstm" else 3
        of_input = self.of_input if below is None else self.of_input.with_inputs(below)
        of_state, chain = self.of_state.with_inputs(hidden), self.chain
        if chain:
            chain = (*chain[:-1], chain[-1].with_blocks(gates, hidden))
        else:
            of_input, of_state = (own.with_blocks(gates, hidden) for own in (of_input, of_state))
        return self._replace(of_input=of_input, of_state=of_state, chain=chain, hidden=hidden)


def cell_layers(cell: nn.Module) -> tuple[Layer, ...]:
    """Return a cell as maps, exactly as it is.

    Raises:
        ValueError: it is none of them; the message says why.
    """
    if isinstance(cell, nn.LSTM | nn.GRU):
        return tuple(_classical(cell, place) for place in range(cell.num_layers))
    if not isinstance(cell, Recurrent):
        raise ValueError(f"a {type(cell).__name__} goes through its steps by itself")
    if len(cell.directions) != cell.num_layers:
        raise ValueError("the cell reads its window backwards, too")
    found = []
    for direction in cell.directions:
        if not isinstance(direction, UnidirectionalRNN):
            raise ValueError("its state are the weights of a layer")
        if direction.projection is not None:
            raise ValueError("the cell projects its output")
        gates = deepcopy(direction.gates).double()
        if isinstance(gates, QKANGates):
            of_input, of_state = _circuit_layer(gates.input), _circuit_layer(gates.hidden)
            if gates.bias is not None:
                of_input = replace(of_input, bias=of_input.bias + _array(gates.bias))
            found.append(Layer(direction.cell, of_input, of_state, (), cell.hidden_size))
        elif isinstance(gates, HybridGates):
            found.append(_hybrid(gates, cell.hidden_size))
        else:
            raise ValueError(f"its gates, {type(gates).__name__}, are no sum over functions of single numbers")
    return tuple(found)


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().cpu().double().numpy())


def _affine(weight: Tensor, bias: Tensor | None) -> Map:
    own = _array(weight)
    return Map(np.ascontiguousarray(own.T)[None], np.zeros(len(own)) if bias is None else _array(bias))


def _classical(cell: nn.LSTM | nn.GRU, place: int) -> Layer:
    """A layer of nn.LSTM or nn.GRU, whose order of gates is ours."""
    own = dict(cell.named_parameters())
    of_input, of_state = (
        _affine(own[f"weight_{one}_l{place}"], own.get(f"bias_{one}_l{place}")) for one in ("ih", "hh")
    )
    return Layer("lstm" if isinstance(cell, nn.LSTM) else "gru", of_input, of_state, (), cell.hidden_size)


def _hybrid(gates: HybridGates, hidden: int) -> Layer:
    """Encoders, a latent and a decoder."""
    first, second, last = gates.input_encoder, gates.hidden_encoder, gates.decoder
    if not all(isinstance(linear, nn.Linear) for linear in (first, second, last)):
        raise ValueError("an encoder or decoder is no nn.Linear")
    chain: list[Map] = []
    activation: nn.Module | None = None
    for module in [*_modules(gates.latent), last]:
        if isinstance(module, nn.Linear):
            chain.append(_behind(activation, _affine(module.weight, module.bias)))
            activation = None
        elif isinstance(module, nn.Tanh | GroupRational) and activation is None:
            activation = module
        elif isinstance(module, QKANLayer) and activation is None:
            chain.append(_circuit_layer(module))
        elif isinstance(module, KANLayer) and activation is None:
            chain.append(_kan_layer(module))
        else:
            raise ValueError(f"its latent has a {type(module).__name__}, which is no sum over functions known by name")
    return Layer("lstm", _affine(first.weight, first.bias), _affine(second.weight, second.bias), tuple(chain), hidden)


def _modules(latent: nn.Module) -> list[nn.Module]:
    """The parts of a latent, in their order."""
    if isinstance(latent, nn.Identity):
        return []
    if isinstance(latent, GRKAN):
        drops = latent.drop1, latent.drop2
        if not isinstance(latent.norm, nn.Identity) or any(drop.p for drop in drops):
            raise ValueError("its latent has a norm or dropout")
        return [latent.act1, latent.fc1, latent.act2, latent.fc2]
    if isinstance(latent, QKAN):
        return list(latent.layers)
    return list(latent) if isinstance(latent, nn.Sequential) else [latent]


def _behind(activation: nn.Module | None, affine: Map) -> Map:
    """An affine map behind an activation of every input."""
    if activation is None:
        return affine
    if isinstance(activation, nn.Tanh):
        return replace(affine, base="tanh")
    if not isinstance(activation, GroupRational):
        raise TypeError(f"{type(activation).__name__} is no activation")
    groups, (m, _) = activation.num_groups, activation.spec.order
    above = np.broadcast_to(_array(activation.numerator), (groups, m + 1))
    below = _array(activation.denominator)
    if activation.spec.denominator == "abs_sum":
        raise ValueError("its rational functions have the denominator 'abs_sum'")
    own = np.repeat(np.concatenate([above, np.abs(below)], axis=1), activation.channels // groups, axis=0).T
    return replace(affine, kind="rational", size=m + 1, base=None, own=np.ascontiguousarray(own))


def _product(operands: Operands, kind: str) -> Map:
    basis = operands.basis
    return Map(_array(operands.matrix), _array(operands.bias), kind, basis.size, basis.radius, basis.base)


def _kan_layer(layer: KANLayer) -> Map:
    operands = layer.operands()
    if isinstance(operands, str) or not isinstance(operands.basis.kind, str):
        raise ValueError("its latent is a sum of functions of your own")
    basis, found = operands.basis, _product(operands, operands.basis.kind)
    if basis.kind not in _FUNCTIONS or (basis.kind == "bspline" and basis.order != SPLINE_ORDER):
        raise ValueError(f"its latent has edges of the family {basis.name!r}, order {basis.order}")
    if basis.kind == "rff" and basis.plain is not None:
        slopes = basis.plain.differentiate(torch.zeros((), dtype=torch.float64), basis.size, basis.radius)
        found = replace(found, kind="waves", own=_array(slopes[basis.size :])[:, None])
    return found


def _circuit_layer(layer: nn.Module) -> Map:
    """A layer of circuits: of whole frequencies, as their waves, or else as circuits."""
    if not isinstance(layer, QKANLayer):
        raise ValueError(f"a {type(layer).__name__} is no layer of circuits")
    if layer.ansatz.encoding_map != "identity" or layer.readout != "z":
        raise ValueError("its circuits encode acos(x) or read out amplitudes")
    if not isinstance(layer.base_activation, str | type(None)):
        raise ValueError("its base activation is a function of your own")
    if layer.harmonics is not None:
        layer.backend = "spectral"  # whichever computes it, it is the same
        operands = layer.operands(math.inf)
        if not isinstance(operands, str) and isinstance(operands.basis.kind, str):
            found, coeffs = _product(operands, operands.basis.kind), operands.activation_coeffs
            return found if coeffs is None else replace(found, coeffs=_array(coeffs))
    shape = (layer.out_features, layer.in_features)
    mask = np.ones(shape) if layer.edge_mask is None else _array(layer.edge_mask)
    weights = [mask if layer.postact_weight is None else mask * _array(layer.postact_weight)]
    bias = np.zeros(shape) if layer.postact_bias is None else _array(layer.postact_bias) * weights[0]
    base = layer.base_activation if layer.base_weight is not None else None
    if layer.base_weight is not None and base is not None:
        weights.append(_array(layer.base_weight) * mask)
    circuits = Circuits(layer.ansatz, layer.reps, *layer.circuit_parameters())
    matrix = np.stack([own.T for own in weights])
    return Map(matrix, bias.sum(axis=1), "circuit", base=base, circuits=circuits)


def folded(chain: Sequence[Map]) -> list[Map]:
    """A chain with affine maps multiplied into what is in front of them: fewer steps, and other sizes."""
    found: list[Map] = []
    for one in chain:
        if found and one.affine:
            found[-1] = found[-1].then(one)
        else:
            found.append(one)
    return found
