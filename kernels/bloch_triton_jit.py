"""The device code of :mod:`qkan.kernels.bloch_triton`: one forward and one backward kernel for all circuits.

A program (one warp's worth of work) owns a tile of samples x outputs. A lane holds one output and a few samples of it,
so sums over samples stay within a lane, parameters are read side by side, and Bloch vectors live in registers.

The circuit is a compile-time integer, because Triton 3.2 cannot index a constexpr tuple: rotation ``k`` is the digit
``PROGRAM >> STEP_BITS * k`` that :func:`qkan.kernels.bloch_triton.pack` makes. How an encoding becomes a cosine and a
sine is ``MODE``:

* ``FIXED``: the inputs are cosine and sine of an angle; the addition theorem adds the rest, so there is no trigonometry.
* ``LINEAR``: the angle is ``w x`` plus a phase.
* ``ACOS``: cosine and sine of ``acos(u)``, ``u = w x + b``, are ``u`` and ``sqrt(1 - u^2)``; no trigonometry either.

This module needs Triton; import it where a kernel is about to run.
"""

import triton
import triton.language as tl

from qkan.kernels import bloch, bloch_triton

STEP_BITS = tl.constexpr(bloch_triton.STEP_BITS)
STEP_MASK = tl.constexpr((1 << bloch_triton.STEP_BITS) - 1)
FIXED, LINEAR, ACOS = (tl.constexpr(mode) for mode in (bloch_triton.FIXED, bloch_triton.LINEAR, bloch_triton.ACOS))

_FLOOR = tl.constexpr(bloch.AMPLITUDE_FLOOR)
#: 1 / (2 pi) in two single-precision pieces, 48 bits together.
_TURN, _TURN_LOW = tl.constexpr(0.15915493667125702), tl.constexpr(6.4206382432985265e-09)
#: Adding 1.5 * 2^23 leaves the nearest integer in the low bits of the mantissa.
_ROUND = tl.constexpr(12582912.0)


@triton.jit
def _sine_cosine(w, x, phase):
    """cos and sin of ``w x + phase`` (|phase| <= pi), to 5e-7 as long as the angle is below 1e8.

    The product is exact: its rounding error is what the fused multiply-add leaves over. Counted in turns, whole turns
    are dropped from it before the phase is added, then half turns. The polynomials are minimax fits of sin(2 pi h) / h
    and cos(2 pi h) in h^2 for |h| <= 1/4 (errors 4e-9 and 3e-10).
    """
    high = w * x
    low = tl.fma(w, x, -high)
    turns = tl.fma(high, _TURN, _ROUND) - _ROUND
    rest = tl.fma(high, _TURN, -turns)
    rest = tl.fma(high, _TURN_LOW, rest)
    rest = tl.fma(low, _TURN, rest)
    rest = tl.fma(phase, _TURN, rest)
    rounded = tl.fma(rest, 2.0, _ROUND)
    h = tl.fma(rounded - _ROUND, -0.5, rest)
    # Beyond 1e13 not even the turns are known; any bounded value will do, but NaN stays NaN.
    h = tl.where(tl.abs(h) > 0.26, 0.0, h)
    square = h * h
    sine = tl.fma(square, 39.53180464512843, -76.54916930902618)
    sine = tl.fma(sine, square, 81.60097892229783)
    sine = tl.fma(sine, square, -41.341654657091716)
    sine = tl.fma(sine, square, 6.283185158627559) * h
    cosine = tl.fma(square, -24.979424464690965, 60.143619221111294)
    cosine = tl.fma(cosine, square, -85.45355237292256)
    cosine = tl.fma(cosine, square, 64.93934625328762)
    cosine = tl.fma(cosine, square, -19.739208546393826)
    cosine = tl.fma(cosine, square, 1.0)
    # An odd number of half turns flips both signs.
    flip = rounded.to(tl.int32, bitcast=True) << 31
    cosine = (cosine.to(tl.int32, bitcast=True) ^ flip).to(tl.float32, bitcast=True)
    sine = (sine.to(tl.int32, bitcast=True) ^ flip).to(tl.float32, bitcast=True)
    return cosine, sine


@triton.jit
def _turn(x, y, z, cos, sin, AXIS: tl.constexpr):
    """Rotate (x, y, z) about a coordinate axis; with ``-sin`` turn it back."""
    if AXIS == 0:
        y, z = cos * y - sin * z, sin * y + cos * z
    elif AXIS == 1:
        z, x = cos * z - sin * x, sin * z + cos * x
    else:
        x, y = cos * x - sin * y, sin * x + cos * y
    return x, y, z


