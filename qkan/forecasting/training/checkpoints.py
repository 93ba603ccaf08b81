"""Checkpoints of a training: written whole or not at all, and read without executing anything."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO

from qkan._util.torch_files import DAMAGED, load_tensors
from qkan.forecasting.io.files import RunError, read_bytes, write_atomic

_AGAIN = "train again with overwrite=True"


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint of tensors and plain values; anything else in it is refused and never executed.

    Raises:
        RunError: the file is missing, damaged, or holds more than tensors and plain values.
    """
    try:
        content = load_tensors(io.BytesIO(read_bytes(path)))
    except RunError:
        raise
    except DAMAGED as error:
        raise RunError(
            f"cannot read the checkpoint {path}: it is damaged, or holds more than tensors and plain values; {_AGAIN}"
        ) from error
    if not isinstance(content, dict):
        raise RunError(f"the checkpoint {path} holds {type(content).__name__}, not the state of a training; {_AGAIN}")
    return content


def does_not_fit(path: Path) -> RunError:
    """Return what to raise where the state in a checkpoint is not that of the model to train."""
    return RunError(f"the checkpoint {path} is not of this run: its state does not fit the model; {_AGAIN}")


class AtomicCheckpointIO(CheckpointIO):
    """Writes checkpoints so that a crash leaves the old one whole, and reads them without executing anything."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write ``checkpoint`` to ``path``; see :func:`qkan.forecasting.io.files.write_atomic`."""
        target = Path(path)
        write_atomic(target, lambda file: torch.save(checkpoint, file))

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Read a checkpoint of tensors and plain values; anything else in it is refused, whatever is asked for.

        Raises:
            RunError: the file is missing, damaged, or holds more than tensors and plain values.
        """
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint file."""
        Path(path).unlink(missing_ok=True)
