"""The circuits of :mod:`qkan.kernels.bloch` in one fused kernel for CPUs; :mod:`qkan.kernels.bloch_numba` calls it.

The kernel goes over tiles of edges. For each it prepares what depends on parameters alone, walks over the samples with
the functions of :mod:`qkan.kernels.bloch_numba_steps`, and then writes the gradients of the parameters. The backward
pass runs the circuit again and turns state and adjoint back together, so nothing is kept between the passes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qkan.kernels.bloch_numba_steps import (
    ACOS, AXIS, ENCODED, FIXED, HALF_TURN, KIND, LANES, UNWEIGHTED, WEIGHTED,
    Call, Encoded, Parameters, Planes, Program, Scratch, Totals,
    _advance, _fill_trig, _flip, _read, _read_slope, _retreat, _sum, _turn, _turn_back,
)  # fmt: skip
from qkan.kernels.numba_math import inlined, kernel

#: |x|, |w| and |phase| within which no angle can leave the range of the fast sine.
_MOST_INPUT, _MOST_PHASE = 2.0**9, 2.0**18


@inlined
def _beyond(values: Any, n: int, limit: float) -> bool:
    count = 0
    for lane in range(n):
        count += abs(values[lane]) > limit
    return count > 0


@inlined
def _row(edge: int, call: Call) -> int:
    return (edge % call.wrap) * call.stride + edge // call.wrap


@inlined
def _prepare(parameters: Parameters, sample: int, first: int, n: int, program: Program, call: Call, planes: Planes) -> bool:
    """Fill the planes of edges first .. first + n; whether an angle could leave the range of the fast sine."""
    theta, weight, bias = parameters.theta[sample], parameters.weight, parameters.bias
    phase, wild = planes.phase, False
    phase[:] = 0
    planes.weight[:] = 0
    planes.shift[:] = 0
    for t in range(len(program.thetas)):
        k, column = program.thetas[t]
        for lane in range(n):
            phase[k, lane] += theta[_row(first + lane, call), column]
    for t in range(len(program.codes)):
        k, slot, code = program.codes[t]
        for lane in range(n):
            row = _row(first + lane, call)
            planes.weight[slot, lane] += weight[row, code] if weight.shape[0] else 1.0
            if bias.shape[0]:
                if call.mode == ACOS:
                    planes.shift[slot, lane] += bias[row, code]
                else:
                    phase[k, lane] += bias[row, code]
    for k in range(len(program.steps)):
        if program.steps[k, KIND] == FIXED or (program.steps[k, KIND] != HALF_TURN and call.mode != WEIGHTED):
            _fill_trig(phase[k], planes.cos[k], planes.sin[k], n)
        wild |= _beyond(phase[k], n, _MOST_PHASE)
    for slot in range(call.slots):
        wild |= _beyond(planes.weight[slot], n, _MOST_INPUT)
    for component in range(3):
        planes.start[component, :n] = program.initial[component]
    for k in range(call.prefix):
        axis = program.steps[k, AXIS]
        u, v = planes.start[(axis + 1) % 3], planes.start[(axis + 2) % 3]
        if program.steps[k, KIND] == HALF_TURN:
            _flip(u, n)
            _flip(v, n)
        else:
            _turn(u, v, planes.cos[k], planes.sin[k], n)
    return wild


@inlined
def _finish(
    gradients: Parameters, sample: int, first: int, n: int, program: Program, call: Call, planes: Planes,
    total: Totals, tile: Scratch,
) -> None:  # fmt: skip
    """Take the adjoint through the rotations in front of the first encoding and add all gradients of the tile."""
    for k in range(call.prefix - 1, -1, -1):
        one, two = (program.steps[k, AXIS] + 1) % 3, (program.steps[k, AXIS] + 2) % 3
        u, v, p, q = planes.start[one], planes.start[two], total.adjoint[one], total.adjoint[two]
        if program.steps[k, KIND] == HALF_TURN:
            _flip(u, n)
            _flip(v, n)
            _flip(p, n)
            _flip(q, n)
        else:
            _turn_back(u, v, p, q, planes.cos[k], planes.sin[k], total.angle[k], n)
    if gradients.theta.shape[0]:
        theta = gradients.theta[sample]
        for t in range(len(program.thetas)):
            k, column = program.thetas[t]
            for lane in range(n):
                theta[_row(first + lane, call), column] += total.angle[k, lane]
    for t in range(len(program.codes)):
        k, slot, code = program.codes[t]
        if gradients.weight.shape[0]:
            for lane in range(n):
                gradients.weight[_row(first + lane, call), code] += total.weight[slot, lane]
        if gradients.bias.shape[0]:
            for lane in range(n):
                here = total.shift[slot, lane] if call.mode == ACOS else total.angle[k, lane]
                gradients.bias[_row(first + lane, call), code] += here
    if gradients.mix.shape[0]:
        for lane in range(n):
            gradients.mix[_row(first + lane, call)] += total.mix[0, lane]


@inlined
def _clear(total: Totals) -> None:
    total.angle[:] = 0
    total.weight[:] = 0
    total.shift[:] = 0
    total.adjoint[:] = 0
    total.mix[:] = 0


@inlined
def _empty_tile(dtype: Any, call: Call) -> Scratch:
    return Scratch(
        np.empty((3, LANES), dtype), np.empty((3, LANES), dtype),
        np.empty((call.codes, LANES), dtype), np.empty((call.codes, LANES), dtype),
        np.empty(LANES, dtype), np.empty(LANES, dtype), np.empty(LANES, dtype), np.empty(LANES, dtype),
    )  # fmt: skip


@inlined
def _empty_planes(dtype: Any, program: Program, call: Call) -> Planes:
    steps, slots = len(program.steps), call.slots
    return Planes(
        np.empty((3, LANES), dtype), np.empty((steps, LANES), dtype), np.empty((steps, LANES), dtype),
        np.empty((steps, LANES)), np.empty((slots, LANES)), np.empty((slots, LANES)),
    )  # fmt: skip


@inlined
def _empty_totals(dtype: Any, program: Program, call: Call) -> Totals:
    return Totals(
        np.empty((len(program.steps), LANES), dtype), np.empty((call.slots, LANES), dtype),
        np.empty((call.slots, LANES), dtype), np.empty((3, LANES), dtype), np.empty((1, LANES), dtype),
    )  # fmt: skip


@inlined
def _fill_multiples(x: Any, program: Program, cos: Any, sin: Any) -> None:
    """Cosines and sines (T, rows, n) of the multiples of x (rows, n) that unweighted encodings need."""
    angle = np.empty(x.shape[1])
    for t in range(len(program.times)):
        for row in range(x.shape[0]):
            for lane in range(x.shape[1]):
                angle[lane] = program.times[t] * x[row, lane]
            _fill_trig(angle, cos[t, row], sin[t, row], x.shape[1])


@inlined
def _any_beyond(x: Any, call: Call) -> bool:
    wild = False
    for sample in range(call.first_sample, call.end_sample):
        wild |= _beyond(x[sample], call.inputs, _MOST_INPUT)
    return wild


@inlined
def _tile_by_samples(
    e: int, edge: int, low: int, n: int, out: Any, grad: Any, dx: Any, given: Encoded, parameters: Parameters,
    planes: Planes, program: Program, call: Call, tile: Scratch, total: Totals, wild: bool,
) -> None:  # fmt: skip
    """Samples low .. low + n of the shard for edge number ``edge``, which is number ``e`` of its tile."""
    row, lanes = edge % call.inputs, slice(low, low + n)
    _advance(program, call, planes, e, given, row, lanes, tile, n, wild)
    _read(tile, call.amplitude, n)
    column = edge // call.inputs - call.first_output if call.reduce else edge - call.first_output * call.inputs
    mix = parameters.mix[_row(edge, call)] if parameters.mix.shape[0] else tile.z.dtype.type(1)
    if not grad.shape[0]:
        target = out[column, lanes]
        if call.reduce:
            for lane in range(n):
                target[lane] += mix * tile.z[lane]
        else:
            for lane in range(n):
                target[lane] = tile.z[lane]
        return
    source = grad[column, lanes]
    for lane in range(n):
        tile.upstream[lane] = source[lane] * mix
        tile.z[lane] *= source[lane]
    total.mix[0, e] += _sum(tile.z, n)
    if call.amplitude:
        _read_slope(tile, n)
    _retreat(program, call, planes, e, given, row, lanes, tile, n, total, dx)


@inlined
def _run_by_samples(
    out: Any, grad: Any, dx: Any, gradients: Parameters, x: Any, parameters: Parameters, program: Program, call: Call
) -> None:
    """Lanes are samples: inputs, outputs and upstream gradients of the shard are turned so that samples lie together."""
    dtype = out.dtype
    samples, first = call.end_sample - call.first_sample, call.first_output * call.inputs
    end = call.end_output * call.inputs
    columns = call.end_output - call.first_output if call.reduce else end - first
    offset = call.first_output if call.reduce else first
    turned = np.empty((call.inputs, samples))
    for row in range(call.inputs):
        for lane in range(samples):
            turned[row, lane] = x[call.first_sample + lane, row]
    times = len(program.times)
    given = Encoded(turned, np.empty((times, call.inputs, samples), dtype), np.empty((times, call.inputs, samples), dtype))
    _fill_multiples(turned, program, given.cos, given.sin)
    far = _any_beyond(x, call)
    backward = grad.shape[0] > 0
    values = np.zeros((columns, samples), dtype)
    upstream = np.zeros((columns if backward else 0, samples), dtype)
    if backward:
        for column in range(columns):
            for lane in range(samples):
                upstream[column, lane] = grad[call.first_sample + lane, offset + column]
    pulled = np.zeros((call.inputs if dx.shape[0] else 0, samples), dtype)
    tile, planes, total = (
        _empty_tile(dtype, call), _empty_planes(dtype, program, call), _empty_totals(dtype, program, call)
    )  # fmt: skip
    for low_edge in range(first, end, LANES):
        edges = min(LANES, end - low_edge)
        wild = _prepare(parameters, 0, low_edge, edges, program, call, planes) or far
        _clear(total)
        for e in range(edges):
            for low in range(0, samples, LANES):
                n = min(LANES, samples - low)
                _tile_by_samples(
                    e, low_edge + e, low, n, values, upstream, pulled, given, parameters, planes, program, call, tile,
                    total, wild,
                )  # fmt: skip
        if backward:
            _finish(gradients, 0, low_edge, edges, program, call, planes, total, tile)
    if not backward:
        for lane in range(samples):
            for column in range(columns):
                out[call.first_sample + lane, offset + column] = values[column, lane]
    for row in range(pulled.shape[0]):
        for lane in range(samples):
            dx[call.first_sample + lane, row] += pulled[row, lane]


@inlined
def _tile_by_edges(
    sample: int, first: int, n: int, out: Any, grad: Any, dx: Any, given: Encoded, pulled: Any, x: Any, known: Encoded,
    parameters: Parameters, planes: Planes, program: Program, call: Call, tile: Scratch, total: Totals, wild: bool,
) -> None:  # fmt: skip
    """Edges first .. first + n at one sample."""
    lanes = slice(0, n)
    for lane in range(n):
        given.x[0, lane] = x[sample, (first + lane) % call.inputs]
    for t in range(len(program.times)):
        for lane in range(n):
            row = (first + lane) % call.inputs
            given.cos[t, 0, lane] = known.cos[t, sample - call.first_sample, row]
            given.sin[t, 0, lane] = known.sin[t, sample - call.first_sample, row]
    _advance(program, call, planes, lanes, given, 0, lanes, tile, n, wild)
    _read(tile, call.amplitude, n)
    mixed = parameters.mix.shape[0] > 0
    if not grad.shape[0]:
        if not call.reduce:
            for lane in range(n):
                out[sample, first + lane] = tile.z[lane]
            return
        for lane in range(n):
            value = tile.z[lane] * parameters.mix[_row(first + lane, call)] if mixed else tile.z[lane]
            out[sample, (first + lane) // call.inputs] += value
        return
    for lane in range(n):
        tile.upstream[lane] = grad[sample, (first + lane) // call.inputs if call.reduce else first + lane]
    if mixed:
        for lane in range(n):
            total.mix[0, lane] += tile.upstream[lane] * tile.z[lane]
            tile.upstream[lane] *= parameters.mix[_row(first + lane, call)]
    if call.amplitude:
        _read_slope(tile, n)
    pulled[:] = 0
    _retreat(program, call, planes, lanes, given, 0, lanes, tile, n, total, pulled)
    if dx.shape[0]:
        for lane in range(n):
            dx[sample, (first + lane) % call.inputs] += pulled[0, lane]


@inlined
def _run_by_edges(
    out: Any, grad: Any, dx: Any, gradients: Parameters, x: Any, parameters: Parameters, program: Program, call: Call
) -> None:
    """Lanes are edges: each tile of them takes one sample after the other."""
    dtype, times = out.dtype, len(program.times)
    samples = call.end_sample - call.first_sample
    known = Encoded(x, np.empty((times, samples, call.inputs), dtype), np.empty((times, samples, call.inputs), dtype))
    _fill_multiples(x[call.first_sample : call.end_sample], program, known.cos, known.sin)
    given = Encoded(np.zeros((1, LANES)), np.zeros((times, 1, LANES), dtype), np.zeros((times, 1, LANES), dtype))
    far, backward = _any_beyond(x, call), grad.shape[0] > 0
    pulled = np.zeros((1 if dx.shape[0] else 0, LANES), dtype)
    tile, planes, total = (
        _empty_tile(dtype, call), _empty_planes(dtype, program, call), _empty_totals(dtype, program, call)
    )  # fmt: skip
    end = call.end_output * call.inputs
    for first in range(call.first_output * call.inputs, end, LANES):
        n = min(LANES, end - first)
        for sample in range(call.first_sample, call.end_sample):
            row, fresh = sample if call.per_sample else 0, call.per_sample or sample == call.first_sample
            if fresh:
                wild = _prepare(parameters, row, first, n, program, call, planes) or far
                _clear(total)
            _tile_by_edges(
                sample, first, n, out, grad, dx, given, pulled, x, known, parameters, planes, program, call, tile,
                total, wild,
            )  # fmt: skip
            if backward and (call.per_sample or sample == call.end_sample - 1):
                _finish(gradients, row, first, n, program, call, planes, total, tile)


@kernel
def run(out, grad, dx, gradients, x, parameters, program, call):
    """Values of one shard of a call, or gradients where there is an upstream gradient.

    Args:
        out: values, zeros (samples, outputs) if reduced, else (samples, edges); in a backward pass only its dtype counts.
        grad: the upstream gradient, of that shape, or (0, 0).
        dx: zeros (samples, inputs) to add the gradient of x to, or (0, 0).
        gradients: zeros laid out as ``parameters`` to add theirs to; empty where none is needed.
        x: (samples, inputs) float64.
        parameters, program, call: see :mod:`qkan.kernels.bloch_numba_steps`; all arrays are contiguous.
    """
    if call.by_samples:
        _run_by_samples(out, grad, dx, gradients, x, parameters, program, call)
    else:
        _run_by_edges(out, grad, dx, gradients, x, parameters, program, call)
