"""One step of a trained forecaster as plain arrays: what a stream and an exported program compute, in which order.

:func:`pack` describes a forecaster that reads its window step by step (``order="steps"``). All arrays are float32. For
a window of values v, scaled by the run, oldest first, a forecast is

1. **Mean season** (level ``season``): the mean at a value's own step is taken from every value of the context.
2. **Level**: offset (and scale, level ``window``) of the window's last ``window`` values; w = (v - offset) / scale.
3. **Known of a step**, in this order: ``covariates`` numbers (covariates, calendar, categories), ``features`` numbers
   of the season, the sum of a row of every table of ``season_tables``, then with ``lags`` for every season
   ``reads_in`` * w one season before the step, then with ``counts_steps`` the position: 0 in the window,
   j / (horizon - 1) at target j. A lag of target j is the newest known one: w[-season + j % season].
4. **Cell**: it reads, at every step of the window, [reads_in * w, the other past channels, what is known of the *next*
   step]. Without ``decodes_steps`` the head maps its last output to all targets. With it, the last step is read once
   for every target, from the state behind the step before it, with what is known of that target in the place of that
   of the next step, and the head maps each output to its own target.
5. **Forecast** = level + scale * (head + ``skip`` @ w of the window + ``known`` @ known of the target), plus the mean
   season of the target; with ``repeats_last`` it is the last value instead, in the place of the middle quantile.
6. Quantiles are sorted, and the run's scaler is undone: value * scale + offset of the series, in float64.

A step of the cell is that of :mod:`qkan.kernels.recurrence.types`; see :class:`PackedCell`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qkan.forecasting.model.forecaster import RecurrentForecaster
from qkan.forecasting.model.parts import SMALLEST_SCALE, Skip
from qkan.kernels.spectral.basis import Basis, Operands
from qkan.rnn.gates import HybridGates, QKANGates
from qkan.rnn.lstm import Recurrent
from qkan.rnn.unidirectional import UnidirectionalRNN

_AFFINE = Basis("fourier", 0, base="identity")
"""The only feature of a classical cell: what it reads itself."""


@dataclass(frozen=True, eq=False)
class PackedCell:
    """The weights of one layer of a recurrent cell.

    With x what the cell reads (I,) and h the state before (H,), s = ``input_weight`` @ x + ``input_bias``, or x itself
    where there is none. Features are taken of

    * z = [x, h] where ``joined`` (every lstm but those with an encoder), gates = bias + features(z) @ matrix;
    * z = s + ``encoder`` @ h where there is an encoder, gates likewise;
    * z = h for a gru, whose gates are s and bias + features(h) @ matrix, added but for the candidate:
      n = tanh(s_n + r * (...)_n).

    An lstm has the gates i, f, g, o: c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c'). A gru has r, q,
    n: h' = (1 - q) n + q h.

    Attributes:
        kind: ``lstm`` or ``gru``.
        basis: The features; see :class:`qkan.kernels.spectral.basis.Basis`.
        matrix: (terms, Z, gates), from features to gates: sum over terms k and inputs i of F_k(z_i) matrix[k, i].
        bias: (gates,).
        activation_coeffs: (functions + 1, Z), W_0 and W_k of one activation an input, W_0 + sum of W_k B_k(z), which
            is the feature then (behind it the base activation, if the basis has one); ``None`` where the basis
            functions themselves are the features.
        encoder: (Z, H), or ``None``.
        input_weight, input_bias: (S, I) and (S,), or ``None``.
        inputs: I.
        hidden: H.
    """

    kind: str
    basis: Basis
    matrix: np.ndarray
    bias: np.ndarray
    activation_coeffs: np.ndarray | None
    encoder: np.ndarray | None
    input_weight: np.ndarray | None
    input_bias: np.ndarray | None
    inputs: int
    hidden: int

    @property
    def joined(self) -> bool:
        """Whether features are taken of [x, h]."""
        return self.input_weight is None


@dataclass(frozen=True, eq=False)
class Packed:
    """A forecaster as arrays; the order of its operations stands at the head of this module.

    Attributes:
        cell: What reads the window.
        window, context, horizon, quantiles: Steps of the window, of the window with the lags before it, of the
            forecast, and numbers of every step of it.
        past: Channels that are known up to now, the value first.
        level: ``none``, ``season``, ``last``, ``mean`` or ``window``.
        smallest_scale: What is added to the variance of a window, squared, before the root (level ``window``).
        reads_in: Factor of values that the cell reads.
        decodes_steps, counts_steps, lags: Whether targets are read one by one, whether a channel counts them, and
            whether values one season back are known.
        covariates, features: Numbers of covariates, calendar and categories, and of the season, known of a step.
        seasons: Lengths in steps.
        season_tables: For every season (season, features + 1): what is known of its steps, zero in the columns of
            other seasons, and, last, its part of the mean season.
        head_weight, head_bias: (targets * quantiles, H) and (targets * quantiles,), targets 1 where they are read one
            by one; the unit that the cell says values in is multiplied in.
        skip: (horizon, window), or ``None``.
        known: (quantiles, covariates + features + lags + position), or ``None``.
        repeats_last: Whether the gate is closed.
    """

    cell: PackedCell
    window: int
    context: int
    horizon: int
    quantiles: int
    past: int
    level: str
    smallest_scale: float
    reads_in: float
    decodes_steps: bool
    counts_steps: bool
    lags: bool
    covariates: int
    features: int
    seasons: tuple[int, ...]
    season_tables: tuple[np.ndarray, ...]
    head_weight: np.ndarray
    head_bias: np.ndarray
    skip: np.ndarray | None
    known: np.ndarray | None
    repeats_last: bool

    @property
    def known_channels(self) -> int:
        """Numbers known of a step."""
        return self.covariates + self.features + len(self.seasons) * self.lags + self.counts_steps


def pack(model: RecurrentForecaster) -> Packed:
    """Return a trained forecaster as arrays.

    Raises:
        ValueError: it is of a kind that this description does not cover; the message says which.
    """
    reason = _unsupported(model)
    if reason is not None:
        raise ValueError(reason)
    with torch.inference_mode():
        return _packed(model)


def _unsupported(model: RecurrentForecaster) -> str | None:
    """Why a forecaster has no such description, or ``None``."""
    around = model.around
    if model.cell is None:
        return "a linear forecaster has no cell"
    if around.order != "steps":
        return f"a window that is read in {around.order} has no state that goes from one value to the next"
    if around.series:
        return "series have parts of their own"
    if getattr(model.cell, "num_layers", 1) > 1:
        return "the cell has several layers"
    if getattr(model.cell, "proj_size", 0):
        return "the cell projects its output"
    return None


def _packed(model: RecurrentForecaster) -> Packed:
    around, head = model.around, model.head
    if head is None:
        raise ValueError("a linear forecaster has no cell")
    season = 0 if model.season is None else model.season.channels
    with_lags, counts = len(around.seasons) * around.seasonal_lags, model.decodes_steps
    known = around.known_channels(model.horizon)
    says_in, skip = float(model.says_in.factor), model.skip
    return Packed(
        cell=_cell(model.cell, 0 if model.cell is None else around.read_channels(_past(model), model.horizon)),
        window=around.window,
        context=around.context,
        horizon=model.horizon,
        quantiles=model.quantiles,
        past=_past(model),
        level=around.level,
        smallest_scale=SMALLEST_SCALE,
        reads_in=float(model.reads_in.factor),
        decodes_steps=model.decodes_steps,
        counts_steps=counts,
        lags=around.seasonal_lags,
        covariates=known - season - with_lags - counts,
        features=season,
        seasons=around.seasons,
        season_tables=tuple(_season_table(model, place, season) for place in range(len(around.seasons))),
        head_weight=_array(head.weight * says_in),
        head_bias=_array(head.bias * says_in),
        skip=_array(_skip_matrix(skip)) if isinstance(skip, Skip) else None,
        known=None if model.known is None else _array(model.known.weight),
        repeats_last=model.gate is not None and not float(model.gate),
    )


def _past(model: RecurrentForecaster) -> int:
    return model.channels - model.around.futr_exog_channels


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().cpu().float().numpy())


def _skip_matrix(skip: Any) -> Tensor:
    """(horizon, window): the courses times the patterns."""
    patterns: Tensor = skip.patterns.weight
    return patterns if skip.courses is None else skip.courses.weight @ patterns


def _season_table(model: RecurrentForecaster, place: int, channels: int) -> np.ndarray:
    """What is known of the steps of a season, and its part of the mean season: (season, channels + 1)."""
    from qkan.datasets.windows import phases_of_steps

    season = model.around.seasons[place]
    phases = torch.zeros(season, len(model.around.seasons))
    phases[:, place] = torch.from_numpy(phases_of_steps(np.arange(season), season))
    table = torch.zeros(season, channels + 1)
    if model.season is not None:
        table[:, :channels] = model.season(phases) * model.season.of_season(place)
    if model.mean is not None:
        weights = model.mean.weights.weight[0] * model.mean.circuits.of_season(place)
        table[:, -1] = model.mean.circuits(phases) @ weights
        if place == 0:
            table[:, -1] += model.mean.weights.bias
    return _array(table)


def _cell(cell: nn.Module | None, inputs: int) -> PackedCell:
    if isinstance(cell, nn.LSTM | nn.GRU):
        return _classical(cell, inputs)
    if not isinstance(cell, Recurrent):
        raise ValueError(f"a {type(cell).__name__} goes through its steps by itself")
    if cell.bidirectional:
        raise ValueError("the cell reads its window backwards, too")
    direction = cell.directions[0]
    if not isinstance(direction, UnidirectionalRNN):
        raise ValueError("its state are the weights of a layer, which kernels of streams do not know")
    gates = direction.gates
    if isinstance(gates, HybridGates):
        return _hybrid(gates, inputs, cell.hidden_size)
    if not isinstance(gates, QKANGates) or cell.cell != "lstm":
        raise ValueError(f"its gates, {type(gates).__name__}, are no product over features")
    if any(getattr(layer, "harmonics", None) is None for layer in (gates.input, gates.hidden)):
        raise ValueError("its circuits have trained pre-activations, whose features hold for a part of all values only")
    operands = gates.joined(torch.zeros(1, inputs), lambda: math.inf)
    if operands is None:
        raise ValueError("its gates are no one product over features of inputs and state")
    return _of_operands("lstm", operands, inputs, cell.hidden_size)


def _classical(cell: nn.LSTM | nn.GRU, inputs: int) -> PackedCell:
    own = dict(cell.named_parameters())
    ih, hh = own["weight_ih_l0"], own["weight_hh_l0"]
    nothing = torch.zeros(len(ih))
    b_ih, b_hh = (own.get(name, nothing) for name in ("bias_ih_l0", "bias_hh_l0"))
    if isinstance(cell, nn.LSTM):
        operands = Operands(_AFFINE, torch.cat([ih, hh], dim=1).mT.unsqueeze(0), b_ih + b_hh)
        return _of_operands("lstm", operands, inputs, cell.hidden_size)
    operands = Operands(_AFFINE, hh.mT.unsqueeze(0), b_hh)
    return _of_operands("gru", operands, inputs, cell.hidden_size, given=(ih, b_ih))


def _hybrid(gates: HybridGates, inputs: int, hidden: int) -> PackedCell:
    operands = gates.operands(torch.zeros(1, gates.input_encoder.out_features), lambda: math.inf)
    if isinstance(operands, str):
        raise ValueError(operands)
    if operands.basis.kind == "chebyshev":
        raise ValueError("its circuits have trained pre-activations, whose features hold for a part of all values only")
    first = gates.input_encoder
    bias = torch.zeros(first.out_features) if first.bias is None else first.bias
    return _of_operands("lstm", operands, inputs, hidden, gates.hidden_encoder.weight, (first.weight, bias))


def _of_operands(
    kind: str,
    operands: Operands,
    inputs: int,
    hidden: int,
    encoder: Tensor | None = None,
    given: tuple[Tensor, Tensor] | None = None,
) -> PackedCell:
    coeffs = operands.activation_coeffs
    return PackedCell(
        kind=kind,
        basis=operands.basis,
        matrix=_array(operands.matrix),
        bias=_array(operands.bias),
        activation_coeffs=None if coeffs is None else _array(coeffs),
        encoder=None if encoder is None else _array(encoder),
        input_weight=None if given is None else _array(given[0]),
        input_bias=None if given is None else _array(given[1]),
        inputs=inputs,
        hidden=hidden,
    )