@triton.jit
def _half_turn(x, y, z, AXIS: tl.constexpr):
    if AXIS != 0:
        x = -x
    if AXIS != 1:
        y = -y
    if AXIS != 2:
        z = -z
    return x, y, z


@triton.jit
def _plane(planes, WIDTH: tl.constexpr, INDEX: tl.constexpr):
    """Parameter plane ``INDEX``, (1, BLOCK_O). Planes lie ``WIDTH`` apart, a constant, so one address serves all."""
    return tl.load(planes + INDEX * WIDTH)


@triton.jit
def _acos_argument(x, planes, WIDTH: tl.constexpr, WEIGHT: tl.constexpr, ENCODINGS: tl.constexpr):
    return tl.fma(_plane(planes, WIDTH, WEIGHT), x, _plane(planes, WIDTH, WEIGHT + ENCODINGS))


@triton.jit
def _trig(
    cos_x,
    sin_x,
    planes,
    WIDTH: tl.constexpr,
    STEP: tl.constexpr,
    PHASES: tl.constexpr,
    ENCODINGS: tl.constexpr,
    MODE: tl.constexpr,
):
    """Cosine and sine of one rotation, (1, BLOCK_O) if no input reaches it; ``cos_x`` is x itself unless FIXED."""
    COUNT: tl.constexpr = (STEP >> 2) & 63
    PHASE: tl.constexpr = ((STEP >> 8) & 255) - 1
    WEIGHT: tl.constexpr = 2 * PHASES + ((STEP >> 16) & 255)
    if COUNT == 0:
        cos, sin = _plane(planes, WIDTH, PHASE), _plane(planes, WIDTH, PHASES + PHASE)
    elif MODE == LINEAR:
        w = _plane(planes, WIDTH, WEIGHT)
        if PHASE >= 0:
            phase = _plane(planes, WIDTH, 2 * PHASES + ENCODINGS + PHASE)
        else:
            phase = tl.zeros_like(w)
        cos, sin = _sine_cosine(w, cos_x, phase)
    else:
        if MODE == FIXED:
            cos, sin = cos_x, sin_x
        else:
            cos = _acos_argument(cos_x, planes, WIDTH, WEIGHT, ENCODINGS)
            sin = tl.sqrt((1.0 - cos) * (1.0 + cos))
        for extra in tl.static_range(1, COUNT):
            if MODE == FIXED:
                more_cos, more_sin = cos_x, sin_x
            else:
                more_cos = _acos_argument(cos_x, planes, WIDTH, WEIGHT + extra, ENCODINGS)
                more_sin = tl.sqrt((1.0 - more_cos) * (1.0 + more_cos))
            cos, sin = cos * more_cos - sin * more_sin, sin * more_cos + cos * more_sin
        if PHASE >= 0:
            more_cos, more_sin = _plane(planes, WIDTH, PHASE), _plane(planes, WIDTH, PHASES + PHASE)
            cos, sin = cos * more_cos - sin * more_sin, sin * more_cos + cos * more_sin
    return cos, sin


@triton.jit
def _step(
    x,
    y,
    z,
    cos_x,
    sin_x,
    planes,
    WIDTH: tl.constexpr,
    STEP: tl.constexpr,
    PHASES: tl.constexpr,
    ENCODINGS: tl.constexpr,
    MODE: tl.constexpr,
):
    """One rotation of the circuit. The vector is (1, BLOCK_O) up to the first encoding, then (BLOCK_B, BLOCK_O)."""
    AXIS: tl.constexpr = STEP & 3
    if STEP >> 2 == 0:
        x, y, z = _half_turn(x, y, z, AXIS)
    else:
        cos, sin = _trig(cos_x, sin_x, planes, WIDTH, STEP, PHASES, ENCODINGS, MODE)
        x, y, z = _turn(x, y, z, cos, sin, AXIS)
    return x, y, z


@triton.jit
def _read(z, AMPLITUDE: tl.constexpr):
    """What is read from the vector; see :func:`qkan.kernels.bloch.read`. Unlike maximum, where keeps NaN."""
    if AMPLITUDE:
        up, down = (1.0 + z) * 0.5, (1.0 - z) * 0.5
        z = tl.sqrt(tl.where(up < 0.0, 0.0, up)) - tl.sqrt(tl.where(down < 0.0, 0.0, down))
    return z


@triton.jit
def _read_slope(z):
    """d amplitude / d Z; see :func:`qkan.kernels.bloch.read_slope`."""
    up, down = (1.0 + z) * 0.5, (1.0 - z) * 0.5
    up, down = tl.where(up < _FLOOR, _FLOOR, up), tl.where(down < _FLOOR, _FLOOR, down)
    return (tl.rsqrt(up) + tl.rsqrt(down)) * 0.25


