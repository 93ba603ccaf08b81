"""Models whose MLPs are replaced, and what is put in their places."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qkan.replace.find_layers import Block


class MLP(nn.Module):
    """As most write it; ``form`` says how."""

    def __init__(self, form: str = "plain", d: int = 6, h: int = 14, out: int = 6) -> None:
        super().__init__()
        self.form = form
        first = {"packed": 2 * h}.get(form, h)
        self.down = nn.Linear(h, out)  # not in the order of the forward pass
        self.drop_out = nn.Dropout(0.2)
        self.up = nn.Linear(d, first, bias=form != "no bias")
        if form == "gated":
            self.gate = nn.Linear(d, h)
        self.drop = nn.Dropout(0.3)
        self.act = nn.SiLU()
        self.norm = nn.LayerNorm(h) if form == "norm" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.form == "gated":
            hidden = self.act(self.gate(x)) * self.up(x)
        elif self.form == "packed":
            a, b = self.up(x).chunk(2, -1)
            hidden = self.act(a) * b
        else:
            hidden = F.gelu(self.up(x)) if self.form == "function" else self.act(self.up(x))
        return self.drop_out(self.down(self.norm(self.drop(hidden))))


class Residual(nn.Module):
    """An MLP with a residual and a norm around it."""

    def __init__(self, mlp: nn.Module) -> None:
        super().__init__()
        self.norm, self.mlp = nn.LayerNorm(6), mlp

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mlp(self.norm(x))


def twin(block: Block) -> nn.Module:
    """A copy of what a block computes, to be put in its place."""
    module = block.module
    if isinstance(module, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
        act = {F.relu: nn.ReLU(), F.gelu: nn.GELU()}[module.activation]
        return copy.deepcopy(nn.Sequential(module.linear1, act, module.dropout, module.linear2))
    if isinstance(module, nn.Sequential):
        return copy.deepcopy(nn.Sequential(*block.parts))
    return copy.deepcopy(module)


def outputs(model: nn.Module, *inputs: Tensor, **options: Tensor) -> Tensor:
    torch.manual_seed(5)  # of dropouts
    return model(*inputs, **options)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def transformer(activation: str, norm_first: bool, decoder: bool = False) -> nn.Module:
    torch.manual_seed(3)
    options = {"dropout": 0.2, "activation": activation, "batch_first": True, "norm_first": norm_first}
    if decoder:
        return nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 20, **options), 2)
    return nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 20, **options), 2, enable_nested_tensor=not norm_first
    )


def trained_step(model: nn.Module, x: Tensor) -> list[Tensor]:
    model.zero_grad()
    model(x).square().mean().backward()
    return [parameter.grad for parameter in model.parameters()]
