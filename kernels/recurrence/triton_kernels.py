"""The two Triton kernels of :mod:`qkan.kernels.recurrence.triton_gpu`, for all kinds of recurrences.

A program owns BLOCK_B sequences and walks all their steps. What one part of a step hands to the next is

* RESIDENT: a tile in registers, where all units, all latents and all outputs fit into one tile each;
* otherwise memory that the program itself wrote: results of the step or states of the batch, read back behind a barrier
  from the nearest cache, in tiles of BLOCK_H units, BLOCK_Z latents and BLOCK_P outputs.

Sizes are constants of the compilation, so loops over a single tile vanish. Arguments that both kernels share:
``plan``, first rows and sizes of the ``count`` steps, then how many steps each program has; how many ``functions`` the
basis has and their ``radius``; ``batch`` states; the matrix as :mod:`qkan.kernels.recurrence.triton_cells` says, other
weights as :class:`qkan.kernels.recurrence.types.Weights` has them.

This module needs Triton; import it where a kernel is about to run.
"""

import triton
import triton.language as tl

from qkan.kernels.recurrence.triton_cells import (
    biases,
    copy,
    corner,
    features_from_gates,
    features_to_gates,
    gru_cell,
    gru_slopes,
    hand_on,
    lstm_cell,
    lstm_slopes,
    read,
    read_gates,
    state_before,
    steps_of,
    write,
    write_gates,
)
from qkan.kernels.spectral.triton_basis import dot