@triton.jit
def _inputs(
    pointer, i, row, samples, inputs, outputs, BLOCK_B: tl.constexpr, columns, DIAGONAL: tl.constexpr, MODE: tl.constexpr
):
    """The tile's x twice, or if FIXED its cosine and sine: (BLOCK_B, 1), or (BLOCK_B, BLOCK_O) if DIAGONAL.

    The last sample stands in for those beyond it, so that they are as finite as real ones.
    """
    rows = tl.minimum(tl.arange(0, BLOCK_B)[:, None], samples - 1 - row)
    if DIAGONAL:
        pointer += row.to(tl.int64) * outputs
        offsets, plane = rows * outputs + columns, samples.to(tl.int64) * outputs
    else:
        pointer += i.to(tl.int64) * samples + row
        offsets, plane = rows, samples.to(tl.int64) * inputs
    first = tl.load(pointer + offsets)
    if MODE == FIXED:
        second = tl.load(pointer + plane + offsets)
    else:
        second = first
    return first, second


@triton.jit(do_not_specialize=["samples", "inputs", "outputs", "chunk"])
def forward_kernel(
    x_pointer,
    planes_pointer,
    out_pointer,
    samples,
    inputs,
    outputs,
    chunk,
    START_X: tl.constexpr,
    START_Y: tl.constexpr,
    START_Z: tl.constexpr,
    PROGRAM: tl.constexpr,
    STEPS: tl.constexpr,
    PLANES: tl.constexpr,
    PHASES: tl.constexpr,
    ENCODINGS: tl.constexpr,
    MODE: tl.constexpr,
    MIX: tl.constexpr,
    AMPLITUDE: tl.constexpr,
    DIAGONAL: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_O: tl.constexpr,
):
    """One tile of outputs summed over ``chunk`` inputs, written to plane ``split`` of out (splits, samples, outputs)."""
    blocks = tl.cdiv(outputs, BLOCK_O)
    tiles = tl.cdiv(samples, BLOCK_B)
    program = tl.program_id(0)
    block, tile, split = program % blocks, program // blocks % tiles, program // blocks // tiles
    row = tile * BLOCK_B
    columns = block * BLOCK_O + tl.arange(0, BLOCK_O)[None, :]
    known = tl.minimum(columns, outputs - 1)

    total = tl.zeros([BLOCK_B, BLOCK_O], tl.float32)
    for i in range(split * chunk, tl.minimum(split * chunk + chunk, inputs)):
        planes = planes_pointer + (i.to(tl.int64) * blocks + block) * (PLANES * BLOCK_O) + tl.arange(0, BLOCK_O)[None, :]
        cos_x, sin_x = _inputs(x_pointer, i, row, samples, inputs, outputs, BLOCK_B, known, DIAGONAL, MODE)
        x = tl.full([1, BLOCK_O], START_X, tl.float32)
        y = tl.full([1, BLOCK_O], START_Y, tl.float32)
        z = tl.full([1, BLOCK_O], START_Z, tl.float32)
        for k in tl.static_range(STEPS):
            x, y, z = _step(
                x, y, z, cos_x, sin_x, planes, BLOCK_O, (PROGRAM >> STEP_BITS * k) & STEP_MASK, PHASES, ENCODINGS, MODE
            )
        value = _read(z, AMPLITUDE)
        if MIX >= 0:
            value = value * _plane(planes, BLOCK_O, MIX)
        total += value
    rows = tl.arange(0, BLOCK_B)[:, None]
    out = out_pointer + (split.to(tl.int64) * samples + row) * outputs
    mask = (row + rows < samples) & (columns < outputs)
    tl.store(out + rows * outputs + columns, total.to(out_pointer.dtype.element_ty), mask=mask)


@triton.jit
def _turn_gradient(x, y, z, lx, ly, lz, AXIS: tl.constexpr):
    """d loss / d angle = lambda . (axis x s) behind the rotation."""
    if AXIS == 0:
        gradient = lz * y - ly * z
    elif AXIS == 1:
        gradient = lx * z - lz * x
    else:
        gradient = ly * x - lx * y
    return gradient


@triton.jit
def _add(total, gradient, ROWS: tl.constexpr, SLOT: tl.constexpr):
    """Add a gradient, summed over samples, to row ``SLOT``. The comparison is with constants: it costs nothing."""
    return total + tl.where(tl.arange(0, ROWS)[:, None] == SLOT, tl.sum(gradient, axis=0, keep_dims=True), 0.0)


