"""replace_mlp where an MLP is made of 1 x 1 convolutions, as in MedViT and its like."""

import copy
from collections.abc import Callable

import pytest
import torch
from replacing import count
from torch import Tensor, nn
from torch.nn import functional as F

from qkan import GRKAN, HQKAN, replace_mlp
from qkan.replace.find_layers import Block


class PixelMLP(nn.Module):
    """conv 1 x 1, activation, conv 1 x 1; ``form`` says what else."""

    def __init__(self, form: str = "plain", d: int = 8, h: int = 16) -> None:
        super().__init__()
        self.form = form
        self.conv2 = nn.Conv2d(h, d, 1)  # not in the order of the forward pass
        self.conv1 = nn.Conv2d(d, h, 1, bias=form == "plain")
        self.norm = nn.Identity() if form == "plain" else nn.BatchNorm2d(h)
        self.act, self.drop = nn.Hardswish(), nn.Dropout(0.2)
        if form == "norm behind":
            self.norm2 = nn.BatchNorm2d(d)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.act(self.norm(self.conv1(x))) if self.form != "function" else F.gelu(self.norm(self.conv1(x)))
        y = self.conv2(self.drop(hidden))
        return self.norm2(y) if self.form == "norm behind" else y


class LocalFeedForward(nn.Module):
    """MedViT's: a depthwise convolution between, so it sees other pixels."""

    def __init__(self, d: int = 8, h: int = 16) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(d, h, 1, bias=False), nn.BatchNorm2d(h), nn.ReLU6(),
            nn.Conv2d(h, h, 3, padding=1, groups=h, bias=False), nn.BatchNorm2d(h), nn.ReLU6(),
            nn.Conv2d(h, d, 1, bias=False), nn.BatchNorm2d(d),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


class MedViT(nn.Module):
    """A convolutional block, a transformer block on its pixels, and their feed-forwards."""

    def __init__(self, form: str = "norm") -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.norm1, self.norm2 = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        self.mlp1 = PixelMLP(form)
        self.qkv, self.proj = nn.Conv2d(8, 24, 1), nn.Conv2d(8, 8, 1)
        self.mlp2 = nn.Sequential(nn.Conv2d(8, 16, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 1))
        self.local, self.head = LocalFeedForward(), nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        x = x + self.mlp1(self.norm1(x))
        q, k, v = self.qkv(self.norm2(x)).flatten(2).mT.chunk(3, -1)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v).mT.reshape(x.shape))
        return self.head(self.local(x + self.mlp2(x)).mean((-2, -1)))


def images() -> Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def medvit(form: str) -> MedViT:
    torch.manual_seed(0)
    model = MedViT(form)
    model(images())  # running means of the batch norms
    return model


def twin(block: Block) -> nn.Module:
    """A copy of what a block computes."""
    if type(block.module) is nn.Sequential or block.name.endswith("conv1"):
        return copy.deepcopy(nn.Sequential(*block.parts))
    return copy.deepcopy(block.module)


FORMS = {"plain": "mlp1", "norm": "mlp1", "function": "mlp1", "norm behind": "mlp1.conv1"}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("form", "name"), FORMS.items())
def test_feed_forwards_of_pixels_are_found_and_equal_ones_change_nothing(form: str, name: str, training: bool) -> None:
    model = medvit(form).train(training)
    torch.manual_seed(5)
    want, state = model(images()), list(model.state_dict())
    found = replace_mlp(model, twin)
    # The attention, and the convolutions around one that sees other pixels, stay.
    assert [each.name for each in found.replaced] == [name, "mlp2.0"]
    torch.manual_seed(5)
    torch.testing.assert_close(model(images()), want, rtol=0, atol=1e-6)
    found.undo()
    assert list(model.state_dict()) == state


