"""Freeze whole models for inference: every circuit becomes plain torch operations; see :mod:`qkan.layers.frozen`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from qkan.kernels.backend_choice import Radius
from qkan.layers.daruan import DARUAN
from qkan.layers.frozen import FrozenActivation, FrozenLayer
from qkan.layers.qkan_layer import QKANLayer
from qkan.rnn.backend import HasBackend
from qkan.rnn.fwp import QKANFWP
from qkan.rnn.qlstm import QLSTM

CircuitLayer = QKANLayer | DARUAN


def compile(
    model: nn.Module,
    example_inputs: Any = None,
    *,
    domain: float | None = None,
    margin: float = 1.5,
) -> nn.Module:
    """A copy of a trained model in which every QKANLayer and DARUAN is frozen into plain torch operations.

    The copy has the call contract, training flags, dtype and device of the model, which stays as it is; modules that
    the model shares stay shared. No parameter that is left needs a gradient. torch.export and torch.onnx.export can
    follow the copy, and what they write needs nothing of this package. Recurrent modules keep their loop over time, so
    they export at the length of the example.

    Layers with trained pre-activations hold for inputs up to a bound and give NaN beyond it: ``margin`` times the
    largest input that the layer sees when the model runs ``example_inputs``, or ``domain``. The hidden state of an LSTM
    counts as its own bound (1, or what a projection makes of it) or as the initial state, if that is larger. Layers
    with fixed pre-activations need neither argument.

    Args:
        model: any module; a layer itself, too.
        example_inputs: what the model is called with, a tensor or a tuple of arguments; they run without gradients and
            in eval mode, on a copy.
        domain: a bound on |x| for all layers, instead of examples; ``math.inf`` keeps their circuits, exact for every
            input but slower.
        margin: at least 1.

    Raises:
        ValueError: trained pre-activations with neither or both of example_inputs and domain; a layer that the
            examples do not reach, or reach with infinite or NaN inputs; a margin or domain outside its range; a layer
            with hooks, which would be lost.
        TypeError: not a module; a layer whose class overrides ``forward``.

    Examples:
        >>> import torch
        >>> import qkan
        >>> model, x = qkan.QKAN([2, 3, 1]), torch.rand(50, 2)
        >>> frozen = qkan.compile(model, x)
        >>> torch.allclose(frozen(x), model(x), atol=1e-5)
        True
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"compile needs an nn.Module, got {type(model).__name__}; pass the module itself")
    if not (isinstance(margin, int | float) and 1 <= margin < math.inf):
        raise ValueError(f"margin {margin!r} must be a number of at least 1, for example 1.5")
    if example_inputs is not None and domain is not None:
        raise ValueError(f"give example_inputs or domain={domain}, not both: they say the same thing")
    largest = {} if example_inputs is None else _largest_inputs(model, example_inputs)

    def freeze(name: str, layer: CircuitLayer) -> nn.Module:
        _check_plain(name, layer)
        bound = domain
        if layer.harmonics is None and example_inputs is not None:
            if name not in largest:
                raise ValueError(f"example_inputs never reach layer {name!r}; give inputs that do, or give domain")
            if not math.isfinite(largest[name]):
                raise ValueError(f"example_inputs reach layer {name!r} with infinite or NaN values; give finite ones")
            bound = max(margin * largest[name], torch.finfo(layer.theta.dtype).tiny)
        try:
            return layer.compile_spectral(domain=bound)
        except ValueError as error:
            raise ValueError(f"layer {name!r}: {error}") from None

    return _replaced(deepcopy(model), freeze).requires_grad_(False)


def _circuit_layers(model: nn.Module) -> dict[str, CircuitLayer]:
    return {name: module for name, module in model.named_modules() if isinstance(module, CircuitLayer)}


def _check_plain(name: str, layer: CircuitLayer) -> None:
    """Refuse what a frozen layer would silently leave out."""
    kind = QKANLayer if isinstance(layer, QKANLayer) else DARUAN
    if type(layer).forward is not kind.forward:
        raise TypeError(
            f"layer {name!r} cannot be frozen: {type(layer).__name__} overrides forward of {kind.__name__}, and what "
            f"it does there would be lost; use {kind.__name__} itself inside a module of your own"
        )
    if layer._forward_hooks or layer._forward_pre_hooks:
        raise ValueError(f"layer {name!r} has forward hooks, which freezing would lose; remove them first")
    if "forward" in layer.__dict__:
        raise ValueError(f"layer {name!r} has a forward of its own, which freezing would lose; remove it first")


def _replaced(model: nn.Module, freeze: Callable[[str, CircuitLayer], nn.Module]) -> nn.Module:
    """``model`` with all circuit layers replaced in place, inner ones (in a base activation) first."""
    names = {id(layer): name for name, layer in _circuit_layers(model).items()}
    done: dict[int, nn.Module] = {}

    def visit(module: nn.Module) -> nn.Module:
        if id(module) not in done:
            done[id(module)] = module  # a module may contain itself
            for name, child in module._modules.items():
                if child is not None:
                    module._modules[name] = visit(child)
            if isinstance(module, CircuitLayer):
                done[id(module)] = freeze(names[id(module)], module)
        return done[id(module)]

    return visit(model)


