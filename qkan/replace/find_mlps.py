"""MLP blocks of a model, found by what they are made of and what they do, whatever library built them.

They map tokens, (..., features), by linear maps, or pixels, (batch, features, height, width), by 1 x 1 convolutions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.lazy import LazyModuleMixin

from qkan._util.linear_maps import Linear, kind, linears_of, pixel_maps_of
from qkan.replace.find_layers import NEW, Block, Change, Places, places_of, search, slow_path, swap
from qkan.replace.trace import Trace, numbers, same, trace, trace_pixels, trace_tokens

_ENDS = (nn.MultiheadAttention, nn.Softmax, nn.Softmax2d, nn.Softmin, nn.LogSoftmax)  # no activations within an MLP
_TRANSFORMERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


class Maps(NamedTuple):
    """What blocks are made of.

    Attributes:
        of: those of some modules that are linear maps.
        norms: what may stand between them in a Sequential.
        trace: of a module that maps every token, or every pixel, on its own.
        pixels: whether these are pixels.
    """

    of: Callable[[Iterable[nn.Module]], list[Linear]]
    norms: tuple[type[nn.Module], ...]
    trace: Callable[[nn.Module, int, Tensor], Trace | None]
    pixels: bool


TOKENS = Maps(linears_of, (nn.LayerNorm, nn.BatchNorm1d, nn.RMSNorm), trace_tokens, False)
PIXELS = Maps(pixel_maps_of, (nn.BatchNorm2d,), trace_pixels, True)


def find_mlps(model: nn.Module) -> list[Block]:
    """The MLP blocks of a model, none within another, in the order of :func:`qkan.replace.find_layers.search`."""
    places, found = places_of(model), []
    taken: set[int] = set()
    for name, module in search(model):
        if id(module) in taken:
            continue
        for block in _blocks_at(name, module, places):
            found.append(block)
            taken |= {id(each) for part in block.parts for each in part.modules()}
    return found


def _blocks_at(name: str, module: nn.Module, places: Places) -> list[Block]:
    if isinstance(module, _TRANSFORMERS):
        return _transformer_layer(name, module, places)
    if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
        children = list(module._modules.items())
        return [block for maps in (TOKENS, PIXELS) for block in _parts_of_chain(name, module, children, maps)]
    found = _intermediate_and_output(name, module, places)
    for maps in (TOKENS, PIXELS):
        found = found or _mlp(name, module, places, maps)
    if found is not None:
        return [found]
    return _chained_pixels(name, module)


def _join(name: str, child: str) -> str:
    return f"{name}.{child}" if name else child


def _block(
    name: str,
    module: nn.Module,
    parts: Sequence[nn.Module],
    chain: Sequence[Linear],
    changes: Iterable[Change],
    drop: tuple[float, float] = (0.0, 0.0),
    activation: str | None = None,
    pixels: bool = False,
) -> Block:
    """A block whose linear maps, each fed by the one before, are ``chain``."""
    sizes = chain[0].inputs, max(each.inputs for each in chain[1:]), chain[-1].outputs
    return Block(name, module, tuple(parts), *sizes, tuple(changes), drop, activation, pixels=pixels)


def _is_activation(module: nn.Module) -> bool:
    maps = linears_of([module]) or pixel_maps_of([module])
    return not maps and not isinstance(module, (*TOKENS.norms, *PIXELS.norms, _DropoutNd, nn.Identity))


def _transformer_layer(name: str, layer: Any, places: Places) -> list[Block]:
    """linear1, activation, dropout, linear2 of torch's layers, which keep their residuals, norms and outer dropouts."""
    plain: Any = next(each for each in _TRANSFORMERS if isinstance(layer, each))
    chain = linears_of([layer.linear1, layer.linear2])
    if type(layer)._ff_block is not plain._ff_block or len(chain) < 2:
        return []
    activation = layer.activation
    named = kind(activation) if isinstance(activation, nn.Module) else getattr(activation, "__name__", None)
    idle = [Change(layer, each, nn.Identity()) for each in ("dropout", "linear2", "activation")]
    changes = (Change(layer, "linear1", NEW), *idle, *slow_path(layer, places))
    parts = (layer.linear1, layer.dropout, layer.linear2)
    return [_block(_join(name, "linear1"), layer, parts, chain, changes, (layer.dropout.p, 0.0), named)]


