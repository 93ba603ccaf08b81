"""Put adapters into the linear layers of a model, merge them into the weights, or take them out again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from qkan.adapters.adapter import Adapter, adapters_of
from qkan.adapters.circuit_lora import CircuitLoRA
from qkan.adapters.nonlinear_lora import NonlinearLoRA
from qkan.layers.options import positive_int
from qkan.replace.find_layers import Block, find_linears, places_of
from qkan.replace.swap import Replacements, choose, swap_all

Target = str | Iterable[str] | Callable[[str, nn.Module], bool]
MakeAdapter = str | Callable[[nn.Module, int], Adapter]

#: What ``adapter`` names.
KINDS: dict[str, type[Adapter]] = {"circuit": CircuitLoRA, "nonlinear": NonlinearLoRA}
#: The attribute of a model that holds what was added to it.
_ADDED = "_qkan_adapters"


@dataclass
class _Added:
    """One call of :func:`add_adapters`: what it replaced, and the parameters that it froze."""

    report: Replacements
    frozen: list[nn.Parameter]


def add_adapters(
    model: nn.Module, rank: int, target: Target, adapter: MakeAdapter = "circuit", **options: Any
) -> Replacements:
    """Put adapters into linear layers of a model, in place, and freeze everything but adapters.

    The outputs stay as they are until the adapters are trained; the weights of the model are not touched. Parameters to
    be trained beside the adapters, a new head say, get ``requires_grad_(True)`` afterwards.

    Args:
        model: any module with nn.Linear or Hugging Face's Conv1D layers below it.
        rank: of every change, from 1 to the smaller size of the weight.
        target: which layers: a name as of ``model.named_modules()``, else the last parts of names (``"q_proj"``) or a
            pattern with ``*`` (``"blocks.*.mlp.*"``, ``"*"`` for all); several of these; or a function of name and
            module.
        adapter: ``"circuit"`` (:class:`qkan.CircuitLoRA`), ``"nonlinear"`` (:class:`qkan.NonlinearLoRA`), or a function
            from a layer and the rank to a :class:`qkan.adapters.Adapter`.
        options: keyword options of the adapter.

    Returns:
        what was adapted: print it for a table; :func:`remove_adapters` takes it back.

    Raises:
        ValueError: a target that matches no layer, with what there is; a layer that cannot be adapted (it has an
            adapter, its weight is tied or quantised, hooks, parametrizations, ``out_proj`` of nn.MultiheadAttention);
            a rank or option outside its range. The model is as before then.
        TypeError: arguments of another type, an option that the adapter does not have.

    Examples:
        >>> from torch import nn
        >>> from qkan import add_adapters
        >>> model = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 4))
        >>> report = add_adapters(model, 2, ["0", "2"])
        >>> [name for name, p in model.named_parameters() if p.requires_grad]
        ['0.lora_a', '0.lora_b', '2.lora_a', '2.lora_b']
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    positive_int("rank", rank)
    build, found = _builder(adapter, options), _adaptable(model)
    taken = {name: module.base for name, module in adapters_of(model).items()}
    wanted = _selector(target, {*taken, *(block.name for block in found)})
    _refuse_twice([name for name, layer in taken.items() if wanted(name, layer)])
    blocks = choose(model, found, wanted, "linear layers", asked="target", verb="adapt")
    for block in blocks:
        limit = min(block.in_features, block.out_features)
        if rank > limit:
            size = f"{block.out_features} x {block.in_features}"
            raise ValueError(
                f"rank {rank} is outside [1, {limit}] of {block.name} ({size}); lower it, or leave that layer out of "
                "target"
            )
    others = [p for one in adapters_of(model).values() for p in one.new_parameters().values()]
    trained = {id(p): p for p in others if p.requires_grad}

    def make(block: Block, *_: Any) -> nn.Module:
        made = build(block.module, rank)
        trained.update((id(p), p) for p in made.new_parameters().values() if p.requires_grad)
        return made

    report = swap_all(model, blocks, make)
    frozen = [p for p in model.parameters() if p.requires_grad and id(p) not in trained]
    for parameter in frozen:
        parameter.requires_grad_(False)
    for parameter in trained.values():  # also where the layer was frozen before
        parameter.requires_grad_(True)
    model.__dict__.setdefault(_ADDED, []).append(_Added(report, frozen))
    return report


