"""The fused CPU kernels of :mod:`qkan.kernels.circuits.bloch.numba_cpu`: they feed the machine with tiles of a layer.

Lanes of a tile are either edges at one sample (an edge is an output and an input) or samples of one edge. The backward
pass runs the circuit again and turns state and adjoint back together, so nothing is kept between the passes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from qkan.kernels.circuits.bloch.bytecode import DX, LANES, START, TOTALS, Z
from qkan.kernels.circuits.bloch.numba_interpreter import (
    add,
    beyond,
    copy,
    execute,
    fill,
    fill_trig,
    gather,
    lane_sum,
    run_tile,
)
from qkan.kernels.common.numba_compile import inlined, kernel

#: |x|, |w| and |phase| within which no angle can leave the range of the fast sine.
_TAME = 2.0**9
#: An array of the memory that an object with NumPy's array interface describes.
from_memory = np.asarray


class Call(NamedTuple):
    """Numbers of the shard of a call that one thread runs."""

    inputs: int
    reduce: bool
    amplitude: bool
    per_sample: bool
    wrap: int  # edge e stands in row (e % wrap) * stride + e // wrap of the parameters
    stride: int
    first_output: int
    end_output: int
    first_sample: int
    end_sample: int


class Parameters(NamedTuple):
    """theta (samples or 1, edges, columns); weight, bias (edges, reps); mix (edges,): those not there are empty."""

    theta: Any
    weight: Any
    bias: Any
    edge_weight: Any


@inlined
def _find(first: int, n: int, call: Call, places: Any) -> None:
    """Fill (3, lanes) with the row in the parameters, the input and the output of edges first .. first + n."""
    for i in range(n):
        edge = first + i
        places[0, i] = (edge % call.wrap) * call.stride + edge // call.wrap
        places[1, i] = edge % call.inputs
        places[2, i] = edge // call.inputs


@inlined
def _prepare(theta: Any, parameters: Parameters, rows: Any, n: int, program: Any, R: Any, D: Any, far: bool) -> bool:
    """Fill what depends on parameters alone for n edges, which lie in ``rows``; whether an angle may be very large.

    ``theta`` is (edges, columns); ``far`` says whether inputs are large.
    """
    weight, bias = parameters.weight, parameters.bias
    for row in range(1, len(D)):
        fill(D[row], n, 0.0)
    for t in range(len(program.thetas)):
        phase, column = D[program.thetas[t, 0]], program.thetas[t, 1]
        for i in range(n):
            phase[i] += theta[rows[i], column]
    for t in range(len(program.codes)):
        speed, shift, code = D[program.codes[t, 0]], D[program.codes[t, 1]], program.codes[t, 2]
        for i in range(n):
            row = rows[i]
            speed[i] += weight[row, code] if weight.shape[0] else 1.0
            if bias.shape[0]:
                shift[i] += bias[row, code]
    for component in range(3):
        fill(R[START + component], n, program.initial[component])
    execute(program.prepare, R, D, n, far)
    wild = far
    for row in range(1, len(D)):
        wild |= beyond(D[row], n, _TAME)
    return wild


@inlined
def _finish(theta: Any, gradients: Parameters, rows: Any, n: int, program: Any, R: Any, D: Any, wild: bool) -> None:
    """Take the adjoint through what stands in front of the first encoding and add all gradients of the tile.

    ``theta`` is (edges, columns), or has no edges where its gradient is not needed.
    """
    execute(program.finish, R, D, n, wild)
    if len(theta):
        for t in range(len(program.thetas)):
            column, total = program.thetas[t, 1], R[program.thetas[t, 2]]
            for i in range(n):
                theta[rows[i], column] += total[i]
    for t in range(len(program.codes)):
        code, by_weight, by_bias = program.codes[t, 2], R[program.codes[t, 3]], R[program.codes[t, 4]]
        for i in range(n):
            row = rows[i]
            if gradients.weight.shape[0]:
                gradients.weight[row, code] += by_weight[i]
            if gradients.bias.shape[0]:
                gradients.bias[row, code] += by_bias[i]
    if gradients.edge_weight.shape[0]:
        for i in range(n):
            gradients.edge_weight[rows[i]] += R[TOTALS, i]


@inlined
def _fill_multiples(x: Any, times: Any, cos: Any, sin: Any) -> None:
    """Cosines and sines (T, rows, n) of the multiples of x (rows, n) that unweighted encodings need."""
    angle = np.empty(x.shape[1])
    for t in range(len(times)):
        for row in range(x.shape[0]):
            for i in range(x.shape[1]):
                angle[i] = times[t] * x[row, i]
            fill_trig(angle, cos[t, row], sin[t, row], x.shape[1])


@kernel
def run_by_edges(
    out: Any, grad: Any, dx: Any, gradients: Parameters, x: Any, parameters: Parameters, program: Any, call: Call
) -> None:
    """One shard of a call with edges as lanes: each tile of them takes one sample after the other.

    Args:
        out: zeros (samples, outputs) if reduced, else (samples, edges), to add values to; in a backward pass only its
            dtype counts.
        grad: the upstream gradient, of that shape, or (0, 0): then values are computed, else gradients.
        dx: zeros (samples, inputs) to add the gradient of x to, or (0, 0).
        gradients: zeros laid out as ``parameters`` to add theirs to; empty where none is needed.
        x: (samples, inputs) float64.
        parameters, program, call: see :class:`Parameters`, :class:`qkan.kernels.circuits.bloch.bytecode.Program` and
            :class:`Call`. All arrays are contiguous.
    """
    x = x[call.first_sample : call.end_sample]
    dtype, times, inputs, samples = out.dtype, len(program.times), call.inputs, x.shape[0]
    R, D = np.empty((program.sizes[0], LANES), dtype), np.empty((program.sizes[1], LANES))
    places = np.empty((3, LANES), np.int64)
    cos, sin = np.empty((times, samples, inputs), dtype), np.empty((times, samples, inputs), dtype)
    _fill_multiples(x, program.times, cos, sin)
    edge_weight, source, far = np.empty(LANES, dtype), np.empty(LANES if len(grad) else 0, dtype), samples < 0
    # (A literal False for ``far`` would have everything compiled a second time for literals.)
    for sample in range(samples):
        far |= beyond(x[sample], inputs, _TAME)
    mixed, end = len(parameters.edge_weight) > 0, call.end_output * inputs
    for first in range(call.first_output * inputs, end, LANES):
        n, wild = min(LANES, end - first), far
        _find(first, n, call, places)
        for sample in range(samples):
            here = call.first_sample + sample
            row = here if call.per_sample else 0
            if call.per_sample or sample == 0:
                wild = _prepare(parameters.theta[row], parameters, places[0], n, program, R, D, far)
                for k in range(TOTALS, program.sizes[2]):
                    fill(R[k], n, 0.0)
                for i in range(n if mixed else 0):
                    edge_weight[i] = parameters.edge_weight[places[0, i]]
            gather(D[0], x[sample], places[1], n)
            for t in range(times):
                gather(R[program.sizes[3] + 2 * t], cos[t, sample], places[1], n)
                gather(R[program.sizes[3] + 2 * t + 1], sin[t, sample], places[1], n)
            if len(grad):
                if call.reduce:
                    gather(source, grad[here], places[2], n)
                else:
                    copy(source, grad[here, first:], n)
            fill(R[DX], n, 0.0)
            run_tile(source, edge_weight, mixed, program, call.amplitude, R, D, n, wild)
            if len(grad) == 0:
                if call.reduce:
                    for i in range(n):
                        out[here, places[2, i]] += R[Z, i]
                else:
                    copy(out[here, first:], R[Z], n)
                continue
            for i in range(n if len(dx) else 0):
                dx[here, places[1, i]] += R[DX, i]
            if call.per_sample or sample == samples - 1:
                _finish(
                    gradients.theta[row if len(gradients.theta) > 1 else 0],
                    gradients,
                    places[0],
                    n,
                    program,
                    R,
                    D,
                    wild,
                )


@kernel
def run_by_samples(
    out: Any, grad: Any, dx: Any, gradients: Parameters, x: Any, parameters: Parameters, program: Any, call: Call
) -> None:
    """:func:`run_by_edges` with samples as lanes: tables P and E hold what depends on parameters alone.

    All edges have the same theta for all samples.
    """
    x = x[call.first_sample : call.end_sample]
    dtype, times, inputs, samples = out.dtype, len(program.times), call.inputs, x.shape[0]
    P, E = np.empty((program.sizes[0], LANES), dtype), np.empty((program.sizes[1], LANES))
    R, D = np.empty((program.sizes[0], LANES), dtype), np.empty((program.sizes[1], LANES))
    places = np.empty((3, LANES), np.int64)
    inverse = np.empty((inputs, samples))
    for sample in range(samples):
        for row in range(inputs):
            inverse[row, sample] = x[sample, row]
    cos, sin = np.empty((times, inputs, samples), dtype), np.empty((times, inputs, samples), dtype)
    _fill_multiples(inverse, program.times, cos, sin)
    first, end = call.first_output * inputs, call.end_output * inputs
    offset, columns = (call.first_output, call.end_output - call.first_output) if call.reduce else (first, end - first)
    values = np.zeros((columns if len(grad) == 0 else 0, samples), dtype)
    upstream = np.empty((columns if len(grad) else 0, samples), dtype)
    for sample in range(samples):
        for column in range(len(upstream)):
            upstream[column, sample] = grad[call.first_sample + sample, offset + column]
    pulled = np.zeros((inputs if len(dx) else 0, samples), dtype)
    edge_weight, mixed, far = (
        np.empty(LANES, dtype),
        len(parameters.edge_weight) > 0,
        samples < 0,
    )  # not the literal False, as above
    for row in range(inputs):
        far |= beyond(inverse[row], samples, _TAME)
    for low_edge in range(first, end, LANES):
        edges = min(LANES, end - low_edge)
        _find(low_edge, edges, call, places)
        for k in range(TOTALS, program.sizes[2] if len(grad) else 0):
            fill(P[k], edges, 0.0)
        wild = _prepare(parameters.theta[0], parameters, places[0], edges, program, P, E, far)
        for e in range(edges):
            edge = low_edge + e
            row, column = places[1, e], (places[2, e] if call.reduce else edge) - offset
            most = min(LANES, samples)
            for k in program.shared:
                fill(R[k], most, P[k, e])
            for k in program.shared_exact:
                fill(D[k], most, E[k, e])
            for k in program.totals[: len(program.totals) if len(grad) else 0]:
                fill(R[k], most, 0.0)
            if mixed:
                fill(edge_weight, most, parameters.edge_weight[places[0, e]])
            for low in range(0, samples, LANES):
                n = min(LANES, samples - low)
                copy(D[0], inverse[row, low:], n)
                for t in range(times):
                    copy(R[program.sizes[3] + 2 * t], cos[t, row, low:], n)
                    copy(R[program.sizes[3] + 2 * t + 1], sin[t, row, low:], n)
                fill(R[DX], n, 0.0)
                source = upstream[column, low : low + n] if len(grad) else edge_weight[:0]
                run_tile(source, edge_weight, mixed, program, call.amplitude, R, D, n, wild)
                if len(grad) == 0:
                    add(values[column, low:], R[Z], n)
                elif len(dx):
                    add(pulled[row, low:], R[DX], n)
            for k in program.totals[: len(program.totals) if len(grad) else 0]:
                P[k, e] = lane_sum(R[k], most)
        if len(grad):
            _finish(gradients.theta[0], gradients, places[0], edges, program, P, E, wild)
    for sample in range(samples):
        for column in range(len(values)):
            out[call.first_sample + sample, offset + column] = values[column, sample]
        for row in range(len(pulled)):
            dx[call.first_sample + sample, row] += pulled[row, sample]
