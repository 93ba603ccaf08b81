"""Numba kernels of a forecaster that goes on value by value: what stands around its cell, for a batch of series.

What is computed, and in which order, is told at the head of ``qkan/forecasting/model/packed.py``; the cell itself is
:mod:`qkan.kernels.recurrence.numba_walk`. Every series has a ring of its newest ``context`` values, less the mean
season, and one of what else there is of its newest ``window`` steps. Both are held twice, so that these always stand
one behind the other, the oldest at ``place``, two numbers a series.

A batch is forecast BLOCK series at a time, whose numbers stay in the caches of a core, in a workspace. A row of a table
of a season, and of the table of positions, has what the step contributes to the sum of the first layer, padded to
``sum`` numbers, its part of the mean season, and its part of every quantile. What the state behind the window and its
last value contribute is the same for all targets, and is computed once.

All arrays are flat. The integers of ``sizes`` are named by :data:`SIZES`, those from ``level_at`` on say where the
parts of a workspace begin; the floats of ``factors`` are the unit of what the cell reads and the square of the smallest
scale of a window.
"""

from __future__ import annotations

import math
from typing import Any

from qkan.kernels.common.numba_compile import inlined
from qkan.kernels.common.numba_matmul import COLUMNS, add_product, padded
from qkan.kernels.common.numba_runtime import ARGUMENTS, DOUBLE, SINGLE, Kernel, as_frame, enrol, next_shard, take
from qkan.kernels.edges.numba_activations import copy_rows, fill
from qkan.kernels.recurrence.numba_walk import BIAS, CHAIN, LAYER, MAP, OUT, add_map, map_of, of_state, to_state
from qkan.kernels.recurrence.numba_walk import SUM as SUM_OF_LAYER

# Places in ``sizes``. STEPS are those that the cell walks in this call, STATE says whether from states that are kept,
# KEEP whether to keep them. HEAD is where the map of the head stands in the program.
SIZES = (
    "batch", "block", "context", "window", "horizon", "quantiles", "past", "covariates", "seasons", "lags", "decodes",
    "level", "scaled", "skip", "known", "repeats", "hidden", "layers", "steps", "state", "keep", "sum", "columns",
    "head", "most", "each", "level_at", "read_at", "said_at", "mean_at", "predicted_at", "past_at", "known_at", "h_at",
    "c_at", "next_h_at", "next_c_at", "base_at", "other_at", "total_at", "sums_at", "flat_at", "row_at",
    "space_at",
)  # fmt: skip
(
    BATCH, BLOCK, CONTEXT, WINDOW, HORIZON, QUANTILES, PAST, COVARIATES, SEASONS, LAGS, DECODES,
    LEVEL, SCALED, SKIP, KNOWN, REPEATS, HIDDEN, LAYERS, STEPS, STATE, KEEP, SUM, COLUMNS_OF_TABLES,
    HEAD, MOST, EACH, LEVEL_AT, READ_AT, SAID_AT, MEAN_AT, PREDICTED_AT, PAST_AT, KNOWN_AT, H_AT,
    C_AT, NEXT_H_AT, NEXT_C_AT, BASE_AT, OTHER_AT, TOTAL_AT, SUMS_AT, FLAT_AT, ROW_AT,
    SPACE_AT,
) = range(len(SIZES))  # fmt: skip
#: Values of LEVEL: nothing, the mean season, the last value, the mean of the window.
NOTHING, SEASON, LAST, MEAN = range(4)

# Arrays of a frame, each an address and a length.
_0, _1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15, _16, _17, _18, _19, _20, _21, _22 = range(
    ARGUMENTS, ARGUMENTS + 46, 2
)


@inlined
def go_to(sizes: Any, lengths: Any, number: int, steps: Any) -> None:
    """Steps of every season at a number, from those at the number in ``steps[0]``; a division takes longer."""
    if number == steps[0] + 1:
        for s in range(sizes[SEASONS]):
            steps[1 + s] = 0 if steps[1 + s] + 1 == lengths[s] else steps[1 + s] + 1
    elif number != steps[0]:
        for s in range(sizes[SEASONS]):
            steps[1 + s] = number % lengths[s]
    steps[0] = number


@inlined
def put_row(
    sizes: Any, lengths: Any, tables: Any, positions: Any, number: int, position: int, steps: Any, into: Any
) -> None:  # fmt: skip
    """The sum of the rows of a position and of a step of the seasons, unless that is what ``into`` holds.

    Most series of a block are at the same step. The last integer of ``steps`` is the position of what is there.
    """
    columns, last = sizes[COLUMNS_OF_TABLES], 1 + sizes[SEASONS]
    if number == steps[0] and position == steps[last]:
        return
    go_to(sizes, lengths, number, steps)
    steps[last] = position
    copy_rows(positions[position * columns :], 0, into, 0, 1, columns)
    first = 0
    for s in range(sizes[SEASONS]):
        row = tables[first + steps[1 + s] * columns :]
        for j in range(columns):
            into[j] += row[j]
        first += lengths[s] * columns


