"""Matrix products inside Numba kernels: a tile of rows x columns stays in registers while the sum runs.

LLVM does not keep such a tile in registers by itself, so the tile is written in its vector types, which it turns into
whatever the processor has. Measured on one core of an EPYC with AVX-512: 58 thousand million multiply-adds a second,
as many as PyTorch's library reaches there, already at products of 64 x 64 x 64.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils

from qkan.kernels.common.numba_compile import inlined, intrinsic

#: Rows of a tile. What a tile reads and adds to must have memory behind its last row for a multiple of so many.
ROWS = 4
#: Columns of a tile: so that its numbers in single precision, with some room to spare, fit the vector registers.
COLUMNS = 32 if llvm.get_host_cpu_features().get("avx512f", False) else 16


@intrinsic
def tile(typingctx, left, left_at, left_stride, right, right_at, depth, out, out_at, out_stride):
    """out[r, j] += sum_k left[r, k] right[k, j] for ROWS rows and COLUMNS columns, arrays flat, strides of rows."""
    index = types.intp
    signature = types.void(left, index, index, right, index, index, out, index, index)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def at(position: int, offset: Any) -> Any:
            array = context.make_array(signature.args[position])(context, builder, args[position])
            return builder.gep(array.data, [offset])

        number = context.get_value_type(signature.args[0].dtype)
        vector = ir.VectorType(number, COLUMNS)
        bytes_each = 4 if number == ir.FloatType() else 8
        nothing, first = ir.Constant(vector, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), COLUMNS), [0] * COLUMNS)
        _, left_at, left_stride, _, right_at, depth, _, out_at, out_stride = args
        rows, targets, sums = [], [], []
        for row in range(ROWS):
            number_of = ir.Constant(left_at.type, row)
            rows.append(at(0, builder.add(left_at, builder.mul(left_stride, number_of))))
            target = at(6, builder.add(out_at, builder.mul(out_stride, number_of)))
            targets.append(builder.bitcast(target, vector.as_pointer()))
            with builder.goto_entry_block():
                sums.append(builder.alloca(vector))
            builder.store(builder.load(targets[row], align=bytes_each), sums[row])
        columns = at(3, right_at)
        with cgutils.for_range(builder, depth) as loop:
            place = builder.gep(columns, [builder.mul(loop.index, ir.Constant(depth.type, COLUMNS))])
            weights = builder.load(builder.bitcast(place, vector.as_pointer()), align=bytes_each)
            for row in range(ROWS):
                value = builder.insert_element(nothing, builder.load(builder.gep(rows[row], [loop.index])), first)
                value = builder.shuffle_vector(value, nothing, everywhere)
                product = builder.fmul(value, weights, flags=("contract",))
                builder.store(builder.fadd(builder.load(sums[row]), product, flags=("contract",)), sums[row])
        for row in range(ROWS):
            builder.store(builder.load(sums[row]), targets[row], align=bytes_each)
        return context.get_dummy_value()

    return signature, codegen


@inlined
def padded(size: int, unit: int) -> int:
    """The smallest multiple of ``unit`` that is at least ``size``."""
    return (size + unit - 1) // unit * unit


@inlined
def pack(matrix: Any, depth: int, width: int, transposed: bool, out: Any) -> None:
    """Bring a flat matrix (depth, width), or (width, depth) if ``transposed``, to panels of COLUMNS columns.

    ``out`` is flat and takes depth * padded(width, COLUMNS) numbers, zeros where there are no columns.
    """
    for first in range(0, width, COLUMNS):
        columns = min(COLUMNS, width - first)
        for k in range(depth):
            panel = out[first * depth + k * COLUMNS :]
            if transposed:
                for j in range(columns):
                    panel[j] = matrix[(first + j) * depth + k]
            else:
                row = matrix[k * width + first :]
                for j in range(columns):
                    panel[j] = row[j]
            for j in range(columns, COLUMNS):
                panel[j] = 0


@inlined
def add_product(
    left: Any, left_at: int, rows: int, packed: Any, depth: int, first: int, count: int, out: Any, stride: int
) -> None:
    """out[r, :] += left[r, 0:count] times rows first .. first + count of a packed matrix, for rows 0 .. padded(rows).

    Args:
        left: flat; row r starts at ``left_at`` + r * ``count``.
        rows: how many; up to ROWS - 1 more are read and written.
        packed: what :func:`pack` made of a matrix (depth, width).
        out: flat, rows of ``stride`` = padded(width, COLUMNS) numbers.
    """
    for column in range(0, stride, COLUMNS):
        at = column * depth + first * COLUMNS
        for row in range(0, rows, ROWS):
            tile(left, left_at + row * count, count, packed, at, count, out, row * stride + column, stride)
