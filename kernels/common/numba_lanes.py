"""Numba instructions on LANES numbers side by side, in LLVM's vector types, and bits of numbers.

A loop over so few numbers would spend its time on looking for overlaps of its arrays. Arrays are flat; ``.._at`` is
where the lanes begin.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from qkan.kernels.common.numba_compile import intrinsic
from qkan.kernels.common.numba_matmul import COLUMNS

#: As many as a tile of a product has columns.
LANES = COLUMNS


class _Lanes:
    """Loads and stores of all lanes at places of flat arrays, inside an intrinsic."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: Any) -> None:
        self.context, self.builder, self.signature, self.args = context, builder, signature, args
        self.number = context.get_value_type(signature.args[0].dtype)
        self.vector = ir.VectorType(self.number, LANES)
        self.align = 4 if self.number == ir.FloatType() else 8

    def at(self, array: int, place: int) -> Any:
        """The address of the lanes at argument ``place`` of the array that is argument ``array``."""
        made = self.context.make_array(self.signature.args[array])(self.context, self.builder, self.args[array])
        return self.builder.bitcast(self.builder.gep(made.data, [self.args[place]]), self.vector.as_pointer())

    def load(self, array: int, place: int) -> Any:
        return self.builder.load(self.at(array, place), align=self.align)

    def store(self, value: Any, array: int, place: int) -> None:
        self.builder.store(value, self.at(array, place), align=self.align)

    def everywhere(self, argument: int) -> Any:
        """A number that is an argument, in all lanes."""
        nothing, first = ir.Constant(self.vector, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        value = self.builder.insert_element(nothing, self.args[argument], first)
        return self.builder.shuffle_vector(
            value, nothing, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        )

    def times(self, a: Any, b: Any) -> Any:
        return self.builder.fmul(a, b, flags=("contract",))

    def plus(self, a: Any, b: Any) -> Any:
        return self.builder.fadd(a, b, flags=("contract",))

    def minus(self, a: Any, b: Any) -> Any:
        return self.builder.fsub(a, b, flags=("contract",))


_INDEX = types.intp


@intrinsic
def turn(typingctx, state, u_at, v_at, trig, cos_at, sin_at):
    """(u, v) to (u cos - v sin, u sin + v cos)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = _Lanes(context, builder, signature, args)
        u, v, cos, sin = lanes.load(0, 1), lanes.load(0, 2), lanes.load(3, 4), lanes.load(3, 5)
        lanes.store(lanes.minus(lanes.times(u, cos), lanes.times(v, sin)), 0, 1)
        lanes.store(lanes.plus(lanes.times(u, sin), lanes.times(v, cos)), 0, 2)
        return context.get_dummy_value()

    return types.void(state, _INDEX, _INDEX, trig, _INDEX, _INDEX), codegen


@intrinsic
def turn_back(typingctx, state, u_at, v_at, p_at, q_at, trig, cos_at, sin_at, total, total_at, moment_at, times):
    """Undo :func:`turn` of the state (u, v) and its adjoint (p, q).

    The gradient of the angle, q u - p v, is added to ``total`` at ``total_at``, and ``times`` as much at ``moment_at``.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = _Lanes(context, builder, signature, args)
        u, v, p, q = (lanes.load(0, place) for place in (1, 2, 3, 4))
        cos, sin = lanes.load(5, 6), lanes.load(5, 7)
        slope = lanes.minus(lanes.times(q, u), lanes.times(p, v))
        lanes.store(lanes.plus(lanes.load(8, 9), slope), 8, 9)
        lanes.store(lanes.plus(lanes.load(8, 10), lanes.times(slope, lanes.everywhere(11))), 8, 10)
        lanes.store(lanes.plus(lanes.times(u, cos), lanes.times(v, sin)), 0, 1)
        lanes.store(lanes.minus(lanes.times(v, cos), lanes.times(u, sin)), 0, 2)
        lanes.store(lanes.plus(lanes.times(p, cos), lanes.times(q, sin)), 0, 3)
        lanes.store(lanes.minus(lanes.times(q, cos), lanes.times(p, sin)), 0, 4)
        return context.get_dummy_value()

    places = (_INDEX,) * 4
    return types.void(state, *places, trig, _INDEX, _INDEX, total, _INDEX, _INDEX, state.dtype), codegen


@intrinsic
def add_angle(typingctx, trig, cos_at, sin_at, into, into_cos_at, into_sin_at, cos, sin):
    """Cosine and sine of an angle (lanes) plus one whose cosine and sine are numbers."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = _Lanes(context, builder, signature, args)
        c, s, cos, sin = lanes.load(0, 1), lanes.load(0, 2), lanes.everywhere(6), lanes.everywhere(7)
        lanes.store(lanes.minus(lanes.times(c, cos), lanes.times(s, sin)), 3, 4)
        lanes.store(lanes.plus(lanes.times(s, cos), lanes.times(c, sin)), 3, 5)
        return context.get_dummy_value()

    return types.void(trig, _INDEX, _INDEX, into, _INDEX, _INDEX, trig.dtype, trig.dtype), codegen


@intrinsic
def as_double(typingctx, bits):
    """The number in double precision that has these bits."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), codegen


@intrinsic
def bits_of(typingctx, number):
    """The bits of a number as an integer of the same width: they grow with numbers above zero; NaN is the largest."""
    same = types.int32 if number == types.float32 else types.int64

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(same))

    return same(number), codegen


@intrinsic
def number_of(typingctx, bits, like):
    """The number of the type of ``like`` that has these bits, an integer of its width or wider."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind, value = context.get_value_type(like), args[0]
        width = 32 if kind == ir.FloatType() else 64
        if value.type.width > width:
            value = builder.trunc(value, ir.IntType(width))
        return builder.bitcast(value, kind)

    return like(bits, like), codegen
