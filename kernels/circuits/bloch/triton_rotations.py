"""What one rotation of a circuit does on the device; :mod:`qkan.kernels.circuits.bloch.triton_kernels` strings them
together.

The circuit is a compile-time integer, because Triton 3.2 cannot index a constexpr tuple: ``STEP`` is the digit of one
rotation that :func:`qkan.kernels.circuits.bloch.triton_plan.make_plan` packs. ``MODE`` says how an encoding gets cosine
and sine:

* ``FIXED``: the inputs come as cosine and sine of an angle; the addition theorem adds the phase. No trigonometry.
* ``LINEAR``: the angle is ``w x`` plus the phase.
* ``ACOS``: cosine and sine of ``acos(u)``, ``u = w x + b``, are ``u`` and ``sqrt(1 - u^2)``. No trigonometry either.

Parameter planes come in the order cosines and sines of the phases, weights, then phases (LINEAR) or biases (ACOS).
"""

import triton
import triton.language as tl

from qkan.kernels.circuits.bloch import rotations

FIXED, LINEAR, ACOS = (tl.constexpr(mode) for mode in (rotations.FIXED, rotations.LINEAR, rotations.ACOS))

_FLOOR = tl.constexpr(rotations.AMPLITUDE_FLOOR)
#: 1 / (2 pi) in two single-precision pieces, 48 bits together.
_TURN, _TURN_LOW = tl.constexpr(0.15915493667125702), tl.constexpr(6.4206382432985265e-09)
#: Adding 1.5 * 2^23 leaves the nearest integer in the low bits of the mantissa.
_ROUND = tl.constexpr(12582912.0)


@triton.jit
def trig_of_turns(h, flip):
    """cos and sin of h turns, |h| <= 1/4, both with the other sign where the highest bit of ``flip`` is set.

    The polynomials are minimax fits of sin(2 pi h) / h and cos(2 pi h) in h^2 (errors 4e-9 and 3e-10).
    """
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
    cosine = (cosine.to(tl.int32, bitcast=True) ^ flip).to(tl.float32, bitcast=True)
    sine = (sine.to(tl.int32, bitcast=True) ^ flip).to(tl.float32, bitcast=True)
    return cosine, sine


