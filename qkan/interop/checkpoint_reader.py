"""Checkpoints of other packages: how their tensors are read from a file, and what stands around them.

Nothing in a file is executed: torch reads with ``weights_only=True``, which builds tensors and plain values alone.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from qkan._util.torch_files import DAMAGED, load_tensors

#: Under which key training scripts store weights beside other things.
INSIDE = ("state_dict", "model_state_dict", "model")
#: What data-parallel training and torch.compile put in front of all names.
PREFIXES = ("module.", "_orig_mod.")


def read(path: str | os.PathLike[str]) -> Any:
    """What a checkpoint file holds: safetensors if it is named ``.safetensors``, else a file of :func:`torch.save`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file of another kind, a damaged one, or one with objects that only code could rebuild.
    """
    import safetensors
    import safetensors.torch

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; give the path of a checkpoint, or a state dict")
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load(path.read_bytes())
        except safetensors.SafetensorError as error:
            raise ValueError(f"{path} is damaged or no safetensors file ({error}); restore it from a copy") from None
    try:
        return load_tensors(path)
    except DAMAGED as error:
        if isinstance(error, pickle.UnpicklingError) and "global" in str(error).lower():
            raise ValueError(
                f"{path} holds objects, not only tensors, and rebuilding them would run code from the file; where the "
                "model was made, save its tensors alone with torch.save(model.state_dict(), path)"
            ) from None
        raise ValueError(
            f"{path} is damaged or no checkpoint of torch.save ({type(error).__name__}); save one with "
            "torch.save(model.state_dict(), path)"
        ) from None


def tensors_of(state_dict: Any) -> dict[str, Tensor]:
    """Name to tensor, out of whatever a training script has put around them; prefixes of all names are left out.

    Raises:
        TypeError: no mapping of names to tensors.
    """
    found = state_dict
    if isinstance(found, Mapping):
        found = next((found[key] for key in INSIDE if isinstance(found.get(key), Mapping)), found)
    if not isinstance(found, Mapping):
        raise TypeError(f"state_dict must be a mapping of names to tensors, got {type(found).__name__}")
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            keys = " or ".join(repr(key) for key in INSIDE)
            raise TypeError(
                f"state_dict must map names to tensors, but has {type(tensor).__name__} under {name!r}; pass the "
                f"weights themselves, or a dictionary with them under {keys}"
            )
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return dict(found)


def listed(problems: list[str], most: int = 12) -> str:
    """What is wrong, in one line: the first of it, and how much more there is."""
    return "; ".join(problems[:most]) + (f"; and {len(problems) - most} more" if len(problems) > most else "")