def _runs(children: Sequence[nn.Module], maps: Maps) -> Iterator[list[int]]:
    """Where linear maps with activations between them follow each other: the indices of the maps."""
    run: list[int] = []
    width, active = 0, False  # what the last map of the run gives; whether an activation came after it
    for index, child in enumerate(children):
        linear = next(iter(maps.of([child])), None)
        between = _between(child, width, maps) if run and linear is None else None
        if between is not None:
            active = active or between
            continue
        if linear is not None and run and active and linear.inputs in (width, 0):  # 0: a lazy one, not known yet
            run.append(index)
        else:
            if len(run) > 1:
                yield run
            run = [] if linear is None else [index]
        width, active = 0 if linear is None else linear.outputs, False
    if len(run) > 1:
        yield run


def _between(child: nn.Module, features: int, maps: Maps) -> bool | None:
    """Whether what stands between linear maps is an activation, or None if it does not belong between them."""
    if isinstance(child, (*maps.norms, _DropoutNd, nn.Identity)):
        return False
    if isinstance(child, _ENDS):
        return None
    if type(child).__module__ == "torch.nn.modules.activation":
        return True
    if next(child.children(), None) is not None or next(child.parameters(), None) is not None:
        return None
    like = torch.empty(0)
    done = trace_pixels(child, features, like) if maps.pixels else trace(child, numbers((3, features), like))
    return True if done is not None and done.output.shape == done.input.shape else None


def _parts_of_chain(
    name: str, module: nn.Module, items: Sequence[tuple[str, nn.Module]], maps: Maps
) -> Iterator[Block]:
    """Blocks among the children of a module, which run one after another, and their names.

    Each goes from the first linear map of a run to the last; what stands in front and behind stays.
    """
    for run in _runs([child for _, child in items], maps):
        part = items[run[0] : run[-1] + 1]
        children = [child for _, child in part]
        drops = [child.p for child in children if isinstance(child, _DropoutNd)]
        changes = [Change(module, part[0][0], NEW), *(Change(module, key, nn.Identity()) for key, _ in part[1:])]
        activation = [kind(child) for child in children if _is_activation(child)][-1]
        drop, chain = (max(drops, default=0.0), 0.0), maps.of(children)
        yield _block(_join(name, part[0][0]), module, children, chain, changes, drop, activation, maps.pixels)


def _chained_pixels(name: str, module: nn.Module) -> list[Block]:
    """The same of pixels, for a module whose forward does nothing but call its children one after another.

    So the norm behind a last convolution stays, as MedViT and EfficientFormer have one.
    """
    convolutions = _linears(module, PIXELS)
    if len(convolutions) < 2 or _cannot_run(module):
        return []
    for features in dict.fromkeys(each.inputs for each in convolutions):
        done = trace_pixels(module, features, convolutions[0].weight)
        if done is None or not done.calls:
            continue
        given = [done.input, *(call.output for call in done.calls)]
        linked = all(call.input is before for call, before in zip(done.calls, given, strict=False))
        if linked and given[-1] is done.output and all(done.of(call.child) for call in done.calls):
            names = {child: key for key, child in module.named_children()}
            return list(_parts_of_chain(name, module, [(names[c.child], c.child) for c in done.calls], PIXELS))
    return []


def _linears(module: nn.Module | None, maps: Maps = TOKENS) -> list[Linear]:
    """The linear maps among a module's children; none at all if there are any deeper within.

    Nor if there is a convolution of several pixels: on the meta device numbers would not tell.
    """
    if module is None or (maps.pixels and any(_is_wide(each) for each in module.modules())):
        return []
    found = maps.of(module.children())
    shallow = {module, *(each.module for each in found)}
    deeper = [each for each in maps.of(module.modules()) if each.module not in shallow]
    return [] if deeper else found


