"""Exporting a run: compile, write as ONNX or torch.export program, compare with the run, keep if they agree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from qkan.compiling import compile
from qkan.forecasting.config import EXPORT_FORMATS
from qkan.forecasting.config.kinds import NUMBER, Choice
from qkan.forecasting.data.load import cut_windows, tensors
from qkan.forecasting.exporting.c_files import check_edges, export_to_c, sentences
from qkan.forecasting.exporting.exported import ProgramModel, describe
from qkan.forecasting.exporting.programs import FORMATS, first_line, quiet
from qkan.forecasting.io.files import RunError, check_new_file, make_folder, write_output
from qkan.layers.frozen import Features

if TYPE_CHECKING:
    from qkan.datasets import Series
    from qkan.forecasting.data.batches import WindowTensors
    from qkan.forecasting.runs.run import Run

TOLERANCE = 1e-5
"""Largest difference between program and run, as a share of the largest scaled forecast."""

DEFAULT_MARGIN = 2.0
_COMPARED = 1024
_EXAMPLE_BATCH = 3  # exporters take sizes 0 and 1 for constants

_Arguments = tuple[Tensor, ...]


class Export(NamedTuple):
    """What an export made.

    Attributes:
        path: The file.
        size: Its size in bytes.
        windows: Windows of the data on which program and run were compared.
        difference: Their largest difference, as a share of the largest scaled forecast; ``None`` where no C compiler
            was found to run a C file with.
        margin: The program holds for inputs up to so many times the largest of the data, in every layer; ``None`` if it
            holds for any.
        bound: Of a C file, a proven bound on what tables change in a scaled forecast; 0 without tables. Where the
            scale of every window is taken from it (level ``window``), in units of that.
        bound_on_windows: The same on the windows that were compared, ``None`` where it is not known.
        notes: Of a C file, what else is to say.

    Examples:
        >>> from pathlib import Path
        >>> from qkan.forecasting import Export
        >>> made = Export(Path("demo.onnx"), size=12_345, windows=237, difference=3e-7, margin=2.0)
        >>> made.difference < 1e-5
        True
    """

    path: Path
    size: int
    windows: int
    difference: float | None
    margin: float | None
    bound: float = 0.0
    bound_on_windows: float | None = None
    notes: tuple[str, ...] = ()


def export(
    run: Run,
    path: str | Path,
    format: str = "onnx",
    *,
    data: str | Path | Series | None = None,
    margin: float = DEFAULT_MARGIN,
    edges: str | None = None,
    overwrite: bool = False,
) -> Export:
    """Write a run as one file that onnxruntime, PyTorch or a C compiler takes without this package's layers.

    :func:`qkan.forecasting.load_exported` reads ONNX files. ``.pt2`` files are for ``torch.export.load``, which runs
    what code a file holds: load those only that you trust. A ``.c`` file is C99 that needs nothing but ``math.h``; its
    head says how to call it. Where a C compiler is found, it is compiled and compared with the run before it is
    written.

    The circuits are compiled (:func:`qkan.compile`). Before the file is written, the program in it forecasts about
    1,024 windows of the data, those with the largest and smallest values among them, and must agree with the run to
    1e-5 of the largest scaled forecast.

    Args:
        run: What to export.
        path: The file, ``.onnx``, ``.pt2`` or ``.c`` as the format wants; its folder is made if it is missing.
        format: One of :data:`qkan.forecasting.config.names.EXPORT_FORMATS`.
        data: Name or file of the data to compare on, which also bounds the inputs of compiled circuits; ``None`` takes
            the data of the run. A run that was trained on a data frame needs some.
        margin: At least 1. Circuits with trained pre-activations hold for inputs up to so many times the largest that
            they see in the data, and give NaN beyond, which :func:`qkan.forecasting.predict` makes an error of.
        edges: How a C file holds circuits, one of :data:`qkan.forecasting.config.names.EXPORT_EDGES`: ``"exact"``
            (``None``), the smallest and as close to the run as single precision is; ``"cubic"`` or ``"int8"``, tables
            that need no sine, with a proven bound on what they change.
        overwrite: Replace the file.

    Raises:
        DataError: the data cannot be used.
        ModuleNotFoundError: packages of the extra ``onnx`` are missing.
        RunError: the file exists or cannot be written, the model cannot be exported, or program and run differ.
        ValueError: an unknown format, another ending of the file's name, or a margin below 1.

    Examples:
        >>> from qkan.forecasting import export, load_run
        >>> made = export(load_run("runs/demo"), "demo.c", format="c", overwrite=True)
        >>> made.size < 50_000
        True
    """
    path = Path(path)
    _check_options(path, format, margin)
    if format == "c":
        return _export_to_c(run, path, data, edges, overwrite=overwrite)
    if edges is not None:
        raise ValueError(f"edges={edges!r} has no effect on format {format!r}; leave it out, or use format='c'")
    FORMATS[format].require()
    check_new_file(path, overwrite)
    make_folder(path.parent)
    windows = _some_windows(_all_windows(run, data))
    with torch.inference_mode():
        truth = run.model(*windows)
    if not truth.isfinite().all():
        raise RunError(f"{run.path} itself gives forecasts that are no finite numbers; train again")
    fixed = run.config.preact_init != "auto" and not run.config.preact_trainable
    compiled = compile(run.model, None if fixed else windows, margin=margin).eval()
    bounded = any(isinstance(module, Features) and module.domain is not None for module in compiled.modules())
    kept_margin = float(margin) if bounded else None
    content = _write(run, compiled, windows, format, describe(run, format, kept_margin, path.parent))
    with quiet():
        program = ProgramModel(FORMATS[format].load(content), run.config.trained_horizon)
    difference = _difference(program, windows, truth)
    if not difference <= TOLERANCE:
        raise RunError(
            f"on windows of the data, the exported program differs from {run.path} by {difference:.1e} of the largest "
            f"scaled forecast, more than {TOLERANCE:g}, so nothing was written; try another format"
            + (" or a smaller margin" if bounded else "")
        )
    write_output(path, lambda file: file.write(content))
    return Export(path, len(content), len(truth), difference, kept_margin)


def _export_to_c(
    run: Run, path: Path, data: str | Path | Series | None, edges: str | None, *, overwrite: bool
) -> Export:
    from qkan.forecasting.runs.run_data import series_of

    edges = check_edges(run, edges)
    check_new_file(path, overwrite)
    make_folder(path.parent)
    made = export_to_c(run, series_of(run, data), edges, TOLERANCE)
    content = made.file.text.encode("ascii")
    write_output(path, lambda file: file.write(content))
    notes, bound = tuple(sentences(made)), made.file.forecast_bound
    return Export(path, len(content), made.windows, made.difference, None, bound, made.bound, notes)


def _check_options(path: Path, format: str, margin: float) -> None:
    Choice(tuple(EXPORT_FORMATS)).check("format", format)
    if path.suffix.lower() != EXPORT_FORMATS[format]:
        raise ValueError(f"the name of a file of format {format!r} must end in {EXPORT_FORMATS[format]}, got {path}")
    NUMBER.check("margin", margin)
    if margin < 1:
        raise ValueError(f"margin must be at least 1, got {margin!r}; 2 is twice the largest inputs of the data")


def _all_windows(run: Run, data: str | Path | Series | None) -> WindowTensors:
    """All windows of the data, whatever part they belong to, with the steps that the model itself predicts."""
    from qkan.datasets import LastSteps
    from qkan.forecasting.runs.run_data import scaler_for, series_of

    series = series_of(run, data)
    return tensors(cut_windows(series, run.config, scaler_for(run, series), split=LastSteps(0)).train)


def _some_windows(windows: WindowTensors) -> _Arguments:
    """The model's arguments for evenly spread windows and for those with the largest and smallest inputs."""
    first = windows.first.numpy()
    spread = np.linspace(0, len(first) - 1, min(_COMPARED, len(first))).round().astype(np.int64)
    channels = torch.cat([windows.values[:], windows.futr_exog[:]], dim=1).numpy()
    rows = np.concatenate([channels.argmax(axis=0), channels.argmin(axis=0)])
    last = np.searchsorted(first, rows, side="right") - 1  # the last window that starts at or before such a row
    last = last[(last >= 0) & (rows < first[last] + windows.window)]
    chosen = np.unique(np.concatenate([last, spread]))
    return windows.batch(torch.from_numpy(chosen)).arguments


def _write(run: Run, compiled: nn.Module, windows: _Arguments, format: str, text: str) -> bytes:
    example = tuple(torch.cat([part[:1]] * _EXAMPLE_BATCH) for part in windows)
    try:
        with quiet():
            return FORMATS[format].write(compiled, example, text)
    except Exception as error:  # exporters raise errors of many kinds
        cell = run.config.cell
        raise RunError(
            f"PyTorch {torch.__version__} cannot export the cell {cell!r} to {format!r}: {first_line(error)}"
        ) from error


def _difference(program: ProgramModel, windows: _Arguments, truth: Tensor) -> float:
    """The largest difference, all windows at once and the first one alone, as a share of the largest |truth|."""
    largest = float(truth.abs().max()) or 1.0
    with torch.inference_mode():
        alone = program(*(part[:1] for part in windows)) - truth[:1]
        together = program(*windows) - truth
    return float(torch.cat([alone, together]).abs().max()) / largest
