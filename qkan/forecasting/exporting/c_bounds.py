"""What tables of circuits can change on given windows, proven along the states that the cell has on them.

The bound for every input supposes the worst at every step (:meth:`qkan.forecasting.c99.cells.Cell.output_error`). On
given windows the states are known, and with them the derivatives of the gates; what is beyond them is bounded by second
derivatives, and the slopes of activations by their largest ones between a gate and what it can have become.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from qkan.forecasting.c99.cells import Cell, Gates
from qkan.forecasting.model.build import RecurrentForecaster
from qkan.layers.qkan_layer import QKANLayer
from qkan.rnn.gates import HybridGates, QKANGates
from qkan.rnn.lstm import Recurrent

_MOST_DERIVATIVES = 4_000  # gates times steps: a backward pass each

_Errors = tuple[Tensor, Tensor]


def bound_on_windows(model: RecurrentForecaster, cell: Cell, arguments: tuple[Tensor, ...]) -> float | None:
    """A proven bound on what tables change in the scaled forecasts of some windows; ``None`` where none is known.

    It holds in exact arithmetic, in units of the window's scale where the level has one, and is known for an LSTM of
    one layer.

    Args:
        model: The forecaster.
        cell: What its cell became in C.
        arguments: Of the model, B windows.
    """
    own, head = model.cell, model.head
    if not isinstance(own, Recurrent) or head is None or len(cell.layers) > 1 or not cell.lstm:
        return None
    gates = own.directions[0].gates
    if not isinstance(gates, QKANGates | HybridGates):
        return None
    calls: list[tuple[Any, ...]] = []
    handle = own.register_forward_pre_hook(lambda _, given: calls.append(given))
    try:
        with torch.inference_mode():
            model(*arguments)
    finally:
        handle.remove()
    if sum(given[0].shape[1] for given in calls) * len(cell.layers[0].error) > _MOST_DERIVATIVES:
        return None
    double, layer, errors = deepcopy(gates).double(), cell.layers[0], None
    for module in double.modules():
        if isinstance(module, QKANLayer):
            module.backend = "reference"  # no kernel has to be compiled for double precision
    for given in calls:
        states = given[1] if len(given) > 1 else None
        if errors is not None and states is not None:  # every window goes on with each of its targets
            times = states[0].shape[1] // len(errors[0])
            errors = errors[0].repeat_interleave(times, dim=0), errors[1].repeat_interleave(times, dim=0)
        elif states is None:
            errors = None
        errors = _followed(double, layer, given[0].double(), states, errors)
    if errors is None:
        return None
    said = errors[0] @ head.weight.detach().double().abs().mT
    factor = float(model.says_in.factor) * (
        1.0 if model.own is None else float(model.own.amplitude.detach().exp().max())
    )
    if model.gate is not None:
        factor *= 1 + abs(1 - float(model.gate))
    found = float(said.max()) * abs(factor)
    return found if found < 1e6 else None


def _followed(
    gates: QKANGates | HybridGates, layer: Gates, x: Tensor, states: tuple[Tensor, ...] | None, errors: _Errors | None
) -> _Errors:
    """Bounds on the errors of h and c, (B, hidden) each, behind the steps of ``x`` (B, steps, channels)."""
    hidden = layer.of_state.shape[1]
    h, c = (x.new_zeros(len(x), hidden),) * 2 if states is None else (state[0].double() for state in states)
    of_h, of_c = (torch.zeros_like(h), torch.zeros_like(c)) if errors is None else errors
    error, bends, bent = (torch.from_numpy(part) for part in (layer.error, layer.bends, layer.bent))
    for t in range(x.shape[1]):
        with torch.enable_grad():
            start = h.detach().clone().requires_grad_()
            from_input = gates.inputs(x[:, t].clone())
            a = gates.prepare(from_input, lambda: 1.0)(from_input, start)
            rows = [torch.autograd.grad(a[:, k].sum(), start, retain_graph=True)[0] for k in range(a.shape[1])]
        a = a.detach()
        along = torch.stack([(row.abs() * of_h).sum(dim=1) for row in rows], dim=1)
        beyond = (of_h @ bent.mT) ** 2 @ bends.mT / 2
        changed = error + along + torch.nan_to_num(beyond, nan=0.0, posinf=torch.inf)
        most, steep = torch.sigmoid(a + changed), _steepest(a, changed)
        i, f, g, o = torch.arange(4 * hidden).split(hidden)
        candidate = torch.tanh(a[:, g])
        of_c = (
            most[:, f] * of_c
            + c.abs() * steep[:, f] * changed[:, f]
            + candidate.abs() * steep[:, i] * changed[:, i]
            + most[:, i] * _bent(a[:, g], changed[:, g])
        )
        c = torch.sigmoid(a[:, f]) * c + torch.sigmoid(a[:, i]) * candidate
        of_h = torch.tanh(c).abs() * steep[:, o] * changed[:, o] + most[:, o] * _bent(c, of_c)
        of_h = of_h.clamp_max(2.0)
        h = torch.sigmoid(a[:, o]) * torch.tanh(c)
    return of_h, of_c


def _steepest(a: Tensor, changed: Tensor) -> Tensor:
    """The largest slope of the logistic function between a - changed and a + changed."""
    least = torch.sigmoid((a.abs() - changed).clamp_min(0))
    return least * (1 - least)


def _bent(a: Tensor, changed: Tensor) -> Tensor:
    """A bound on how far tanh moves where its argument moves by at most ``changed``."""
    nearest = (a.abs() - changed).clamp_min(0)
    return ((1 - torch.tanh(nearest) ** 2) * changed).clamp_max(2.0)
