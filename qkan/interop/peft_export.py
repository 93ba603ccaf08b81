"""Adapters in the format of peft: a plain LoRA of each change of a weight, by a truncated SVD."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from qkan._util.files import write_new_files
from qkan.adapters.adapter import Adapter, adapters_of
from qkan.layers.options import positive_int

#: Files of peft's adapters.
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


class PeftExport(NamedTuple):
    """What :func:`export_peft` wrote.

    Attributes:
        folder: where.
        errors: for each layer, the Frobenius norm of dW - B A as a share of that of dW; zero where nothing was trained.

    Examples:
        >>> from torch import nn
        >>> from qkan import CircuitLoRA
        >>> from qkan.interop import export_peft
        >>> export_peft(nn.Sequential(CircuitLoRA(nn.Linear(8, 8), 2)), "adapter", rank=2).errors
        {'0': 0.0}
    """

    folder: Path
    errors: dict[str, float]


def export_peft(model: nn.Module, folder: str | os.PathLike[str], *, rank: int, overwrite: bool = False) -> PeftExport:
    """Write the adapters of a model as a LoRA that peft loads: ``PeftModel.from_pretrained(plain_model, folder)``.

    peft knows B A alone. A dW of CircuitLoRA has a higher rank than its A and B, so its best approximation of ``rank``
    is written, by a truncated singular value decomposition; ``errors`` say what is lost. Nothing is with ``rank`` the
    smaller size of the weights, nor for ``reps=0`` with its own rank. Without loss in a small file:
    :func:`qkan.save_adapters`, or merge them.

    Args:
        model: with adapters of :func:`qkan.add_adapters`; it is not changed.
        folder: to write ``adapter_model.safetensors`` and ``adapter_config.json`` to; made if it is missing.
        rank: of the LoRA, from 1 to the smallest size of a weight.
        overwrite: whether files of these names may be replaced.

    Raises:
        ValueError: no adapters, a rank outside its range, or a change that is none of a weight.
        FileExistsError: one of the files exists.

    Examples:
        >>> from torch import nn
        >>> from qkan import add_adapters
        >>> from qkan.interop import export_peft
        >>> model = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 4))
        >>> report = add_adapters(model, 2, "*")
        >>> export_peft(model, "lora", rank=4).errors
        {'0': 0.0, '2': 0.0}
    """
    import safetensors.torch

    folder = Path(folder)
    found = adapters_of(model, "export")
    positive_int("rank", rank, min(min(one.in_features, one.out_features) for one in found.values()))
    tensors, errors = {}, {}
    for name, one in found.items():
        with torch.no_grad():
            a, b, errors[name] = _factors(one.weight_change(), rank)
        tensors[f"base_model.model.{name}.lora_A.weight"] = a
        tensors[f"base_model.model.{name}.lora_B.weight"] = b
    contents = {WEIGHTS: safetensors.torch.save(tensors, {"format": "pt"}), CONFIG: _config(found, rank)}
    write_new_files(folder, contents, overwrite=overwrite)
    return PeftExport(folder, errors)


def _factors(change: Tensor, rank: int) -> tuple[Tensor, Tensor, float]:
    """A (rank, in), B (out, rank) and the relative error of B A."""
    u, s, v = torch.linalg.svd(change.double().cpu(), full_matrices=False)
    root = s[:rank].sqrt()
    a, b = root.unsqueeze(1) * v[:rank], u[:, :rank] * root
    whole, lost = float(s.norm()), float(s[rank:].norm())
    return a.float().contiguous(), b.float().contiguous(), lost / whole if whole > 0 else 0.0


def _config(found: dict[str, Adapter], rank: int) -> bytes:
    content = {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": None,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": all(one.transposed for one in found.values()),
        # A regular expression: names in a list would also match layers whose names end with one of them.
        "target_modules": "|".join(re.escape(name) for name in found),
    }
    return (json.dumps(content, indent=2) + "\n").encode()
