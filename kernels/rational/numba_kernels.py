"""Numba code of group-rational activations: pieces of a group's elements, and the walk over all of them.

The coefficients of a group are tuples of numbers, so their count is part of a function's type: polynomials become
straight lines of multiply-adds, and every sum of a coefficient's gradient stays in a vector register. The helpers that
make this sure write their instructions themselves. See :mod:`qkan.kernels.rational.pytorch` for the formulas.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from qkan.kernels.common.numba_compile import inlined, intrinsic
from qkan.kernels.common.numba_runtime import (
    ARGUMENTS,
    DOUBLE,
    SHARDS,
    SINGLE,
    Kernel,
    as_frame,
    enrol,
    next_shard,
    take,
)
from qkan.kernels.rational.types import LIMIT

#: Most elements of a piece: as many as are summed in their own dtype, in vector lanes, before float64 takes over.
PIECE = 1024
#: Runs shorter than this are gathered from several rows.
SHORT = 16
# What kernels take from a frame: sizes, then scratch memory in the kernel's dtype and in float64 (three pieces of each
# for every worker), then arrays.
ROWS, GROUPS, RUN = range(ARGUMENTS, ARGUMENTS + 3)
ROOM, WIDE, X, A, B, OUT, GRAD, SUMS = range(ARGUMENTS + 3, ARGUMENTS + 19, 2)

_FLAGS = ("contract", "nsz")
#: Sums may be reordered: that is what makes a vector of partial sums of them.
_SUM_FLAGS = (*_FLAGS, "reassoc")


def _multiply_add(builder: Any, left: Any, right: Any, addend: Any) -> Any:
    return builder.fadd(builder.fmul(left, right, flags=_FLAGS), addend, flags=_FLAGS)


def _loaded(first: int) -> Any:
    """Code of a tuple whose numbers, from ``first`` on, come from an array; those before are zero."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[1])(context, builder, args[1]).data
        to, numbers = signature.return_type, []
        for k in range(to.count):
            if k < first:
                numbers.append(ir.Constant(context.get_value_type(to.dtype), 0.0))
                continue
            number = builder.load(builder.gep(data, [builder.add(args[2], ir.Constant(args[2].type, k - first))]))
            numbers.append(context.cast(builder, number, signature.args[1].dtype, to.dtype))
        return context.make_tuple(builder, to, numbers)

    return codegen


@intrinsic
def _load(typingctx, like, array, at):
    """The tuple of as many numbers as ``like`` has, from a place of an array, in the type of ``like``."""
    return like(like, array, types.intp), _loaded(0)


@intrinsic
def _load_behind_zero(typingctx, like, array, at):
    """As :func:`_load`, but zero first and one number less from the array."""
    return like(like, array, types.intp), _loaded(1)


@intrinsic
def _slope(typingctx, coefficients, x):
    """(p, p') of the polynomial sum_k coefficients[k] x^k."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        numbers, x = [builder.extract_value(args[0], k) for k in range(signature.args[0].count)], args[1]
        value, slope = numbers[-1], ir.Constant(x.type, 0.0)
        for k in range(len(numbers) - 2, -1, -1):
            first = k == len(numbers) - 2
            slope = value if first else _multiply_add(builder, slope, x, value)
            value = _multiply_add(builder, value, x, numbers[k])
        return context.make_tuple(builder, signature.return_type, (value, slope))

    return types.UniTuple(x, 2)(coefficients, x), codegen


@intrinsic
def _accumulate(typingctx, sums, weight, x):
    """``sums`` with weight, weight x, weight x^2 .. added."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        count, power, added = signature.args[0].count, args[1], []
        for k in range(count):
            power = power if k == 0 else builder.fmul(power, args[2], flags=_FLAGS)
            added.append(builder.fadd(builder.extract_value(args[0], k), power, flags=_SUM_FLAGS))
        return context.make_tuple(builder, signature.return_type, added)

    return sums(sums, weight, x), codegen


