"""A forecaster in one file: the compiled program of a run and, as text inside, all that predicting needs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from qkan._version import __version__
from qkan.forecasting.config import EXPORT_FORMATS, TrainConfig
from qkan.forecasting.exporting.programs import (
    Program,
    check_onnx_sum,
    first_line,
    load_onnx,
    onnx_text,
    quiet,
    require_onnx,
)
from qkan.forecasting.io.files import RunError, check_version
from qkan.forecasting.runs.inference import predict
from qkan.forecasting.runs.record import check_record, parse_record, run_record
from qkan.forecasting.runs.run import Run

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import Scaler, Series

FORMAT_VERSION = 1
_KEYS = {"format_version", "format", "qkan", "margin", "run"}
_AGAIN = "export the run again"


@dataclass(frozen=True, eq=False)
class ProgramModel:
    """A program under the contract of a model; see :class:`qkan.forecasting.data.batches.Forward`.

    Args:
        program: The program.
        horizon: Steps that it predicts.
    """

    program: Program
    horizon: int

    def __call__(self, *arguments: Tensor) -> Tensor:
        """Scaled forecasts of scaled windows."""
        return self.program(*(argument.contiguous() for argument in arguments))


@dataclass(frozen=True, eq=False)
class Exported:
    """An exported run, read from its ONNX file; :func:`qkan.forecasting.predict` takes it like a run.

    Attributes:
        path: The file.
        config: The options that the run was trained with.
        model: The program.
        scaler: Scales every series as in training.
        data: What is known of the data of the run: name, size, frequency, season, unit, fingerprint.
        margin: The program holds for inputs up to so many times the largest of the run's data, in every layer; ``None``
            if it holds for any.

    Examples:
        >>> from qkan.forecasting import load_exported
        >>> exported = load_exported("demo.onnx")
        >>> exported.config.window
        12
    """

    path: Path
    config: TrainConfig
    model: ProgramModel = field(repr=False)
    scaler: Scaler = field(repr=False)
    data: dict[str, Any]
    margin: float | None
    validation: ClassVar[None] = None  # a program has no room for the errors of thousands of series

    def predict(
        self,
        *,
        data: str | Path | Series | None = None,
        horizon: int | None = None,
        future: str | Path | None = None,
        level: Sequence[float] | float | None = None,
        new_series: str = "refuse",
    ) -> pd.DataFrame:
        """Forecast what follows the last value of every series; all as of :func:`qkan.forecasting.predict`.

        A program holds no errors to make conformal intervals from; a run does.
        """
        return predict(self, data=data, horizon=horizon, future=future, level=level, new_series=new_series)


def load_exported(path: str | Path) -> Exported:
    """Read an ONNX file that :func:`qkan.forecasting.export` wrote.

    The file is parsed as data, and onnxruntime runs the operations that it names. A ``.pt2`` file is not opened:
    ``torch.export.load`` runs what code a file holds, and no check beforehand is known to be complete.

    Raises:
        RunError: the file is missing, damaged, of another kind or written by a newer version; the message says which.
        ModuleNotFoundError: the packages of the extra ``onnx`` are not installed.

    Examples:
        >>> from qkan.forecasting import load_exported
        >>> load_exported("demo.onnx").predict(horizon=3).shape
        (3, 3)
    """
    path = Path(path)
    _check_name(path)
    require_onnx()
    try:
        if path.exists() and not path.is_file():  # a device may be endless, and a pipe may never begin
            raise RunError(f"{path} is no regular file; give a file of qkan export")
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}; give a file of qkan export") from error
    try:
        text = onnx_text(content)
    except ValueError as error:
        raise RunError(f"{path} cannot be used: {error}; {_AGAIN}") from error
    facts = _parse(text, path)
    config, scaler = parse_record(path, {**facts["run"]}, _AGAIN)
    try:
        with quiet():
            model = ProgramModel(load_onnx(content), config.trained_horizon)
            _check_fits(model, config)
            check_onnx_sum(content)
    except Exception as error:  # whatever a reader of another project raises for a damaged file
        raise RunError(f"the program in {path} cannot be used: {first_line(error)}; {_AGAIN}") from error
    check_record(path, facts["run"], _AGAIN)
    from qkan.datasets import names_file

    if names_file(config.data):
        config = replace(config, data=os.path.normpath(os.path.abspath(path.parent / config.data)))
    return Exported(path, config, model, scaler, facts["run"]["data"], facts["margin"])


def _check_name(path: Path) -> None:
    """Raise a RunError for a name that does not end in ``.onnx``."""
    suffix = path.suffix.lower()
    if suffix == EXPORT_FORMATS["torch-export"]:
        raise RunError(
            f"{path} is not opened, because loading a {suffix} file runs what code it holds; export the run to ONNX "
            "and predict with that file, or call torch.export.load yourself on a file that you trust"
        )
    if suffix != EXPORT_FORMATS["onnx"]:
        ending = EXPORT_FORMATS["onnx"]
        raise RunError(
            f"{path} is not named like an exported run, whose name ends in {ending}; give a file of qkan export"
        )


def describe(run: Run, format: str, margin: float | None, place: Path) -> str:
    """Return the text that goes into the file of a run; arguments as the attributes of :class:`Exported`.

    The file of the data is named as seen from ``place``, the folder that the text will be in: a file that is handed on
    tells nothing of folders around it.
    """
    from qkan.datasets import names_file

    config = run.config
    if names_file(config.data):
        try:
            config = replace(config, data=Path(os.path.relpath(config.data, place)).as_posix())
        except ValueError:  # on another drive
            config = replace(config, data=Path(config.data).name)
    facts = {
        "format_version": FORMAT_VERSION,
        "format": format,
        "qkan": __version__,
        "margin": margin,
        "run": run_record(config, run.data, run.scaler),
    }
    return json.dumps(facts, allow_nan=False)


def _parse(text: str | None, path: Path) -> dict[str, Any]:
    """Return the facts in a file, checked."""
    if text is None:
        raise RunError(f"{path} was not written by qkan export: it does not say how to predict with it; {_AGAIN}")
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged: its description is no JSON ({error}); {_AGAIN}") from error
    version = facts.get("format_version") if isinstance(facts, dict) else None
    if isinstance(version, bool) or not isinstance(version, int):
        raise RunError(f"{path} is damaged: its description has no format_version; {_AGAIN}")
    check_version(path, version, FORMAT_VERSION)
    if set(facts) != _KEYS or not isinstance(facts["run"], dict):
        raise RunError(f"{path} is damaged: it must describe {sorted(_KEYS)}, got {sorted(facts)}; {_AGAIN}")
    if facts["format"] != "onnx":
        raise RunError(f"{path} is damaged: it says that it is {facts['format']!r}, not 'onnx'; {_AGAIN}")
    margin = facts["margin"]
    if margin is not None and (isinstance(margin, bool) or not isinstance(margin, int | float) or not margin >= 1):
        raise RunError(f"{path} is damaged: margin must be a number of at least 1 or null, got {margin!r}; {_AGAIN}")
    return facts


def _check_fits(model: ProgramModel, config: TrainConfig) -> None:
    """Run the program on zeros.

    Raises:
        ValueError: it gives something else than forecasts.
    """
    batch, quantiles = 2, len(config.quantiles)
    arguments = [torch.zeros(batch, config.context, config.channels)]
    if config.futr_exog_channels:
        arguments.append(torch.zeros(batch, config.trained_horizon, config.futr_exog_channels))
    with torch.inference_mode():
        shape = tuple(model(*arguments).shape)
    wanted = (batch, config.trained_horizon, quantiles)[: 2 if quantiles == 1 else 3]
    if shape != wanted:
        raise ValueError(f"it forecasts {shape} where its description says {wanted}")
