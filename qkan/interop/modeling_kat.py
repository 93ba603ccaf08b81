"""A Kolmogorov-Arnold Transformer in one file: timm's Vision Transformer with rational activations in its MLPs.

Written beside ``config.json`` and ``model.safetensors`` by ``qkan.interop.export_kat``; needs torch and safetensors:

    from modeling_kat import load
    model = load(".")  # images (batch, channels, size, size) to scores (batch, classes)

or transformers: ``AutoModelForImageClassification.from_pretrained(folder, trust_remote_code=True)``.
Nothing is dropped at random; the activations are plain PyTorch (arXiv 2409.10594).
"""

import json
import math
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

try:
    from transformers import PretrainedConfig, PreTrainedModel
    from transformers.modeling_outputs import ImageClassifierOutput
except ImportError:
    PreTrainedModel = None


class Rational(nn.Module):
    """P(x) / Q(x) for each group of neighbouring channels, P = a_0 + ... + a_m x^m.

    Q = 1 + sum_j |b_j| |x|^j (``abs_terms``) or 1 + |sum_j b_j x^j| (``abs_sum``); the slope of |.| at zero is 1.
    """

    def __init__(self, groups, order, denominator, share_numerator):
        super().__init__()
        self.groups, self.denominator = groups, denominator
        self.weight_numerator = nn.Parameter(torch.zeros(1 if share_numerator else groups, order[0] + 1))
        self.weight_denominator = nn.Parameter(torch.zeros(groups, order[1]))

    def forward(self, x):
        """Apply the activations to x (..., channels)."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        u = x.to(dtype).unflatten(-1, (self.groups, -1))
        a, b = self.weight_numerator.to(dtype).unsqueeze(-1), self.weight_denominator.to(dtype).unsqueeze(-1)
        if self.denominator == "abs_terms":
            q = 1 + _magnitude(u) * _polynomial(_magnitude(b), _magnitude(u))
        else:
            q = 1 + _magnitude(u * _polynomial(b, u))
        return (_polynomial(a, u) / q).flatten(-2).to(x.dtype)


def _magnitude(x):
    return torch.where(x < 0, -x, x)


def _polynomial(coefficients, x):
    """sum_k coefficients[:, k] x^k."""
    total = coefficients[:, -1]
    for k in range(coefficients.shape[1] - 2, -1, -1):
        total = total * x + coefficients[:, k]
    return total.expand_as(x)


class Mlp(nn.Module):
    """Rational, linear, rational, norm (if there is one), linear."""

    def __init__(self, width, hidden, groups, order, denominator, share_numerator, bias, norm_eps):
        super().__init__()
        self.act1, self.act2 = (
            Rational(count, each, form, shared)
            for count, each, form, shared in zip(groups, order, denominator, share_numerator)  # noqa: B905
        )
        self.fc1, self.fc2 = nn.Linear(width, hidden, bias[0]), nn.Linear(hidden, width, bias[1])
        self.norm = nn.Identity() if norm_eps is None else nn.LayerNorm(hidden, norm_eps)

    def forward(self, x):
        """Apply the block to tokens (batch, tokens, width)."""
        return self.fc2(self.norm(self.act2(self.fc1(self.act1(x)))))


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width, heads, qkv_bias, proj_bias):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width, qkv_bias), nn.Linear(width, width, proj_bias)

    def forward(self, x):
        """Apply the attention to tokens (batch, tokens, width)."""
        parts = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(*parts.unbind()).transpose(1, 2).flatten(2))


class LayerScale(nn.Module):
    """A trained factor for every channel."""

    def __init__(self, width):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x):
        """Scale x."""
        return x * self.gamma


class Block(nn.Module):
    """Attention and MLP, each behind a norm and beside a skip connection."""

    def __init__(self, width, heads, eps, qkv_bias, proj_bias, layer_scale, mlp):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps[0]), nn.LayerNorm(width, eps[1])
        self.attn, self.mlp = Attention(width, heads, qkv_bias, proj_bias), Mlp(width, **mlp)
        self.ls1, self.ls2 = (LayerScale(width) if layer_scale else nn.Identity() for _ in range(2))

    def forward(self, x):
        """Apply the block to tokens (batch, tokens, width)."""
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class PatchEmbed(nn.Module):
    """Images to one token for each patch, row by row."""

    def __init__(self, width, channels, patch, bias):
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, patch, bias=bias)

    def forward(self, images):
        """Tokens (batch, patches, width)."""
        return self.proj(images).flatten(2).transpose(1, 2)


def _build(module, network):
    """Give a module the parts of the network that a configuration describes, under timm's names."""
    width, patch, prefix = network["width"], tuple(network["patch_size"]), network["prefix"]
    tokens = math.prod(size // part for size, part in zip(network["image_size"], patch))  # noqa: B905
    module.patch_embed = PatchEmbed(width, network["channels"], patch, network["patch_bias"])
    module.cls_token = nn.Parameter(torch.zeros(1, 1, width)) if prefix else None
    module.pos_embed = nn.Parameter(torch.zeros(1, tokens + (0 if network["no_embed_class"] else prefix), width))
    for name, eps in network["norms"].items():
        setattr(module, name, nn.Identity() if eps is None else nn.LayerNorm(width, eps))
    module.blocks = nn.Sequential(*(Block(width, **block) for block in network["blocks"]))
    module.head = nn.Linear(width, network["classes"]) if network["classes"] else nn.Identity()


def _scores(module, network, pool, images):
    """Class scores (batch, classes) of images (batch, channels, height, width)."""
    x, first = module.patch_embed(images), network["prefix"]
    if network["no_embed_class"]:
        x = x + module.pos_embed
    if first:
        x = torch.cat((module.cls_token.expand(len(x), -1, -1), x), 1)
    if not network["no_embed_class"]:
        x = x + module.pos_embed
    x = module.norm(module.blocks(module.norm_pre(x)))
    if pool != "":
        x = x[:, 0] if pool == "token" else x[:, first:].mean(1)
    return module.head(module.fc_norm(x))


class Kat(nn.Module):
    """The network without transformers: images to scores."""

    def __init__(self, network, pool):
        super().__init__()
        self.network, self.pool = network, pool
        _build(self, network)

    def forward(self, images):
        """Class scores (batch, classes) of images (batch, channels, height, width)."""
        return _scores(self, self.network, self.pool, images)


def load(folder, device="cpu"):
    """The network with its weights, in eval mode."""
    from safetensors.torch import load_file

    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    tensors = load_file(Path(folder) / "model.safetensors", device=str(device))
    model = Kat(config["network"], config["pool"])
    model.load_state_dict(tensors, assign=True)
    return model.eval()


if PreTrainedModel is not None:

    class KatConfig(PretrainedConfig):
        """Sizes of the network, as of :func:`_build`, and what is done with its tokens."""

        model_type = "kat"

        def __init__(self, network=None, pool="token", **options):
            self.network, self.pool = network, pool
            super().__init__(**options)

    class KatForImageClassification(PreTrainedModel):
        """The network as transformers knows it."""

        config_class = KatConfig
        main_input_name = "pixel_values"
        _supports_sdpa = True

        def __init__(self, config):
            super().__init__(config)
            _build(self, config.network)
            self.post_init()

        def _init_weights(self, module):
            """Keep what is loaded."""

        def forward(self, pixel_values, labels=None, **_):
            """Scores of images, and their cross entropy where labels are given."""
            logits = _scores(self, self.config.network, self.config.pool, pixel_values)
            loss = None if labels is None else F.cross_entropy(logits, labels)
            return ImageClassifierOutput(loss=loss, logits=logits)