def _is_wide(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and not pixel_maps_of([module])


def _cannot_run(*modules: nn.Module) -> bool:
    """Tell whether running modules would fail (not initialised, packed weights) or be noticed (hooks).

    They are listed as found nevertheless, and refused with that reason when they are to be replaced.
    """
    return any(
        isinstance(each, LazyModuleMixin)
        or each._forward_hooks
        or each._forward_pre_hooks
        or not isinstance(getattr(each, "weight", None), Tensor | None)
        for module in modules
        for each in module.modules()
    )


def _dropouts(done: Trace, first: nn.Module, last: nn.Module | None) -> tuple[float, float, float]:
    """The largest probabilities in front of the first linear map, in front of the last one, and behind that."""
    found, at = [0.0, 0.0, 0.0], 0
    for call in done.calls:
        if call.child is first:
            at = 1
        elif call.child is last:
            at = 2
        elif isinstance(call.child, _DropoutNd):
            found[at] = max(found[at], call.child.p)
    return found[0], found[1], found[2]


def _activation(done: Trace) -> str | None:
    return next((kind(call.child) for call in done.calls if _is_activation(call.child)), None)


def _intermediate_and_output(name: str, module: nn.Module, places: Places) -> Block | None:
    """BERT's pair: ``intermediate`` (linear map, activation), ``output`` (linear map, dropout, residual, norm).

    The replacement stands for ``intermediate``, and the linear map of ``output`` becomes the identity.
    """
    into, out = module._modules.get("intermediate"), module._modules.get("output")
    chain = [*_linears(into), *_linears(out)]
    if into is None or out is None or len(chain) != 2 or len(_linears(into)) != 1:
        return None
    up, down = chain
    drop, activation = 0.0, None
    if not _cannot_run(into, out):
        inner = trace_tokens(into, up.inputs, up.weight)
        if inner is None:
            return None
        outer = trace(out, inner.output, numbers((*inner.input.shape[:-1], down.outputs), inner.input))
        first, last = inner.of(up.module), None if outer is None else outer.of(down.module)
        if not (first and last and same(first.input, inner.input) and same(last.input, inner.output)):
            return None
        drop, activation = max(_dropouts(inner, up.module, None)), _activation(inner)
    changes = (*swap(into, places), *swap(down.module, places, nn.Identity()))
    parts = (into, down.module)
    return _block(_join(name, "intermediate"), module, parts, chain, changes, (drop, 0.0), activation)


def _mlp(name: str, module: nn.Module, places: Places, maps: Maps) -> Block | None:
    """Two linear maps with anything between them, or three, two of which get the input (a gated MLP)."""
    linears = _linears(module, maps)
    if len(linears) not in (2, 3):
        return None
    first, last = linears[0], linears[-1]
    drop, activation = (0.0, 0.0), None
    if _cannot_run(module):
        if last.inputs not in (first.outputs, first.outputs / 2, 0):
            return None
    else:
        done = _run_mlp(module, linears, maps)
        if done is None:
            return None
        trace, first, last = done
        front, *behind = _dropouts(trace, first.module, last.module)
        if front:
            return None
        drop, activation = (behind[0], behind[1]), _activation(trace)
    return _block(name, module, (module,), (first, last), swap(module, places), drop, activation, maps.pixels)


def _run_mlp(module: nn.Module, linears: Sequence[Linear], maps: Maps) -> tuple[Trace, Linear, Linear] | None:
    """What a module did with an input, and its first and its last linear map, if it is an MLP.

    It is one if all linear maps but the last get its input, the last one gives its output, and their sizes fit, as
    those of an attention do not.
    """
    by_module = {each.module: each for each in linears}
    for inputs in dict.fromkeys(each.inputs for each in linears):  # whichever of the maps is the first
        done = maps.trace(module, inputs, linears[0].weight)
        calls = [] if done is None else [call for call in done.calls if call.child in by_module]
        if done is None or not len(calls) == len(by_module) == len({call.child for call in calls}):
            continue
        *first, last = calls
        wide = by_module[last.child].inputs
        # Twice as wide where one map gives both the gate and what it gates.
        widths = (wide,) if len(first) > 1 else (wide, 2 * wide)
        fed = all(same(call.input, done.input) and by_module[call.child].outputs in widths for call in first)
        # A norm behind it that is still the identity, up to rounding, is none of it.
        behind = done.calls[done.calls.index(last) + 1 :]
        ends = not any(any(True for _ in call.child.parameters()) for call in behind)
        if fed and ends and same(last.output, done.output):
            return done, by_module[first[0].child], by_module[last.child]
    return None
