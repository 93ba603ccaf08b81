"""A forecaster in one file: the compiled program of a run and, as text inside, all that predicting needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from qkan._version import __version__
from qkan.forecasting.config.options import EXPORT_FORMATS, TrainConfig
from qkan.forecasting.exporting.programs import FORMATS, Program, quiet
from qkan.forecasting.io.files import RunError, check_version
from qkan.forecasting.runs.inference import predict
from qkan.forecasting.runs.run import Run, parse_record, run_record

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
    """An exported run, read from its file; :func:`qkan.forecasting.predict` takes it like a run.

    Attributes:
        path: The file.
        format: One of :data:`qkan.forecasting.config.options.EXPORT_FORMATS`.
        config: The options that the run was trained with.
        model: The program.
        scaler: Scales every series as in training.
        data: What is known of the data of the run: name, size, frequency, season, unit, fingerprint.
        margin: The program holds for inputs up to so many times the largest of the run's data, in every layer; ``None``
            if it holds for any.
    """

    path: Path
    format: str
    config: TrainConfig
    model: ProgramModel = field(repr=False)
    scaler: Scaler = field(repr=False)
    data: dict[str, Any]
    margin: float | None

    def predict(
        self,
        *,
        data: str | Path | Series | None = None,
        horizon: int | None = None,
        future: str | Path | None = None,
        level: Sequence[float] | None = None,
    ) -> pd.DataFrame:
        """Forecast what follows the last value of every series; all as of :func:`qkan.forecasting.predict`."""
        return predict(self, data=data, horizon=horizon, future=future, level=level)


def load_exported(path: str | Path) -> Exported:
    """Read a file that :func:`qkan.forecasting.export` wrote.

    A ``.pt2`` file is refused if it holds anything that could run code when loaded; but treat the program in a file
    from elsewhere, of either format, as you would any program.

    Raises:
        RunError: the file is missing, damaged, of another kind or written by a newer version; the message says which.
        ModuleNotFoundError: an ONNX file, and the packages of the extra ``onnx`` are not installed.
    """
    path = Path(path)
    format = format_of(path)
    FORMATS[format].require()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}; give a file of qkan export") from error
    return read_exported(content, path, format)


def format_of(path: Path) -> str:
    """Return the format that a file's name tells of.

    Raises:
        RunError: it tells of none.
    """
    for format, suffix in EXPORT_FORMATS.items():
        if path.suffix.lower() == suffix:
            return format
    endings = " or ".join(f"{suffix} ({format})" for format, suffix in EXPORT_FORMATS.items())
    raise RunError(f"{path} is not named like an exported run, whose name ends in {endings}")


def describe(run: Run, format: str, margin: float | None) -> str:
    """Return the text that goes into the file of a run; arguments as the attributes of :class:`Exported`."""
    facts = {
        "format_version": FORMAT_VERSION,
        "format": format,
        "qkan": __version__,
        "margin": margin,
        "run": run_record(run.config, run.data, run.scaler),
    }
    return json.dumps(facts, allow_nan=False)


def read_exported(content: bytes, path: Path, format: str) -> Exported:
    """Return what a file holds.

    Args:
        content: The file.
        path: Its name, for messages and results.
        format: One of :data:`qkan.forecasting.config.options.EXPORT_FORMATS`.

    Raises:
        RunError: it is damaged, of another kind or written by a newer version; the message says which.
    """
    try:
        text = FORMATS[format].text(content)
    except ValueError as error:
        raise RunError(f"{path} cannot be used: {error}; {_AGAIN}") from error
    facts = _parse(text, path, format)
    config, scaler = parse_record(path, {**facts["run"]}, _AGAIN)
    try:
        with quiet():
            model = ProgramModel(FORMATS[format].load(content), config.trained_horizon)
            _check_fits(model, config)
    except Exception as error:  # whatever a reader of another project raises for a damaged file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RunError(f"the program in {path} cannot be used: {reason}; {_AGAIN}") from error
    return Exported(path, format, config, model, scaler, facts["run"]["data"], facts["margin"])


def _parse(text: str | None, path: Path, format: str) -> dict[str, Any]:
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
    if facts["format"] != format:
        raise RunError(f"{path} is damaged: it says that it is {facts['format']!r}, not {format!r}; {_AGAIN}")
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
    arguments = [torch.zeros(batch, config.window, config.channels)]
    if config.known_channels:
        arguments.append(torch.zeros(batch, config.trained_horizon, config.known_channels))
    with torch.inference_mode():
        shape = tuple(model(*arguments).shape)
    wanted = (batch, config.trained_horizon, quantiles)[: 2 if quantiles == 1 else 3]
    if shape != wanted:
        raise ValueError(f"it forecasts {shape} where its description says {wanted}")