@triton.jit
def _sine_cosine(w, x, phase):
    """cos and sin of ``w x + phase`` (|phase| <= pi), to 5e-7 as long as the angle is below 1e7.

    The product is exact: its rounding error is what the fused multiply-add leaves over. Counted in turns, whole turns
    are dropped from it before the phase is added, then half turns.
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
    # Beyond 1e13 the turns are lost. Any bounded value will do then, but NaN stays NaN.
    h = tl.where(tl.abs(h) > 0.26, 0.0, h)
    return trig_of_turns(h, rounded.to(tl.int32, bitcast=True) << 31)  # an odd number of half turns flips both signs


@triton.jit
def turn(x, y, z, cos, sin, AXIS: tl.constexpr):
    """Rotate (x, y, z) about a coordinate axis."""
    if AXIS == 0:
        y, z = cos * y - sin * z, cos * z + sin * y
    elif AXIS == 1:
        z, x = cos * z - sin * x, cos * x + sin * z
    else:
        x, y = cos * x - sin * y, cos * y + sin * x
    return x, y, z


@triton.jit
def turn_back(x, y, z, cos, sin, AXIS: tl.constexpr):
    """Undo :func:`turn`. With ``-sin`` that would be an instruction more, for the sake of the sign of zero."""
    if AXIS == 0:
        y, z = cos * y + sin * z, cos * z - sin * y
    elif AXIS == 1:
        z, x = cos * z + sin * x, cos * x - sin * z
    else:
        x, y = cos * x + sin * y, cos * y - sin * x
    return x, y, z


@triton.jit
def half_turn(x, y, z, AXIS: tl.constexpr):
    """Rotate (x, y, z) about a coordinate axis by half a turn."""
    if AXIS != 0:
        x = -x
    if AXIS != 1:
        y = -y
    if AXIS != 2:
        z = -z
    return x, y, z


@triton.jit
def plane(planes, WIDTH: tl.constexpr, INDEX: tl.constexpr):
    """Parameter plane ``INDEX``, (1, BLOCK_O). Planes lie ``WIDTH`` apart, a constant, so one address serves all."""
    return tl.load(planes + INDEX * WIDTH + tl.arange(0, WIDTH)[None, :])


@triton.jit
def _acos_argument(x, planes, WIDTH: tl.constexpr, WEIGHT: tl.constexpr, ENCODINGS: tl.constexpr):
    return tl.fma(plane(planes, WIDTH, WEIGHT), x, plane(planes, WIDTH, WEIGHT + ENCODINGS))


@triton.jit
def _trig(
    cos_x, sin_x, planes, WIDTH: tl.constexpr, STEP: tl.constexpr, PHASES: tl.constexpr, ENCODINGS: tl.constexpr,
    MODE: tl.constexpr,
):  # fmt: skip
    """Cosine and sine of one rotation, (1, BLOCK_O) if no input reaches it; ``cos_x`` is x itself unless FIXED."""
    COUNT: tl.constexpr = (STEP >> 2) & 63
    PHASE: tl.constexpr = ((STEP >> 8) & 255) - 1
    WEIGHT: tl.constexpr = 2 * PHASES + ((STEP >> 16) & 255)
    if COUNT == 0:
        cos, sin = plane(planes, WIDTH, PHASE), plane(planes, WIDTH, PHASES + PHASE)
    elif MODE == LINEAR:
        w = plane(planes, WIDTH, WEIGHT)
        phase = plane(planes, WIDTH, 2 * PHASES + ENCODINGS + PHASE) if PHASE >= 0 else tl.zeros_like(w)
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
            more_cos, more_sin = plane(planes, WIDTH, PHASE), plane(planes, WIDTH, PHASES + PHASE)
            cos, sin = cos * more_cos - sin * more_sin, sin * more_cos + cos * more_sin
    return cos, sin


@triton.jit
def step(
    x, y, z, cos_x, sin_x, planes, WIDTH: tl.constexpr, STEP: tl.constexpr, PHASES: tl.constexpr,
    ENCODINGS: tl.constexpr, MODE: tl.constexpr,
):  # fmt: skip
    """One rotation of the circuit. The vector is (1, BLOCK_O) up to the first encoding, then (BLOCK_B, BLOCK_O)."""
    AXIS: tl.constexpr = STEP & 3
    if STEP >> 2 == 0:
        x, y, z = half_turn(x, y, z, AXIS)
    else:
        cos, sin = _trig(cos_x, sin_x, planes, WIDTH, STEP, PHASES, ENCODINGS, MODE)
        x, y, z = turn(x, y, z, cos, sin, AXIS)
    return x, y, z


@triton.jit
def read(z, AMPLITUDE: tl.constexpr):
    """The readout, as :func:`qkan.kernels.circuits.bloch.rotations.read`. Unlike maximum, where keeps NaN."""
    if AMPLITUDE:
        up, down = (1.0 + z) * 0.5, (1.0 - z) * 0.5
        z = tl.sqrt(tl.where(up < 0.0, 0.0, up)) - tl.sqrt(tl.where(down < 0.0, 0.0, down))
    return z


@triton.jit
def read_slope(z):
    """d amplitude / d Z; see :func:`qkan.kernels.circuits.bloch.rotations.read_slope`."""
    up, down = (1.0 + z) * 0.5, (1.0 - z) * 0.5
    up, down = tl.where(up < _FLOOR, _FLOOR, up), tl.where(down < _FLOOR, _FLOOR, down)
    return (tl.rsqrt(up) + tl.rsqrt(down)) * 0.25


@triton.jit
def turn_gradient(x, y, z, lx, ly, lz, AXIS: tl.constexpr):
    """d loss / d angle = lambda . (axis x s) behind the rotation."""
    if AXIS == 0:
        gradient = lz * y - ly * z
    elif AXIS == 1:
        gradient = lx * z - lz * x
    else:
        gradient = ly * x - lx * y
    return gradient


@triton.jit
def add(totals, later, gradient, SLOT: tl.constexpr, WIDTH: tl.constexpr, LEARNS: tl.constexpr):
    """Add a gradient, summed over samples, to plane ``SLOT`` of this program's own totals in memory, if ``LEARNS``.

    ``later`` is False in the first tile, which starts the sum. In registers the totals would invite the compiler to
    keep the gradients of all rotations until it can add them side by side: hundreds of registers at 8 repetitions.
    """
    if LEARNS:
        target = totals + SLOT * WIDTH + tl.arange(0, WIDTH)[None, :]
        tl.store(target, tl.load(target, mask=later, other=0.0) + tl.sum(gradient, axis=0, keep_dims=True))


@triton.jit
def _add_encodings(
    totals, later, grad_x, gradient, x, planes, WIDTH: tl.constexpr, STEP: tl.constexpr, PHASES: tl.constexpr,
    ENCODINGS: tl.constexpr, MODE: tl.constexpr, LEARNS: tl.constexpr,
):  # fmt: skip
    """Share the gradient of an encoded angle between its weights, its biases (ACOS) and the input."""
    COUNT: tl.constexpr = (STEP >> 2) & 63
    ENCODING: tl.constexpr = (STEP >> 16) & 255
    if MODE == FIXED:
        grad_x += gradient * COUNT
    elif MODE == LINEAR:
        add(totals, later, gradient * x, PHASES + ENCODING, WIDTH, LEARNS)
        grad_x += gradient * plane(planes, WIDTH, 2 * PHASES + ENCODING)
    else:
        for extra in tl.static_range(COUNT):
            u = _acos_argument(x, planes, WIDTH, 2 * PHASES + ENCODING + extra, ENCODINGS)
            part = -gradient * tl.rsqrt((1.0 - u) * (1.0 + u))
            add(totals, later, part * x, PHASES + ENCODING + extra, WIDTH, LEARNS)
            add(totals, later, part, PHASES + ENCODINGS + ENCODING + extra, WIDTH, LEARNS)
            grad_x += part * plane(planes, WIDTH, 2 * PHASES + ENCODING + extra)
    return grad_x


@triton.jit
def step_back(
    x, y, z, lx, ly, lz, totals, later, grad_x, cos_x, sin_x, planes, WIDTH: tl.constexpr, STEP: tl.constexpr,
    PHASES: tl.constexpr, ENCODINGS: tl.constexpr, MODE: tl.constexpr, LEARNS: tl.constexpr,
):  # fmt: skip
    """Add the gradients of one rotation to ``totals`` and ``grad_x``, then turn s and lambda back in front of it."""
    AXIS: tl.constexpr = STEP & 3
    PHASE: tl.constexpr = ((STEP >> 8) & 255) - 1
    if STEP >> 2 == 0:
        x, y, z = half_turn(x, y, z, AXIS)
        lx, ly, lz = half_turn(lx, ly, lz, AXIS)
    else:
        gradient = turn_gradient(x, y, z, lx, ly, lz, AXIS)
        if PHASE >= 0:
            add(totals, later, gradient, PHASE, WIDTH, LEARNS)
        if (STEP >> 2) & 63 != 0:
            grad_x = _add_encodings(
                totals, later, grad_x, gradient, cos_x, planes, WIDTH, STEP, PHASES, ENCODINGS, MODE, LEARNS
            )
        cos, sin = _trig(cos_x, sin_x, planes, WIDTH, STEP, PHASES, ENCODINGS, MODE)
        x, y, z = turn_back(x, y, z, cos, sin, AXIS)
        lx, ly, lz = turn_back(lx, ly, lz, cos, sin, AXIS)
    return x, y, z, lx, ly, lz, grad_x
