"""A run as the text of one C99 file: how to call it, scaling, missing values, the model, a stream of values."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from qkan._version import __version__
from qkan.datasets.windows import CALENDAR, Scaler
from qkan.forecasting.c99.calls import Sizes, call_functions
from qkan.forecasting.c99.cells import Cell
from qkan.forecasting.c99.forecaster import ForecasterSource
from qkan.forecasting.c99.source import Source, comment_text
from qkan.forecasting.config import TrainConfig
from qkan.forecasting.model.build import RecurrentForecaster

_LISTED = 50
_MOST_SCRATCH = 16_000_000
_DIGITS = 30.0  # of values that lie so many times as far from zero as they differ, single precision loses too many


class CFile(NamedTuple):
    """A run in C.

    Attributes:
        text: The file.
        edges: What its circuits became, in words; empty without circuits.
        gate_bound: A proven bound on what tables change in a gate before its activation; 0 without tables.
        forecast_bound: The same of a scaled forecast, in the unit of ``per``.
        per: ``""``, or what the bound of a forecast is a multiple of.
        steps: Steps of the window that the bound follows.
        table_bytes: Bytes of all tables.
        doubles: Whether values are double, because single precision has too few digits for them.
        fed_back: Whether forecasts are fed back, so that the bound holds for the first step only.
        cell: What the cell became; ``None`` for a linear forecaster.
    """

    text: str
    edges: tuple[str, ...]
    gate_bound: float
    forecast_bound: float
    per: str
    steps: int
    table_bytes: int
    doubles: bool
    fed_back: bool
    cell: Cell | None


def write_c(model: RecurrentForecaster, config: TrainConfig, scaler: Scaler, anchor: str, edges: str) -> CFile:
    """Write a run as C.

    Args:
        model: Its network.
        config, scaler: Its options and its scaler.
        anchor: What says which number the step of a value has, for the comment.
        edges: One of :data:`qkan.forecasting.config.names.EXPORT_EDGES`.

    Raises:
        RunError: its parts are none that can be written, or too large.
    """
    from qkan.forecasting.io.files import RunError

    sizes, source = Sizes.of(config, scaler), Source()
    if sizes.scratch > _MOST_SCRATCH:
        raise RunError(
            f"a window of {sizes.context:,} steps with its covariates would need {sizes.scratch:,} numbers of working "
            f"memory in C, at most {_MOST_SCRATCH:,} are allowed; export the run to ONNX"
        )
    writer = ForecasterSource(source, model, sizes.others, sizes.known, edges)
    writer.write()
    numbers = np.asarray(scaler.offset), np.asarray(scaler.scale)
    doubles = bool((np.abs(numbers[0]) / numbers[1] > _DIGITS).any())
    source.functions += call_functions(source, sizes, config, scaler, doubles=doubles)
    gate_bound, forecast_bound, steps = _bounds(writer, model)
    cell, body = writer.cell, source.text()
    found = CFile(
        "", tuple(cell.kinds) if cell is not None else (), gate_bound, forecast_bound, _per(model), steps,
        source.bytes, doubles, sizes.block < sizes.horizon, cell,
    )  # fmt: skip
    head = _head(config, scaler, sizes, anchor, found)
    return found._replace(text="\n".join([head, _declarations(sizes, found), body]))


def _bounds(writer: ForecasterSource, model: RecurrentForecaster) -> tuple[float, float, int]:
    """Bounds on what tables change in a gate and in a scaled forecast, over the steps that the cell walks."""
    cell, head, steps = writer.cell, model.head, model.reads // model.order.stride
    if cell is None or head is None or not any(layer.error.any() for layer in cell.layers):
        return 0.0, 0.0, steps
    output = cell.output_error(steps)
    weight = head.weight.detach().cpu().double().abs().numpy()
    said = float((weight @ output).max()) * abs(float(model.says_in.factor))
    if model.own is not None:
        said *= float(model.own.amplitude.detach().exp().max())
    if model.gate is not None:  # the last value in the place of a part of the middle quantile
        said *= 1 + abs(1 - float(model.gate))
    return max(float(layer.error.max()) for layer in cell.layers), said, steps


def _per(model: RecurrentForecaster) -> str:
    return "the scale of the window" if model.around.level == "window" else ""


def _head(config: TrainConfig, scaler: Scaler, sizes: Sizes, anchor: str, found: CFile) -> str:
    """The comment at the head: what this is and how to call it."""
    real = "double" if found.doubles else "float"
    lines = [
        f"A {config.model_name} forecaster, written by qkan {__version__}: {sizes.horizon} steps from the last "
        f"{sizes.context} values.",
        "",
        "Compile   cc -std=c99 -O2 -c THIS.c, link with -lm; not with -ffast-math, which cannot tell missing values.",
        "          -DQKAN_TEST gives a program that compares one forecast with that of the run.",
        "Include   this file with QKAN_DECLARE defined, for the declarations alone; or all of it into a file of yours",
        "          with QKAN_API defined as static.",
        "Call      qkan_real forecast[QKAN_HORIZON * QKAN_QUANTILES];",
        "          int good = qkan_predict(values, past, known, step, series, forecast);",
        "",
        f"values    the last QKAN_CONTEXT = {sizes.context} values in the unit of the data, oldest first, {real};",
        _line_of_missing(config),
        "past      " + _columns(sizes.past, "QKAN_CONTEXT rows", config.past_cols),
        "known     " + _columns(sizes.known, "QKAN_CONTEXT + QKAN_HORIZON rows, each at its own time", _names(config)),
        *_lines_of_categories(config, scaler),
        f"step      {anchor}" if sizes.seasons else "step      not read: the run has no season; any number",
        *(["          (the steps of a window and of its forecast follow one another)"] if sizes.seasons else []),
        f"series    {_series_line(sizes, scaler)}",
        f"forecast  QKAN_HORIZON = {sizes.horizon} rows of {_quantiles(config)}, in the unit of the data",
        "",
        "It returns 1, or 0 where a number of the forecast is not finite: all are NaN then. Numbers given that are not",
        "finite, and a series out of range, give that; nothing else can go wrong, whatever the numbers.",
        "",
        "Stream    qkan_state state;",
        "          qkan_init(&state, step, series); of the first value",
        "          good = qkan_step(&state, value, past_row, known_row, known_ahead, forecast);",
        "",
        "It keeps the window, so a call takes one value (NaN for a missing one) and what is known at its time and the",
        "QKAN_HORIZON times behind it. Forecasts are those of qkan_predict; 0 until there are enough values.",
        "",
        *_lines_of_edges(found),
        f"Tables take {found.table_bytes:,} bytes, a call about {4 * sizes.scratch + 512:,} bytes of the stack.",
    ]
    return "/*\n" + "\n".join(f" * {line}".rstrip() for line in lines) + "\n */"


def _line_of_missing(config: TrainConfig) -> str:
    says = {
        "refuse": "NaN gives no forecast: the run refuses missing values",
        "mask": "NaN is a missing one: the last one is repeated, and the model is told",
        "interpolate": "NaN is a missing one: a line is drawn over the gap, the last one repeated at the end",
        "zero": "NaN is zero",
    }
    return f"          {says[config.missing]}"


def _names(config: TrainConfig) -> list[str]:
    calendar = [name if CALENDAR[name] == 1 else f"sin and cos of {name}" for name in config.calendar]
    return [*config.future_cols, *config.static_cols, *calendar, *(f"code of {name}" for name in config.category_cols)]


def _columns(count: int, rows: str, names: list[str] | tuple[str, ...]) -> str:
    if not count:
        return "not read: NULL"
    return f"{rows} of {count} numbers: {', '.join(comment_text(name) for name in names)}"


def _lines_of_categories(config: TrainConfig, scaler: Scaler) -> list[str]:
    lines = []
    for name in config.category_cols:
        own = scaler.categories[name]
        shown = ", ".join(f"{code} {comment_text(text)}" for code, text in enumerate(own[:_LISTED]))
        more = f", and so on to {len(own) - 1} in the order of the names" if len(own) > _LISTED else ""
        lines.append(f"          codes of {comment_text(name)}: {shown}{more}")
    return lines


def _series_line(sizes: Sizes, scaler: Scaler) -> str:
    if sizes.series == 1:
        return "0"
    shown = ", ".join(f"{place} {comment_text(name)}" for place, name in enumerate(scaler.ids[:_LISTED]))
    return shown + (f", and so on to {sizes.series - 1} in the order of the run" if sizes.series > _LISTED else "")


def _quantiles(config: TrainConfig) -> str:
    if len(config.quantiles) == 1:
        return "1 number"
    return f"{len(config.quantiles)} quantiles, " + ", ".join(f"{100 * one:g} %" for one in config.quantiles)


def _lines_of_edges(found: CFile) -> list[str]:
    if not found.edges:
        return []
    lines = [f"Circuits are {' and '.join(found.edges)}."]
    return lines + bound_sentences(found)


def bound_sentences(found: CFile) -> list[str]:
    """What is proven about the tables of a file, in words; for exact arithmetic, to which single precision is added."""
    if not found.gate_bound:
        return []
    of_forecast = f"{found.forecast_bound:.2g}" + (f" times {found.per}" if found.per else "")
    what = "the first scaled forecast" if found.fed_back else "a scaled forecast"
    said = f"and {what} by at most {of_forecast} after {found.steps} steps"
    if not math.isfinite(found.forecast_bound) or found.forecast_bound > 1:
        said = f"and over {found.steps} steps no useful bound of a forecast follows from that ({of_forecast})"
    return [f"Proven: tables change a gate before its activation by at most {found.gate_bound:.2g},", f"{said}."]


def _declarations(sizes: Sizes, found: CFile) -> str:
    numbers = {
        "CONTEXT": sizes.context, "HORIZON": sizes.horizon, "QUANTILES": sizes.quantiles, "PAST": sizes.past,
        "KNOWN": sizes.known, "SERIES": sizes.series,
    }  # fmt: skip
    listed = ", ".join(f"QKAN_{name} = {value}" for name, value in numbers.items())
    fields = ["qkan_real values[QKAN_CONTEXT], before;"]
    if sizes.past:
        fields.append("qkan_real past[QKAN_CONTEXT * QKAN_PAST];")
    if sizes.known:
        fields.append("qkan_real known[(QKAN_CONTEXT + QKAN_HORIZON) * QKAN_KNOWN];")
    fields.append("long step;")
    fields.append("int series, count, age;")
    inner = "\n    ".join(fields)
    return f"""#ifndef QKAN_DECLARED
#define QKAN_DECLARED
#ifndef QKAN_API
#define QKAN_API
#endif

typedef {"double" if found.doubles else "float"} qkan_real;
enum {{ {listed} }};
typedef struct {{
    {inner}
}} qkan_state;

QKAN_API int qkan_predict(const qkan_real *values, const qkan_real *past, const qkan_real *known, long step, int series,
                          qkan_real *forecast);
QKAN_API void qkan_init(qkan_state *state, long step, int series);
QKAN_API int qkan_step(qkan_state *state, qkan_real value, const qkan_real *past, const qkan_real *known,
                       const qkan_real *ahead, qkan_real *forecast);
#endif

#ifndef QKAN_DECLARE
#include <float.h>
#include <math.h>
"""
