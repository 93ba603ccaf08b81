"""What can be replaced in a model: linear maps and recurrent layers. :mod:`qkan.replace.find_mlps` finds MLPs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from qkan._util.linear_maps import kind, linears_of, pixel_maps_of
from qkan.adapters.adapter import Adapter
from qkan.kan.jhcg import JHCGNet
from qkan.kan.network import QKAN
from qkan.layers.qkan_layer import QKANLayer
from qkan.layers.rational import GRKAN
from qkan.rnn.lstm import Recurrent

#: Stands for the replacement among the values of :class:`Change`.
NEW = object()

_OURS = (Adapter, JHCGNet, GRKAN, QKAN, QKANLayer, Recurrent)
Places = dict[int, list[tuple[nn.Module, str]]]


@dataclass(frozen=True)
class Change:
    """An attribute of a module that a replacement sets: to a module, a plain value, or :data:`NEW`."""

    owner: nn.Module
    attribute: str
    value: Any


@dataclass(frozen=True)
class Block:
    """Something that can be replaced.

    Attributes:
        name: where the replacement will stand, as ``model.get_submodule`` takes it.
        module: the block, or what holds its parts: a Sequential, a transformer layer.
        parts: the modules that the replacement puts out of work.
        in_features, hidden_features, out_features: sizes; of several hidden layers the widest counts.
        changes: what a replacement sets.
        drop: dropout probabilities within: in front of the last linear map, and behind it.
        activation: the class name of the activation, None if it is a function.
        refusal: why it cannot be replaced at all, None if nothing is known yet.
        pixels: whether it maps the pixels of (batch, features, height, width) in place of (..., features).

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from qkan import replace_mlp
        >>> def lowrank(block):
        ...     return nn.Sequential(nn.Linear(block.in_features, 2), nn.Linear(2, block.out_features))
        >>> model = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 4))
        >>> report = replace_mlp(model, lowrank)
        >>> model(torch.rand(3, 16)).shape
        torch.Size([3, 4])
    """

    name: str
    module: nn.Module
    parts: tuple[nn.Module, ...]
    in_features: int
    hidden_features: int
    out_features: int
    changes: tuple[Change, ...]
    drop: tuple[float, float] = (0.0, 0.0)
    activation: str | None = None
    refusal: str | None = None
    pixels: bool = False

    @property
    def kind(self) -> str:
        """The class of ``module``."""
        return kind(self.module)

    @property
    def bias(self) -> bool:
        """Whether its linear maps have one."""
        if isinstance(self.module, nn.RNNBase):
            return self.module.bias
        maps_of = pixel_maps_of if self.pixels else linears_of
        linears = maps_of(each for part in self.parts for each in part.modules())
        return any(getattr(each.module, "bias", None) is not None for each in linears)


def places_of(model: nn.Module) -> Places:
    """Where every module hangs, by its id: its parents, and its name in each; a shared module has several places."""
    found: Places = defaultdict(list)
    for parent in model.modules():
        for name, child in parent._modules.items():
            if child is not None:
                found[id(child)].append((parent, name))
    return found


def search(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """As ``model.named_modules()``, but for layers of this package and all within them: they are replacements."""
    ours: set[int] = set()
    for name, module in model.named_modules():
        if id(module) not in ours and isinstance(module, _OURS):
            ours |= {id(each) for each in module.modules()}
        if id(module) not in ours:
            yield name, module


def find_linears(model: nn.Module) -> list[Block]:
    """The linear maps of a model."""
    places, found = places_of(model), []
    for name, module in search(model):
        for _, inputs, outputs in linears_of([module]):
            changes, refusal = swap(module, places), None
            for owner, _ in places[id(module)]:
                changes += slow_path(owner, places)
                if isinstance(owner, nn.MultiheadAttention):
                    refusal = "nn.MultiheadAttention reads the weight of its out_proj itself; leave it out"
            found.append(Block(name, module, (module,), inputs, 0, outputs, changes, refusal=refusal))
    return found


def find_recurrent(model: nn.Module) -> list[Block]:
    """The recurrent layers nn.LSTM, nn.GRU and nn.RNN of a model."""
    places, found = places_of(model), []
    for name, module in search(model):
        if isinstance(module, nn.RNNBase):
            plain = module.mode.startswith("RNN")
            refusal = "there is no QKAN counterpart of nn.RNN; leave it out" if plain else None
            width = (2 if module.bidirectional else 1) * (module.proj_size or module.hidden_size)
            sizes = (module.input_size, module.hidden_size, width)
            found.append(Block(name, module, (module,), *sizes, swap(module, places), refusal=refusal))
    return found


def swap(module: nn.Module, places: Places, value: object = NEW) -> tuple[Change, ...]:
    """The replacement (or another value) at all places of a module; nothing for the model itself, which has none."""
    return tuple(Change(owner, attribute, value) for owner, attribute in places[id(module)])


def slow_path(layer: nn.Module, places: Places) -> tuple[Change, ...]:
    """Keep a transformer layer and its encoder from PyTorch's fused evaluation, which reads the weights of linear1.

    The encoder must not make a nested tensor of a padded batch either, which only the fused evaluation takes.
    """
    if not isinstance(layer, nn.TransformerEncoderLayer):
        return ()
    changes = [Change(layer, "activation_relu_or_gelu", 0)]
    for stack, _ in places[id(layer)]:
        changes += [
            Change(encoder, "use_nested_tensor", False)
            for encoder, _ in places[id(stack)]
            if isinstance(encoder, nn.TransformerEncoder)
        ]
    return tuple(changes)
