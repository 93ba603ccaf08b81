"""A Numba kernel that finds what bounds the phases of a layer with trained pre-activations."""

from __future__ import annotations

import math
from typing import Any

from qkan.kernels.common.numba_compile import inlined
from qkan.kernels.common.numba_lanes import bits_of, number_of
from qkan.kernels.common.numba_runtime import ARGUMENTS, DOUBLE, SHARDS, SINGLE, Kernel, as_frame, next_shard, take

# Arrays in a frame behind the repetitions: inputs, pre-activation weights, two numbers for every shard.
BOUNDED, WEIGHTS, FOUND = range(ARGUMENTS + 1, ARGUMENTS + 7, 2)


@inlined
def _bounds(frame: Any, one: Any) -> None:
    x, weight, out = take(frame, BOUNDED, one), take(frame, WEIGHTS, one), take(frame, FOUND, one)
    reps, none, infinite = frame[ARGUMENTS], bits_of(abs(one)) * 0, bits_of(x.dtype.type(math.inf))
    shard = next_shard(frame)
    while shard >= 0:
        largest, widest = none, none
        for i in range(len(x) * shard // frame[SHARDS], len(x) * (shard + 1) // frame[SHARDS]):
            size = bits_of(abs(x[i]))
            largest = max(largest, size if size < infinite else none)
        edges = len(weight) // reps
        for edge in range(edges * shard // frame[SHARDS], edges * (shard + 1) // frame[SHARDS]):
            total = abs(weight[edge * reps])
            for k in range(1, reps):
                total += abs(weight[edge * reps + k])
            widest = max(widest, bits_of(total))
        out[2 * shard], out[2 * shard + 1] = number_of(largest, one), number_of(widest, one)
        shard = next_shard(frame)


def _bounds_single(frame: Any) -> None:
    _bounds(as_frame(frame), SINGLE)


def _bounds_double(frame: Any) -> None:
    _bounds(as_frame(frame), DOUBLE)


#: The largest finite |x|, and the largest sum of |w| over the repetitions, NaN if any is.
BOUNDS = Kernel(_bounds_single, _bounds_double)