def _arguments(inputs: Any) -> Sequence[Any]:
    # A PackedSequence is a tuple, but one argument.
    return inputs if type(inputs) in (tuple, list) else (inputs,)


def _watch(layer: CircuitLayer, see: Callable[[Tensor], None], see_bound: Callable[[Radius], bool]) -> None:
    """Let ``see`` have every input of a layer.

    Args:
        layer: changed; to be used for this alone.
        see: called with every input.
        see_bound: called with a known bound on all inputs of a prepared layer; True spares them ``see``.
    """
    forward = layer.forward

    def watched(x: Tensor, *others: Any, **options: Any) -> Tensor:
        see(x)
        return forward(x, *others, **options)

    layer.forward = watched  # type: ignore[method-assign]
    if isinstance(layer, QKANLayer):
        prepare = layer.prepare

        def prepared(radius: Radius = None) -> Callable[[Tensor], Tensor]:
            run = prepare(radius)
            known = see_bound(radius)

            def step(x: Tensor) -> Tensor:
                if not known:
                    see(x)
                return run(x)

            return step

        layer.prepare = prepared  # type: ignore[method-assign]


def _largest_inputs(model: nn.Module, inputs: Any) -> dict[str, float]:
    """The largest |x| that every circuit layer sees, by name; NaN if it sees one."""
    largest: dict[str, float] = {}
    copied = deepcopy(model).eval()
    for module in copied.modules():
        if isinstance(module, HasBackend) and not isinstance(module, QLSTM | QKANFWP):
            module.backend = "bloch"  # step by step, so that layers see their inputs

    def watch(name: str, layer: CircuitLayer) -> None:
        def note(bound: float) -> None:
            known = largest.get(name, 0.0)
            largest[name] = known if known >= bound or math.isnan(known) else bound

        def note_bound(radius: Radius) -> bool:
            if radius is not None:
                note(radius() if callable(radius) else radius)
            return radius is not None

        _watch(layer, lambda x: note(float(x.abs().max()) if x.numel() else 0.0), note_bound)

    for name, layer in _circuit_layers(copied).items():
        watch(name, layer)
    with torch.no_grad():
        copied(*_arguments(inputs))
    return largest


class Differences(NamedTuple):
    """Largest absolute differences of a compiled model from the circuits in double precision.

    Attributes:
        output: of the model's output, states and all.
        layers: of every replaced layer that ran, by name, for the inputs that it sees.
    """

    output: float
    layers: dict[str, float]


def largest_difference(model: nn.Module, compiled: nn.Module, example_inputs: Any) -> Differences:
    """How far a compiled model is from its circuits, the model with ``backend="reference"`` in float64.

    Both run in eval mode, on copies. NaN says that an input is outside a layer's domain (or that the model itself gives
    NaN).

    Args:
        model: the model that was compiled.
        compiled: what :func:`compile` made of it.
        example_inputs: what they are called with, a tensor or a tuple of arguments.

    Raises:
        TypeError: a second model that is not compiled, or an output without a tensor.

    Examples:
        >>> import torch
        >>> import qkan
        >>> model, x = qkan.QKAN([2, 3, 1]), torch.rand(50, 2)
        >>> found = qkan.largest_difference(model, qkan.compile(model, x), x)
    """
    exact = deepcopy(model).eval().double()
    frozen = deepcopy(compiled).eval()
    layers = _circuit_layers(exact)
    seen: dict[str, list[Tensor]] = {name: [] for name in layers}
    for layer in layers.values():
        layer.backend = "reference"
    watched = deepcopy(exact)
    for name, layer in _circuit_layers(watched).items():
        _watch(layer, seen[name].append, lambda radius: False)
    with torch.no_grad():
        truth = watched(*(_double(argument) for argument in _arguments(example_inputs)))
        output = _apart(frozen(*_arguments(example_inputs)), truth)
        apart = {}
        for name, layer in layers.items():
            module = frozen.get_submodule(name)
            if not isinstance(module, FrozenLayer | FrozenActivation):
                raise TypeError(f"module {name!r} is not frozen: the second model must come from compile")
            if not seen[name]:
                continue
            rounded = [x.to(_dtype(module)) for x in seen[name]]
            apart[name] = _apart([module(x) for x in rounded], [layer(x.double()) for x in rounded])
    return Differences(output, apart)


def _dtype(module: nn.Module) -> torch.dtype:
    return next(module.buffers()).dtype


def _double(value: Any) -> Any:
    """Floating tensors in double precision, also in tuples, lists, dictionaries and packed sequences."""
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, nn.utils.rnn.PackedSequence):
        return value.double()
    if isinstance(value, dict):
        return {key: _double(part) for key, part in value.items()}
    return type(value)(_double(part) for part in value) if type(value) in (tuple, list) else value


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _apart(ours: Any, truth: Any) -> float:
    """The largest absolute difference, NaN if there is one.

    Raises:
        TypeError: no tensor to compare.
    """
    pairs = list(zip(_tensors(ours), _tensors(truth), strict=True))
    if not pairs:
        raise TypeError(
            f"the model returns {type(ours).__name__} without a tensor to compare; let it return a tensor, or a tuple, "
            "list or dictionary of them"
        )
    apart = [(a.double() - b.double()).abs().max() for a, b in pairs if a.numel()]
    return float(torch.stack(apart).max()) if apart else 0.0
