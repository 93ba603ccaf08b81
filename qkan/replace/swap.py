"""Put replacements in the places of blocks, refuse what cannot be replaced, report it and undo it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from qkan._util.linear_maps import Linear, kind, linears_of, pixel_maps_of
from qkan.replace.find_layers import NEW, Block, Change, Places, places_of
from qkan.replace.trace import evaluating, numbers

_ABSENT = object()
_LISTED = 12  # of what an error lists


@dataclass(frozen=True)
class Replaced:
    """One block that was replaced.

    Attributes:
        name: where the replacement stands, as ``model.get_submodule`` takes it.
        kind: class of what stood there, or of the layer whose parts they were.
        module: the replacement.
        old_parameters, new_parameters: how many numbers, trained or not.

    Examples:
        >>> from torch import nn
        >>> from qkan import replace_mlp
        >>> model = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 4))
        >>> (one,) = replace_mlp(model, latent_features=3).replaced
        >>> one.old_parameters, one.new_parameters
        (1348, 139)
    """

    name: str
    kind: str
    module: nn.Module
    old_parameters: int
    new_parameters: int


@dataclass(frozen=True)
class _Setting:
    """A change that was made: the value before, the value set, and the training mode of a module that was set."""

    change: Change
    old: Any
    new: Any
    training: bool | None


@dataclass
class Replacements:
    """What was replaced in a model: a table when printed; :meth:`undo` takes it back, and so does leaving a ``with``.

    Attributes:
        replaced: the blocks, in the order of the model's modules.
        model_before, model_after: parameters of the whole model, shared ones counted once.

    Examples:
        >>> from torch import nn
        >>> from qkan import replace_mlp
        >>> model = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 4))
        >>> report = replace_mlp(model)
        >>> len(report.replaced), report.change < 0
        (1, True)
        >>> report.undo()
    """

    replaced: tuple[Replaced, ...]
    model_before: int
    model_after: int
    _settings: list[_Setting] = field(repr=False)
    _undone: bool = field(default=False, repr=False)

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """The replacements."""
        return tuple(each.module for each in self.replaced)

    @property
    def change(self) -> int:
        """How many parameters more the model has."""
        return self.model_after - self.model_before

    def undo(self) -> None:
        """Put back the very modules that stood there; if the training mode was changed meanwhile, in the new one.

        They were not touched since: a model that moved to another device meanwhile must be moved again.

        Raises:
            RuntimeError: it was undone before, or one of the places holds something else by now.
        """
        if self._undone:
            raise RuntimeError("these replacements are undone already; call replace_mlp or its like again")
        for each in self._settings:
            if _get(each.change) != each.new:
                what = f"{each.change.attribute} of {type(each.change.owner).__name__}"
                raise RuntimeError(
                    f"{what} holds something else by now, so it cannot be put back; undo later replacements first"
                )
        for each in reversed(self._settings):
            _set(each.change.owner, each.change.attribute, each.old)
            if isinstance(each.old, nn.Module) and each.new.training != each.training:
                each.old.train(each.new.training)
        self._undone = True

    def __enter__(self) -> Replacements:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._undone:
            self.undo()

    def __str__(self) -> str:
        import pandas as pd

        head = ("block", "was", "is", "parameters before", "after")
        rows = [
            (each.name, each.kind, type(each.module).__name__, f"{each.old_parameters:,}", f"{each.new_parameters:,}")
            for each in self.replaced
        ]
        rows.append(("whole model", "", "", f"{self.model_before:,}", f"{self.model_after:,}"))
        sides = ("left", "left", "left", "right", "right")
        table = pd.DataFrame(rows, columns=list(head))
        return table.to_markdown(index=False, tablefmt="plain", disable_numparse=True, colalign=sides)


def parameters_of(*modules: nn.Module) -> int:
    """Numbers in the parameters of modules, shared ones once."""
    found = {id(parameter): parameter.numel() for module in modules for parameter in module.parameters()}
    return sum(found.values())


def choose(
    model: nn.Module,
    found: Sequence[Block],
    select: Callable[[str, nn.Module], bool] | None,
    what: str,
    *,
    asked: str = "select",
    verb: str = "replace",
) -> list[Block]:
    """The blocks that ``select(name, module)`` wants; all without it. Errors call it ``asked`` and say ``verb``.

    Raises:
        ValueError: none, with what there is; or one that cannot be replaced, with the reason.
    """
    chosen = [block for block in found if select is None or select(block.name, block.module)]
    if not chosen:
        if found:
            raise ValueError(f"{asked} wants none of the {what} found: {_listing(found)}; change {asked}")
        raise ValueError(f"found no {what} in {type(model).__name__}; {_rest(model, what)}")
    places, owners = places_of(model), _owners(model)
    for block in chosen:
        reason = block.refusal or _reason(block, places, owners)
        if reason is not None:
            raise ValueError(f"cannot {verb} {block.name or 'the model'} ({block.kind}): {reason}")
    return chosen


def _rest(model: nn.Module, what: str) -> str:
    """What a model has where nothing was found."""

    def those(maps_of: Callable[[Iterable[nn.Module]], list[Linear]]) -> str:
        return _shortened([_described(name, kind(each)) for name, each in model.named_modules() if maps_of([each])])

    linears, convolutions = those(linears_of), those(pixel_maps_of) if what == "MLP blocks" else ""
    rest = f"its linear maps are {linears}" if linears else "it has no linear maps either"
    if not convolutions:
        return rest
    return (
        f"{rest}; its 1 x 1 convolutions are {convolutions}, and an MLP of pixels is two of them with nothing between "
        "that sees other pixels (activations, dropout, BatchNorm2d)"
    )


def _listing(found: Sequence[Block]) -> str:
    return _shortened([_described(block.name, block.kind) for block in found])


def _described(name: str, kind: str) -> str:
    return f"{name or 'the model itself'} ({kind})"


def _shortened(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _LISTED} more" if len(texts) > _LISTED else ""
    return ", ".join(texts[:_LISTED]) + more


def _owners(model: nn.Module) -> dict[int, list[tuple[nn.Module, str]]]:
    """Which modules hold a parameter, by its id, with its full name."""
    found: dict[int, list[tuple[nn.Module, str]]] = {}
    for prefix, module in model.named_modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                found.setdefault(id(parameter), []).append((module, f"{prefix}.{name}" if prefix else name))
    return found


def _reason(block: Block, places: Places, owners: dict[int, list[tuple[nn.Module, str]]]) -> str | None:
    """Why a block cannot be replaced, with the fix; None if it can."""
    if not any(change.value is NEW for change in block.changes):
        return "it is the whole model and has no parent to be replaced in; build qkan.HQKAN or another module instead"
    inside = {id(each): each for part in block.parts for each in part.modules()}
    for each in inside.values():
        reason = _reason_of_module(each)
        if reason is not None:
            return reason
    tensors = [tensor for each in inside.values() for tensor in each._parameters.values() if tensor is not None]
    if len({(tensor.device, tensor.dtype) for tensor in tensors if tensor.is_floating_point()}) > 1:
        return "its parameters are of several dtypes or on several devices; convert them to one first"
    for tensor in tensors:
        names = [name for owner, name in owners[id(tensor)] if id(owner) not in inside]
        if names:
            own = next(name for owner, name in owners[id(tensor)] if id(owner) in inside)
            return f"its parameter {own} is tied to {names[0]}; untie them, or leave one of them out"
    changed = {(id(change.owner), change.attribute) for change in block.changes}
    for each in inside.values():
        if next(each.parameters(), None) is None:
            continue
        for owner, name in places[id(each)]:
            if id(owner) not in inside and (id(owner), name) not in changed:
                where = f"{type(owner).__name__} as {name!r}"
                return f"its part {type(each).__name__} also stands in {where}; give each its own"
    return None


def _reason_of_module(module: nn.Module) -> str | None:
    name = kind(module)
    weight = getattr(module, "weight", None)
    if isinstance(module, LazyModuleMixin) or any(
        each is not None and is_lazy(each) for each in module._parameters.values()
    ):
        return f"{name} is not initialised yet; run the model on one batch first"
    if parametrize.is_parametrized(module):
        return f"{name} has parametrizations; remove them with torch.nn.utils.parametrize.remove_parametrizations"
    if any(type(hook).__name__ == "WeightNorm" for hook in module._forward_pre_hooks.values()):
        return f"{name} has a weight norm; remove it with torch.nn.utils.remove_weight_norm"
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    if any(getattr(module, each) for each in hooks):
        return f"{name} has hooks, which a replacement would lose; remove them first"
    packed = linears_of([module]) and not (isinstance(weight, Tensor) and weight.is_floating_point())
    if packed:
        return f"{name} is quantised; do this before quantising the model"
    return None


def swap_all(
    model: nn.Module, blocks: Sequence[Block], make: Callable[[Block, torch.device, torch.dtype], nn.Module]
) -> Replacements:
    """Build all replacements, then put them in their places.

    A replacement takes over device, dtype and training mode; where nothing of the block was trained, it is frozen, too.

    Args:
        model: which holds the blocks.
        blocks: of :func:`choose`.
        make: builds the replacement of a block on a device with a dtype.

    Raises:
        ValueError: a replacement that gives something else than the block's output size; nothing is replaced then.
    """
    made = []
    for block in blocks:
        old = [parameter for part in block.parts for parameter in part.parameters()]
        like = next(parameter for parameter in old if parameter.is_floating_point())
        new = make(block, like.device, like.dtype)
        if not any(parameter.requires_grad for parameter in old):
            new.requires_grad_(False)
        made.append(new.train(block.parts[0].training))
    before = parameters_of(model)
    settings: list[_Setting] = []
    for block, new in zip(blocks, made, strict=True):
        for change in block.changes:
            value = new if change.value is NEW else change.value
            if isinstance(value, nn.Identity) and value is not new:
                value.train(change.owner.training)
            settings.append(_Setting(change, _get(change), value, getattr(value, "training", None)))
            _set(change.owner, change.attribute, value)
    replaced = tuple(
        Replaced(block.name, block.kind, new, parameters_of(*block.parts), parameters_of(new))
        for block, new in zip(blocks, made, strict=True)
    )
    return Replacements(replaced, before, parameters_of(model), settings)


def check_output(new: nn.Module, block: Block, like: Tensor) -> None:
    """Check that a module maps the block's inputs to as many outputs.

    Raises:
        ValueError: it does not, or fails.
    """
    image = (2, 2) if block.pixels else ()
    x, want = numbers((3, block.in_features, *image), like), (3, block.out_features, *image)
    with evaluating(new):
        found = new(x)
    if not isinstance(found, Tensor) or tuple(found.shape) != want:
        got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(
            f"the replacement {type(new).__name__} of {block.name} must map {tuple(x.shape)} to {want}, but gives {got}"
        )


def _get(change: Change) -> Any:
    return getattr(change.owner, change.attribute, _ABSENT)


def _set(owner: nn.Module, name: str, value: Any) -> None:
    """Set an attribute that may be a module now and a function before, or the other way round; order is kept."""
    if not isinstance(value, nn.Module) and name in owner._modules:
        del owner._modules[name]
    if value is _ABSENT:
        owner.__dict__.pop(name, None)
        return
    if name in owner._modules:
        owner._modules[name] = value
    else:
        setattr(owner, name, value)