@inlined
def mean_season(sizes: Any, lengths: Any, tables: Any, steps: Any, zero: Any) -> Any:
    """The mean season."""
    total, first = zero, sizes[SUM]
    for s in range(sizes[SEASONS]):
        total += tables[first + steps[1 + s] * sizes[COLUMNS_OF_TABLES]]
        first += lengths[s] * sizes[COLUMNS_OF_TABLES]
    return total


@inlined
def _append(frame: Any, one: Any) -> None:
    sizes, lengths = take(frame, _0, frame[0]), take(frame, _1, frame[0])
    rows, place, numbers = take(frame, _2, frame[0]), take(frame, _3, frame[0]), take(frame, _4, frame[0])
    values, shift, scale = take(frame, _5, DOUBLE), take(frame, _6, DOUBLE), take(frame, _7, DOUBLE)
    given, tables = take(frame, _8, one), take(frame, _9, one)
    value, extra, number = take(frame, _10, one), take(frame, _11, one), take(frame, _12, frame[0])
    season = take(frame, _13, frame[0])
    context, window, ahead = sizes[CONTEXT], sizes[WINDOW], sizes[HORIZON] + 1
    width, zero = sizes[PAST] - 1 + sizes[COVARIATES], one - one
    for b in range(sizes[BATCH]):
        s, own = rows[b], numbers[b * ahead]
        scaled: Any = one * ((values[b] - shift[s]) / scale[s])
        if sizes[LEVEL] == SEASON:
            go_to(sizes, lengths, own, season)
            scaled = (zero + scaled) - mean_season(sizes, lengths, tables, season, zero)
        at, behind = place[2 * s], place[2 * s + 1]
        for copy in range(2):
            value[2 * context * s + at + copy * context] = scaled
            cell = 2 * window * s + behind + copy * window
            number[cell] = own
            copy_rows(given[b * width :], 0, extra[cell * width :], 0, 1, width)
        place[2 * s] = at + 1 if at + 1 < context else 0
        place[2 * s + 1] = behind + 1 if behind + 1 < window else 0


@inlined
def level_of(sizes: Any, smallest: Any, window: Any, into: Any) -> None:
    """Offset and scale of a window, to two numbers."""
    one = into.dtype.type(1)
    count = sizes[WINDOW]
    into[0], into[1] = one - one, one
    if sizes[LEVEL] == LAST:
        into[0] = window[count - 1]
    elif sizes[LEVEL] == MEAN:
        total = 0.0
        for j in range(count):
            total += window[j]
        into[0] = total / count
    if sizes[SCALED]:
        total = 0.0
        for j in range(count):
            total += (window[j] - into[0]) * (window[j] - into[0])
        into[1] = math.sqrt(total / count + smallest)


@inlined
def put_lags(sizes: Any, lengths: Any, factor: Any, level: Any, value: Any, at: int, ahead: int, x: Any) -> None:
    """Values one season before place ``at`` of the context to ``x``.

    A step that is ``ahead`` steps behind the first one after the context has the newest values that are known of it.
    """
    for s in range(sizes[SEASONS]):
        back, later = at - lengths[s], ahead - lengths[s]
        while later >= 0:
            back -= lengths[s]
            later -= lengths[s]
        x[s] = factor * ((value[back] - level[0]) / level[1])