@intrinsic
def _add_to(typingctx, array, at, sums):
    """array[at + k] += sums[k] for all k, in the type of the array."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        kind = signature.args[2]
        for k in range(kind.count):
            place = builder.gep(data, [builder.add(args[1], ir.Constant(args[1].type, k))])
            number = context.cast(builder, builder.extract_value(args[2], k), kind.dtype, signature.args[0].dtype)
            builder.store(builder.fadd(builder.load(place), number), place)
        return context.get_dummy_value()

    return types.void(array, types.intp, sums), codegen


@inlined
def _forward_piece(a: Any, b: Any, summed: Any, x: Any, y: Any, count: int) -> int:
    """y[0:count] = F(x[0:count]); how many x are beyond what the dtype can take.

    ``a`` holds a_0 .. a_m; ``b`` zero and b_1 .. b_n, or |b_1| .. |b_n| if ``summed`` is None: then Q has absolute
    terms.
    """
    beyond, one, limit = 0, x.dtype.type(1), x.dtype.type(LIMIT)
    for i in range(count):
        z = x[i]
        u = abs(z) if summed is None else z
        q = _slope(b, u)[0]
        y[i] = _slope(a, z)[0] / (one + abs(q))
        beyond += 0 if abs(z) <= limit else 1
    return beyond


@inlined
def _backward_piece(a: Any, b: Any, summed: Any, x: Any, grad: Any, dx: Any, count: int, of_a: Any, of_b: Any) -> Any:
    """dx[0:count], and sums of the gradients of a and of b added to tuples; arguments as of :func:`_forward_piece`.

    Returns:
        the sums (those of b: of b_1 .. b_n, for |b_j| with absolute terms), and how many x are beyond.
    """
    beyond, one, limit = 0, x.dtype.type(1), x.dtype.type(LIMIT)
    for i in range(count):
        z = x[i]
        u = abs(z) if summed is None else z
        p, dp = _slope(a, z)
        s, ds = _slope(b, u)
        share = one / (one + abs(s))
        weight = grad[i] * share
        towards = z if summed is None else s
        f = -p * share if towards < 0 else p * share
        dx[i] = weight * (dp - f * ds)
        of_a = _accumulate(of_a, weight, z)
        # With absolute terms s is never negative, and the sign in f was that of x: it must not be in these.
        of_b = _accumulate(of_b, -(p * share if summed is None else f) * weight * u, u)
        beyond += 0 if abs(z) <= limit else 1
    return of_a, of_b, beyond


@inlined
def _forward_group(
    frame: Any, workspace: Any, like: Any, wide: Any, summed: Any, group: int, x: Any, y: Any, count: int
) -> None:
    """A piece of a group; if it must be, again in float64, unless ``wide`` is None. ``workspace`` has three pieces."""
    a, b = take(frame, A, x.dtype.type(0)), take(frame, B, x.dtype.type(0))
    at_a, at_b = group * len(like[0]), group * (len(like[1]) - 1)
    beyond = _forward_piece(_load(like[0], a, at_a), _load_behind_zero(like[1], b, at_b), summed, x, y, count)
    if wide is not None:  # noqa: SIM102  (this is decided when it is compiled, the next one is not)
        if beyond > 0:
            z, out = workspace[:count], workspace[PIECE : PIECE + count]
            for i in range(count):
                z[i] = x[i]
            _forward_piece(_load(wide[0], a, at_a), _load_behind_zero(wide[1], b, at_b), summed, z, out, count)
            for i in range(count):
                y[i] = out[i]


@inlined
def _backward_group(
    frame: Any, workspace: Any, like: Any, wide: Any, summed: Any, group: int, x: Any, grad: Any, dx: Any, count: int,
    sums: Any,
) -> None:  # fmt: skip
    """As :func:`_forward_group`; the gradients of the group's coefficients are added to ``sums``."""
    a, b = take(frame, A, x.dtype.type(0)), take(frame, B, x.dtype.type(0))
    at_a, at_b = group * len(like[0]), group * (len(like[1]) - 1)
    into = group * (len(like[0]) + len(like[1]) - 1)
    of_a, of_b, beyond = _backward_piece(
        _load(like[0], a, at_a), _load_behind_zero(like[1], b, at_b), summed, x, grad, dx, count, like[0], like[1][1:]
    )
    if wide is not None:  # noqa: SIM102  (this is decided when it is compiled, the next one is not)
        if beyond > 0:
            z, g, out = workspace[:count], workspace[PIECE : PIECE + count], workspace[2 * PIECE : 2 * PIECE + count]
            for i in range(count):
                z[i] = x[i]
                g[i] = grad[i]
            wide_a, wide_b, _ = _backward_piece(
                _load(wide[0], a, at_a),
                _load_behind_zero(wide[1], b, at_b),
                summed,
                z,
                g,
                out,
                count,
                wide[0],
                wide[1][1:],
            )
            for i in range(count):
                dx[i] = out[i]
            _add_to(sums, into, wide_a)
            _add_to(sums, into + len(like[0]), wide_b)
            return
    _add_to(sums, into, of_a)
    _add_to(sums, into + len(like[0]), of_b)


