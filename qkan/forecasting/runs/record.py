"""What ``config.json`` of a run folder holds: options, data and scaler, and a sum over them that tells of damage."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qkan.forecasting.config import TrainConfig
from qkan.forecasting.io.files import RunError, check_version, read_json

if TYPE_CHECKING:
    from qkan.datasets import Scaler

FORMAT_VERSION = 1
CONFIG = "config.json"


def run_record(config: TrainConfig, data: dict[str, Any], scaler: Scaler) -> dict[str, Any]:
    """Return what ``config.json`` holds and :func:`parse_record` reads: options, data and scaler."""
    record = {
        "format_version": FORMAT_VERSION,
        "config": config.to_dict(),
        "data": data,
        "scaler": scaler.to_dict(),
    }
    return record | {"sha256": sum_of(record)}


def check_record(source: Path, record: dict[str, Any], again: str = "train again") -> None:
    """Refuse a record that is not as :func:`run_record` made it: a changed digit of a scaler is a wrong forecast.

    Raises:
        RunError: it was changed.
    """
    if sum_of({name: value for name, value in record.items() if name != "sha256"}) != record.get("sha256"):
        raise RunError(
            f"what {source} says of options, data and scaler is not what was written (its sha256 differs): it is "
            f"damaged or was changed; restore the file or {again}"
        )


def sum_of(record: dict[str, Any]) -> str:
    """The sha256 of a record without its sum."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def read_record(path: Path) -> dict[str, Any]:
    """Return what the ``config.json`` of a run folder holds.

    Raises:
        RunError: it is missing, damaged or from a newer version.
    """
    record = read_json(path / CONFIG)
    check_format(path / CONFIG, record)
    return record


def check_format(path: Path, content: dict[str, Any]) -> None:
    """Refuse a file of a run folder that says no format version, or a newer one.

    Raises:
        RunError: it does.
    """
    found = content.get("format_version")
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise RunError(f"{path} has no format_version; {path.parent} is not a run folder, so give one")
    check_version(path, found, FORMAT_VERSION)


def _describes_data(data: dict[str, Any]) -> bool:
    """Whether what is known of the data of a run is there, and of the types that its readers take for granted."""
    from qkan.datasets import step_size

    frequency, step = data.get("frequency", 0), data.get("step")
    if not isinstance(data.get("fingerprint"), str) or not isinstance(frequency, str | None):
        return False
    try:
        step_size(frequency)
    except ValueError:
        return False
    return step is None or (isinstance(step, int) and not isinstance(step, bool))


def parse_record(source: Path, record: dict[str, Any], again: str = "train again") -> tuple[TrainConfig, Scaler]:
    """Return options and scaler of what :func:`run_record` described.

    Args:
        source: The file that holds it.
        record: What it holds.
        again: How to get a new one, for the message.

    Raises:
        RunError: a key is missing or unknown, or a value out of its range.
    """
    from qkan.datasets import Scaler

    wanted = {"format_version", "config", "data", "scaler", "sha256"}
    if set(record) != wanted or not all(isinstance(record[key], dict) for key in ("config", "data", "scaler")):
        raise RunError(f"{source} must hold exactly {sorted(wanted)}, got {sorted(record)}; {again}")
    if not _describes_data(record["data"]):
        raise RunError(f"{source} lacks fingerprint or frequency of its data; restore the file or {again}")
    try:
        return TrainConfig.from_dict(record["config"]), Scaler.from_dict(record["scaler"])
    except ValueError as error:
        raise RunError(f"{source} cannot be used: {error}; restore the file or {again}") from error
