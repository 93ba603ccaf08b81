"""replace_mlp and its like in models of timm and Hugging Face, with random weights."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_model
from timm.layers import GluMlp
from torch import Tensor, nn
from torchvision.models import VisionTransformer
from transformers import (
    BartConfig,
    BartModel,
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5EncoderModel,
    ViTConfig,
    ViTModel,
)

from qkan import HQKAN, replace_linear, replace_mlp
from qkan.replace.find_layers import Block

SMALL = {"num_hidden_layers": 2, "hidden_size": 16, "intermediate_size": 40, "num_attention_heads": 2}


def gpt2(**options: object) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    sizes = {"n_layer": 2, "n_embd": 16, "n_head": 2, "n_positions": 24, "vocab_size": 31}
    return GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, **options))


def ids(length: int = 7) -> dict[str, Tensor]:
    return {"input_ids": torch.arange(2 * length).reshape(2, length) % 29}


def bert() -> tuple[nn.Module, dict[str, Tensor], int]:
    return BertModel(BertConfig(vocab_size=31, **SMALL)), ids(), 2 * (2 * 16 * 40 + 40 + 16)


def llama() -> tuple[nn.Module, dict[str, Tensor], int]:
    return LlamaForCausalLM(LlamaConfig(vocab_size=31, **SMALL)), ids(), 2 * 3 * 16 * 40


def t5() -> tuple[nn.Module, dict[str, Tensor], int]:
    sizes = {"d_model": 16, "d_ff": 40, "num_layers": 2, "num_heads": 2, "d_kv": 8, "vocab_size": 31}
    return T5EncoderModel(T5Config(**sizes, feed_forward_proj="gated-gelu")), ids(), 2 * 3 * 16 * 40


def vit() -> tuple[nn.Module, dict[str, Tensor], int]:
    pixels = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    model = ViTModel(ViTConfig(image_size=8, patch_size=4, **SMALL), add_pooling_layer=False)
    return model, {"pixel_values": pixels}, 2 * (2 * 16 * 40 + 40 + 16)


def gpt() -> tuple[nn.Module, dict[str, Tensor], int]:
    return gpt2(), ids(), 2 * (2 * 16 * 64 + 64 + 16)


def timm_vit() -> tuple[nn.Module, dict[str, Tensor], int]:
    options = {"img_size": 8, "patch_size": 4, "embed_dim": 16, "num_heads": 2, "depth": 2, "num_classes": 5}
    model = timm.create_model("vit_tiny_patch16_224", proj_drop_rate=0.1, **options)
    return model, {"x": torch.randn(2, 3, 8, 8)}, 2 * (2 * 16 * 64 + 64 + 16)


def timm_eva() -> tuple[nn.Module, dict[str, Tensor], int]:
    """SwiGLU: a gated MLP with a norm within."""
    options = {"img_size": 8, "patch_size": 4, "embed_dim": 16, "num_heads": 2, "depth": 2, "num_classes": 5}
    model = timm.create_model("eva02_tiny_patch14_224", **options)
    mlp = model.blocks[0].mlp
    return model, {"x": torch.randn(2, 3, 8, 8)}, 2 * sum(each.numel() for each in mlp.parameters())


def torchvision_vit() -> tuple[nn.Module, dict[str, Tensor], int]:
    """MLPBlock: a Sequential with a dropout behind its last linear map, which stays."""
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 40, "num_classes": 5, "dropout": 0.1}
    model = VisionTransformer(image_size=8, patch_size=4, **sizes)
    nn.init.normal_(model.heads.head.weight)  # zero at the start
    return model, {"x": torch.randn(2, 3, 8, 8)}, 2 * (2 * 16 * 40 + 40 + 16)


MODELS = [gpt, bert, llama, t5, vit, timm_vit, timm_eva, torchvision_vit]


def outputs(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    torch.manual_seed(5)  # of dropouts
    found = model(**inputs)
    return found if isinstance(found, Tensor) else found[0]


def twin(block: Block) -> nn.Module:
    """A copy of what a block computes."""
    if block.kind in ("BertLayer", "MLPBlock"):
        return copy.deepcopy(nn.Sequential(*block.parts))
    return copy.deepcopy(block.module)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("make", MODELS)
def test_every_mlp_is_found_and_an_equal_one_changes_nothing(
    make: Callable[[], tuple[nn.Module, dict[str, Tensor], int]], training: bool
) -> None:
    torch.manual_seed(0)
    model, inputs, parameters = make()
    model.train(training)
    want, names = outputs(model, inputs), [name for name, _ in model.named_parameters()]
    found = replace_mlp(model, twin)
    assert len(found.replaced) == 2
    assert sum(each.old_parameters for each in found.replaced) == parameters
    assert found.change == 0
    torch.testing.assert_close(outputs(model, inputs), want, rtol=0, atol=1e-6)
    found.undo()
    assert [name for name, _ in model.named_parameters()] == names
    assert torch.equal(outputs(model, inputs), want)


@pytest.mark.parametrize("make", MODELS)
def test_hqkans_train_in_their_places(make: Callable[[], tuple[nn.Module, dict[str, Tensor], int]]) -> None:
    torch.manual_seed(0)
    model, inputs, parameters = make()
    found = replace_mlp(model, parameters=0.25)
    assert all(type(new) is HQKAN for new in found.modules)
    assert 0.2 * parameters < sum(each.new_parameters for each in found.replaced) <= 0.25 * parameters
    outputs(model, inputs).square().mean().backward()
    for new in found.modules:
        assert all(float(parameter.grad.abs().max()) > 0 for parameter in new.parameters())


@pytest.mark.parametrize("gate_last", [True, False])
def test_a_gate_from_one_linear_map_is_found(gate_last: bool) -> None:
    model, x = nn.ModuleDict({"mlp": GluMlp(6, 20, 5, drop=0.1, gate_last=gate_last)}), torch.randn(3, 6)
    want = model["mlp"].eval()(x)
    with replace_mlp(model, twin):
        assert torch.equal(model["mlp"](x), want)
    new = replace_mlp(model).modules[0]
    assert (new.in_features, new.out_features, new.drop.p, new.out_drop.p) == (6, 5, 0.1, 0.1)


def test_linear_maps_beside_an_attention_are_not_found() -> None:
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 31}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 40, "decoder_ffn_dim": 40}
    with pytest.raises(ValueError, match=r"no MLP blocks in BartModel; its linear maps are encoder\.layers\.0\.self"):
        replace_mlp(BartModel(BartConfig(**sizes, **heads)))


def test_dropouts_of_gpt2_and_bert() -> None:
    model = gpt2(resid_pdrop=0.3)
    new = replace_mlp(model).modules[0]
    assert (new.drop.p, new.out_drop.p) == (0.0, 0.3)
    # The output module of BERT keeps its own.
    layer = BertModel(BertConfig(vocab_size=31, hidden_dropout_prob=0.3, **SMALL))
    found = replace_mlp(layer)
    assert found.replaced[0].name == "encoder.layer.0.intermediate"
    assert (found.modules[0].drop.p, found.modules[0].out_drop.p) == (0.0, 0.0)


def test_gpt2_generates_and_comes_back_from_disk(tmp_path: Path) -> None:
    model = gpt2().eval()
    replace_mlp(model, latent_features=3)
    prompt = ids(4)["input_ids"]
    written = model.generate(prompt, max_new_tokens=6, do_sample=False)
    assert written.shape == (2, 10)
    # With a cache, token by token, as in one pass.
    step_by_step = model(written[:, :-1]).logits[:, 3:].argmax(-1)
    assert torch.equal(step_by_step, written[:, 4:])
    model.save_pretrained(tmp_path)
    fresh = GPT2LMHeadModel(GPT2Config.from_pretrained(tmp_path)).eval()
    replace_mlp(fresh, latent_features=3)
    assert load_model(fresh, tmp_path / "model.safetensors") == (set(), [])
    assert torch.equal(fresh(**ids()).logits, model(**ids()).logits)


def test_conv1ds_are_linear_maps_and_the_tied_head_is_refused() -> None:
    model = gpt2()
    with pytest.raises(ValueError, match=r"cannot replace lm_head \(Linear\).*weight is tied to transformer\.wte"):
        replace_linear(model, select=lambda name, module: True)
    found = replace_linear(model, "hqkan", latent_features=2, select=lambda name, module: name.endswith("c_attn"))
    assert [(each.name, each.kind) for each in found.replaced] == [
        ("transformer.h.0.attn.c_attn", "Conv1D"),
        ("transformer.h.1.attn.c_attn", "Conv1D"),
    ]
    assert (found.modules[0].in_features, found.modules[0].out_features) == (16, 48)
    assert model(**ids()).logits.shape == (2, 7, 31)


def test_what_select_left_is_listed() -> None:
    with pytest.raises(ValueError, match=r"transformer\.h\.0\.mlp \(GPT2MLP\), transformer\.h\.1\.mlp \(GPT2MLP\)"):
        replace_mlp(gpt2(), select=lambda name, module: "fc" in name)
