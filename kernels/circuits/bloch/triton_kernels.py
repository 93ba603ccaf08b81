"""The two Triton kernels of :mod:`qkan.kernels.circuits.bloch.triton_gpu`, one forward and one backward, for all
circuits.

A program is one warp and owns a tile of samples x outputs. A lane holds one output and a few samples of it, so sums
over samples mostly stay within a lane, parameters are read side by side, and Bloch vectors live in registers.

This module needs Triton; import it where a kernel is about to run.
"""

import triton
import triton.language as tl

from qkan.kernels.circuits.bloch.triton_rotations import FIXED, add, plane, read, read_slope, step, step_back


@triton.jit
def _inputs(
    pointer, i, row, columns, samples, inputs, outputs, DIAGONAL: tl.constexpr, MODE: tl.constexpr,
    BLOCK_B: tl.constexpr,
):  # fmt: skip
    """The tile's x twice, or if FIXED its cosine and sine: (BLOCK_B, 1), or (BLOCK_B, BLOCK_O) if DIAGONAL.

    The last sample stands in for those beyond it, so that they are as finite as real ones.
    """
    rows = tl.minimum(tl.arange(0, BLOCK_B)[:, None], samples - 1 - row)
    if DIAGONAL:
        pointer += row * outputs.to(tl.int64)
        offsets, size = rows * outputs + tl.minimum(columns, outputs - 1), samples.to(tl.int64) * outputs
    else:
        pointer += i * samples.to(tl.int64) + row
        offsets, size = rows, samples.to(tl.int64) * inputs
    first = tl.load(pointer + offsets)
    second = tl.load(pointer + size + offsets) if MODE == FIXED else first
    return first, second


