"""MLP blocks of a model, found by what they are made of and what they do, whatever library built them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.lazy import LazyModuleMixin

from qkan.replace.find_layers import NEW, Block, Change, Places, kind, linear_sizes, places_of, search, slow_path, swap
from qkan.replace.trace import Trace, numbers, same, trace, trace_tokens

_NORMS = (nn.LayerNorm, nn.BatchNorm1d, nn.RMSNorm)
_ENDS = (nn.MultiheadAttention, nn.Softmax, nn.Softmax2d, nn.Softmin, nn.LogSoftmax)  # no activations within an MLP
_TRANSFORMERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


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
        runs = _runs([child for _, child in children])
        return [_part_of_sequential(name, module, children[run[0] : run[-1] + 1]) for run in runs]
    found = _intermediate_and_output(name, module, places) or _mlp(name, module, places)
    return [] if found is None else [found]


def _join(name: str, child: str) -> str:
    return f"{name}.{child}" if name else child


def _has_bias(linears: Iterable[nn.Module]) -> bool:
    return any(getattr(each, "bias", None) is not None for each in linears)


def _is_activation(module: nn.Module) -> bool:
    return linear_sizes(module) is None and not isinstance(module, (*_NORMS, _DropoutNd, nn.Identity))


def _transformer_layer(name: str, layer: nn.Module, places: Places) -> list[Block]:
    """linear1, activation, dropout, linear2 of torch's layers, which keep their residuals, norms and outer dropouts."""
    plain = next(each for each in _TRANSFORMERS if isinstance(layer, each))
    first, second = (linear_sizes(each) for each in (layer.linear1, layer.linear2))  # type: ignore[arg-type]
    if type(layer)._ff_block is not plain._ff_block or first is None or second is None:  # type: ignore[attr-defined]
        return []
    activation = layer.activation
    changes = [Change(layer, "linear1", NEW), *(Change(layer, each, nn.Identity()) for each in ("dropout", "linear2"))]
    block = Block(
        name=_join(name, "linear1"),
        kind=kind(layer),
        module=layer,
        parts=(layer.linear1, layer.dropout, layer.linear2),  # type: ignore[arg-type]
        in_features=first[0],
        hidden_features=first[1],
        out_features=second[1],
        bias=_has_bias([layer.linear1]),  # type: ignore[list-item]
        changes=(*changes, Change(layer, "activation", nn.Identity()), *slow_path(layer, places)),
        drop=(layer.dropout.p, 0.0),  # type: ignore[arg-type, union-attr]
        activation=kind(activation) if isinstance(activation, nn.Module) else getattr(activation, "__name__", None),
    )
    return [block]


def _runs(children: Sequence[nn.Module]) -> Iterator[list[int]]:
    """Where linear maps with activations between them follow each other in a Sequential: the indices of the maps."""
    run: list[int] = []
    width, active = 0, False  # what the last map of the run gives; whether an activation came after it
    for index, child in enumerate(children):
        sizes = linear_sizes(child)
        between = _between(child, width) if run and sizes is None else None
        if between is not None:
            active = active or between
            continue
        if sizes is not None and run and active and sizes[0] in (width, 0):  # 0: a lazy one, not known yet
            run.append(index)
        else:
            if len(run) > 1:
                yield run
            run = [] if sizes is None else [index]
        width, active = 0 if sizes is None else sizes[1], False
    if len(run) > 1:
        yield run


def _between(child: nn.Module, features: int) -> bool | None:
    """Whether what stands between linear maps is an activation, or None if it does not belong between them."""
    if isinstance(child, (*_NORMS, _DropoutNd, nn.Identity)):
        return False
    if isinstance(child, _ENDS):
        return None
    if type(child).__module__ == "torch.nn.modules.activation":
        return True
    if next(child.children(), None) is not None or next(child.parameters(), None) is not None:
        return None
    x = numbers((3, features), torch.empty(0))
    done = trace(child, x)
    return True if done is not None and done.output.shape == x.shape else None


def _part_of_sequential(name: str, module: nn.Sequential, items: Sequence[tuple[str, nn.Module]]) -> Block:
    """From the first linear map to the last; what stands in front and behind stays."""
    children = [child for _, child in items]
    linears = [child for child in children if linear_sizes(child) is not None]
    sizes = [size for size in map(linear_sizes, linears) if size is not None]
    drops = [child.p for child in children if isinstance(child, _DropoutNd)]
    return Block(
        name=_join(name, items[0][0]),
        kind=kind(module),
        module=module,
        parts=tuple(children),
        in_features=sizes[0][0],
        hidden_features=max(outputs for _, outputs in sizes[:-1]),
        out_features=sizes[-1][1],
        bias=_has_bias(linears),
        changes=(Change(module, items[0][0], NEW), *(Change(module, key, nn.Identity()) for key, _ in items[1:])),
        drop=(max(drops, default=0.0), 0.0),
        activation=[kind(child) for child in children if _is_activation(child)][-1],
    )


