"""GRKAN and HQKAN as the MLPs of timm's Vision Transformers, and published KAT checkpoints in them."""

import inspect
import math
from functools import partial

import pytest
import timm
import torch
from timm.layers import Mlp
from torch import Tensor, nn

from qkan import GRKAN, HQKAN, load_kat_state_dict

TINY = "vit_tiny_patch16_224"
#: Trained numbers of one activation of the published KAT: a shared numerator, a denominator for each of 8 groups.
RATIONAL = 6 + 8 * 4


def images(count: int = 2, size: int = 224, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0)).to(dtype)


def numbers(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("block", [GRKAN, HQKAN])
def test_arguments_are_those_of_timms_mlp(block: type[nn.Module]) -> None:
    theirs = [name for name in inspect.signature(Mlp).parameters if name not in ("use_conv", "device", "dtype")]
    assert [*inspect.signature(block).parameters][: len(theirs)] == theirs


def test_vit_tiny_is_trained_with_gr_kans() -> None:
    torch.manual_seed(0)
    model, plain = timm.create_model(TINY, mlp_layer=GRKAN), timm.create_model(TINY)
    assert numbers(model) == numbers(plain) + 12 * 2 * RATIONAL
    scores = model(images())
    assert scores.shape == (2, 1000)
    nn.functional.cross_entropy(scores, torch.tensor([3, 7])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_timms_own_initialisation_leaves_that_of_gr_kans() -> None:
    """timm draws every nn.Linear with standard deviation 0.02; a GRKAN keeps the variance."""
    mlp = timm.create_model(TINY, mlp_layer=GRKAN, depth=1).blocks[0].mlp
    assert mlp.fc1.weight.std().item() == pytest.approx(1 / math.sqrt(192), rel=0.01)
    x = torch.randn(4000, 192)
    assert mlp(x).var().item() == pytest.approx(1.0, rel=0.1)


def test_timms_own_initialisation_leaves_that_of_hqkans() -> None:
    mlp = timm.create_model(TINY, mlp_layer=HQKAN, mlp_ratio=0.053, depth=1).blocks[0].mlp
    assert mlp.encoder.weight.abs().max().item() == pytest.approx(1 / math.sqrt(192), rel=0.02)
    assert mlp.decoder.weight.abs().max().item() == pytest.approx(1 / math.sqrt(10), rel=0.02)


def test_vit_tiny_is_trained_with_hqkans() -> None:
    """A latent of ceil(log2 192) features and more is 0.053 times as wide as the network."""
    torch.manual_seed(0)
    model = timm.create_model(TINY, mlp_layer=partial(HQKAN, reps=2), mlp_ratio=0.053, depth=2, num_classes=5)
    assert model.blocks[0].mlp.latent_features == 10
    scores = model(images())
    scores.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name  # type: ignore[arg-type]
        assert parameter.grad.abs().max() > 0, name  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "options",
    [
        {"proj_drop_rate": 0.1},
        {"drop_path_rate": 0.2},
        {"proj_bias": False},
        {"scale_mlp_norm": True},
        {"act_layer": "silu"},
        {"init_values": 1e-5},
        {"img_size": 64, "dynamic_img_size": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("block", [GRKAN, HQKAN])
def test_options_of_timm_reach_the_block(block: type[nn.Module], options: dict[str, object]) -> None:
    ratio = 4.0 if block is GRKAN else 0.053
    model = timm.create_model(TINY, mlp_layer=block, mlp_ratio=ratio, depth=1, num_classes=3, **options)
    mlp = model.blocks[0].mlp
    drops = [module.p for module in mlp.modules() if isinstance(module, nn.Dropout)]
    assert set(drops) == {options.get("proj_drop_rate", 0.0)}
    assert isinstance(mlp.norm, nn.LayerNorm) == ("scale_mlp_norm" in options)
    last = mlp.fc2 if block is GRKAN else mlp.decoder
    assert (last.bias is None) == ("proj_bias" in options)
    if block is GRKAN:
        assert mlp.act2.init == ("silu" if "act_layer" in options else "gelu")
    assert torch.isfinite(model(images(size=int(options.get("img_size", 224))))).all()  # type: ignore[call-overload]


def test_autocast_and_half_precision() -> None:
    torch.manual_seed(0)
    model = timm.create_model(TINY, mlp_layer=GRKAN, depth=2, num_classes=7).eval()
    with torch.no_grad():
        exact = model(images())
        with torch.autocast("cpu", torch.bfloat16):
            mixed = model(images())
        narrow = model.to(torch.bfloat16)(images(dtype=torch.bfloat16))
    scale = exact.std().item()
    assert (mixed - exact).abs().max().item() < 0.1 * scale
    assert (narrow.float() - exact).abs().max().item() < 0.2 * scale


def test_model_is_built_on_the_meta_device_and_in_another_dtype() -> None:
    assert timm.create_model(TINY, mlp_layer=GRKAN, depth=1, device="meta").blocks[0].mlp.fc1.weight.is_meta
    mlp = timm.create_model(TINY, mlp_layer=GRKAN, depth=1, scale_mlp_norm=True, dtype=torch.float64).blocks[0].mlp
    assert {parameter.dtype for parameter in mlp.parameters()} == {torch.float64}


def test_groups_that_do_not_divide_the_tokens_of_a_mixer_are_named() -> None:
    with pytest.raises(ValueError, match="num_groups 8 does not divide channels 49; use one of"):
        timm.create_model("mixer_s32_224", mlp_layer=GRKAN)


class KATMlp(nn.Module):
    """The published block in plain operations, with the published names."""

    def __init__(self, in_features: int, hidden_features: int, **_: object) -> None:
        super().__init__()
        self.act1, self.act2 = KATActivation(), KATActivation()
        self.fc1, self.fc2 = nn.Linear(in_features, hidden_features), nn.Linear(hidden_features, in_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act2(self.fc1(self.act1(x))))


class KATActivation(nn.Module):
    """P(x) / (1 + |b_1 x| + ... + |b_4 x^4|)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight_numerator = nn.Parameter(torch.randn(1, 6))
        self.weight_denominator = nn.Parameter(torch.randn(8, 4))

    def forward(self, x: Tensor) -> Tensor:
        b = self.weight_denominator.repeat_interleave(x.shape[-1] // 8, 0)
        p = sum(a * x**k for k, a in enumerate(self.weight_numerator[0]))
        return p / (1 + sum((b[:, j - 1] * x**j).abs() for j in range(1, 5)))


@pytest.mark.parametrize("name", [TINY, "vit_small_patch16_224"])
def test_kat_checkpoint_gives_its_scores(name: str) -> None:
    torch.manual_seed(0)
    published = timm.create_model(name, mlp_layer=KATMlp, depth=3, num_classes=11).double().eval()
    ours = timm.create_model(name, mlp_layer=GRKAN, depth=3, num_classes=11).double().eval()
    assert load_kat_state_dict(ours, {"state_dict": published.state_dict(), "epoch": 300}) == ([], [])
    x = images(dtype=torch.float64)
    with torch.no_grad():
        want = published(x)
        torch.testing.assert_close(ours(x), want, rtol=1e-9, atol=1e-9 * want.abs().max().item())


def test_kat_checkpoint_of_another_size_is_refused() -> None:
    published = timm.create_model(TINY, mlp_layer=KATMlp, depth=2)
    ours = timm.create_model(TINY, mlp_layer=GRKAN, depth=1)
    with pytest.raises(RuntimeError, match=r"Unexpected key\(s\) in state_dict: .*blocks\.1\.mlp\.act1"):
        load_kat_state_dict(ours, published.state_dict())
