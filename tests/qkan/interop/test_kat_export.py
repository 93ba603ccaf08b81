"""KAT models as a folder without this package. In timm and transformers: tests/ecosystem/test_kat_export.py."""

import ast
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qkan import GRKAN
from qkan.interop import export_kat, load_kat_state_dict, modeling_kat

NETWORK: dict[str, Any] = {
    "width": 16,
    "channels": 3,
    "image_size": [8, 12],
    "patch_size": [4, 4],
    "patch_bias": True,
    "prefix": 1,
    "no_embed_class": False,
    "norms": {"norm_pre": None, "norm": 1e-6, "fc_norm": None},
    "classes": 5,
}


class Vit(modeling_kat.Kat):
    """A Vision Transformer of timm's structure, for an environment without timm."""

    def __init__(self, pool: str = "token", options: dict[str, Any] | None = None, **changes: Any) -> None:
        torch.manual_seed(0)
        mlp = {
            "hidden": 24,
            "groups": [8, 8],
            "order": [[5, 4], [5, 4]],
            "denominator": ["abs_terms", "abs_terms"],
            "share_numerator": [True, True],
            "bias": [True, True],
            "norm_eps": None,
        }
        block = {"heads": 2, "eps": [1e-6] * 2, "qkv_bias": True, "proj_bias": True, "layer_scale": False, "mlp": mlp}
        super().__init__(NETWORK | {"blocks": [block | changes.pop("block", {})] * 2} | changes, pool)
        self.global_pool = pool
        self.patch_embed.img_size = tuple(NETWORK["image_size"])
        self.no_embed_class = self.network["no_embed_class"]
        for each in self.blocks:
            each.attn.num_heads = each.attn.heads
            each.mlp = GRKAN(16, 24, 16, backend="torch", **(options or {}))  # nothing to compile
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.3) if parameter.dim() < 2 else None


def images() -> Tensor:
    return torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(1))


def read(folder: Path) -> nn.Module:
    """The network by the written code alone."""
    spec = importlib.util.spec_from_file_location("written", folder / "modeling_kat.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load(folder)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"options": {"order": (3, 2), "denominator": "abs_sum", "num_groups": 4, "share_numerator": False}},
        {"options": {"bias": False, "norm_layer": nn.LayerNorm, "drop": 0.3}},
        {"pool": "avg", "norms": {"norm_pre": 1e-5, "norm": None, "fc_norm": 1e-6}, "no_embed_class": True},
        {"pool": "avg", "prefix": 0, "classes": 0, "block": {"qkv_bias": False, "layer_scale": True}},
        {"pool": ""},
    ],
    ids=str,
)
def test_written_file_gives_the_same_outputs_and_gradients(options: dict[str, Any], tmp_path: Path) -> None:
    model = Vit(**options)
    assert export_kat(model, tmp_path / "kat") == tmp_path / "kat"
    written = read(tmp_path / "kat")
    wanted, found = model.eval()(images()), written(images())
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)
    wanted.square().sum().backward()
    found.square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in written.named_parameters()}
    for name, parameter in model.named_parameters():
        theirs = gradients[
            name.replace(".numerator", ".weight_numerator").replace(".denominator", ".weight_denominator")
        ]
        assert theirs is not None
        torch.testing.assert_close(theirs, parameter.grad, rtol=1e-4, atol=1e-5 * float(parameter.grad.abs().max()))


def test_written_code_imports_nothing_of_this_package_and_is_the_same_for_every_model(tmp_path: Path) -> None:
    export_kat(Vit(), tmp_path / "one")
    export_kat(Vit(pool="avg", options={"num_groups": 2}), tmp_path / "two")
    code = (tmp_path / "one" / "modeling_kat.py").read_text()
    assert code == (tmp_path / "two" / "modeling_kat.py").read_text()
    nodes = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    roots = {name.partition(".")[0] for name in names}
    assert roots == {"json", "math", "pathlib", "torch", "transformers", "safetensors"}


def test_configuration_holds_sizes_alone_whatever_a_class_is_called(tmp_path: Path) -> None:
    model = Vit()
    model.__class__ = type('Evil"); import os  #', (Vit,), {})
    export_kat(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["auto_map"] == {
        "AutoConfig": "modeling_kat.KatConfig",
        "AutoModel": "modeling_kat.KatForImageClassification",
        "AutoModelForImageClassification": "modeling_kat.KatForImageClassification",
    }
    assert "Evil" not in (tmp_path / "config.json").read_text()
    assert config["network"]["image_size"] == [8, 12]


def test_weights_are_those_of_a_published_kat_and_load_back(tmp_path: Path) -> None:
    model = Vit()
    export_kat(model, tmp_path)
    tensors = read(tmp_path).state_dict()
    assert tuple(tensors["blocks.0.mlp.act1.weight_numerator"].shape) == (1, 6)
    again = Vit()
    for parameter in again.parameters():
        nn.init.zeros_(parameter)
    load_kat_state_dict(again, tensors)
    assert torch.equal(again(images()), model(images()))


def test_files_are_not_overwritten_unasked(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("mine")
    with pytest.raises(
        FileExistsError, match=r"config.json exists; give another folder, or overwrite=True to replace it"
    ):
        export_kat(Vit(), tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("config.json", "mine")]
    export_kat(Vit(), tmp_path, overwrite=True)
    assert read(tmp_path)(images()).shape == (2, 5)


def edited(**attributes: Any) -> Vit:
    model = Vit()
    for name, value in attributes.items():
        owner, _, last = name.replace("__", ".").rpartition(".")
        setattr(model.get_submodule(owner), last, value)
    return model


class Doubled(Vit):
    def forward(self, images: Tensor) -> Tensor:
        return 2 * super().forward(images)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(2, 2), "Linear is no Vision Transformer of timm's structure: it has no blocks; build it with timm"),
        (edited(blocks__1__mlp=nn.Identity()), r"blocks.1.mlp is a Identity, but a KAT has a qkan.GRKAN"),
        (edited(blocks__0__attn=nn.Identity()), r"blocks.0.attn is a Identity, but the file knows timm's Attention"),
        (
            edited(blocks__0__norm1=nn.RMSNorm(16)),
            r"blocks.0.norm1 is a RMSNorm, but the file knows nn.LayerNorm alone",
        ),
        (edited(reg_token=nn.Parameter(torch.ones(1))), "that the file knows: it has reg_token"),
        (edited(global_pool="map"), "global_pool 'map' is none of 'token', 'avg', ''"),
        (edited(patch_embed__proj=nn.Linear(2, 2)), "its patches are no convolution"),
        (edited(extra=nn.Linear(2, 2)), r"Vit has other parts than the file knows: Unexpected key\(s\).*extra.weight"),
        (edited(norm=nn.Sequential()), "norm is a Sequential"),
        (Doubled(), "Doubled does something that the written file does not: they give outputs that differ by"),
        (3, "model must be a torch.nn.Module, got int"),
    ],
)
def test_models_of_another_kind_are_refused(model: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        export_kat(model, tmp_path / "kat")
    assert list(tmp_path.iterdir()) == []


def test_model_keeps_its_mode_and_half_precision_is_written(tmp_path: Path) -> None:
    model = Vit().to(torch.bfloat16).train()
    export_kat(model, tmp_path)
    assert all(module.training for module in model.modules())
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    assert {tensor.dtype for tensor in read(tmp_path).state_dict().values()} == {torch.bfloat16}
    assert "transformers" not in sys.modules