@inlined
def _begin(frame: Any, one: Any, first: int, count: int, space: Any) -> None:
    """Levels of a block, its values less these, the linear skip of them, and the states that the cell starts from."""
    sizes, rows, place = take(frame, _0, frame[0]), take(frame, _2, frame[0]), take(frame, _3, frame[0])
    factors, values, skip = take(frame, _5, one), take(frame, _9, one), take(frame, _12, one)
    kept_h, kept_c = take(frame, _17, one), take(frame, _18, one)
    context, window, hidden = sizes[CONTEXT], sizes[WINDOW], sizes[HIDDEN]
    zero, stride = one - one, padded(sizes[HORIZON], COLUMNS)
    levels, read, said = space[sizes[LEVEL_AT] :], space[sizes[READ_AT] :], space[sizes[SAID_AT] :]
    h, c = space[sizes[H_AT] :], space[sizes[C_AT] :]
    for r in range(count):
        s, level = rows[first + r], levels[2 * r : 2 * r + 2]
        newest = values[2 * context * s + place[2 * s] + context - window :]
        level_of(sizes, factors[1], newest, level)
        own = read[r * window :]
        for j in range(window):
            own[j] = (newest[j] - level[0]) / level[1]
        for k in range(sizes[LAYERS]):
            at, kept = (k * sizes[BLOCK] + r) * hidden, (s * sizes[LAYERS] + k) * hidden
            if sizes[STATE]:
                copy_rows(kept_h[kept:], 0, h[at:], 0, 1, hidden)
                copy_rows(kept_c[kept:], 0, c[at:], 0, 1, hidden)
            else:
                fill(h[at:], hidden, zero)
                fill(c[at:], hidden, zero)
    fill(said, count * stride, zero)
    if sizes[SKIP]:
        add_product(read, 0, count, skip, window, 0, window, said, stride)


@inlined
def _walk(frame: Any, one: Any, first: int, count: int, space: Any, season: Any) -> None:
    """The newest steps of a block, all but the last one where targets are read one by one."""
    sizes, lengths = take(frame, _0, frame[0]), take(frame, _1, frame[0])
    rows, place, numbers = take(frame, _2, frame[0]), take(frame, _3, frame[0]), take(frame, _4, frame[0])
    factors, ahead, tables = take(frame, _5, one), take(frame, _6, one), take(frame, _7, one)
    positions, values = take(frame, _8, one), take(frame, _9, one)
    extras, number = take(frame, _10, one), take(frame, _11, frame[0])
    program, constants = take(frame, _15, frame[0]), take(frame, _16, one)
    context, window, hidden, covariates = sizes[CONTEXT], sizes[WINDOW], sizes[HIDDEN], sizes[COVARIATES]
    past, stride, block = sizes[PAST], sizes[SUM], sizes[BLOCK]
    others, columns = past - 1, past - 1 + covariates
    width = covariates + sizes[SEASONS] * sizes[LAGS]
    levels, read, x = space[sizes[LEVEL_AT] :], space[sizes[READ_AT] :], space[sizes[PAST_AT] :]
    known, total, other = space[sizes[KNOWN_AT] :], space[sizes[TOTAL_AT] :], space[sizes[OTHER_AT] :]
    sums, flat, free = space[sizes[SUMS_AT] :], space[sizes[FLAT_AT] :], space[sizes[SPACE_AT] :]
    of_step = space[sizes[ROW_AT] :]
    for t in range(sizes[STEPS]):
        at = window - sizes[DECODES] - sizes[STEPS] + t
        layer = program
        for k in range(sizes[LAYERS]):
            begin = k * block * hidden
            h, c = space[sizes[H_AT] + begin :], space[sizes[C_AT] + begin :]
            of_state(layer, constants, count, h, total, other, free)
            if k > 0:
                add_map(map_of(layer, 0), constants, space[sizes[H_AT] + begin - block * hidden :], count, total, free)
            else:
                for r in range(count):
                    b, s = first + r, rows[first + r]
                    row = 2 * window * s + place[2 * s + 1] + at
                    x[r * past] = factors[0] * read[r * window + at]
                    copy_rows(extras[row * columns :], 0, x[r * past + 1 :], 0, 1, others)
                    inside, to = at + 1 < window, known[r * width :]
                    given = (
                        extras[(row + 1) * columns + others :] if inside else ahead[b * sizes[HORIZON] * covariates :]
                    )
                    copy_rows(given, 0, to, 0, 1, covariates)
                    value = values[2 * context * s + place[2 * s] :]
                    level, behind = levels[2 * r : 2 * r + 2], context - window + at + 1
                    if sizes[LAGS]:
                        put_lags(sizes, lengths, factors[0], level, value, behind, 0, to[covariates:])
                    own = number[row + 1] if inside else numbers[b * (sizes[HORIZON] + 1) + 1]
                    put_row(sizes, lengths, tables, positions, own, 0, season, of_step)
                    into = total[r * stride : (r + 1) * stride]
                    for j in range(stride):
                        into[j] += of_step[j]
                add_map(map_of(layer, 0), constants, x, count, total, free)
                add_map(map_of(layer, 1), constants, known, count, total, free)
            to_state(layer, constants, count, total, other, h, c, sums, block * sizes[MOST], flat, free)
            layer = layer[LAYER + (3 + layer[CHAIN]) * MAP :]


