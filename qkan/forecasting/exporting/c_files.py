"""Exporting a run to C: write the file, and where a C compiler is found compile it and compare it with the run."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from qkan.forecasting.c99.file import CFile, Sizes, bound_sentences, write_c
from qkan.forecasting.c99.source import comment_text
from qkan.forecasting.config import CELL_OPTIONS, EXPORT_EDGES, TrainConfig
from qkan.forecasting.config.kinds import Choice
from qkan.forecasting.data.batches import recursive_forecast
from qkan.forecasting.data.load import cut_windows, tensors
from qkan.forecasting.exporting.c_bounds import bound_on_windows
from qkan.forecasting.io.files import RunError

if TYPE_CHECKING:
    from collections.abc import Callable

    from qkan.datasets import Series
    from qkan.forecasting.runs.run import Run

_COMPILE = ("-std=c99", "-O2", "-shared", "-fPIC")
_COMPARED = 1024
_LONGEST_TEST = 4096  # numbers of a window that the file holds to test itself
_SECONDS = 120


class Calls(NamedTuple):
    """Arguments of calls of ``qkan_predict``, B of them, and what the run says.

    Attributes:
        values: (B, context).
        past, known: (B, context, past) and (B, context + horizon, known).
        steps, series: (B,), int64.
        wanted: Forecasts of the run, (B, horizon, quantiles).
        scaled: The same as they are before scaling back.
        scale: Scale of the series of each, (B,).
    """

    values: np.ndarray
    past: np.ndarray
    known: np.ndarray
    steps: np.ndarray
    series: np.ndarray
    wanted: np.ndarray
    scaled: np.ndarray
    scale: np.ndarray

    @property
    def largest(self) -> float:
        """The largest |scaled forecast|, 1 if all are zero."""
        return float(np.abs(self.scaled).max()) or 1.0

    def difference(self, found: np.ndarray) -> float:
        """The largest difference of forecasts, as a share of the largest scaled one."""
        offset = self.wanted.reshape(len(self.wanted), -1)
        scaled = (found.reshape(offset.shape) - offset) / self.scale[:, None]
        return float(np.abs(scaled).max())


class CExport(NamedTuple):
    """A file in C and how it compares with its run.

    Attributes:
        file: The file.
        difference: Largest difference on windows of the data, as a share of the largest scaled forecast; ``None`` where
            no C compiler was found.
        measured: The same, of scaled forecasts.
        windows: On how many windows.
        bound: A proven bound on what tables change in a scaled forecast of these windows; ``None`` where none is known.
    """

    file: CFile
    difference: float | None
    measured: float | None
    windows: int
    bound: float | None


def check_edges(run: Run, edges: str | None) -> str:
    """Return how circuits are written, ``exact`` unless asked for otherwise.

    Raises:
        ValueError: an unknown way, or one asked for a cell without circuits.
    """
    if edges is None:
        return "exact"
    Choice(EXPORT_EDGES).check("edges", edges)
    if "reps" not in CELL_OPTIONS[run.config.cell]:
        raise ValueError(
            f"edges={edges!r} has no effect on cell {run.config.cell!r}, which has no circuits; leave it out"
        )
    return edges


def export_to_c(run: Run, series: Series, edges: str, tolerance: float) -> CExport:
    """Return a run as C, compared with the run where a compiler is found.

    Args:
        run: What to export.
        series: Data to compare on.
        edges: One of :data:`qkan.forecasting.config.names.EXPORT_EDGES`.
        tolerance: Largest difference, as a share of the largest scaled forecast, beside what tables are proven to
            change.

    Raises:
        RunError: the run is none that can be written, or the program differs from it.
    """
    calls, arguments, anchor = _calls(run, series)
    made = write_c(run.model, run.config, run.scaler, anchor, edges)
    made = made._replace(text=made.text + _test(made, calls) + "#endif\n")
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return CExport(made, None, None, 0, None)
    try:
        found = _run_compiled(made, compiler, Sizes.of(run.config, run.scaler), calls)
    except (OSError, subprocess.TimeoutExpired):  # a folder that nothing may be loaded from, a compiler that hangs
        return CExport(made, None, None, 0, None)
    largest = calls.largest
    difference, bound = calls.difference(found) / largest, None
    if made.gate_bound and made.cell is not None:
        bound = bound_on_windows(run.model, made.cell, arguments)
    allowed = tolerance
    if edges == "int8":
        allowed += (made.forecast_bound if bound is None else min(bound, made.forecast_bound)) / largest
        if made.per or made.fed_back:
            allowed = np.inf  # a multiple of the scale of each window, or what feeding back makes of it
    if not difference <= allowed:
        raise RunError(
            f"on windows of the data, the C file differs from {run.path} by {difference:.1e} of the largest scaled "
            f"forecast, more than {allowed:.1g}, so nothing was written; "
            + ("use edges='exact'" if edges != "exact" else "export the run to ONNX")
        )
    return CExport(made, difference, difference * largest, len(found), bound)


def _calls(run: Run, series: Series) -> tuple[Calls, tuple[torch.Tensor, ...], str]:
    """Calls on windows of the data, the arguments of the model on them, and what numbers the steps."""
    from qkan.datasets import LastSteps
    from qkan.forecasting.runs.run_data import scaler_for

    config, scaler = run.config, scaler_for(run, series)
    # Windows of all target steps, also where the model forecasts them one by one.
    whole = replace(config, strategy="direct")
    data = cut_windows(series, whole, scaler, split=LastSteps(0))
    windows, first, count = tensors(data.train), data.train.first, min(_COMPARED, len(data.train.first))
    chosen = np.unique(np.linspace(0, len(first) - 1, count).round().astype(np.int64))
    newest = first[chosen] + config.context - 1
    numbers_of = (
        _step_numbers(series, data.series.times) if config.seasons else np.zeros(len(data.series.times), np.int64)
    )
    values, futr_exog = windows.stretches(torch.from_numpy(chosen))
    futr_exog = _counted(futr_exog, numbers_of[newest], config)
    arguments: tuple[torch.Tensor, ...] = (torch.cat([values, futr_exog[:, 1 : config.context + 1]], dim=2),)
    if futr_exog.shape[2]:
        arguments += (futr_exog[:, config.context : config.context + config.trained_horizon],)
    with torch.inference_mode():
        scaled = recursive_forecast(run.model, values, futr_exog, config.horizon, masked=config.missing == "mask")
    if not scaled.isfinite().all():
        raise RunError(f"{run.path} itself gives forecasts that are no finite numbers; train again")
    place = data.train.series[chosen]
    known_ids = {name: index for index, name in enumerate(run.scaler.ids)}
    own = np.array([known_ids.get(data.series.ids[one], 0) for one in place]) if len(scaler.ids) > 1 else 0 * place
    offset, scale = (np.asarray(numbers)[place] for numbers in (scaler.offset, scaler.scale))
    sizes = Sizes.of(config, run.scaler)
    raw = values.numpy().astype(np.float64)
    known = futr_exog[:, :, : sizes.known].numpy().astype(np.float64)
    past = raw[:, :, 1 + sizes.masked :].copy()
    for column, name in enumerate((*config.past_cols, *config.future_cols, *config.static_cols)):
        numbers = scaler.covariates[name]
        array, at = (past, column) if column < sizes.past else (known, column - sizes.past)
        array[:, :, at] = (
            array[:, :, at] * np.asarray(numbers.scale)[place, None] + np.asarray(numbers.offset)[place, None]
        )
    shown = raw[:, :, 0] * scale[:, None] + offset[:, None]
    if sizes.masked:
        shown[raw[:, :, 1] == 0] = np.nan
        shown[:, 0] = np.where(raw[:, 0, 1] == 0, raw[:, 0, 0] * scale + offset, shown[:, 0])
    last = data.series.times[-1]
    anchor = (
        f"number of the step of the newest value: {int(numbers_of[-1])} at {comment_text(str(last))}, one more a step"
    )
    wanted = scaled.numpy().astype(np.float64)
    back = wanted * scale[:, None, None] + offset[:, None, None]
    calls = Calls(shown, past, known, numbers_of[newest].astype(np.int64), own.astype(np.int64), back, wanted, scale)
    if sizes.masked and raw[:, 0, 1].any():  # a first value may be a filled one, and then nothing says so
        observed = raw[:, 0, 1] > 0
        calls = Calls(*(part[observed] for part in calls))
        arguments = tuple(part[torch.from_numpy(observed)] for part in arguments)
    return calls, arguments, anchor


def _step_numbers(series: Series, times: np.ndarray) -> np.ndarray:
    """The number of the step of every time, int64, as seasons count them."""
    from qkan.datasets.windows import step_numbers

    return step_numbers(series.wall_times(times), series.frequency, series.session, series.step or 1).astype(np.int64)


def _counted(futr_exog: torch.Tensor, newest: np.ndarray, config: TrainConfig) -> torch.Tensor:
    """What is known of windows, with seasons counted row by row from the newest value on: as C and streams do.

    Where times leave out a day without values, the phases of the data jump.
    """
    from qkan.datasets.windows import phases_of_steps

    numbers = newest[:, None] + np.arange(futr_exog.shape[1]) - (config.context - 1)
    phases = [torch.from_numpy(phases_of_steps(numbers, season)) for season in config.seasons]
    own = futr_exog.shape[2] - len(phases)
    return torch.cat([futr_exog[:, :, :own], *(phase.unsqueeze(2).to(futr_exog.dtype) for phase in phases)], dim=2)


def _run_compiled(made: CFile, compiler: str, sizes: Sizes, calls: Calls) -> np.ndarray:
    """Compile a file, and return its forecasts of some windows, (B, horizon * quantiles).

    Raises:
        RunError: the compiler refuses it.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "model.c", Path(folder) / "model.so"
        source.write_text(made.text, encoding="ascii")
        command = [compiler, *_COMPILE, str(source), "-o", str(library), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        if done.returncode:
            said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0]
            raise RunError(f"{compiler} does not compile the C file, so nothing was written: {said}")
        function = ctypes.CDLL(str(library)).qkan_predict
        return _called(function, made, sizes, calls)


