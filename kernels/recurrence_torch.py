"""The recurrence in PyTorch with a hand-written backward through time: an engine for every device and dtype.

Forward, a step is the features of h, one product and the cell. The backward pass first makes the local derivatives of
all cells at once, then walks back with one product a step. With L the local derivatives and dh, dc what arrives at a
step of an LSTM, i, f, g, o its gates and c' its new c:

    dc += dh o (1 - tanh(c')^2),   da_o = dh L_o,   da_(i,f,g) = dc L_(i,f,g),   dc <- dc f,
    L_i = g i (1 - i),   L_f = c f (1 - f),   L_g = i (1 - g^2),   L_o = tanh(c') o (1 - o),

and of a GRU, dh L for all gates with

    L_n = (1 - q)(1 - n^2),   L_r = L_n a_n r (1 - r),   L_q = (h - n) q (1 - q),   dh <- dh q.

Features of h pull da back: dh_i += sum_k F_k(h_i) sum_o M'_kio da_o, M' the weights of the derivative.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qkan.kernels.recurrence_types import Layout, Pulled, Spec, Tape, Weights


def why_not(spec: Spec, steps: Tensor, weights: Weights) -> str | None:
    """None: this engine runs everywhere."""
    return None


class _Features:
    """Features of one time step, (rows, terms, Z) in memory that is used again at every step."""

    def __init__(self, spec: Spec, rows: int, width: int, like: Tensor) -> None:
        self.basis, self.low = spec.basis, spec.low
        self.room = like.new_empty(rows, spec.basis.terms, width)

    def of(self, z: Tensor) -> Tensor:
        room = self.room[: z.shape[0]]
        self.basis.planes(z, into=room.unbind(1))
        return room

    def product(self, features: Tensor, matrix: Tensor) -> Tensor:
        flat = features.flatten(1)
        if self.low is None:
            return flat @ matrix
        return (flat.to(self.low) @ matrix).to(flat.dtype)


def forward(
    spec: Spec, layout: Layout, steps: Tensor, weights: Weights, h_0: Tensor, c_0: Tensor | None, keep: bool
) -> tuple[Tensor, Tensor, Tensor | None, Tape | None]:
    """As of :mod:`qkan.kernels.recurrence`."""
    gru, encoder, projection = c_0 is None, weights.encoder, weights.projection
    gates_width, hidden = weights.bias.shape[0], (h_0 if c_0 is None else c_0).shape[1]
    offsets, longest = layout.offsets, layout.sizes[0]
    kept = offsets[-1] if keep else longest
    outputs = steps.new_empty(offsets[-1], h_0.shape[1])
    tape = Tape(*(steps.new_empty(kept, width) for width in (weights.matrix.shape[1], gates_width, hidden)))
    features = _Features(spec, longest, weights.matrix.shape[1], steps)
    matrix = weights.matrix.flatten(0, 1).to(steps.dtype if spec.low is None else spec.low)
    h, c = h_0.clone(), None if c_0 is None else c_0.clone()
    for t in layout.order:
        rows, size = slice(offsets[t], offsets[t + 1]), layout.sizes[t]
        z, gates, carry = (part[rows] if keep else part[:size] for part in tape)
        if encoder is None:
            z.copy_(h[:size])
        else:
            torch.addmm(steps[rows], h[:size], encoder.mT, out=z)
        torch.add(features.product(features.of(z), matrix), weights.bias, out=gates)
        if c is None:
            _gru(steps[rows], gates, carry, h[:size], hidden)
        else:
            if encoder is None:
                gates += steps[rows]
            unit = _lstm(gates, carry, c[:size], hidden)
            if projection is None:
                h[:size] = unit
            else:
                torch.mm(unit, projection.mT, out=h[:size])
        outputs[rows] = h[:size]
    return outputs, h, None if gru else c, tape if keep else None


def _lstm(gates: Tensor, carry: Tensor, c: Tensor, hidden: int) -> Tensor:
    """Activate the gates and move c on; returns o tanh(c')."""
    carry.copy_(c)
    gates[:, : 2 * hidden].sigmoid_()
    gates[:, 2 * hidden : 3 * hidden].tanh_()
    gates[:, 3 * hidden :].sigmoid_()
    i, f, g, o = gates.chunk(4, -1)
    c.mul_(f).addcmul_(i, g)
    return torch.tanh(c).mul_(o)


def _gru(steps: Tensor, gates: Tensor, carry: Tensor, h: Tensor, hidden: int) -> None:
    """Activate the gates and move h on."""
    carry.copy_(gates[:, 2 * hidden :])
    gates[:, : 2 * hidden].add_(steps[:, : 2 * hidden]).sigmoid_()
    r, q, n = gates.chunk(3, -1)
    torch.addcmul(steps[:, 2 * hidden :], r, carry, out=n).tanh_()
    h.sub_(n).mul_(q).add_(n)


def backward(
    spec: Spec,
    layout: Layout,
    weights: Weights,
    tape: Tape,
    grad_outputs: Tensor,
    grad_h: Tensor,
    grad_c: Tensor | None,
) -> Pulled:
    """As of :mod:`qkan.kernels.recurrence`."""
    encoder, projection = weights.encoder, weights.projection
    offsets = layout.offsets
    if grad_c is None:
        local = _gru_slopes(tape)
        inner, through = torch.empty_like(local), None
    else:
        inner, through = _lstm_slopes(tape)
        local = inner  # each step's derivatives turn into its gradient in place
    of_z = None if encoder is None else torch.empty_like(tape.z)
    hidden = None if projection is None else torch.empty_like(grad_outputs)
    pull = _Pull(spec, weights.matrix, layout.sizes[0])
    dh, dc = grad_h.clone(), None if grad_c is None else grad_c.clone()
    for t in reversed(layout.order):
        rows, size = slice(offsets[t], offsets[t + 1]), layout.sizes[t]
        total = dh[:size].add_(grad_outputs[rows])
        if hidden is not None and projection is not None:
            hidden[rows] = total
            total = total @ projection
        if dc is None or through is None:
            r, q, _ = tape.gates[rows].chunk(3, -1)
            units = local[rows].unflatten(-1, (3, -1)).mul_(total.unsqueeze(1))
            inner[rows] = local[rows]
            inner[rows].unflatten(-1, (3, -1))[:, 2].mul_(r)
            del units
            carried = total * q
            torch.add(pull(tape.z[rows], inner[rows]), carried, out=dh[:size])
            continue
        units = inner[rows].unflatten(-1, (4, -1))
        state = dc[:size].addcmul_(total, through[rows])
        units[:, :3].mul_(state.unsqueeze(1))
        units[:, 3].mul_(total)
        state.mul_(tape.gates[rows].unflatten(-1, (4, -1))[:, 1])
        pulled = pull(tape.z[rows], inner[rows])
        if of_z is not None and encoder is not None:
            of_z[rows] = pulled
            torch.mm(pulled, encoder, out=dh[:size])
        else:
            dh[:size] = pulled
    return Pulled(inner, local if of_z is None else of_z, hidden, dh, dc)


class _Pull:
    """From the gradient of a step's gates to that of what its features were taken of."""

    def __init__(self, spec: Spec, matrix: Tensor, rows: int) -> None:
        slopes, self.constant = spec.basis.differentiate(matrix)
        self.slopes = slopes.flatten(0, 1).mT
        if spec.low is not None:
            self.slopes = self.slopes.to(spec.low)
        self.terms, self.low = len(slopes), spec.low
        self.features = _Features(spec, rows, matrix.shape[1], matrix)

    def __call__(self, z: Tensor, grad: Tensor) -> Tensor:
        features, basis = self.features.of(z), self.features.basis
        along = features[:, : self.terms]
        if basis.base is not None:
            along[:, -1] = basis.slope_planes(z, features.unbind(1))[-1]
        if self.low is None:
            pulled = grad @ self.slopes
        else:
            pulled = (grad.to(self.low) @ self.slopes).to(grad.dtype)
        total = pulled.view_as(along).mul_(along).sum(1)
        return total if self.constant is None else total.addmm_(grad, self.constant.mT)


def _lstm_slopes(tape: Tape) -> tuple[Tensor, Tensor]:
    """L of all gates, (rows, 4 H), and o (1 - tanh(c')^2), (rows, H)."""
    i, f, g, o = tape.gates.chunk(4, -1)
    tanh_c = torch.addcmul(f * tape.carry, i, g).tanh_()
    slopes = torch.empty_like(tape.gates)
    of_i, of_f, of_g, of_o = slopes.chunk(4, -1)
    torch.addcmul(i, i, i, value=-1, out=of_i).mul_(g)
    torch.addcmul(f, f, f, value=-1, out=of_f).mul_(tape.carry)
    torch.addcmul(i, i * g, g, value=-1, out=of_g)
    torch.addcmul(o, o, o, value=-1, out=of_o).mul_(tanh_c)
    return slopes, o - o * tanh_c.square_()


def _gru_slopes(tape: Tape) -> Tensor:
    """L of all gates, (rows, 3 H)."""
    r, q, n = tape.gates.chunk(3, -1)
    slopes = torch.empty_like(tape.gates)
    of_r, of_q, of_n = slopes.chunk(3, -1)
    torch.mul(1 - q, 1 - n * n, out=of_n)
    torch.mul(of_n, tape.carry, out=of_r).mul_(r - r * r)
    torch.mul(tape.z - n, q - q * q, out=of_q)
    return slopes
