"""The recurrence in PyTorch with a hand-written backward through time: an engine for every device and dtype.

Forward, a step is the features of z, one product and the cell. The backward pass first makes the local derivatives of
all cells at once, then walks back with one product a step. With L the local derivatives and dh, dc what arrives at a
step of an LSTM, i, f, g, o its gates, c the cell state in front of it and c' the one behind:

    dc += dh o (1 - tanh(c')^2),   da_o = dh L_o,   da_(i,f,g) = dc L_(i,f,g),   dc <- dc f,
    L_i = g i (1 - i),   L_f = c f (1 - f),   L_g = i (1 - g^2),   L_o = tanh(c') o (1 - o),

and of a GRU, h' = (1 - q) n + q h with n = tanh(s_n + r a_n), dh L for all gates with

    L_n = (1 - q)(1 - n^2),   L_r = L_n a_n r (1 - r),   L_q = (h - n) q (1 - q),   dh <- dh q.

The gradient through the features of z is dz_i = sum_k F_k'(z_i) sum_o M_kio da_o. Derivatives of basis functions are
sums of basis functions, so weights M' of the derivatives take the place of M there and the functions that of their
derivatives.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qkan.kernels.edges.activations import BASES
from qkan.kernels.recurrence.types import (
    Engine,
    ForwardResult,
    Layout,
    RecurrenceGradients,
    Spec,
    Tape,
    Tensors,
    Weights,
)


def unsupported_reason(spec: Spec, tensors: Tensors) -> str | None:
    """None: this engine runs everywhere."""
    return None


class _Forward:
    """From z to the features' part of the gates, in memory that is used again at every step."""

    def __init__(self, spec: Spec, weights: Weights, rows: int) -> None:
        self.basis, self.matmul_dtype, self.weights = spec.basis, spec.matmul_dtype, weights
        matrix = weights.matrix
        self.workspace = matrix.new_empty(rows, spec.basis.terms, matrix.shape[1])
        self.matrix = matrix.flatten(0, 1) if spec.matmul_dtype is None else matrix.flatten(0, 1).to(spec.matmul_dtype)

    def functions(self, z: Tensor) -> Tensor:
        """(rows, terms, Z)."""
        workspace = self.workspace[: z.shape[0]]
        self.basis.functions(z, into=workspace.unbind(1))
        return workspace

    def __call__(self, z: Tensor, out: Tensor) -> None:
        functions, coeffs = self.functions(z), self.weights.activation_coeffs
        if coeffs is not None:
            count = len(coeffs) - 1
            activation = (functions[:, :count] * coeffs[1:]).sum(1).add_(coeffs[0])
            functions = torch.cat((activation, functions[:, -1]), -1) if self.basis.base else activation
        flat = functions.flatten(1)
        if self.matmul_dtype is None:
            torch.addmm(self.weights.bias, flat, self.matrix, out=out)
        else:
            torch.add(flat.to(self.matmul_dtype) @ self.matrix, self.weights.bias, out=out)


def forward(
    spec: Spec, layout: Layout, steps: Tensor, weights: Weights, h_0: Tensor, c_0: Tensor | None, keep: bool
) -> ForwardResult:
    """As of :class:`qkan.kernels.recurrence.types.Engine`."""
    encoder, projection = weights.encoder, weights.projection
    hidden = (h_0 if c_0 is None else c_0).shape[1]
    offsets, longest = layout.offsets, layout.sizes[0]
    kept = offsets[-1] if keep else longest
    outputs = steps.new_empty(offsets[-1], h_0.shape[1])
    all_gates, carries = (steps.new_empty(kept, width) for width in (weights.bias.shape[0], hidden))
    latents = None if encoder is None else steps.new_empty(kept, encoder.shape[0])
    features = _Forward(spec, weights, longest)
    h, c = h_0.clone(), None if c_0 is None else c_0.clone()
    for t in layout.order:
        rows, size = slice(offsets[t], offsets[t + 1]), layout.sizes[t]
        part = rows if keep else slice(size)
        gates, carry, z = all_gates[part], carries[part], h[:size]
        if latents is not None and encoder is not None:
            z = torch.addmm(steps[rows], z, encoder.mT, out=latents[part])
        features(z, gates)
        if c is None:
            _gru(steps[rows], gates, carry, h[:size])
        else:
            unit = _lstm(gates if encoder is not None else gates.add_(steps[rows]), carry, c[:size])
            h[:size] = unit if projection is None else unit @ projection.mT
        outputs[rows] = h[:size]
    return ForwardResult(outputs, h, c, Tape(all_gates, carries, latents) if keep else None)


def _lstm(gates: Tensor, carry: Tensor, c: Tensor) -> Tensor:
    """Activate the gates and move c on; returns o tanh(c')."""
    carry.copy_(c)
    hidden = c.shape[1]
    gates[:, : 2 * hidden].sigmoid_()
    gates[:, 2 * hidden : 3 * hidden].tanh_()
    gates[:, 3 * hidden :].sigmoid_()
    i, f, g, o = gates.chunk(4, -1)
    c.mul_(f).addcmul_(i, g)
    return torch.tanh(c).mul_(o)