def _called(function: Callable[..., int], made: CFile, sizes: Sizes, calls: Calls) -> np.ndarray:
    real = np.float64 if made.doubles else np.float32
    out = np.zeros((len(calls.values), sizes.horizon * sizes.quantiles), dtype=real)

    def pointer(array: np.ndarray) -> ctypes.c_void_p:
        return ctypes.c_void_p(array.ctypes.data)

    values, past, known = (np.ascontiguousarray(part, dtype=real) for part in calls[:3])
    for row in range(len(values)):
        function(
            pointer(values[row]),
            pointer(past[row]),
            pointer(known[row]),
            ctypes.c_long(int(calls.steps[row])),
            ctypes.c_int(int(calls.series[row])),
            pointer(out[row]),
        )
    return out.astype(np.float64)


def _test(made: CFile, calls: Calls) -> str:
    """A program that compares one forecast with that of the run; empty where its window is long."""
    values, past, known = calls.values[-1], calls.past[-1], calls.known[-1]
    if values.size + past.size + known.size > _LONGEST_TEST:
        return "\n"

    def array(name: str, numbers: np.ndarray) -> str:
        words = ", ".join("NAN" if np.isnan(one) else f"(qkan_real){one:.9g}" for one in numbers.ravel()) or "0"
        return f"static const qkan_real {name}[] = {{{words}}};"

    tables = [array("qkan_values", values), array("qkan_past", past), array("qkan_known", known)]
    tables.append(array("qkan_wanted", calls.wanted[-1]))
    listed, text = "\n".join(tables), "largest difference from the run: %g of the scale\\n"
    scale, place = f"(qkan_real){calls.scale[-1]:.9g}", f"{calls.steps[-1]}L, {calls.series[-1]}"
    return f"""

#ifdef QKAN_TEST
#include <stdio.h>
{listed}
int main(void)
{{
    qkan_real forecast[QKAN_HORIZON * QKAN_QUANTILES], largest = 0;
    const int good = qkan_predict(qkan_values, qkan_past, qkan_known, {place}, forecast);
    for (int i = 0; i < QKAN_HORIZON * QKAN_QUANTILES; i++) {{
        const qkan_real far = (forecast[i] - qkan_wanted[i]) / {scale};
        if (far > largest || -far > largest) largest = far < 0 ? -far : far;
    }}
    printf("{text}", (double)largest);
    return good ? 0 : 1;
}}
#endif
"""


def _what(file: CFile) -> str:
    return "the first scaled forecast" if file.fed_back else "a scaled forecast"


def sentences(made: CExport) -> list[str]:
    """What an export to C says beside the size of the file."""
    said = [f"tables: {made.file.table_bytes:,} bytes"]
    if made.file.edges:
        said.append(f"circuits: {' and '.join(made.file.edges)}")
    if made.file.gate_bound:
        said.append(" ".join(bound_sentences(made.file))[:-1].replace("Proven: t", "proven: t"))
    if made.bound is not None:
        per = f" times {made.file.per}" if made.file.per else ""
        said.append(f"proven on the windows below: {_what(made.file)} by at most {made.bound:.2g}{per}")
    if made.measured is not None and made.file.gate_bound:
        said.append(
            f"measured on the windows below: a scaled forecast by {made.measured:.2g}, single precision included"
        )
    if made.difference is None:
        said.append(
            "not compared with the run: no C compiler (cc) that works here; compile with -DQKAN_TEST to test the file"
        )
    return said
