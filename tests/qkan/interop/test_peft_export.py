"""Adapters in peft's format, as peft 0.21 reads it: names, sizes and configuration are pinned here."""

import json
import re
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from qkan import CircuitLoRA, add_adapters
from qkan.interop import export_peft


def adapted(**options: object) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Sequential(nn.Linear(8, 4)))
    for adapter in add_adapters(model, 2, ["0", "2.0"], **options).modules:
        nn.init.normal_(adapter.lora_b)  # type: ignore[arg-type]
    return model


def test_names_sizes_and_configuration(tmp_path: Path) -> None:
    export = export_peft(adapted(), tmp_path / "lora", rank=3)
    assert export.folder == tmp_path / "lora"
    tensors = safetensors.torch.load_file(tmp_path / "lora" / "adapter_model.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {
        "base_model.model.0.lora_A.weight": (3, 6),
        "base_model.model.0.lora_B.weight": (8, 3),
        "base_model.model.2.0.lora_A.weight": (3, 8),
        "base_model.model.2.0.lora_B.weight": (4, 3),
    }
    config = json.loads((tmp_path / "lora" / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"
    assert config["r"] == config["lora_alpha"] == 3  # so that peft's scaling is 1
    assert config["fan_in_fan_out"] is False
    names = ["0", "2.0", "2", "20", "x.0"]
    assert [name for name in names if re.fullmatch(config["target_modules"], name)] == ["0", "2.0"]


def test_product_is_the_best_of_its_rank_and_the_error_is_said(tmp_path: Path) -> None:
    model = adapted(frequency=6.0)
    assert isinstance(model[0], CircuitLoRA)
    change = model[0].weight_change().detach()
    values = torch.linalg.svdvals(change.double())
    export = export_peft(model, tmp_path, rank=3)
    tensors = safetensors.torch.load_file(tmp_path / "adapter_model.safetensors")
    product = tensors["base_model.model.0.lora_B.weight"] @ tensors["base_model.model.0.lora_A.weight"]
    assert export.errors["0"] == pytest.approx(float(values[3:].norm() / values.norm()))
    assert float((product - change).norm() / change.norm()) == pytest.approx(export.errors["0"], rel=1e-4)
    assert export.errors["0"] > 0.1


def test_plain_lora_and_full_rank_lose_nothing(tmp_path: Path) -> None:
    assert max(export_peft(adapted(reps=0), tmp_path / "plain", rank=2).errors.values()) < 1e-6
    assert max(export_peft(adapted(frequency=6.0), tmp_path / "full", rank=4).errors.values()) > 0.01  # 0 has rank 6
    model = adapted()
    model[0] = model[0].base
    assert max(export_peft(model, tmp_path / "whole", rank=4).errors.values()) < 1e-6


def test_what_peft_cannot_express_is_refused_and_files_stay(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"Sequential has no adapters to export: none were added, .*; call qkan.add_adapters"
    ):
        export_peft(nn.Sequential(nn.Linear(2, 2)), tmp_path, rank=1)
    with pytest.raises(ValueError, match=r"rank 5 is outside \[1, 4\]"):
        export_peft(adapted(), tmp_path, rank=5)
    model = nn.Sequential(nn.Linear(4, 4))
    add_adapters(model, 2, "0", "nonlinear", latent="spline")
    with pytest.raises(ValueError, match="no weight can hold, so it cannot be merged"):
        export_peft(model, tmp_path, rank=1)
    assert list(tmp_path.iterdir()) == []
    export_peft(adapted(), tmp_path, rank=1)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(
        FileExistsError, match=r"adapter_model.safetensors exists; give another folder, or overwrite=True"
    ):
        export_peft(adapted(), tmp_path, rank=2)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    export_peft(adapted(), tmp_path, rank=2, overwrite=True)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["r"] == 2