def merge_adapters(model: nn.Module) -> None:
    """Add every change to the weight of its layer and take the adapters out: the model is a plain one again, in place.

    Outputs in eval mode stay the same to the last digit on the CPU. What was frozen gets its ``requires_grad`` back.

    Args:
        model: to which adapters were added, or a module around it.

    Raises:
        ValueError: no adapters (none added, or merged already), or one that cannot be merged; nothing is changed then.

    Examples:
        >>> from torch import nn
        >>> from qkan import add_adapters, merge_adapters
        >>> model = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 4))
        >>> report = add_adapters(model, 2, "0")
        >>> merge_adapters(model)
        >>> type(model[0]).__name__
        'Linear'
    """
    found = adapters_of(model, "merge")
    for name, one in found.items():
        if type(one).weight_change is Adapter.weight_change:
            try:
                one.weight_change()
            except ValueError as error:
                raise ValueError(f"cannot merge {name}: {error}") from None
    remove_adapters(model)
    with torch.no_grad():
        for one in found.values():
            one.base.weight.copy_(one.weight)


def remove_adapters(model: nn.Module) -> None:
    """Take the adapters out: the very layers and weights that stood there, bit for bit, trained as before.

    Args:
        model: to which adapters were added, or a module around it.

    Raises:
        ValueError: no adapters: none added, or merged or removed already.
        RuntimeError: a layer with an adapter was replaced by something else meanwhile.

    Examples:
        >>> from torch import nn
        >>> from qkan import add_adapters, remove_adapters
        >>> model = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 4))
        >>> report = add_adapters(model, 2, "*", "nonlinear", latent="spline")
        >>> remove_adapters(model)
        >>> all(p.requires_grad for p in model.parameters())
        True
    """
    adapters_of(model, "remove")
    for module in list(model.modules()):
        for added in reversed(module.__dict__.get(_ADDED, [])):
            if not added.report._undone:
                added.report.undo()
            for parameter in added.frozen:
                parameter.requires_grad_(True)
        module.__dict__.pop(_ADDED, None)
    places = places_of(model)  # of adapters that add_adapters did not put there
    for one in adapters_of(model).values():
        for parent, name in places[id(one)]:
            setattr(parent, name, one.base)


def _refuse_twice(names: list[str]) -> None:
    if names:
        raise ValueError(
            f"cannot adapt {names[0]}: it has an adapter already; leave it out of target, or call "
            "qkan.merge_adapters or qkan.remove_adapters first"
        )


def _adaptable(model: nn.Module) -> list[Block]:
    """The linear layers, with a remedy for a model that is one itself."""
    whole = "it is the whole model and has no parent to stand in; build qkan.CircuitLoRA(model, rank) around it"
    return [block if block.name else dataclasses.replace(block, refusal=whole) for block in find_linears(model)]


def _selector(target: Target, known: set[str]) -> Callable[[str, nn.Module], bool]:
    """A function of name and module that tells what is to be adapted; ``known`` are names of linear layers.

    Raises:
        TypeError: none of what ``target`` may be.
    """
    if callable(target):
        return target
    patterns = [target] if isinstance(target, str) else list(target) if isinstance(target, Iterable) else []
    if not patterns or not all(isinstance(each, str) for each in patterns):
        raise TypeError(
            f"target must be a name or pattern, several of them, or a function of name and module, got {target!r}"
        )
    exact, ends = known.intersection(patterns), [each for each in patterns if each not in known]
    return lambda name, module: (
        name in exact or any(fnmatchcase(name, each) or fnmatchcase(name, f"*.{each}") for each in ends)
    )


def _builder(adapter: MakeAdapter, options: dict[str, Any]) -> Callable[[nn.Module, int], Adapter]:
    if isinstance(adapter, str):
        if adapter not in KINDS:
            raise ValueError(f"unknown adapter {adapter!r}; use {', '.join(map(repr, KINDS))} or a function")
        return lambda layer, rank: KINDS[adapter](layer, rank, **options)
    if isinstance(adapter, nn.Module) or not callable(adapter):
        raise TypeError(
            f"adapter must be {', '.join(map(repr, KINDS))} or a function of a layer and the rank, got "
            f"{type(adapter).__name__}"
        )
    if options:
        raise TypeError(f"{next(iter(options))} has no effect on a function as adapter; let the function see to it")

    def made(layer: nn.Module, rank: int) -> Adapter:
        new = adapter(layer, rank)
        if not isinstance(new, Adapter) or new.base is not layer:
            raise TypeError(f"adapter must return a qkan.adapters.Adapter of the layer, got {type(new).__name__}")
        return new

    return made
