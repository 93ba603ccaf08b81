"""KArAttention, and replaced feed-forwards of 1 x 1 convolutions, in models of timm with random weights."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from qkan import HQKAN, AttentionOperator, KArAttention, replace_mlp
from qkan.replace.find_layers import Block

SMALL_VIT: dict[str, Any] = {"img_size": 8, "patch_size": 4, "embed_dim": 16, "num_heads": 2, "depth": 2}


def images(size: int = 64) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def convnext(**options: Any) -> nn.Module:
    return timm.create_model(
        "convnext_atto", conv_mlp=True, depths=(1, 1, 1, 1), dims=(8, 8, 16, 16), num_classes=5, **options
    )


def poolformer() -> nn.Module:
    return timm.create_model("poolformer_s12", num_classes=5)


def mobilevit() -> nn.Module:
    return timm.create_model("mobilevitv2_050", num_classes=5)


def twin(block: Block) -> nn.Module:
    """A copy of what a block computes."""
    parts = block.parts if isinstance(block.module, nn.Sequential) else [block.module]
    return copy.deepcopy(nn.Sequential(*parts))


@pytest.mark.parametrize(
    ("make", "count"), [(convnext, 4), (poolformer, 12), (mobilevit, 9)], ids=["convnext", "poolformer", "mobilevitv2"]
)
def test_feed_forwards_of_pixels_are_found_and_equal_ones_change_nothing(
    make: Callable[[], nn.Module], count: int
) -> None:
    torch.manual_seed(0)
    model = make().eval()
    with torch.no_grad():
        want = model(images())
        found = replace_mlp(model, twin)
        assert len(found.replaced) == count
        torch.testing.assert_close(model(images()), want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", [convnext, poolformer])
def test_hqkans_train_in_their_places(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model = make()
    found = replace_mlp(model, parameters=0.5)
    assert all(type(new) is HQKAN and new.use_conv for new in found.modules)
    model(images()).square().mean().backward()
    assert all(float(p.grad.abs().max()) > 0 for new in found.modules for p in new.parameters())


def test_a_norm_over_all_pixels_is_no_mlp_of_pixels() -> None:
    model = convnext(use_grn=True)
    for name, parameter in model.named_parameters():
        if "grn" in name:
            nn.init.ones_(parameter)  # zero at the start, so without effect
    with pytest.raises(
        ValueError, match=r"found no MLP blocks .* its 1 x 1 convolutions are stages\.0\.blocks\.0\.mlp\.fc1"
    ):
        replace_mlp(model, select=lambda name, module: "head" not in name)


@pytest.mark.parametrize("shared", [False, True])
def test_attention_of_a_vision_transformer(shared: bool) -> None:
    torch.manual_seed(0)
    operator = AttentionOperator(5, 2) if shared else None  # four patches and the class token
    options: dict[str, Any] = {"operator": operator} if shared else {"num_tokens": 5}
    model = timm.create_model(
        "vit_tiny_patch16_224", **SMALL_VIT, num_classes=3, qk_norm=True, attn_layer=KArAttention.configured(**options)
    )
    assert [type(block.attn) for block in model.blocks] == [KArAttention] * 2
    assert (model.blocks[0].attn.operator is model.blocks[1].attn.operator) is shared
    model(images(8)).square().mean().backward()
    own = [p for block in model.blocks for p in block.attn.operator.parameters()]
    assert all(float(p.grad.abs().max()) > 0 for p in own)
    with pytest.raises(ValueError, match="built for 5 tokens"):
        timm.create_model(
            "vit_tiny_patch16_224", **{**SMALL_VIT, "img_size": 16}, attn_layer=KArAttention.configured(num_tokens=5)
        )(images(16))
