"""Device code of :mod:`qkan.kernels.spectral.triton_gpu`; importing this module imports triton.

*Coefficients*: a program owns one input and BLOCK_O outputs, whose circuits it evaluates on all points, BLOCK_P at a
time, and multiplies with the transform. The circuit is a table of rotations that is read as the kernel runs, so one
compiled kernel serves every ansatz and any number of repetitions. Angles are put together in double precision.

*Features*: a program makes all features of a tile of BLOCK_R samples and BLOCK_I inputs in registers, pair by pair
(:func:`~qkan.kernels.spectral.triton_basis.next_pair`), and writes each once.
"""

import triton
import triton.language as tl

from qkan.kernels.circuits.bloch.triton_rotations import half_turn, trig_of_turns, turn, turn_gradient
from qkan.kernels.edges.triton_activations import base, base_slope
from qkan.kernels.edges.triton_kernels import tile_places
from qkan.kernels.spectral.triton_basis import next_pair, next_slopes, seed, seed_slopes

_TURNS = tl.constexpr(0.15915494309189535)  # 1 / (2 pi) in double precision


#: What is told apart neither by 1 nor by multiples of 16: one compiled kernel serves all sizes.
_EDGES = ["weight_o", "weight_i", "bias_o", "bias_i", "edge_o", "edge_i"]
_NUMBERS = ["inputs", "outputs", "points", "steps", "angles", "reps", *_EDGES]
_COUNTS = ["samples", "pairs", "waves", "step", "partner"]
_STRIDES = ["term_stride", "input_stride", "output_stride", "constant_i", "constant_o"]


@triton.jit
def _rotation(program, k):
    """Axis, first trained angle and their number, first encoding and their number of rotation ``k``."""
    entry = program + 5 * k
    return tl.load(entry), tl.load(entry + 1), tl.load(entry + 2), tl.load(entry + 3), tl.load(entry + 4)


@triton.jit
def _trig(
    theta, weight, bias, points, live, first, thetas, encoding, encodings, WEIGHTED: tl.constexpr, BIASED: tl.constexpr
):
    """Cosine and sine, (points, outputs), of a rotation whose angle is a sum of trained angles and encodings."""
    constant = tl.zeros(live.shape, tl.float64)
    for j in range(thetas):
        constant += tl.load(theta + (first + j), mask=live, other=0.0).to(tl.float64)
    slope = tl.zeros(live.shape, tl.float64)
    for j in range(encodings):
        if WEIGHTED:
            slope += tl.load(weight + (encoding + j), mask=live, other=0.0).to(tl.float64)
        else:
            slope += 1.0
        if BIASED:
            constant += tl.load(bias + (encoding + j), mask=live, other=0.0).to(tl.float64)
    turns = (slope * points + constant) * _TURNS
    turns -= tl.floor(turns)
    halves = tl.floor(2.0 * turns + 0.5)
    return trig_of_turns((turns - 0.5 * halves).to(tl.float32), tl.where(halves == 1.0, -2147483648, 0))


@triton.jit
def _rotated(x, y, z, cos, sin, axis, moves):
    """The vector behind a rotation about ``axis``; ``moves`` is 0 for half a turn."""
    if moves == 0:
        if axis == 0:
            x, y, z = half_turn(x, y, z, 0)
        elif axis == 1:
            x, y, z = half_turn(x, y, z, 1)
        else:
            x, y, z = half_turn(x, y, z, 2)
    else:
        if axis == 0:
            x, y, z = turn(x, y, z, cos, sin, 0)
        elif axis == 1:
            x, y, z = turn(x, y, z, cos, sin, 1)
        else:
            x, y, z = turn(x, y, z, cos, sin, 2)
    return x, y, z


@triton.jit
def _run(
    theta, weight, bias, points, live, program, steps, start_x, start_y, start_z, WEIGHTED: tl.constexpr,
    BIASED: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_O: tl.constexpr,
):  # fmt: skip
    """The Bloch vector at the end of the circuit, (points, outputs) each."""
    x = tl.zeros((BLOCK_P, BLOCK_O), tl.float32) + start_x
    y = tl.zeros((BLOCK_P, BLOCK_O), tl.float32) + start_y
    z = tl.zeros((BLOCK_P, BLOCK_O), tl.float32) + start_z
    for k in range(steps):
        axis, first, thetas, encoding, encodings = _rotation(program, k)
        cos, sin = _trig(
            theta, weight, bias, points, live, first, thetas, encoding, encodings, WEIGHTED, BIASED
        )  # fmt: skip
        x, y, z = _rotated(x, y, z, cos, sin, axis, thetas + encodings)
    return x, y, z


@triton.jit
def _add(pointer, value, live, later):
    """Add to numbers that this program alone writes; ``later`` is False where the sum begins."""
    tl.store(pointer, tl.load(pointer, mask=live & later, other=0.0) + value.to(tl.float32), mask=live)


