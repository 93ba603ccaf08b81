"""KAT models of timm as folders that transformers loads with ``trust_remote_code``, without network."""

from functools import partial
from pathlib import Path

import pytest
import timm
import torch
from transformers import AutoModelForImageClassification

from qkan import GRKAN
from qkan.interop import export_kat


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"global_pool": "avg", "init_values": 1e-2, "scale_mlp_norm": True, "class_token": False},
        {
            "mlp_layer": partial(GRKAN, order=(3, 2), denominator="abs_sum", share_numerator=False),
            "no_embed_class": True,
        },
    ],
    ids=str,
)
def test_transformers_loads_what_timm_trained(
    options: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    torch.manual_seed(0)
    sizes = {"img_size": 32, "depth": 2, "num_classes": 7, "embed_dim": 32, "num_heads": 2, "mlp_layer": GRKAN}
    model = timm.create_model("vit_tiny_patch16_224", **(sizes | options)).eval()
    export_kat(model, tmp_path / "kat")
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path / "kat", trust_remote_code=True)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(loaded(images).logits, model(images), rtol=1e-6, atol=1e-6)
    loss = loaded(images, labels=torch.tensor([1, 2])).loss
    loss.backward()
    assert all(parameter.grad is not None for parameter in loaded.parameters())
    loaded.save_pretrained(tmp_path / "again")
    again = AutoModelForImageClassification.from_pretrained(tmp_path / "again", trust_remote_code=True)
    torch.testing.assert_close(again(images).logits, loaded(images).logits, rtol=0, atol=0)