@inlined
def _head(program: Any, constants: Any, h: Any, count: int, sums: Any, space: Any, predicted: Any, stride: int) -> None:
    """Add what the head says of states to the predictions of every row."""
    width = padded(program[OUT], COLUMNS)
    copy_rows(constants[program[BIAS] :], 0, sums, width, count, width)
    add_map(program, constants, h, count, sums, space)
    for r in range(count):
        given, row = sums[r * width :], predicted[r * stride :]
        for q in range(program[OUT]):
            row[q] += given[q]


@inlined
def _targets(frame: Any, one: Any, first: int, count: int, space: Any, season: Any) -> None:
    """Keep the states of a block, and say what is known of its targets, and what the cell says of them."""
    sizes, lengths = take(frame, _0, frame[0]), take(frame, _1, frame[0])
    rows, place, numbers = take(frame, _2, frame[0]), take(frame, _3, frame[0]), take(frame, _4, frame[0])
    factors, ahead, tables = take(frame, _5, one), take(frame, _6, one), take(frame, _7, one)
    positions, values = take(frame, _8, one), take(frame, _9, one)
    extras, weights = take(frame, _10, one), take(frame, _13, one)
    program, constants = take(frame, _15, frame[0]), take(frame, _16, one)
    kept_h, kept_c = take(frame, _17, one), take(frame, _18, one)
    context, window, horizon, quantiles = sizes[CONTEXT], sizes[WINDOW], sizes[HORIZON], sizes[QUANTILES]
    hidden, covariates, past, stride = sizes[HIDDEN], sizes[COVARIATES], sizes[PAST], sizes[SUM]
    block, others, layers = sizes[BLOCK], sizes[PAST] - 1, sizes[LAYERS]
    width, at_head = covariates + sizes[SEASONS] * sizes[LAGS], program[sizes[HEAD] :]
    levels, read, x = space[sizes[LEVEL_AT] :], space[sizes[READ_AT] :], space[sizes[PAST_AT] :]
    known, total, base = space[sizes[KNOWN_AT] :], space[sizes[TOTAL_AT] :], space[sizes[BASE_AT] :]
    other, sums, flat = space[sizes[OTHER_AT] :], space[sizes[SUMS_AT] :], space[sizes[FLAT_AT] :]
    said, mean, predicted = space[sizes[SAID_AT] :], space[sizes[MEAN_AT] :], space[sizes[PREDICTED_AT] :]
    free, of_step, each = space[sizes[SPACE_AT] :], space[sizes[ROW_AT] :], block * sizes[MOST]
    if sizes[KEEP]:
        for r in range(count):
            for k in range(layers):
                at, kept = (k * block + r) * hidden, (rows[first + r] * layers + k) * hidden
                copy_rows(space[sizes[H_AT] + at :], 0, kept_h[kept:], 0, 1, hidden)
                copy_rows(space[sizes[C_AT] + at :], 0, kept_c[kept:], 0, 1, hidden)
    if sizes[DECODES]:
        layer = program
        for k in range(layers):
            h = space[sizes[H_AT] + k * block * hidden :]
            of_state(layer, constants, count, h, base[k * each :], other[k * each :], free)
            if k == 0:
                for r in range(count):
                    s = rows[first + r]
                    row = 2 * window * s + place[2 * s + 1] + window - 1
                    x[r * past] = factors[0] * read[r * window + window - 1]
                    copy_rows(extras[row * (others + covariates) :], 0, x[r * past + 1 :], 0, 1, others)
                add_map(map_of(layer, 0), constants, x, count, base, free)
            layer = layer[LAYER + (3 + layer[CHAIN]) * MAP :]
    for j in range(horizon):
        for r in range(count):
            b, to, row = first + r, known[r * width :], predicted[(r * horizon + j) * quantiles :]
            copy_rows(ahead[(b * horizon + j) * covariates :], 0, to, 0, 1, covariates)
            if sizes[LAGS]:
                value, level = values[2 * context * rows[b] + place[2 * rows[b]] :], levels[2 * r : 2 * r + 2]
                put_lags(sizes, lengths, factors[0], level, value, context + j, j, to[covariates:])
            put_row(sizes, lengths, tables, positions, numbers[b * (horizon + 1) + j + 1], j, season, of_step)
            mean[r * horizon + j] = of_step[stride]
            for q in range(quantiles):
                row[q] = said[r * padded(horizon, COLUMNS) + j] + of_step[stride + 1 + q]
                if sizes[KNOWN]:
                    for i in range(width):
                        row[q] += weights[q * width + i] * to[i]
            if sizes[DECODES]:
                into, given = total[r * stride : (r + 1) * stride], base[r * stride :]
                for i in range(stride):
                    into[i] = given[i] + of_step[i]
        if sizes[DECODES]:
            layer = program
            for k in range(layers):
                begin, size = k * block * hidden, count * hidden
                h, c = space[sizes[NEXT_H_AT] + begin :], space[sizes[NEXT_C_AT] + begin :]
                copy_rows(space[sizes[H_AT] + begin :], 0, h, 0, 1, size)
                copy_rows(space[sizes[C_AT] + begin :], 0, c, 0, 1, size)
                if k == 0:
                    add_map(map_of(layer, 1), constants, known, count, total, free)
                else:
                    copy_rows(base[k * each :], 0, total, 0, 1, count * padded(layer[SUM_OF_LAYER], COLUMNS))
                    below = space[sizes[NEXT_H_AT] + begin - block * hidden :]
                    add_map(map_of(layer, 0), constants, below, count, total, free)
                to_state(layer, constants, count, total, other[k * each :], h, c, sums, each, flat, free)
                layer = layer[LAYER + (3 + layer[CHAIN]) * MAP :]
            _head(at_head, constants, space[sizes[NEXT_H_AT] + (layers - 1) * block * hidden :], count, sums, free,
                  predicted[j * quantiles :], horizon * quantiles)  # fmt: skip
    if not sizes[DECODES]:
        _head(at_head, constants, space[sizes[H_AT] + (layers - 1) * block * hidden :], count, sums, free,
              predicted, horizon * quantiles)  # fmt: skip