@triton.jit
def _edges(inputs, outputs, BLOCK_O: tl.constexpr):
    """Input and outputs (1, BLOCK_O) of this program, their edges, and which of them exist."""
    blocks = tl.cdiv(outputs, BLOCK_O)
    i, block = (tl.program_id(0) // blocks).to(tl.int64), tl.program_id(0) % blocks
    o = (block * BLOCK_O + tl.arange(0, BLOCK_O)).to(tl.int64)[None, :]
    return i, o, o * inputs + i, o < outputs


@triton.jit
def _points(nodes, radius, begin, points, BLOCK_P: tl.constexpr):
    """Points (BLOCK_P, 1) in double precision, their numbers, and which of them exist."""
    lines = begin + tl.arange(0, BLOCK_P)[:, None]
    return tl.load(nodes + lines, mask=lines < points, other=0.0) * radius, lines, lines < points


@triton.jit(do_not_specialize=_NUMBERS)
def coefficients_kernel(
    theta, weight, bias, edge_weight, nodes, analysis, program, matrix, constant,
    inputs, outputs, points, steps, angles, reps, weight_o, weight_i, bias_o, bias_i, edge_o, edge_i,
    radius, start_x, start_y, start_z,
    WEIGHTED: tl.constexpr, BIASED: tl.constexpr, MIXED: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_O: tl.constexpr,
):  # fmt: skip
    """Coefficients of the circuits of an input and BLOCK_O outputs: (points - 1, inputs, outputs) and the constant."""
    i, o, edge, live = _edges(inputs, outputs, BLOCK_O)
    factor = tl.load(edge_weight + o * edge_o + i * edge_i, mask=live, other=0.0) if MIXED else 1.0
    target = i * outputs + o
    for begin in range(0, points, BLOCK_P):
        at, lines, there = _points(nodes, radius, begin, points, BLOCK_P)
        _, _, z = _run(
            theta + edge * angles, weight + o * weight_o + i * weight_i, bias + o * bias_o + i * bias_i, at, live,
            program, steps, start_x, start_y, start_z, WEIGHTED, BIASED, BLOCK_P, BLOCK_O,
        )  # fmt: skip
        z = z.to(tl.float64)
        for term in range(points):
            share = tl.load(analysis + term * points + lines, mask=there, other=0.0)
            value = tl.sum(share * z, axis=0, keep_dims=True).to(tl.float32) * factor
            if term == 0:
                _add(constant + target, value, live, begin > 0)
            else:
                _add(matrix + (term - 1) * (inputs.to(tl.int64) * outputs) + target, value, live, begin > 0)
        tl.debug_barrier()


@triton.jit(do_not_specialize=_NUMBERS + _STRIDES)
def coefficients_gradient_kernel(
    theta, weight, bias, edge_weight, nodes, analysis, program, of_matrix, of_constant,
    of_theta, of_weight, of_bias, of_edge,
    inputs, outputs, points, steps, angles, reps, weight_o, weight_i, bias_o, bias_i, edge_o, edge_i,
    term_stride, input_stride, output_stride, constant_i, constant_o, radius, start_x, start_y, start_z,
    WEIGHTED: tl.constexpr, BIASED: tl.constexpr, MIXED: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_O: tl.constexpr,
):  # fmt: skip
    """Gradients of the parameters of an input and BLOCK_O outputs.

    The circuit runs forward, then state and adjoint are turned back together. Of one point tile after the other every
    gradient is added to where it belongs: no other program writes there.
    """
    i, o, edge, live = _edges(inputs, outputs, BLOCK_O)
    factor = tl.load(edge_weight + o * edge_o + i * edge_i, mask=live, other=0.0) if MIXED else 1.0
    source = of_matrix + i * input_stride + o * output_stride
    of_zero = tl.load(of_constant + i * constant_i + o * constant_o, mask=live, other=0.0)
    theta += edge * angles
    weight += o * weight_o + i * weight_i
    bias += o * bias_o + i * bias_i
    of_theta += edge * angles
    of_weight += edge * reps
    of_bias += edge * reps
    for begin in range(0, points, BLOCK_P):
        at, lines, there = _points(nodes, radius, begin, points, BLOCK_P)
        x, y, z = _run(
            theta, weight, bias, at, live, program, steps, start_x, start_y, start_z, WEIGHTED, BIASED, BLOCK_P, BLOCK_O
        )
        upstream = tl.zeros((BLOCK_P, BLOCK_O), tl.float64)
        for term in range(points):
            share = tl.load(analysis + term * points + lines, mask=there, other=0.0)
            arriving = of_zero
            if term > 0:
                arriving = tl.load(source + (term - 1) * term_stride.to(tl.int64), mask=live, other=0.0)
            upstream += share * arriving.to(tl.float64)
        lz = upstream.to(tl.float32)
        if MIXED:
            _add(of_edge + edge, tl.sum(lz * z, axis=0, keep_dims=True), live, begin > 0)
            lz = lz * factor
        lx = tl.zeros_like(lz)
        ly = tl.zeros_like(lz)
        for back in range(steps):
            axis, first, thetas, encoding, encodings = _rotation(program, steps - 1 - back)
            cos, sin = _trig(theta, weight, bias, at, live, first, thetas, encoding, encodings, WEIGHTED, BIASED)
            if axis == 0:
                slope = turn_gradient(x, y, z, lx, ly, lz, 0)
            elif axis == 1:
                slope = turn_gradient(x, y, z, lx, ly, lz, 1)
            else:
                slope = turn_gradient(x, y, z, lx, ly, lz, 2)
            total = tl.sum(slope, axis=0, keep_dims=True)
            for j in range(thetas):
                _add(of_theta + (first + j), total, live, begin > 0)
            for j in range(encodings):
                if BIASED:
                    _add(of_bias + (encoding + j), total, live, begin > 0)
                if WEIGHTED:
                    along = tl.sum(slope * at.to(tl.float32), axis=0, keep_dims=True)
                    _add(of_weight + (encoding + j), along, live, begin > 0)
            # A turn back is one by the angle with the other sign, half a turn its own inverse.
            x, y, z = _rotated(x, y, z, cos, -sin, axis, thetas + encodings)
            lx, ly, lz = _rotated(lx, ly, lz, cos, -sin, axis, thetas + encodings)
        tl.debug_barrier()


@triton.jit(do_not_specialize=_COUNTS)
def features_kernel(
    x, out, samples, inputs, pairs, waves, step, partner, row, x_row, x_column, radius,
    KIND: tl.constexpr, BASE: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_I: tl.constexpr,
):  # fmt: skip
    """All features of a tile to ``out`` (samples, terms, inputs), ``row`` numbers a sample, in the dtype of ``out``."""
    r, i, live = tile_places(samples, inputs, BLOCK_R, BLOCK_I)
    tile = tl.load(x + r * x_row + i.to(tl.int64) * x_column, mask=live, other=0.0)
    out += r * row + i
    u, v, first, second = seed(tile, radius, KIND)
    for pair in range(pairs):
        first, second, even, odd = next_pair(u, v, first, second, KIND)
        term = pair * step
        tl.store(out + term * inputs, even.to(out.dtype.element_ty), mask=live)
        term += partner
        tl.store(out + term * inputs, odd.to(out.dtype.element_ty), mask=live & (term < waves))
    if BASE != "none":
        tl.store(out + waves * inputs, base(tile, BASE).to(out.dtype.element_ty), mask=live)


@triton.jit(do_not_specialize=_COUNTS)
def input_gradient_kernel(
    x, of_features, grad_x, samples, inputs, pairs, waves, step, partner, row, x_row, x_column, radius,
    KIND: tl.constexpr, BASE: tl.constexpr, WRITES: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_I: tl.constexpr,
):  # fmt: skip
    """The gradient of x from that of its features; with WRITES these take the place of their gradients."""
    r, i, live = tile_places(samples, inputs, BLOCK_R, BLOCK_I)
    tile = tl.load(x + r * x_row + i.to(tl.int64) * x_column, mask=live, other=0.0)
    of_features += r * row + i
    u, v, first, second = seed(tile, radius, KIND)
    first_slope, second_slope = seed_slopes(first, radius)
    total = tl.zeros_like(tile)
    for pair in range(pairs):
        first_slope, second_slope, even_slope, odd_slope = next_slopes(
            u, v, first, second, first_slope, second_slope, pair + 1, radius, KIND
        )
        first, second, even, odd = next_pair(u, v, first, second, KIND)
        here = of_features + pair * step * inputs
        total += even_slope * tl.load(here, mask=live, other=0.0).to(tl.float32)
        if WRITES:
            tl.store(here, even.to(of_features.dtype.element_ty), mask=live)
        here += partner * inputs
        both = live & (pair * step + partner < waves)
        total += odd_slope * tl.load(here, mask=both, other=0.0).to(tl.float32)
        if WRITES:
            tl.store(here, odd.to(of_features.dtype.element_ty), mask=both)
    if BASE != "none":
        here = of_features + waves * inputs
        total += base_slope(tile, BASE) * tl.load(here, mask=live, other=0.0).to(tl.float32)
        if WRITES:
            tl.store(here, base(tile, BASE).to(of_features.dtype.element_ty), mask=live)
    tl.store(grad_x + r * inputs + i, total, mask=live)


@triton.jit
def _term(matrix, term, i, inputs, outputs, o, live):
    """Weights (1, outputs) of a term of an input."""
    return tl.load(matrix + (term * inputs + i) * outputs + o, mask=live, other=0.0)


@triton.jit(do_not_specialize=[*_COUNTS, "inputs", "outputs"])
def small_forward_kernel(
    x, matrix, base_weight, constant, offset, y, samples, inputs, outputs, pairs, waves, step, partner, x_row, x_column,
    base_o, base_i, radius, KIND: tl.constexpr, BASE: tl.constexpr, HAS_OFFSET: tl.constexpr, BLOCK_R: tl.constexpr,
    BLOCK_O: tl.constexpr,
):  # fmt: skip
    """A small layer at once: features of one input after the other meet their weights where they are made."""
    # Small as a layer is, its tensors may be views of large ones: 64 bits.
    r = tl.program_id(0).to(tl.int64) * BLOCK_R + tl.arange(0, BLOCK_R)[:, None]
    o = tl.arange(0, BLOCK_O).to(tl.int64)[None, :]
    there, live = r < samples, o < outputs
    total = tl.zeros((BLOCK_R, BLOCK_O), tl.float32)
    if HAS_OFFSET:
        total += tl.load(offset + o, mask=live, other=0.0)
    x += r * x_row
    for i in range(inputs):
        column = tl.load(x, mask=there, other=0.0)
        x += x_column
        total += tl.load(constant + i * outputs + o, mask=live, other=0.0)
        u, v, first, second = seed(column, radius, KIND)
        for pair in range(pairs):
            first, second, even, odd = next_pair(u, v, first, second, KIND)
            term = pair * step
            total += even * _term(matrix, term, i, inputs, outputs, o, live)
            total += odd * _term(matrix, term + partner, i, inputs, outputs, o, live & (term + partner < waves))
        if BASE != "none":
            total += base(column, BASE) * tl.load(base_weight + o * base_o + i * base_i, mask=live, other=0.0)
    tl.store(y + r * outputs + o, total, mask=there & live)


@triton.jit(do_not_specialize=[*_COUNTS, "inputs", "outputs"])
def small_backward_kernel(
    grad, x, matrix, base_weight, grad_x, of_matrix, of_base, of_constant, samples, inputs, outputs, pairs, waves, step,
    partner, grad_row, grad_column, x_row, x_column, base_o, base_i, radius, KIND: tl.constexpr, BASE: tl.constexpr,
    BLOCK_R: tl.constexpr, BLOCK_O: tl.constexpr,
):  # fmt: skip
    """All gradients of an input's column, weights and base weights; the first program has that of the constant, too."""
    i = tl.program_id(0).to(tl.int64)
    o = tl.arange(0, BLOCK_O).to(tl.int64)[None, :]
    live = o < outputs
    of_input = tl.load(base_weight + o * base_o + i * base_i, mask=live, other=0.0) if BASE != "none" else 0.0
    for begin in range(0, samples, BLOCK_R):
        r = (begin + tl.arange(0, BLOCK_R)).to(tl.int64)[:, None]
        there, later = r < samples, begin > 0
        column = tl.load(x + r * x_row + i * x_column, mask=there, other=0.0)
        upstream = tl.load(grad + r * grad_row + o * grad_column, mask=there & live, other=0.0)
        _add(of_constant + o, tl.sum(upstream, axis=0, keep_dims=True), live & (i == 0), later)
        u, v, first, second = seed(column, radius, KIND)
        first_slope, second_slope = seed_slopes(first, radius)
        total = tl.zeros_like(column)
        for pair in range(pairs):
            first_slope, second_slope, even_slope, odd_slope = next_slopes(
                u, v, first, second, first_slope, second_slope, pair + 1, radius, KIND
            )
            first, second, even, odd = next_pair(u, v, first, second, KIND)
            term = pair * step
            weights = _term(matrix, term, i, inputs, outputs, o, live)
            total += even_slope * tl.sum(upstream * weights, axis=1, keep_dims=True)
            place = of_matrix + (term * inputs + i) * outputs + o
            _add(place, tl.sum(upstream * even, axis=0, keep_dims=True), live, later)
            both = live & (term + partner < waves)
            weights = _term(matrix, term + partner, i, inputs, outputs, o, both)
            total += odd_slope * tl.sum(upstream * weights, axis=1, keep_dims=True)
            place += partner * inputs * outputs
            _add(place, tl.sum(upstream * odd, axis=0, keep_dims=True), both, later)
        if BASE != "none":
            total += base_slope(column, BASE) * tl.sum(upstream * of_input, axis=1, keep_dims=True)
            summed = tl.sum(upstream * base(column, BASE), axis=0, keep_dims=True)
            _add(of_base + o * inputs + i, summed, live, later)
        tl.store(grad_x + r * inputs + i, total, mask=there)
        tl.debug_barrier()