@triton.jit
def _add_encodings(
    total,
    grad_x,
    gradient,
    x,
    planes,
    WIDTH: tl.constexpr,
    STEP: tl.constexpr,
    PHASES: tl.constexpr,
    ENCODINGS: tl.constexpr,
    MODE: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Share the gradient of an encoded angle between its weights, its biases (ACOS) and the input."""
    COUNT: tl.constexpr = (STEP >> 2) & 63
    ENCODING: tl.constexpr = (STEP >> 16) & 255
    if MODE == FIXED:
        grad_x += gradient * COUNT
    elif MODE == LINEAR:
        total = _add(total, gradient * x, ROWS, PHASES + ENCODING)
        grad_x += gradient * _plane(planes, WIDTH, 2 * PHASES + ENCODING)
    else:
        for extra in tl.static_range(COUNT):
            u = _acos_argument(x, planes, WIDTH, 2 * PHASES + ENCODING + extra, ENCODINGS)
            part = -gradient * tl.rsqrt((1.0 - u) * (1.0 + u))
            total = _add(total, part * x, ROWS, PHASES + ENCODING + extra)
            total = _add(total, part, ROWS, PHASES + ENCODINGS + ENCODING + extra)
            grad_x += part * _plane(planes, WIDTH, 2 * PHASES + ENCODING + extra)
    return total, grad_x


@triton.jit
def _step_back(
    x,
    y,
    z,
    lx,
    ly,
    lz,
    total,
    grad_x,
    cos_x,
    sin_x,
    planes,
    WIDTH: tl.constexpr,
    STEP: tl.constexpr,
    PHASES: tl.constexpr,
    ENCODINGS: tl.constexpr,
    MODE: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Add the gradients of one rotation to ``total`` and ``grad_x``, then turn s and lambda back in front of it."""
    AXIS: tl.constexpr = STEP & 3
    PHASE: tl.constexpr = ((STEP >> 8) & 255) - 1
    if STEP >> 2 == 0:
        x, y, z = _half_turn(x, y, z, AXIS)
        lx, ly, lz = _half_turn(lx, ly, lz, AXIS)
    else:
        gradient = _turn_gradient(x, y, z, lx, ly, lz, AXIS)
        if PHASE >= 0:
            total = _add(total, gradient, ROWS, PHASE)
        if (STEP >> 2) & 63 != 0:
            total, grad_x = _add_encodings(
                total, grad_x, gradient, cos_x, planes, WIDTH, STEP, PHASES, ENCODINGS, MODE, ROWS
            )
        cos, sin = _trig(cos_x, sin_x, planes, WIDTH, STEP, PHASES, ENCODINGS, MODE)
        x, y, z = _turn(x, y, z, cos, -sin, AXIS)
        lx, ly, lz = _turn(lx, ly, lz, cos, -sin, AXIS)
    return x, y, z, lx, ly, lz, total, grad_x


@triton.jit(do_not_specialize=["samples", "inputs", "outputs", "chunk", "zero"])
def backward_kernel(
    x_pointer,
    planes_pointer,
    upstream_pointer,
    grad_x_pointer,
    partial_pointer,
    samples,
    inputs,
    outputs,
    chunk,
    zero,
    START_X: tl.constexpr,
    START_Y: tl.constexpr,
    START_Z: tl.constexpr,
    PROGRAM: tl.constexpr,
    PREFIX: tl.constexpr,
    STEPS: tl.constexpr,
    SLOTS: tl.constexpr,
    ROWS: tl.constexpr,
    PLANES: tl.constexpr,
    PHASES: tl.constexpr,
    ENCODINGS: tl.constexpr,
    MODE: tl.constexpr,
    MIX: tl.constexpr,
    AMPLITUDE: tl.constexpr,
    DIAGONAL: tl.constexpr,
    WANTS_X: tl.constexpr,
    WANTS_PLANES: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_O: tl.constexpr,
):
    """Gradients of one input and one block of outputs over ``chunk`` tiles of samples.

    Rows of ``partial`` (splits, inputs, blocks, SLOTS, BLOCK_O) are phases, weights, biases and mix, each summed over this
    program's samples; ``grad_x`` is (blocks of outputs, inputs, samples), or (samples, outputs) if DIAGONAL.

    The circuit is run forward, then s and lambda are turned back together. The ``PREFIX`` rotations in front of the
    first encoding are the same for all samples: lambda is summed over samples, then turned back once per program.
    ``zero`` is 0, but the compiler does not know: with it the backward half reads the parameters again instead of
    keeping every sine and cosine of the forward half in registers.
    """
    blocks = tl.cdiv(outputs, BLOCK_O)
    program = tl.program_id(0)
    block, i, split = program % blocks, program // blocks % inputs, program // blocks // inputs
    columns = block * BLOCK_O + tl.arange(0, BLOCK_O)[None, :]
    known = tl.minimum(columns, outputs - 1)
    planes = planes_pointer + (i.to(tl.int64) * blocks + block) * (PLANES * BLOCK_O) + tl.arange(0, BLOCK_O)[None, :]
    again = planes + zero

    start_x = tl.full([1, BLOCK_O], START_X, tl.float32)
    start_y = tl.full([1, BLOCK_O], START_Y, tl.float32)
    start_z = tl.full([1, BLOCK_O], START_Z, tl.float32)
    for k in tl.static_range(PREFIX):
        start_x, start_y, start_z = _step(
            start_x, start_y, start_z, 0.0, 0.0, planes, BLOCK_O, (PROGRAM >> STEP_BITS * k) & STEP_MASK, PHASES,
            ENCODINGS, MODE,
        )  # fmt: skip

    rows = tl.arange(0, BLOCK_B)[:, None]
    total = tl.zeros([ROWS, BLOCK_O], tl.float32)
    sum_lx = tl.zeros([1, BLOCK_O], tl.float32)
    sum_ly = tl.zeros([1, BLOCK_O], tl.float32)
    sum_lz = tl.zeros([1, BLOCK_O], tl.float32)
    for tile in range(split * chunk, tl.minimum(split * chunk + chunk, tl.cdiv(samples, BLOCK_B))):
        row = tile * BLOCK_B
        valid = row + rows < samples
        cos_x, sin_x = _inputs(x_pointer, i, row, samples, inputs, outputs, BLOCK_B, known, DIAGONAL, MODE)
        x, y, z = start_x, start_y, start_z
        for k in tl.static_range(PREFIX, STEPS):
            x, y, z = _step(
                x, y, z, cos_x, sin_x, planes, BLOCK_O, (PROGRAM >> STEP_BITS * k) & STEP_MASK, PHASES, ENCODINGS, MODE
            )
        upstream = upstream_pointer + row.to(tl.int64) * outputs
        lz = tl.load(upstream + rows * outputs + columns, mask=valid & (columns < outputs), other=0.0).to(tl.float32)
        if MIX >= 0:
            if WANTS_PLANES:
                total = _add(total, lz * _read(z, AMPLITUDE), ROWS, SLOTS - 1)
            lz = lz * _plane(again, BLOCK_O, MIX)
        if AMPLITUDE:
            lz = lz * _read_slope(z)
        lx = tl.zeros_like(lz)
        ly = tl.zeros_like(lz)
        grad_x = tl.zeros_like(lz)
        for back in tl.static_range(STEPS - PREFIX):
            x, y, z, lx, ly, lz, total, grad_x = _step_back(
                x, y, z, lx, ly, lz, total, grad_x, cos_x, sin_x, again, BLOCK_O,
                (PROGRAM >> STEP_BITS * (STEPS - 1 - back)) & STEP_MASK, PHASES, ENCODINGS, MODE, ROWS,
            )  # fmt: skip
        sum_lx += tl.sum(lx, axis=0, keep_dims=True)
        sum_ly += tl.sum(ly, axis=0, keep_dims=True)
        sum_lz += tl.sum(lz, axis=0, keep_dims=True)
        if WANTS_X:
            if DIAGONAL:
                target = grad_x_pointer + row.to(tl.int64) * outputs
                tl.store(target + rows * outputs + columns, grad_x, mask=valid & (columns < outputs))
            else:
                target = grad_x_pointer + (block.to(tl.int64) * inputs + i) * samples + row
                tl.store(target + rows, tl.sum(grad_x, axis=1, keep_dims=True), mask=valid)

    if WANTS_PLANES:
        x, y, z = start_x, start_y, start_z
        for back in tl.static_range(PREFIX):
            x, y, z, sum_lx, sum_ly, sum_lz, total, _ = _step_back(
                x, y, z, sum_lx, sum_ly, sum_lz, total, 0.0, 0.0, 0.0, again, BLOCK_O,
                (PROGRAM >> STEP_BITS * (PREFIX - 1 - back)) & STEP_MASK, PHASES, ENCODINGS, MODE, ROWS,
            )  # fmt: skip
        slots = tl.arange(0, ROWS)[:, None]
        partial = partial_pointer + ((split.to(tl.int64) * inputs + i) * blocks + block) * (SLOTS * BLOCK_O)
        tl.store(partial + slots * BLOCK_O + tl.arange(0, BLOCK_O)[None, :], total, mask=slots < SLOTS)