@pytest.mark.parametrize("replacement", ["hqkan", "grkan"])
@pytest.mark.parametrize("form", FORMS)
def test_replacements_take_images_and_train(form: str, replacement: str) -> None:
    model = medvit(form)
    options = {"backend": "torch"} if replacement == "grkan" else {}
    found = replace_mlp(model, replacement, parameters=2.0, **options)
    assert [type(new) for new in found.modules] == [HQKAN if replacement == "hqkan" else GRKAN] * 2
    assert all(new.use_conv for new in found.modules)
    assert all(each.new_parameters <= 2 * each.old_parameters for each in found.replaced)
    model(images()).square().mean().backward()
    assert all(float(p.grad.abs().max()) > 0 for new in found.modules for p in new.parameters())
    if form == "norm behind":
        assert type(model.mlp1.norm2) is nn.BatchNorm2d
        assert type(model.mlp1.norm) is nn.Identity


def test_sizes_bias_dropout_and_mode_are_taken_over() -> None:
    model = nn.ModuleDict({"mlp": PixelMLP("norm", 8, 20)}).double().eval()
    new = replace_mlp(model, latent_features=5).modules[0]
    assert (new.in_features, new.latent_features, new.out_features, new.use_conv) == (8, 5, 8, True)
    assert (new.drop.p, new.out_drop.p, new.training, new.encoder.bias is None) == (0.2, 0.0, False, False)
    assert model["mlp"](images()[:, :1].double().expand(2, 8, 8, 8)).shape == (2, 8, 8, 8)
    assert count(new) == 8 * 5 + 5 + 5 * 5 * 2 * 4 + 5 * 8 + 8


def strided() -> nn.Module:
    return nn.Sequential(nn.Conv2d(4, 8, 1, stride=2), nn.ReLU(), nn.Conv2d(8, 4, 1))


def grouped() -> nn.Module:
    return nn.Sequential(nn.Conv2d(4, 8, 1, groups=2), nn.ReLU(), nn.Conv2d(8, 4, 1))


def padded() -> nn.Module:
    return nn.Sequential(nn.Conv2d(4, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1, padding=1))


def pooled() -> nn.Module:
    return nn.Sequential(nn.Conv2d(4, 8, 1), nn.ReLU(), nn.AvgPool2d(3, 1, 1), nn.Conv2d(8, 4, 1))


def group_normed() -> nn.Module:
    return nn.Sequential(nn.Conv2d(4, 8, 1), nn.GroupNorm(1, 8), nn.ReLU(), nn.Conv2d(8, 4, 1))


@pytest.mark.parametrize("make", [strided, grouped, padded, pooled, group_normed, LocalFeedForward, nn.Tanh])
def test_what_sees_other_pixels_or_is_no_map_of_all_channels_stays(make: Callable[[], nn.Module]) -> None:
    model = nn.ModuleDict({"a": make(), "b": PixelMLP()})
    assert [each.name for each in replace_mlp(model).replaced] == ["b"]


class Between(PixelMLP):
    """A depthwise convolution between, beside its children."""

    def __init__(self) -> None:
        super().__init__()
        self.local = nn.Conv2d(16, 16, 3, padding=1, groups=16)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.act(self.local(self.conv1(x))))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_convolutions_of_several_pixels_are_seen_on_the_meta_device_too(device: str) -> None:
    model = nn.ModuleDict({"a": Between(), "b": PixelMLP("norm"), "c": LocalFeedForward()}).to(device)
    assert [each.name for each in replace_mlp(model).replaced] == ["b"]


def test_a_model_without_mlps_says_what_its_convolutions_lack() -> None:
    model = nn.ModuleDict({"local": LocalFeedForward(4, 8)})
    with pytest.raises(
        ValueError, match=r"its 1 x 1 convolutions are local\.conv\.0 \(Conv2d\), local\.conv\.6 .*"
    ) as e:
        replace_mlp(model)
    assert "nothing between that sees other pixels (activations, dropout, BatchNorm2d)" in str(e.value)
    with pytest.raises(ValueError, match=r"must map \(3, 8, 2, 2\) to \(3, 8, 2, 2\), but gives \(3, 9, 2, 2\)"):
        replace_mlp(nn.ModuleDict({"mlp": PixelMLP()}), lambda block: nn.Conv2d(8, 9, 1))