def _linears(module: nn.Module) -> list[nn.Module]:
    """The linear maps among a module's children; none at all if there are any deeper within."""
    deeper = [each for child in module.children() if linear_sizes(child) is None for each in child.modules()]
    if any(linear_sizes(each) is not None for each in deeper):
        return []
    return [child for child in module.children() if linear_sizes(child) is not None]


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
    if into is None or out is None or len(_linears(into)) != 1 or len(_linears(out)) != 1:
        return None
    up, down = _linears(into)[0], _linears(out)[0]
    (inputs, wide), (_, outputs) = linear_sizes(up), linear_sizes(down)  # type: ignore[misc]
    drop, activation = 0.0, None
    if not _cannot_run(into, out):
        inner = trace_tokens(into, inputs, up.weight)  # type: ignore[arg-type]
        if inner is None:
            return None
        hidden, x = inner[0].output, inner[1]
        outer = trace(out, hidden, numbers((*x.shape[:-1], outputs), x))
        calls = inner[0].of(up), None if outer is None else outer.of(down)
        if calls[0] is None or calls[1] is None or not same(calls[0].input, x) or not same(calls[1].input, hidden):
            return None
        drop, activation = max(_dropouts(inner[0], up, None)), _activation(inner[0])
    return Block(
        name=_join(name, "intermediate"),
        kind=kind(module),
        module=module,
        parts=(into, down),
        in_features=inputs,
        hidden_features=wide,
        out_features=outputs,
        bias=_has_bias([up, down]),
        changes=(*swap(into, places), *swap(down, places, nn.Identity())),
        drop=(drop, 0.0),
        activation=activation,
    )


def _mlp(name: str, module: nn.Module, places: Places) -> Block | None:
    """Two linear maps with anything between them, or three, two of which get the input (a gated MLP)."""
    linears = _linears(module)
    if len(linears) not in (2, 3):
        return None
    sizes = [size for size in map(linear_sizes, linears) if size is not None]
    (inputs, wide), (fits, outputs) = sizes[0], sizes[-1]
    drop, activation = (0.0, 0.0), None
    if _cannot_run(module):
        if fits not in (wide, wide / 2, 0):
            return None
    else:
        done, ends = _run_mlp(module, linears)
        if done is None or ends is None:
            return None
        inputs, (wide, outputs) = linear_sizes(ends[0])[0], linear_sizes(ends[1])  # type: ignore[index, misc]
        front, inside, behind = _dropouts(done, *ends)
        if front:
            return None
        drop, activation = (inside, behind), _activation(done)
    return Block(
        name=name,
        kind=kind(module),
        module=module,
        parts=(module,),
        in_features=inputs,
        hidden_features=wide,
        out_features=outputs,
        bias=_has_bias(linears),
        changes=swap(module, places),
        drop=drop,
        activation=activation,
    )


def _run_mlp(
    module: nn.Module, linears: Sequence[nn.Module]
) -> tuple[Trace | None, tuple[nn.Module, nn.Module] | None]:
    """What a module did with an input, and the ends of the MLP that it is; None for what it is not."""
    sizes = [size[0] for size in map(linear_sizes, linears) if size is not None]
    for inputs in dict.fromkeys(sizes):  # whichever of the maps is the first
        done = trace_tokens(module, inputs, linears[0].weight)  # type: ignore[arg-type]
        ends = None if done is None else _ends(done[0], done[1], linears)
        if done is not None and ends is not None:
            return done[0], ends
    return None, None


def _ends(done: Trace, x: Tensor, linears: Sequence[nn.Module]) -> tuple[nn.Module, nn.Module] | None:
    """The first and the last linear map of an MLP: all but the last get its input x, the last one gives its output.

    None if that is not what the module did; or if their sizes do not fit, as those of an attention.
    """
    calls = [call for call in done.calls if any(call.child is each for each in linears)]
    if len(calls) != len(linears) or len({id(call.child) for call in calls}) != len(linears):
        return None
    *first, last = calls
    if not all(same(call.input, x) for call in first) or not same(last.output, done.output):
        return None
    wide = linear_sizes(last.child)[0]  # type: ignore[index]
    # Twice as wide where one map gives both the gate and what it gates.
    widths = (wide,) if len(first) > 1 else (wide, 2 * wide)
    if any(linear_sizes(call.child)[1] not in widths for call in first):  # type: ignore[index]
        return None
    return first[0].child, last.child