@triton.jit(do_not_specialize=["samples", "inputs", "outputs", "chunk"])
def forward_kernel(
    x_pointer, planes_pointer, out_pointer, samples, inputs, outputs, chunk, START_X: tl.constexpr,
    START_Y: tl.constexpr, START_Z: tl.constexpr, PROGRAM: tl.constexpr, STEPS: tl.constexpr, PLANES: tl.constexpr,
    PHASES: tl.constexpr, ENCODINGS: tl.constexpr, MODE: tl.constexpr, MIX: tl.constexpr, AMPLITUDE: tl.constexpr,
    DIAGONAL: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_O: tl.constexpr,
):  # fmt: skip
    """A tile of outputs summed over ``chunk`` inputs, written to plane ``split`` of (splits, samples, outputs)."""
    blocks = tl.cdiv(outputs, BLOCK_O)
    tiles = tl.cdiv(samples, BLOCK_B)
    program = tl.program_id(0)
    block, tile, split = program % blocks, program // blocks % tiles, program // blocks // tiles
    row = tile * BLOCK_B
    lanes = tl.arange(0, BLOCK_O)[None, :]
    columns = block * BLOCK_O + lanes

    total = tl.zeros([BLOCK_B, BLOCK_O], tl.float32)
    for i in range(split * chunk, tl.minimum(split * chunk + chunk, inputs)):
        planes = planes_pointer + (i * blocks.to(tl.int64) + block) * (PLANES * BLOCK_O)
        cos_x, sin_x = _inputs(x_pointer, i, row, columns, samples, inputs, outputs, DIAGONAL, MODE, BLOCK_B)
        x = tl.full([1, BLOCK_O], START_X, tl.float32)
        y = tl.full([1, BLOCK_O], START_Y, tl.float32)
        z = tl.full([1, BLOCK_O], START_Z, tl.float32)
        for k in tl.static_range(STEPS):
            x, y, z = step(
                x, y, z, cos_x, sin_x, planes, BLOCK_O, (PROGRAM >> 24 * k) & 0xFFFFFF, PHASES, ENCODINGS, MODE
            )
        value = read(z, AMPLITUDE)
        if MIX >= 0:
            value = value * plane(planes, BLOCK_O, MIX)
        total += value
    rows = tl.arange(0, BLOCK_B)[:, None]
    out = out_pointer + (split * samples.to(tl.int64) + row) * outputs
    mask = (row + rows < samples) & (columns < outputs)
    tl.store(out + rows * outputs + columns, total.to(out_pointer.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["samples", "inputs", "outputs", "chunk", "zero"])
def backward_kernel(
    x_pointer, planes_pointer, upstream_pointer, grad_x_pointer, partial_pointer, samples, inputs, outputs, chunk, zero,
    START_X: tl.constexpr, START_Y: tl.constexpr, START_Z: tl.constexpr, PROGRAM: tl.constexpr, PREFIX: tl.constexpr,
    STEPS: tl.constexpr, SLOTS: tl.constexpr, PLANES: tl.constexpr, PHASES: tl.constexpr, ENCODINGS: tl.constexpr,
    MODE: tl.constexpr, MIX: tl.constexpr, AMPLITUDE: tl.constexpr, DIAGONAL: tl.constexpr, WANTS_X: tl.constexpr,
    LEARNS: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_O: tl.constexpr,
):  # fmt: skip
    """Gradients of one input and one block of outputs over ``chunk`` tiles of samples.

    The planes of ``partial`` (splits, inputs, blocks, SLOTS, BLOCK_O) are those of phases, weights, biases and mix,
    summed over this program's samples; ``grad_x`` is (blocks, inputs, samples), or (samples, outputs) if DIAGONAL.

    The circuit is run forward, then s and lambda are turned back together. The ``PREFIX`` rotations in front of the
    first encoding are the same for all samples: lambda is summed over samples, then turned back once per program.
    ``zero`` is 0, but the compiler does not know. Added to addresses, it keeps the compiler from holding in registers
    what should be read again: sines and cosines of the forward half for the backward half, and the addresses of all
    planes between tiles (on AMD two registers each).
    """
    blocks = tl.cdiv(outputs, BLOCK_O)
    program = tl.program_id(0)
    block, i, split = program % blocks, program // blocks % inputs, program // blocks // inputs
    lanes = tl.arange(0, BLOCK_O)[None, :]
    columns = block * BLOCK_O + lanes
    planes = planes_pointer + (i * blocks.to(tl.int64) + block) * (PLANES * BLOCK_O)

    start_x = tl.full([1, BLOCK_O], START_X, tl.float32)
    start_y = tl.full([1, BLOCK_O], START_Y, tl.float32)
    start_z = tl.full([1, BLOCK_O], START_Z, tl.float32)
    for k in tl.static_range(PREFIX):
        start_x, start_y, start_z = step(
            start_x, start_y, start_z, 0.0, 0.0, planes, BLOCK_O, (PROGRAM >> 24 * k) & 0xFFFFFF, PHASES,
            ENCODINGS, MODE,
        )  # fmt: skip

    totals = partial_pointer + ((split * inputs.to(tl.int64) + i) * blocks + block) * (SLOTS * BLOCK_O)
    rows = tl.arange(0, BLOCK_B)[:, None]
    sum_lx = tl.zeros([1, BLOCK_O], tl.float32)
    sum_ly = tl.zeros([1, BLOCK_O], tl.float32)
    sum_lz = tl.zeros([1, BLOCK_O], tl.float32)
    for tile in range(split * chunk, tl.minimum(split * chunk + chunk, tl.cdiv(samples, BLOCK_B))):
        row = tile * BLOCK_B
        here, again, sums = planes + tile * zero, planes + (tile + 1) * zero, totals + tile * zero
        later = tile > split * chunk
        valid = row + rows < samples
        cos_x, sin_x = _inputs(x_pointer, i, row, columns, samples, inputs, outputs, DIAGONAL, MODE, BLOCK_B)
        x, y, z = start_x, start_y, start_z
        for k in tl.static_range(PREFIX, STEPS):
            x, y, z = step(
                x, y, z, cos_x, sin_x, here, BLOCK_O, (PROGRAM >> 24 * k) & 0xFFFFFF, PHASES, ENCODINGS, MODE
            )
        upstream = upstream_pointer + row * outputs.to(tl.int64)
        lz = tl.load(upstream + rows * outputs + columns, mask=valid & (columns < outputs), other=0.0).to(tl.float32)
        if MIX >= 0:
            add(sums, later, lz * read(z, AMPLITUDE), SLOTS - 1, BLOCK_O, LEARNS)
            lz = lz * plane(again, BLOCK_O, MIX)
        if AMPLITUDE:
            lz = lz * read_slope(z)
        lx = tl.zeros_like(lz)
        ly = tl.zeros_like(lz)
        grad_x = tl.zeros_like(lz)
        for back in tl.static_range(STEPS - PREFIX):
            x, y, z, lx, ly, lz, grad_x = step_back(
                x, y, z, lx, ly, lz, sums, later, grad_x, cos_x, sin_x, again, BLOCK_O,
                (PROGRAM >> 24 * (STEPS - 1 - back)) & 0xFFFFFF, PHASES, ENCODINGS, MODE, LEARNS,
            )  # fmt: skip
        sum_lx += tl.sum(lx, axis=0, keep_dims=True)
        sum_ly += tl.sum(ly, axis=0, keep_dims=True)
        sum_lz += tl.sum(lz, axis=0, keep_dims=True)
        if WANTS_X:
            if DIAGONAL:
                target = grad_x_pointer + row * outputs.to(tl.int64)
                tl.store(target + rows * outputs + columns, grad_x, mask=valid & (columns < outputs))
            else:
                target = grad_x_pointer + (block * inputs.to(tl.int64) + i) * samples + row
                tl.store(target + rows, tl.sum(grad_x, axis=1, keep_dims=True), mask=valid)
        if LEARNS:
            # A tile with fewer outputs than a warp has lanes lets several lanes read a total and one write it.
            tl.debug_barrier()

    if LEARNS:
        x, y, z = start_x, start_y, start_z
        for back in tl.static_range(PREFIX):
            x, y, z, sum_lx, sum_ly, sum_lz, _ = step_back(
                x, y, z, sum_lx, sum_ly, sum_lz, totals, False, 0.0, 0.0, 0.0, planes, BLOCK_O,
                (PROGRAM >> 24 * (PREFIX - 1 - back)) & 0xFFFFFF, PHASES, ENCODINGS, MODE, LEARNS,
            )  # fmt: skip