@inlined
def _say(frame: Any, one: Any, first: int, count: int, space: Any, season: Any) -> None:
    """Forecasts of a block in the unit of the series."""
    sizes, lengths = take(frame, _0, frame[0]), take(frame, _1, frame[0])
    rows, place, numbers = take(frame, _2, frame[0]), take(frame, _3, frame[0]), take(frame, _4, frame[0])
    tables, values = take(frame, _7, one), take(frame, _9, one)
    shift, scale, out = take(frame, _19, DOUBLE), take(frame, _20, DOUBLE), take(frame, _21, DOUBLE)
    horizon, quantiles, context, zero = sizes[HORIZON], sizes[QUANTILES], sizes[CONTEXT], one - one
    level, mean, predicted = space[sizes[LEVEL_AT] :], space[sizes[MEAN_AT] :], space[sizes[PREDICTED_AT] :]
    for r in range(count):
        b = first + r
        s = rows[b]
        last = values[2 * context * s + place[2 * s] + context - 1]
        if sizes[REPEATS] and sizes[LEVEL] == SEASON:
            go_to(sizes, lengths, numbers[b * (horizon + 1)], season)
            season[1 + sizes[SEASONS]] = -1  # the row that was put together is of another step
            last += mean_season(sizes, lengths, tables, season, zero)
        for j in range(horizon):
            said = predicted[(r * horizon + j) * quantiles : (r * horizon + j + 1) * quantiles]
            ahead = mean[r * horizon + j] if sizes[LEVEL] == SEASON else zero
            for q in range(quantiles):
                said[q] = said[q] * level[2 * r + 1] + level[2 * r] + ahead
            if sizes[REPEATS]:
                change = last - said[quantiles // 2]
                for q in range(quantiles):
                    said[q] += change
            for q in range(1, quantiles):
                for i in range(q, 0, -1):
                    if said[i - 1] > said[i]:
                        said[i - 1], said[i] = said[i], said[i - 1]
            for q in range(quantiles):
                out[(b * horizon + j) * quantiles + q] = said[q] * scale[s] + shift[s]


def _append_single(frame: Any) -> None:
    _append(as_frame(frame), SINGLE)


def _forecast_single(address: Any) -> None:
    frame = as_frame(address)
    sizes, workspace = take(frame, _0, frame[0]), take(frame, _14, SINGLE)
    worker = enrol(frame)
    space = workspace[worker * sizes[EACH] : (worker + 1) * sizes[EACH]]
    season = take(frame, _22, frame[0])[worker * (2 + sizes[SEASONS]) :]
    block = next_shard(frame)
    while block >= 0:
        first = block * sizes[BLOCK]
        count = min(sizes[BLOCK], sizes[BATCH] - first)
        _begin(frame, SINGLE, first, count, space)
        _walk(frame, SINGLE, first, count, space, season)
        _targets(frame, SINGLE, first, count, space, season)
        _say(frame, SINGLE, first, count, space, season)
        block = next_shard(frame)


#: Put a value of every series of a batch behind those that its ring holds.
APPEND = Kernel(_append_single, _append_single)
#: Forecasts of every series of a batch, a block of them a shard.
FORECAST = Kernel(_forecast_single, _forecast_single)
