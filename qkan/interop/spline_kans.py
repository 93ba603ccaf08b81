"""Trained Kolmogorov-Arnold networks of pykan (read with version 0.2.8) and of efficient-kan, from their state dicts.

Both compute y_o = sum_i [ u_oi base(x_i) + sum_k c_oik B_ki(x_i) ], B_ki the B-splines on the knots of input i, which
are stored whole, with those beyond the grid (KAN, arXiv 2404.19756). In pykan c = scale_sp * coef, all times a mask,
and a node is scaled and shifted twice behind that; in efficient-kan c = spline_scaler * spline_weight.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from qkan.interop.checkpoint_reader import listed, read, tensors_of
from qkan.kan.kan import KAN
from qkan.kernels.edges.families import MOST_ORDER
from qkan.layers.kan_layer import MOST_TERMS, KANLayer
from qkan.layers.spline_layer import MOST_ORDER as MOST_KNOTS_ORDER
from qkan.layers.spline_layer import SplineLayer, check_knots

_EFFICIENT = ("base_weight", "spline_weight", "spline_scaler", "grid")
_PYKAN = ("grid", "coef", "mask", "scale_base", "scale_sp")
_AFFINE = ("subnode_scale", "subnode_bias", "node_scale", "node_bias")
Source = Mapping[str, Any] | str | os.PathLike[str]


def load_efficient_kan(state_dict: Source, *, base_activation: str | None = "silu") -> KAN | KANLayer | SplineLayer:
    """The network of efficient-kan that has these tensors, with the same outputs.

    Sizes, grids, order and whether there is a standalone spline scaler are read from the tensors; of the base
    activation they hold nothing. Layers on one uniform grid around 0, as they are built, become :class:`qkan.KANLayer`;
    others, after ``update_grid`` or with ``grid_range=[0, 1]``, :class:`qkan.SplineLayer` with the very knots. The
    scaler is multiplied into the coefficients. Parameters are copies, on the device of the tensors.

    Args:
        state_dict: name to tensor, as ``state_dict()`` of its KAN or KANLinear gives it; or a training script's
            dictionary with that under ``state_dict``, ``model_state_dict`` or ``model``; or the path of a file with
            either (``.safetensors``, else torch.save's), of which nothing is executed.
        base_activation: with which the model was made: ``"silu"`` (its default), ``"gelu"``, ``"relu"``, ``"tanh"``,
            ``"identity"``.

    Returns:
        a :class:`qkan.KAN`, or for the tensors of a single KANLinear a layer.

    Raises:
        FileNotFoundError: no such file.
        TypeError: no mapping of names to tensors.
        ValueError: a file that is no checkpoint; tensors that are missing, unknown, misshapen or not finite; knots that
            do not grow; an unknown base activation.

    Examples:
        >>> import torch
        >>> from qkan.interop import load_efficient_kan
        >>> knots = (torch.arange(-3.0, 9) * 0.4 - 1).expand(2, -1)  # as its KANLinear(2, 3) has them
        >>> state = {"grid": knots, "base_weight": torch.rand(3, 2), "spline_weight": torch.rand(3, 2, 8)}
        >>> load_efficient_kan(state)
        KANLayer(in_features=2, out_features=3, basis='bspline', order=3, terms=8, radius=1, base_activation='silu')
    """
    tensors = _tensors(state_dict)
    single = "spline_weight" in tensors
    prefixes = [""] if single else _numbered(tensors, r"layers\.(\d{1,6})\..+", "layers.{}.")
    needed = [prefix + name for prefix in prefixes for name in _EFFICIENT if name != "spline_scaler"]
    _check_names(
        tensors, needed, [f"{prefix}spline_scaler" for prefix in prefixes], "KAN or KANLinear of efficient-kan"
    )
    layers = []
    for prefix in prefixes:
        own = {name: tensors[prefix + name] for name in _EFFICIENT if prefix + name in tensors}
        outputs, inputs, _ = _shape(prefix + "spline_weight", own["spline_weight"], ("out", "in", "terms"))
        wanted = {"base_weight": (outputs, inputs), "spline_scaler": (outputs, inputs), "grid": (inputs, None)}
        _check_shapes(prefix, own, wanted)
        coefficients = own["spline_weight"]
        if "spline_scaler" in own:
            coefficients = coefficients * own["spline_scaler"].unsqueeze(-1)
        layers.append(_Layer(prefix, own["grid"], coefficients.permute(2, 1, 0), own["base_weight"], base_activation))
    built = _built(layers)
    return built[0] if single else KAN.from_layers(built)


def load_pykan(state_dict: Source, *, base_activation: str | None = "silu") -> KAN:
    """The network of pykan (0.2) that has these tensors, with the same outputs.

    Sizes, grids, order, masks and scales are read from the tensors; of the base activation, and of the columns that
    ``prune_input`` has selected, they hold nothing. Grids that follow the data, as its ``fit`` makes them, are taken
    with the very knots (:class:`qkan.SplineLayer`); layers on one uniform grid around 0 become :class:`qkan.KANLayer`.
    ``scale_sp`` and the scales of nodes are multiplied into the coefficients, shifts become biases, and edges with mask
    0 are pruned (:meth:`qkan.KAN.restore` brings them back). Parameters are copies, on the device of the tensors.

    Args:
        state_dict: name to tensor, as ``state_dict()`` of its KAN gives it, or the path of a file with it: the file
            that ends with ``_state`` of those that its ``saveckpt`` writes, or ``.safetensors``. Nothing in it is
            executed, and no other file is read.
        base_activation: with which the model was made: ``"silu"`` (its default), ``"identity"``, or None for its
            ``"zero"``.

    Raises:
        FileNotFoundError: no such file.
        TypeError: no mapping of names to tensors.
        ValueError: a file that is no checkpoint; tensors that are missing, unknown, misshapen or not finite; knots that
            do not grow; multiplication nodes; edges that are symbolic functions, whose names a state dict does not
            hold; an unknown base activation.

    Examples:
        >>> import torch
        >>> from qkan.interop import load_pykan
        >>> knots = torch.tensor([[-1.7, -1.0, -0.2, 1.0, 2.2]])  # order 1: two intervals, and one beyond on each side
        >>> state = {"act_fun.0.grid": knots, "act_fun.0.coef": torch.rand(1, 2, 3)}
        >>> state |= {f"act_fun.0.{name}": torch.ones(1, 2) for name in ("mask", "scale_base", "scale_sp")}
        >>> load_pykan(state).width
        [1, 2]
    """
    tensors = _tensors(state_dict)
    if "act_fun.0.coef" in tensors and tensors["act_fun.0.coef"].dim() == 2:
        raise ValueError(
            "the tensors are those of pykan before version 0.2, where edges are one list; load the model with that "
            "version, give initialize_from_another_model of a new one its function, and save that one"
        )
    prefixes = _numbered(tensors, r"act_fun\.(\d{1,6})\..+", "act_fun.{}.")
    needed = [prefix + name for prefix in prefixes for name in _PYKAN]
    optional = [f"{name}_{index}" for index in range(len(prefixes)) for name in _AFFINE]
    optional += [f"symbolic_fun.{index}.{name}" for index in range(len(prefixes)) for name in ("mask", "affine")]
    _check_names(tensors, needed, optional, "KAN of pykan")
    return KAN.from_layers(
        _built([_of_pykan(tensors, prefix, index, base_activation) for index, prefix in enumerate(prefixes)])
    )


def _of_pykan(tensors: dict[str, Tensor], prefix: str, index: int, base_activation: str | None) -> _Layer:
    own = {name: tensors[prefix + name] for name in _PYKAN}
    inputs, outputs, _ = _shape(prefix + "coef", own["coef"], ("in", "out", "terms"))
    edges = (inputs, outputs)
    _check_shapes(prefix, own, {"grid": (inputs, None), "mask": edges, "scale_base": edges, "scale_sp": edges})
    symbolic = tensors.get(f"symbolic_fun.{index}.mask")
    if symbolic is not None and bool((symbolic != 0).any()):
        named = ", ".join(f"({index}, {i}, {o})" for o, i in (symbolic != 0).nonzero().tolist()[:6])
        raise ValueError(
            f"edges {named} (layer, input, output) of the model are symbolic functions, whose names a state dict does "
            "not hold; call its unfix_symbolic_all(), which brings their splines back, and save it again"
        )
    affine = {name: tensors.get(f"{name}_{index}") for name in _AFFINE}
    for name, values in affine.items():
        if values is not None and tuple(values.shape) != (outputs,):
            more = "multiplication nodes, which no KANLayer has" if name.startswith("node") else "another shape"
            raise ValueError(
                f"{name}_{index} is {tuple(values.shape)} instead of ({outputs},): the model has {more}; train one "
                "with a width of plain numbers such as [2, 5, 1]"
            )
    scale, bias = torch.ones_like(own["coef"][0, :, 0]), torch.zeros_like(own["coef"][0, :, 0])
    for kind in ("subnode", "node"):
        factor, shift = affine[f"{kind}_scale"], affine[f"{kind}_bias"]
        scale, bias = (t if factor is None else t * factor for t in (scale, bias))
        bias = bias if shift is None else bias + shift
    mask = own["mask"]
    kept = mask != 0
    weight = torch.where(kept, mask, 1) * scale  # of a pruned edge what it would have if it were restored
    coefficients = own["coef"] * (own["scale_sp"] * weight).unsqueeze(-1)
    return _Layer(
        prefix,
        own["grid"],
        coefficients.permute(2, 0, 1),
        (own["scale_base"] * weight).mT,
        base_activation,
        bias if bool((bias != 0).any()) else None,
        None if bool(kept.all()) else kept.mT,
    )


@dataclass(frozen=True)
class _Layer:
    """A layer of splines of any package.

    Attributes:
        prefix: of the names of its tensors.
        knots: (in, intervals + 2 order + 1).
        coefficients: (intervals + order, in, out).
        base_weight: (out, in).
        base_activation: a name, or None for a base branch of 0.
        bias: (out,) or None.
        mask: (out, in) bool, or None for all edges.
    """

    prefix: str
    knots: Tensor
    coefficients: Tensor
    base_weight: Tensor
    base_activation: str | None
    bias: Tensor | None = None
    mask: Tensor | None = None

    @property
    def order(self) -> int:
        return self.knots.shape[1] - self.coefficients.shape[0] - 1


def _built(layers: list[_Layer]) -> list[KANLayer | SplineLayer]:
    for first, second in pairwise(layers):
        outputs, inputs = first.coefficients.shape[2], second.coefficients.shape[1]
        if outputs != inputs:
            raise ValueError(
                f"{second.prefix or 'the layer'} has {inputs} inputs, but the layer before it {outputs} outputs; take "
                "all tensors from one model"
            )
    return [_layer(layer) for layer in layers]


def _layer(found: _Layer) -> KANLayer | SplineLayer:
    terms, inputs, outputs = found.coefficients.shape
    order = found.order
    if not 1 <= order <= min(MOST_KNOTS_ORDER, terms - 1):
        raise ValueError(
            f"{found.prefix}grid has {found.knots.shape[1]} knots an input for {terms} splines: order {order}; "
            f"orders are 1 to {MOST_KNOTS_ORDER}, with one interval at least"
        )
    try:
        check_knots(found.knots, inputs, terms - order, order)
    except ValueError as error:
        remedy = "both packages make uniform grids with grid_eps=1"
        raise ValueError(f"{found.prefix}grid: {error}; {remedy}") from None
    tensors = (found.coefficients, found.base_weight, found.knots)
    dtype = reduce(torch.promote_types, (tensor.dtype for tensor in tensors))
    options: dict[str, Any] = {
        "bias": found.bias is not None,
        "base_activation": found.base_activation,
        "generator": torch.Generator(),  # drawn from a source of their own, initial values leave torch's as it is
        "dtype": dtype,
    }
    radius = uniform_radius(found.knots, order)
    state = {"coefficients": found.coefficients, "bias": found.bias, "edge_mask": found.mask}
    state["base_weight"] = None if found.base_activation is None else found.base_weight
    layer: KANLayer | SplineLayer
    if radius is not None and order <= MOST_ORDER and terms <= MOST_TERMS:
        layer = KANLayer(inputs, outputs, terms=terms, order=order, radius=radius, **options)
    else:
        layer = SplineLayer(inputs, outputs, terms - order, order=order, **options)
        state["knots"] = found.knots
    layer.to(found.coefficients.device)
    given = {name: tensor for name, tensor in state.items() if tensor is not None}
    layer.load_state_dict({name: tensor.detach() for name, tensor in given.items()})
    return layer


def uniform_radius(knots: Tensor, order: int) -> float | None:
    """The radius of one uniform grid around 0 that all inputs have up to rounding, or None.

    Args:
        knots: (in, intervals + 2 order + 1).
        order: of the splines.
    """
    intervals = knots.shape[1] - 2 * order - 1
    radius = float(knots[:, -order - 1].double().mean())
    places = torch.arange(-order, intervals + order + 1, dtype=torch.float64, device=knots.device)
    wanted = places * (2 * radius / intervals) - radius
    error = (knots.double() - wanted).abs().max()
    eps = min(torch.finfo(knots.dtype).eps, torch.finfo(torch.float32).eps)  # half precision rounds far from uniform
    if radius <= 0 or error > 8 * eps * wanted.abs().max():
        return None
    digits = float(f"{radius:.6g}")  # 1.0000001 in single precision is 1
    return digits if abs(digits - radius) <= 8 * eps * radius else radius


def _tensors(state_dict: Source) -> dict[str, Tensor]:
    """Name to tensor, checked to be finite numbers."""
    if isinstance(state_dict, nn.Module):
        raise TypeError(f"state_dict is a module, {type(state_dict).__name__}; pass its state_dict()")
    tensors = tensors_of(read(state_dict) if isinstance(state_dict, str | os.PathLike) else state_dict)
    problems = []
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            problems.append(f"{name} is {tensor.dtype} instead of a floating-point dtype")
        elif not bool(tensor.isfinite().all()):
            problems.append(f"{name} holds NaN or infinite values")
    if problems:
        raise ValueError(f"the tensors cannot be used: {listed(problems)}; save the model again where it was trained")
    return tensors


def _numbered(tensors: dict[str, Tensor], pattern: str, form: str) -> list[str]:
    """The prefixes of layers 0, 1, ... up to the last one that has a tensor."""
    numbers = [int(found[1]) for name in tensors if (found := re.fullmatch(pattern, name))]
    return [form.format(index) for index in range(min(max(numbers, default=0), len(tensors)) + 1)]


def _check_names(tensors: dict[str, Tensor], needed: list[str], optional: list[str], what: str) -> None:
    problems = [f"{name} is missing" for name in needed if name not in tensors]
    problems += [f"{name} is unknown" for name in tensors if name not in {*needed, *optional}]
    if problems:
        raise ValueError(
            f"the tensors are not those of a {what}: {listed(problems)}; pass what its state_dict() returns, without "
            "names in front, and without the tensors of other modules"
        )


def _shape(name: str, tensor: Tensor, axes: tuple[str, ...]) -> tuple[int, ...]:
    if tensor.dim() != len(axes) or 0 in tensor.shape:
        raise ValueError(
            f"{name} is {tuple(tensor.shape)} instead of ({', '.join(axes)}); take it from the model again"
        )
    return tuple(tensor.shape)


def _check_shapes(prefix: str, own: dict[str, Tensor], wanted: Mapping[str, tuple[int | None, ...]]) -> None:
    for name, shape in wanted.items():
        if name not in own:
            continue
        found = tuple(own[name].shape)
        if len(found) != len(shape) or any(size not in (None, has) for size, has in zip(shape, found, strict=True)):
            shown = ", ".join("intervals + 2 order + 1" if size is None else str(size) for size in shape)
            raise ValueError(f"{prefix}{name} is {found} instead of ({shown}); take all tensors from one model")