@inlined
def _gather(x: Any, first: int, rows: int, stride: int, run: int, out: Any) -> None:
    for r in range(rows):
        row, to = x[first + r * stride :], out[r * run :]
        for i in range(run):
            to[i] = row[i]


@inlined
def _scatter(x: Any, first: int, rows: int, stride: int, run: int, out: Any) -> None:
    for r in range(rows):
        row, to = x[r * run :], out[first + r * stride :]
        for i in range(run):
            to[i] = row[i]


@inlined
def _walk(frame: Any, one: Any, like: Any, wide: Any, summed: Any, back: Any) -> None:
    """All shards that this worker gets hold of: forward if ``back`` is None, else backward.

    ``like`` holds tuples of the types of a group's a and b, ``wide`` the same in float64 or None.
    """
    worker = enrol(frame)
    workspace = take(frame, ROOM, one)[worker * 3 * PIECE :]
    spare = take(frame, WIDE, DOUBLE)[worker * 3 * PIECE :]
    rows, groups, run = frame[ROWS], frame[GROUPS], frame[RUN]
    x, out, grad, sums = take(frame, X, one), take(frame, OUT, one), take(frame, GRAD, one), take(frame, SUMS, DOUBLE)
    size, width = len(sums) // frame[SHARDS], groups * run
    pieces = (run + PIECE - 1) // PIECE
    length = (run + pieces - 1) // pieces
    together = PIECE // run if run < SHORT and rows > 1 else 1
    blocks = (rows + together - 1) // together * groups * pieces
    shard = next_shard(frame)
    while shard >= 0:
        into = sums[shard * size :]
        block, last = blocks * shard // frame[SHARDS], blocks * (shard + 1) // frame[SHARDS]
        # Counted, not divided for every piece: a division takes as long as a vector of elements.
        piece, group, row = block % pieces, block // pieces % groups, block // (pieces * groups) * together
        for _ in range(block, last):
            begin = piece * length
            first, count, high = row * width + group * run + begin, min(length, run - begin), 1
            source, arriving, target = x[first:], grad[first:], out[first:]
            if together > 1:
                high = min(together, rows - row)
                count = high * run
                source, arriving, target = workspace[:PIECE], workspace[2 * PIECE :], workspace[PIECE : 2 * PIECE]
                _gather(x, first, high, width, run, source)
                if back is not None:
                    _gather(grad, first, high, width, run, arriving)
            if back is None:
                _forward_group(frame, spare, like, wide, summed, group, source, target, count)
            else:
                _backward_group(frame, spare, like, wide, summed, group, source, arriving, target, count, into)
            if together > 1:
                _scatter(target, first, high, width, run, out)
            piece += 1
            if piece == pieces:
                piece, group = 0, group + 1
            if group == groups:
                group, row = 0, row + together
        shard = next_shard(frame)


@cache
def kernels(m: int, n: int, summed: bool) -> tuple[Kernel, Kernel]:
    """Forward and backward for an order and a denominator, compiled when they first run."""
    zero, wide_zero = np.float32(0), np.float64(0)
    like, wide = ((zero,) * (m + 1), (zero,) * (n + 1)), ((wide_zero,) * (m + 1), (wide_zero,) * (n + 1))
    form = 1 if summed else None

    def forward_single(frame: Any) -> None:
        _walk(as_frame(frame), SINGLE, like, wide, form, None)

    def forward_double(frame: Any) -> None:
        _walk(as_frame(frame), DOUBLE, wide, None, form, None)

    def backward_single(frame: Any) -> None:
        _walk(as_frame(frame), SINGLE, like, wide, form, 1)

    def backward_double(frame: Any) -> None:
        _walk(as_frame(frame), DOUBLE, wide, None, form, 1)

    return Kernel(forward_single, forward_double), Kernel(backward_single, backward_double)