def _gru(steps: Tensor, gates: Tensor, carry: Tensor, h: Tensor) -> None:
    """Activate the gates and move h on."""
    hidden = h.shape[1]
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
    z: Tensor,
    grad_outputs: Tensor,
    grad_h: Tensor,
    grad_c: Tensor | None,
) -> RecurrenceGradients:
    """As of :class:`qkan.kernels.recurrence.types.Engine`."""
    input_gradient = _Backward(spec, weights, layout.sizes[0])
    if grad_c is None:
        return _gru_backward(input_gradient, layout, tape, z, grad_outputs, grad_h.clone())
    encoder, projection, offsets = weights.encoder, weights.projection, layout.offsets
    inner, through = _lstm_slopes(tape)  # each step's derivatives turn into its gradient in place
    latents = None if encoder is None else torch.empty_like(z)
    hidden = None if projection is None else torch.empty_like(grad_outputs)
    dh, dc = grad_h.clone(), grad_c.clone()
    for t in reversed(layout.order):
        rows, size = slice(offsets[t], offsets[t + 1]), layout.sizes[t]
        total = dh[:size].add_(grad_outputs[rows])
        if hidden is not None and projection is not None:
            hidden[rows] = total
            total = total @ projection
        units = inner[rows].unflatten(-1, (4, -1))
        state = dc[:size].addcmul_(total, through[rows])
        units[:, :3].mul_(state.unsqueeze(1))
        units[:, 3].mul_(total)
        state.mul_(tape.gates[rows].unflatten(-1, (4, -1))[:, 1])
        of_z = input_gradient(z[rows], inner[rows])
        if latents is not None and encoder is not None:
            latents[rows] = of_z
            torch.mm(of_z, encoder, out=dh[:size])
        else:
            dh[:size] = of_z
    return RecurrenceGradients(inner, inner if latents is None else latents, hidden, dh, dc)


def _gru_backward(
    input_gradient: _Backward, layout: Layout, tape: Tape, h_before: Tensor, grad_outputs: Tensor, dh: Tensor
) -> RecurrenceGradients:
    offsets = layout.offsets
    local = _gru_slopes(tape, h_before)  # each step's derivatives turn into its gradient in place
    inner = torch.empty_like(local)
    for t in reversed(layout.order):
        rows, size = slice(offsets[t], offsets[t + 1]), layout.sizes[t]
        total = dh[:size].add_(grad_outputs[rows])
        r, q, _ = tape.gates[rows].chunk(3, -1)
        local[rows].unflatten(-1, (3, -1)).mul_(total.unsqueeze(1))
        inner[rows] = local[rows]
        inner[rows].chunk(3, -1)[2].mul_(r)
        total.mul_(q).add_(input_gradient(h_before[rows], inner[rows]))
    return RecurrenceGradients(inner, local, None, dh, None)


class _Backward:
    """From the gradient of a step's gates to that of what its features were taken of."""

    def __init__(self, spec: Spec, weights: Weights, rows: int) -> None:
        self.forward = _Forward(spec, weights, rows)
        self.basis, self.matmul_dtype = spec.basis, spec.matmul_dtype
        self.has_activations = weights.activation_coeffs is not None
        transposed_weights = (
            weights.matrix if weights.activation_coeffs is None else weights.activation_coeffs[1:].unsqueeze(-1)
        )
        if self.has_activations and self.basis.base is not None:  # a last term of no weight: activations have no base
            transposed_weights = torch.cat((transposed_weights, torch.zeros_like(transposed_weights[:1])))
        slopes, constant = self.basis.differentiate(transposed_weights)
        self.count = len(slopes)
        self.slopes: Tensor | None
        if self.has_activations:
            self.slopes, self.constant = slopes.squeeze(-1), None if constant is None else constant.squeeze(-1)
            through = weights.matrix.flatten(0, 1).mT
        else:
            self.slopes, self.constant = None, constant
            through = slopes.flatten(0, 1).mT
        self.through = through if self.matmul_dtype is None else through.to(self.matmul_dtype)

    def __call__(self, z: Tensor, grad: Tensor) -> Tensor:
        """dz (rows, Z) from z and the gradient (rows, G)."""
        functions = self.forward.functions(z)
        along = functions[:, : self.count]
        if not self.basis.fused:  # their derivatives are other functions
            torch.stack(self.basis.slope_functions(z, ()), 1, out=along)
        elif self.basis.base is not None:
            along[:, -1] = BASES[self.basis.base][1](z)
        of_z = (
            grad @ self.through
            if self.matmul_dtype is None
            else (grad.to(self.matmul_dtype) @ self.through).to(grad.dtype)
        )
        if self.slopes is None:
            total = of_z.view_as(along).mul_(along).sum(1)
            return total if self.constant is None else total.addmm_(grad, self.constant.mT)
        parts = of_z.unflatten(-1, (-1, z.shape[1]))
        slope = (along * self.slopes).sum(1)
        total = parts[:, 0] * (slope if self.constant is None else slope.add_(self.constant))
        return total if self.basis.base is None else total.addcmul_(parts[:, 1], along[:, -1])


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


def _gru_slopes(tape: Tape, h_before: Tensor) -> Tensor:
    """L of all gates, (rows, 3 H)."""
    r, q, n = tape.gates.chunk(3, -1)
    slopes = torch.empty_like(tape.gates)
    of_r, of_q, of_n = slopes.chunk(3, -1)
    torch.mul(1 - q, 1 - n * n, out=of_n)
    torch.mul(of_n, tape.carry, out=of_r).mul_(r - r * r)
    torch.mul(h_before - n, q - q * q, out=of_q)
    return slopes


ENGINE = Engine("torch", unsupported_reason, forward, backward)
