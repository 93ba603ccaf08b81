"""Numba kernels of a forecaster that goes on value by value: what stands around its cell, for a batch of series.

What is computed, and in which order, is told at the head of ``qkan/forecasting/model/packed.py``; the cell itself is
:data:`qkan.kernels.recurrence.numba_kernels.FORWARD`. Every series has a ring of its newest ``context`` values, less
the mean season, and one of what else there is of its newest ``window`` steps. Both are held twice, so that these always
stand one behind the other, the oldest at ``place``, two numbers a series.

All arrays are flat. The integers of ``sizes`` are named by :data:`SIZES`, the floats of ``factors`` are the unit of
what the cell reads and the square of the smallest scale of a window.
"""

from __future__ import annotations

import math
from typing import Any

from qkan.kernels.common.numba_compile import inlined
from qkan.kernels.common.numba_runtime import ARGUMENTS, DOUBLE, SINGLE, Kernel, as_frame, take
from qkan.kernels.edges.numba_activations import copy_rows, fill

# Places in ``sizes``. STEPS are those that the cell walks in this call, STATE says whether from states that are kept.
SIZES = (
    "batch", "context", "window", "horizon", "quantiles", "past", "covariates", "features", "seasons", "lags",
    "counts", "decodes", "level", "scaled", "inputs", "width", "mapped", "skip", "known", "repeats", "hidden", "steps",
    "state", "columns", "mapped_at",
)  # fmt: skip
(
    BATCH, CONTEXT, WINDOW, HORIZON, QUANTILES, PAST, COVARIATES, FEATURES, SEASONS, LAGS,
    COUNTS, DECODES, LEVEL, SCALED, INPUTS, WIDTH, MAPPED, SKIP, KNOWN, REPEATS, HIDDEN, STEPS, STATE, COLUMNS,
    MAPPED_AT,
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
def put_season(sizes: Any, lengths: Any, tables: Any, steps: Any, into: Any) -> None:
    """The sum of the rows of all tables: features, the mean season, what is known of them of every quantile, and what
    they contribute to a cell with a map of its inputs.

    Rows are padded to whole vectors, and so many numbers are written.
    """
    columns, begin = sizes[COLUMNS], 0
    if sizes[SEASONS] == 0:
        fill(into, columns, into.dtype.type(0))
    for s in range(sizes[SEASONS]):
        row = tables[begin + steps[1 + s] * columns :]
        if s == 0:
            copy_rows(row, 0, into, 0, 1, columns)
        else:
            for j in range(columns):
                into[j] += row[j]
        begin += lengths[s] * columns


@inlined
def _append(frame: Any, one: Any) -> None:
    sizes, lengths = take(frame, _0, frame[0]), take(frame, _1, frame[0])
    rows, place, numbers = take(frame, _2, frame[0]), take(frame, _3, frame[0]), take(frame, _4, frame[0])
    values, shift, scale = take(frame, _5, DOUBLE), take(frame, _6, DOUBLE), take(frame, _7, DOUBLE)
    given, tables, scratch = take(frame, _8, one), take(frame, _9, one), take(frame, _10, one)
    value, extra, number = take(frame, _11, one), take(frame, _12, one), take(frame, _13, frame[0])
    season = take(frame, _14, frame[0])
    context, window, ahead = sizes[CONTEXT], sizes[WINDOW], sizes[HORIZON] + 1
    width, features, zero = sizes[PAST] - 1 + sizes[COVARIATES], sizes[FEATURES], one - one
    for b in range(sizes[BATCH]):
        s, own = rows[b], numbers[b * ahead]
        scaled: Any = one * ((values[b] - shift[s]) / scale[s])
        if sizes[LEVEL] == SEASON:
            go_to(sizes, lengths, own, season)
            put_season(sizes, lengths, tables, season, scratch)
            scaled = (zero + scaled) - scratch[features]
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
def write_step(sizes: Any, x: Any, of_season: Any, weight: Any, bias: Any, into: Any) -> None:
    """What the inputs of a step contribute: themselves, or a map of them, that of the season's from its tables."""
    if not sizes[MAPPED]:
        copy_rows(x, 0, into, 0, 1, sizes[INPUTS])
        return
    width, season = sizes[WIDTH], of_season[sizes[MAPPED_AT] :]
    for o in range(width):
        into[o] = bias[o] + season[o]
    begin = sizes[PAST] + sizes[COVARIATES]
    for j in range(begin):
        row, own = weight[j * width : (j + 1) * width], x[j]
        for o in range(width):
            into[o] += row[o] * own
    for j in range(begin + sizes[FEATURES], sizes[INPUTS]):
        row, own = weight[j * width : (j + 1) * width], x[j]
        for o in range(width):
            into[o] += row[o] * own


@inlined
def put_lags(
    sizes: Any, lengths: Any, factor: Any, level: Any, value: Any, at: int, ahead: int, position: Any, x: Any
) -> None:
    """Values one season before place ``at`` of the context, and the position, to ``x``.

    A step that is ``ahead`` steps behind the first one after the context has the newest values that are known of it.
    """
    count = 0
    if sizes[LAGS]:
        for s in range(sizes[SEASONS]):
            back, later = at - lengths[s], ahead - lengths[s]
            while later >= 0:
                back -= lengths[s]
                later -= lengths[s]
            x[s] = factor * ((value[back] - level[0]) / level[1])
        count = sizes[SEASONS]
    if sizes[COUNTS]:
        x[count] = position


@inlined
def _read(frame: Any, one: Any) -> None:
    sizes, lengths = take(frame, _0, frame[0]), take(frame, _1, frame[0])
    rows, place, numbers = take(frame, _2, frame[0]), take(frame, _3, frame[0]), take(frame, _4, frame[0])
    factors, positions, ahead = take(frame, _5, one), take(frame, _6, one), take(frame, _7, one)
    tables, values, extras = take(frame, _8, one), take(frame, _9, one), take(frame, _10, one)
    number, skip, known_weight = take(frame, _11, frame[0]), take(frame, _12, one), take(frame, _13, one)
    weight, bias = take(frame, _14, one), take(frame, _15, one)
    levels, mean, steps = take(frame, _16, one), take(frame, _17, one), take(frame, _18, one)
    decoded, predicted, scratch = take(frame, _19, one), take(frame, _20, one), take(frame, _21, one)
    season = take(frame, _22, frame[0])
    context, window, horizon, quantiles = sizes[CONTEXT], sizes[WINDOW], sizes[HORIZON], sizes[QUANTILES]
    others, covariates, batch, width = sizes[PAST] - 1, sizes[COVARIATES], sizes[BATCH], sizes[WIDTH]
    zero, factor, columns, features = one - one, factors[0], others + covariates, sizes[FEATURES]
    inputs = sizes[INPUTS]
    tail = inputs - 1 - others - covariates - features
    # Rows of the season are put where they are read, and reach beyond; lags and positions come in their place.
    x, read = scratch[: inputs + sizes[COLUMNS]], scratch[inputs + sizes[COLUMNS] :]
    said, target = read[window:], x[1 + others :]
    of_season = target[covariates:]
    for b in range(batch):
        s, level = rows[b], levels[2 * b : 2 * b + 2]
        value = values[2 * context * s + place[2 * s] :]
        newest = value[context - window :]
        begin = 2 * window * s + place[2 * s + 1]
        extra, own = extras[begin * columns :], number[begin:]
        level_of(sizes, factors[1], newest, level)
        for j in range(window):
            read[j] = (newest[j] - level[0]) / level[1]
        for t in range(sizes[STEPS]):
            at = window - sizes[DECODES] - sizes[STEPS] + t
            x[0] = factor * read[at]
            copy_rows(extra[at * columns :], 0, x[1:], 0, 1, others)
            inside = at + 1 < window
            given = extra[(at + 1) * columns + others :] if inside else ahead[b * horizon * covariates :]
            go_to(sizes, lengths, own[at + 1] if inside else numbers[b * (horizon + 1) + 1], season)
            put_season(sizes, lengths, tables, season, of_season)
            copy_rows(given, 0, target, 0, 1, covariates)
            behind = context - window + at + 1
            put_lags(sizes, lengths, factor, level, value, behind, 0, zero, target[covariates + features :])
            write_step(sizes, x, of_season, weight, bias, steps[(t * batch + b) * width :])
        x[0] = factor * read[window - 1]
        copy_rows(extra[(window - 1) * columns :], 0, x[1:], 0, 1, others)
        fill(said, horizon, zero)
        if sizes[SKIP]:
            for i in range(window):
                row, own_value = skip[i * horizon : (i + 1) * horizon], read[i]
                for j in range(horizon):
                    said[j] += row[j] * own_value
        for j in range(horizon):
            given = ahead[(b * horizon + j) * covariates :]
            go_to(sizes, lengths, numbers[b * (horizon + 1) + j + 1], season)
            put_season(sizes, lengths, tables, season, of_season)
            copy_rows(given, 0, target, 0, 1, covariates)
            last, at = of_season[features:], (b * horizon + j) * quantiles
            mean[b * horizon + j] = last[0]
            for q in range(quantiles):
                predicted[at + q] = said[j] + last[1 + q]
            put_lags(sizes, lengths, factor, level, value, context + j, j, positions[j], last)
            if sizes[DECODES]:
                write_step(sizes, x, of_season, weight, bias, decoded[(b * horizon + j) * width :])
            if sizes[KNOWN]:
                for q in range(quantiles):
                    row = known_weight[q * (covariates + tail) :]
                    for i in range(covariates):
                        predicted[at + q] += row[i] * target[i]
                    for i in range(tail):
                        predicted[at + q] += row[covariates + i] * last[i]


@inlined
def _begin(frame: Any, one: Any) -> None:
    """States of a batch: zeros, or those that are kept."""
    sizes, rows = take(frame, _0, frame[0]), take(frame, _1, frame[0])
    kept_h, kept_c, h, c = take(frame, _2, one), take(frame, _3, one), take(frame, _4, one), take(frame, _5, one)
    hidden = sizes[HIDDEN]
    for b in range(sizes[BATCH]):
        if sizes[STATE]:
            copy_rows(kept_h[rows[b] * hidden :], 0, h[b * hidden :], 0, 1, hidden)
            copy_rows(kept_c[rows[b] * hidden :], 0, c[b * hidden :], 0, 1, hidden)
        else:
            fill(h[b * hidden :], hidden, one - one)
            fill(c[b * hidden :], hidden, one - one)


@inlined
def _spread(frame: Any, one: Any) -> None:
    """Keep the states of a batch, and hand them to every target that is read by itself."""
    sizes, rows = take(frame, _0, frame[0]), take(frame, _1, frame[0])
    kept_h, kept_c, h, c = take(frame, _2, one), take(frame, _3, one), take(frame, _4, one), take(frame, _5, one)
    target_h, target_c = take(frame, _6, one), take(frame, _7, one)
    hidden, horizon = sizes[HIDDEN], sizes[HORIZON] if sizes[DECODES] else 0
    for b in range(sizes[BATCH]):
        own_h, own_c = h[b * hidden :], c[b * hidden :]
        copy_rows(own_h, 0, kept_h[rows[b] * hidden :], 0, 1, hidden)
        copy_rows(own_c, 0, kept_c[rows[b] * hidden :], 0, 1, hidden)
        for j in range(b * horizon, (b + 1) * horizon):
            copy_rows(own_h, 0, target_h[j * hidden :], 0, 1, hidden)
            copy_rows(own_c, 0, target_c[j * hidden :], 0, 1, hidden)


@inlined
def _say(frame: Any, one: Any) -> None:
    sizes, rows, numbers = take(frame, _0, frame[0]), take(frame, _1, frame[0]), take(frame, _2, frame[0])
    lengths, tables, scratch = take(frame, _3, frame[0]), take(frame, _4, one), take(frame, _5, one)
    values, place, level, mean = (
        take(frame, _6, one),
        take(frame, _7, frame[0]),
        take(frame, _8, one),
        take(frame, _9, one),
    )
    h, weight, bias = take(frame, _10, one), take(frame, _11, one), take(frame, _12, one)
    predicted, shift, scale = take(frame, _13, one), take(frame, _14, DOUBLE), take(frame, _15, DOUBLE)
    out, season, zero = take(frame, _16, DOUBLE), take(frame, _17, frame[0]), one - one
    horizon, quantiles, hidden, context = sizes[HORIZON], sizes[QUANTILES], sizes[HIDDEN], sizes[CONTEXT]
    for b in range(sizes[BATCH]):
        s = rows[b]
        last = values[2 * context * s + place[2 * s] + context - 1]
        if sizes[REPEATS] and sizes[LEVEL] == SEASON:
            go_to(sizes, lengths, numbers[b * (horizon + 1)], season)
            put_season(sizes, lengths, tables, season, scratch)
            last += scratch[sizes[FEATURES]]
        for j in range(horizon):
            said = predicted[(b * horizon + j) * quantiles : (b * horizon + j + 1) * quantiles]
            state = h[(b * horizon + j if sizes[DECODES] else b) * hidden :]
            ahead = mean[b * horizon + j] if sizes[LEVEL] == SEASON else zero
            for q in range(quantiles):
                o = q if sizes[DECODES] else j * quantiles + q
                total, row = bias[o], weight[o * hidden : (o + 1) * hidden]
                for i in range(hidden):
                    total += row[i] * state[i]
                said[q] = (said[q] + total) * level[2 * b + 1] + level[2 * b] + ahead
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


def _read_single(frame: Any) -> None:
    _read(as_frame(frame), SINGLE)


def _begin_single(frame: Any) -> None:
    _begin(as_frame(frame), SINGLE)


def _spread_single(frame: Any) -> None:
    _spread(as_frame(frame), SINGLE)


def _say_single(frame: Any) -> None:
    _say(as_frame(frame), SINGLE)


#: Put a value of every series of a batch behind those that its ring holds.
APPEND = Kernel(_append_single, _append_single)
#: What the cell reads, and what stands around it: level, mean season, linear skip, what is known of the targets.
READ = Kernel(_read_single, _read_single)
#: The states that the cell starts from.
BEGIN = Kernel(_begin_single, _begin_single)
#: The states behind the cell's walk: kept, and copied for every target.
SPREAD = Kernel(_spread_single, _spread_single)
#: Forecasts in the unit of the series.
SAY = Kernel(_say_single, _say_single)