@triton.jit(do_not_specialize=["count", "batch", "functions"])
def forward_kernel(
    steps, matrix, bias, shape, encoder, projection, h_0, c_0, outputs, h_n, c_n, gates, carry, latent, units, plan,
    count, batch, functions, radius, KEEP: tl.constexpr, LSTM: tl.constexpr, KIND: tl.constexpr, BASE: tl.constexpr,
    WAVES: tl.constexpr, SHAPED: tl.constexpr, ENCODED: tl.constexpr, PROJECTED: tl.constexpr, REVERSE: tl.constexpr,
    RESIDENT: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr, HIDDEN: tl.constexpr, WIDTH: tl.constexpr,
    OUT: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_Z: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """h behind every step, final states and, with KEEP, the tape.

    Without KEEP, ``latent`` has room for one step; ``units``, used where they are projected and not RESIDENT, always
    has.
    """
    UNITS: tl.constexpr = (HIDDEN + BLOCK_H - 1) // BLOCK_H * BLOCK_H
    LATENTS: tl.constexpr = (WIDTH + BLOCK_Z - 1) // BLOCK_Z * BLOCK_Z
    b = tl.program_id(0).to(tl.int64) * BLOCK_B + tl.arange(0, BLOCK_B)
    h = read(h_0, b, b < batch, 0, OUT, BLOCK_P)
    c = tl.zeros((BLOCK_B, BLOCK_H), tl.float32)
    if LSTM:
        c = read(c_0, b, b < batch, 0, HIDDEN, BLOCK_H)
    if not RESIDENT:
        copy(h_n, h_0, b, b < batch, OUT, BLOCK_P)
        if LSTM:
            copy(c_n, c_0, b, b < batch, HIDDEN, BLOCK_H)
    span = steps_of(plan, count, BLOCK_B)
    before = span * 0
    reached = span * 0
    for k in tl.range(0, span, num_stages=1):
        t = span - 1 - k if REVERSE else k
        start = tl.load(plan + t)
        size = tl.load(plan + count + t)
        rows = start + b
        live = b < size
        kept = rows if KEEP else b
        z = h
        if ENCODED:
            z = tl.zeros((BLOCK_B, BLOCK_Z), tl.float32)
            for z0 in range(0, WIDTH, BLOCK_Z):
                z = read(steps, rows, live, z0, WIDTH, BLOCK_Z)
                for p0 in range(0, OUT, BLOCK_P):
                    past = h if RESIDENT else state_before(outputs, h_0, before, reached, b, live, p0, OUT, BLOCK_P)
                    tile = corner(encoder, p0, z0, OUT, WIDTH, 1, OUT, BLOCK_P, BLOCK_Z)
                    z = dot(past, tile, z, tl.float32, PRECISION)
                if KEEP or not RESIDENT:
                    write(latent, z, kept, live, z0, WIDTH)
            if not RESIDENT:
                tl.debug_barrier()
        unit = tl.zeros((BLOCK_B, BLOCK_H), tl.float32)
        for u0 in range(0, HIDDEN, BLOCK_H):
            a0, a1, a2, a3 = biases(bias, u0, LSTM, HIDDEN, BLOCK_B, BLOCK_H)
            for z0 in range(0, WIDTH, BLOCK_Z):
                if RESIDENT:
                    of = z
                elif ENCODED:
                    of = read(latent, kept, live, z0, WIDTH, BLOCK_Z)
                else:
                    of = state_before(outputs, h_0, before, reached, b, live, z0, OUT, BLOCK_Z)
                a0, a1, a2, a3 = features_to_gates(
                    of, matrix, shape, z0, u0, functions, radius, a0, a1, a2, a3,
                    LSTM, KIND, BASE, WAVES, SHAPED, WIDTH, UNITS, LATENTS, OPERAND, PRECISION,
                )  # fmt: skip
            if LSTM:
                if not ENCODED:
                    s0, s1, s2, s3 = read_gates(steps, rows, live, u0, LSTM, HIDDEN, BLOCK_H)
                    a0, a1, a2, a3 = a0 + s0, a1 + s1, a2 + s2, a3 + s3
                old = c if RESIDENT else read(c_n, b, live, u0, HIDDEN, BLOCK_H)
                a0, a1, a2, a3, after, unit = lstm_cell(a0, a1, a2, a3, old)
                c = hand_on(c, after, c_n, b, live, u0, HIDDEN, RESIDENT)
            else:
                s0, s1, s2, s3 = read_gates(steps, rows, live, u0, LSTM, HIDDEN, BLOCK_H)
                old = a2
                past = h if RESIDENT else state_before(outputs, h_0, before, reached, b, live, u0, OUT, BLOCK_H)
                a0, a1, a2, unit = gru_cell(a0, a1, a2, s0, s1, s2, past)
            if KEEP:
                write(carry, old, rows, live, u0, HIDDEN)
                write_gates(gates, a0, a1, a2, a3, rows, live, u0, LSTM, HIDDEN)
            if not PROJECTED:
                write(outputs, unit, rows, live, u0, HIDDEN)
                h = hand_on(h, unit, h_n, b, live, u0, HIDDEN, RESIDENT)
            elif not RESIDENT:
                write(units, unit, b, live, u0, HIDDEN)
        if PROJECTED:
            if not RESIDENT:
                tl.debug_barrier()
            for p0 in range(0, OUT, BLOCK_P):
                out = tl.zeros((BLOCK_B, BLOCK_P), tl.float32)
                for u0 in range(0, HIDDEN, BLOCK_H):
                    part = unit if RESIDENT else read(units, b, live, u0, HIDDEN, BLOCK_H)
                    tile = corner(projection, u0, p0, HIDDEN, OUT, 1, HIDDEN, BLOCK_H, BLOCK_P)
                    out = dot(part, tile, out, tl.float32, PRECISION)
                write(outputs, out, rows, live, p0, OUT)
                h = hand_on(h, out, h_n, b, live, p0, OUT, RESIDENT)
        if not RESIDENT:
            tl.debug_barrier()
        before = start
        reached = size
    if RESIDENT:
        write(h_n, h, b, b < batch, 0, OUT)
        if LSTM:
            write(c_n, c, b, b < batch, 0, HIDDEN)


@triton.jit(do_not_specialize=["count", "batch", "functions"])
def backward_kernel(
    gates, carry, z, matrix, shape, encoder, projection, grad_outputs, grad_h, grad_c, inner, step_grads, hidden, of_h,
    of_c, plan, count, batch, functions, radius, LSTM: tl.constexpr, KIND: tl.constexpr, BASE: tl.constexpr,
    WAVES: tl.constexpr, SHAPED: tl.constexpr, ENCODED: tl.constexpr, PROJECTED: tl.constexpr, REVERSE: tl.constexpr,
    RESIDENT: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr, HIDDEN: tl.constexpr, WIDTH: tl.constexpr,
    OUT: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_Z: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """Gradients of the gates of all steps, and of the initial states.

    ``grad_h`` and ``grad_c`` are those of the final states. ``step_grads`` takes the gradient of what the inputs
    contribute where it is not ``inner``: the latent's, or that of a GRU's gates.
    """
    UNITS: tl.constexpr = (HIDDEN + BLOCK_H - 1) // BLOCK_H * BLOCK_H
    LATENTS: tl.constexpr = (WIDTH + BLOCK_Z - 1) // BLOCK_Z * BLOCK_Z
    b = tl.program_id(0).to(tl.int64) * BLOCK_B + tl.arange(0, BLOCK_B)
    dh = read(grad_h, b, b < batch, 0, OUT, BLOCK_P)
    dc = tl.zeros((BLOCK_B, BLOCK_H), tl.float32)
    if LSTM:
        dc = read(grad_c, b, b < batch, 0, HIDDEN, BLOCK_H)
    if not RESIDENT:
        copy(of_h, grad_h, b, b < batch, OUT, BLOCK_P)
        if LSTM:
            copy(of_c, grad_c, b, b < batch, HIDDEN, BLOCK_H)
    span = steps_of(plan, count, BLOCK_B)
    for k in tl.range(0, span, num_stages=1):
        t = k if REVERSE else span - 1 - k
        rows = tl.load(plan + t) + b
        live = b < tl.load(plan + count + t)
        if PROJECTED:
            for p0 in range(0, OUT, BLOCK_P):
                total = dh if RESIDENT else read(of_h, b, live, p0, OUT, BLOCK_P)
                write(hidden, total + read(grad_outputs, rows, live, p0, OUT, BLOCK_P), rows, live, p0, OUT)
        d0 = tl.zeros((BLOCK_B, BLOCK_H), tl.float32)
        d1, d2, d3 = d0, d0, d0
        for u0 in range(0, HIDDEN, BLOCK_H):
            du = tl.zeros((BLOCK_B, BLOCK_H), tl.float32)
            if PROJECTED:
                for p0 in range(0, OUT, BLOCK_P):
                    total = dh if RESIDENT else read(of_h, b, live, p0, OUT, BLOCK_P)
                    total += read(grad_outputs, rows, live, p0, OUT, BLOCK_P)
                    tile = corner(projection, p0, u0, OUT, HIDDEN, HIDDEN, 1, BLOCK_P, BLOCK_H)
                    du = dot(total, tile, du, tl.float32, PRECISION)
            else:
                du = dh if RESIDENT else read(of_h, b, live, u0, HIDDEN, BLOCK_H)
                du += read(grad_outputs, rows, live, u0, HIDDEN, BLOCK_H)
            a0, a1, a2, a3 = read_gates(gates, rows, live, u0, LSTM, HIDDEN, BLOCK_H)
            old = read(carry, rows, live, u0, HIDDEN, BLOCK_H)
            if LSTM:
                dc_after = dc if RESIDENT else read(of_c, b, live, u0, HIDDEN, BLOCK_H)
                d0, d1, d2, d3, dc_before = lstm_slopes(a0, a1, a2, a3, old, du, dc_after)
                dc = hand_on(dc, dc_before, of_c, b, live, u0, HIDDEN, RESIDENT)
            else:
                past = read(z, rows, live, u0, WIDTH, BLOCK_H)
                d0, d1, d2 = gru_slopes(a0, a1, a2, old, past, du)
                write_gates(step_grads, d0, d1, d2, d3, rows, live, u0, LSTM, HIDDEN)
                d2 *= a0
                dh = hand_on(dh, du * a1, of_h, b, live, u0, HIDDEN, RESIDENT)
            write_gates(inner, d0, d1, d2, d3, rows, live, u0, LSTM, HIDDEN)
        if not RESIDENT:
            tl.debug_barrier()
        dz = tl.zeros((BLOCK_B, BLOCK_Z), tl.float32)
        for z0 in range(0, WIDTH, BLOCK_Z):
            dz = tl.zeros((BLOCK_B, BLOCK_Z), tl.float32)
            of = read(z, rows, live, z0, WIDTH, BLOCK_Z)
            for u0 in range(0, HIDDEN, BLOCK_H):
                if RESIDENT:
                    g0, g1, g2, g3 = d0, d1, d2, d3
                else:
                    g0, g1, g2, g3 = read_gates(inner, rows, live, u0, LSTM, HIDDEN, BLOCK_H)
                dz = features_from_gates(
                    of, g0, g1, g2, g3, dz, matrix, shape, z0, u0, functions, radius,
                    LSTM, KIND, BASE, WAVES, SHAPED, WIDTH, UNITS, LATENTS, OPERAND, PRECISION,
                )  # fmt: skip
            if ENCODED:
                write(step_grads, dz, rows, live, z0, WIDTH)
            else:
                if not LSTM:
                    dz += dh if RESIDENT else read(of_h, b, live, z0, OUT, BLOCK_Z)
                dh = hand_on(dh, dz, of_h, b, live, z0, OUT, RESIDENT)
        if ENCODED:
            if not RESIDENT:
                tl.debug_barrier()
            for p0 in range(0, OUT, BLOCK_P):
                dp = tl.zeros((BLOCK_B, BLOCK_P), tl.float32)
                for z0 in range(0, WIDTH, BLOCK_Z):
                    part = dz if RESIDENT else read(step_grads, rows, live, z0, WIDTH, BLOCK_Z)
                    tile = corner(encoder, z0, p0, WIDTH, OUT, OUT, 1, BLOCK_Z, BLOCK_P)
                    dp = dot(part, tile, dp, tl.float32, PRECISION)
                dh = hand_on(dh, dp, of_h, b, live, p0, OUT, RESIDENT)
        if not RESIDENT:
            tl.debug_barrier()
    if RESIDENT:
        write(of_h, dh, b, b < batch, 0, OUT)
        if LSTM:
            write(of_c, dc, b, b < batch, 0, HIDDEN)
