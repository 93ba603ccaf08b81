"""Trained networks of the original authors' package (on the package index: ``qkan``, read with version 0.2.3).

That package and this one are imported under one name, so they cannot share an environment; what moves is a state dict.
Both compute y_o = sum_i m_oi [ v_oi (phi_oi(x_i) + c_oi) + u_oi base(x_i) ] (arXiv 2509.14026) with full angles. It
stores for each layer ``theta``, ``preacts_weight``, ``preacts_bias``, ``base_weight`` (u), ``postact_weights`` (v),
``postact_bias`` (c) and ``mask`` (m), whether trained or not; here, what is not trained has no tensor.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from qkan.interop.checkpoint_reader import listed, read, tensors_of
from qkan.kan.network import QKAN
from qkan.kernels.backends import check_readout
from qkan.kernels.circuits.ansatz import ANSATZE, Ansatz, get_ansatz
from qkan.layers.options import BaseActivation, base_function, positive_int
from qkan.layers.qkan_layer import QKANLayer

CIRCUIT = ("theta", "preacts_weight", "preacts_bias")
PER_EDGE = ("base_weight", "postact_weights", "postact_bias", "mask")
#: What the original can add to a network and this package cannot hold: pattern of the name, what it is, what to do.
REFUSED = (
    (
        r"(layers\.\d+\.)?bn\.\w+",
        "is_batchnorm=True, a batch normalisation in front of a layer",
        "train without it; no QKANLayer has one",
    ),
    (
        r"layers\.\d+\.(weight|bias)",
        "is_map=True, two linear maps behind the QKAN layers",
        "leave these names out and put torch.nn.Linear, torch.nn.SiLU and torch.nn.Linear behind what is loaded",
    ),
    (
        r"(layers\.\d+\.)?base_activation\..+",
        "a base activation with parameters of its own",
        "leave these names out and pass the module that has these parameters as base_activation",
    ),
)


def load_original(
    state_dict: Mapping[str, Any] | str | os.PathLike[str],
    *,
    ansatz: str | Ansatz = "pz",
    readout: str = "amplitude",
    base_activation: BaseActivation = "silu",
    preact_trainable: bool | None = None,
    width: Sequence[int] | None = None,
) -> QKAN | QKANLayer:
    """The network of the original package that has these tensors, with the same outputs.

    Widths, repetitions, groups, pruned edges and trained options are read from the tensors. An option counts as trained
    if any layer's tensor differs from its initial value (1 for pre- and post-activation weights, else 0), because
    whether a tensor was trained is not stored. A layer with a group and no other tensor that tells its outputs apart
    gets trained post-activation weights of 1; circuits beyond the number of its inputs, which nothing reads, are left
    out. Parameters are copies, on the device of the tensors and in the widest dtype of each layer; no random number is
    drawn. Of ``norm_out``, and of the columns that ``prune_input`` selects, a state dict holds nothing.

    Args:
        state_dict: name to tensor, as ``state_dict()`` of the original's QKAN or QKANLayer gives it; or a training
            script's dictionary with that under ``state_dict``, ``model_state_dict`` or ``model``; or the path of a file
            with either (``.safetensors``, else torch.save's), of which nothing is executed.
        ansatz: with which the model was made: ``"pz"``, ``"rpz"``, ``"px"``, ``"real"``, ``"mix"``, also with
            ``_encoding`` behind it, or an :class:`Ansatz`.
        readout: ``"amplitude"``, the original's default (``fast_measure=True``), or ``"z"`` (``fast_measure=False``).
        base_activation: the original's; as of :class:`QKANLayer`.
        preact_trainable: whether the model was made with ``preact_trainable=True``; None decides as above. The original
            does not read pre-activations that are not trained (unless the ansatz is rpz), but stores them; they differ
            from 1 and 0 after ``preact_init=True``: then say False.
        width: sizes from input to output, needed only for models made with ``p_dim=2``, whose tensors are flat. A lone
            flat layer with as many circuits as edges is taken to have no group.

    Returns:
        a :class:`QKAN`, or for the tensors of a single layer a :class:`QKANLayer`.

    Raises:
        FileNotFoundError: no such file.
        TypeError: no mapping of names to tensors.
        ValueError: a file that is no checkpoint; tensors that are missing, unknown, misshapen, not finite or of another
            ansatz; an option of the original that cannot be represented, by its name; an unknown option here.

    Examples:
        >>> import torch
        >>> from qkan.interop import load_original
        >>> state = {"theta": torch.rand(2, 3, 4, 2), "postact_bias": torch.zeros(2, 3)}  # as torch.load gives it
        >>> state |= dict.fromkeys(("base_weight", "postact_weights", "mask"), torch.ones(2, 3))
        >>> state |= {"preacts_weight": torch.ones(2, 3, 3), "preacts_bias": torch.zeros(2, 3, 3)}
        >>> layer = load_original(state)
        >>> layer.in_features, layer.out_features, layer.reps
        (3, 2, 3)
    """
    if isinstance(ansatz, str):
        ansatz = ansatz.removesuffix("_encoding")
    ansatz, base = get_ansatz(ansatz), base_activation
    check_readout(readout)
    base_function(base)
    if isinstance(state_dict, nn.Module):
        raise TypeError(f"state_dict is a module, {type(state_dict).__name__}; pass its state_dict()")
    held = read(state_dict) if isinstance(state_dict, str | os.PathLike) else state_dict
    layers, single = _layers(tensors_of(held))
    _check_values(layers)
    shapes = _shapes(layers, ansatz, None if width is None else [positive_int("width", size) for size in width])
    states = [_state(layer, shape, ansatz) for layer, shape in zip(layers.values(), shapes, strict=True)]
    options = _trained(states, shapes, ansatz, preact_trainable, base) | {"ansatz": ansatz, "readout": readout}
    built = [_built(shape, state, options) for shape, state in zip(shapes, states, strict=True)]
    return built[0] if single else QKAN.from_layers(built)


def _built(shape: _Shape, state: dict[str, Tensor], options: dict[str, Any]) -> QKANLayer:
    """A layer with copies of those tensors of ``state`` that its options ask for."""
    dtype = reduce(torch.promote_types, (tensor.dtype for name, tensor in state.items() if name != "edge_mask"))
    # Drawn from a source of their own, the initial values that are replaced below leave torch's as it is.
    layer = QKANLayer(
        shape.inputs,
        shape.outputs,
        shape.reps,
        group=shape.group,
        generator=torch.Generator(),
        device="cpu",
        dtype=dtype,
        **options,
    )
    names = set(layer.state_dict()) | (set() if state["edge_mask"].all() else {"edge_mask"})
    device = state["theta"].device
    own = {
        name: state[name].detach().to(device, torch.bool if name == "edge_mask" else dtype, copy=True)
        for name in names
    }  # fmt: skip
    layer.load_state_dict({name: tensor.contiguous() for name, tensor in own.items()}, assign=True)
    return layer


def _layers(tensors: dict[str, Tensor]) -> tuple[dict[str, dict[str, Tensor]], bool]:
    """Tensors by layer, as prefix -> short name -> tensor, and whether they are those of a single layer.

    Raises:
        ValueError: none, or names other than those of the original's layers.
    """
    if not tensors:
        raise ValueError("the state dict is empty; pass what state_dict() of the original's QKAN returns")
    for pattern, what, remedy in REFUSED:
        names = [name for name in tensors if re.fullmatch(pattern, name)]
        if names:
            raise ValueError(f"the model has {what} ({', '.join(names)}), which cannot be loaded: {remedy}")
    single = any(name in tensors for name in (*CIRCUIT, *PER_EDGE))
    numbers = [int(found[1]) for name in tensors if (found := re.fullmatch(r"layers\.(\d{1,6})\.\w+", name))]
    # Of numbers far apart every missing layer would be listed.
    count = min(max(numbers, default=0), len(tensors)) + 1
    prefixes = [""] if single else [f"layers.{index}." for index in range(count)]
    known = [prefix + name for prefix in prefixes for name in (*CIRCUIT, *PER_EDGE)]
    problems = [f"{name} is missing" for name in known if name not in tensors]
    problems += [f"{name} is unknown" for name in tensors if name not in known]
    if problems:
        outer = next((found[1] for name in tensors if (found := re.fullmatch(r"(.+\.)layers\.\d+\.theta", name))), None)
        hint = (
            "they must be those that the original's QKAN or QKANLayer (version 0.2.3) gives"
            if outer is None
            else f"pass the part below {outer!r} alone: "
            f"{{name.removeprefix({outer!r}): t for name, t in state.items() if name.startswith({outer!r})}}"
        )
        raise ValueError(f"the tensors are not those of a QKAN of the original package: {listed(problems)}; {hint}")
    return {prefix: {name: tensors[prefix + name] for name in (*CIRCUIT, *PER_EDGE)} for prefix in prefixes}, single


def _check_values(layers: dict[str, dict[str, Tensor]]) -> None:
    problems = []
    for prefix, layer in layers.items():
        for name, tensor in layer.items():
            if not tensor.is_floating_point():
                problems.append(f"{prefix}{name} is {tensor.dtype} instead of a floating-point dtype")
            elif not bool(tensor.isfinite().all()):
                problems.append(f"{prefix}{name} holds NaN or infinite values")
            elif name == "mask" and not bool(((tensor == 0) | (tensor == 1)).all()):
                problems.append(
                    f"{prefix}mask holds values other than 0 and 1; multiply base_weight and postact_weights by them"
                )
    if problems:
        raise ValueError(f"the tensors cannot be used: {listed(problems)}; save the model again where it was trained")


@dataclass(frozen=True)
class _Shape:
    """Sizes of a layer: circuits is their number if inputs share them, else None."""

    inputs: int
    outputs: int
    reps: int
    circuits: int | None

    @property
    def group(self) -> int | None:
        """The option of QKANLayer; the circuits of inputs that there are not are left out."""
        return None if self.circuits is None else min(self.circuits, self.inputs)


def _common(shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
    return Counter(shapes).most_common(1)[0][0]


def _shapes(layers: dict[str, dict[str, Tensor]], ansatz: Ansatz, width: list[int] | None) -> list[_Shape]:
    """The sizes of all layers.

    Raises:
        ValueError: tensors whose shapes do not fit together, the ansatz or the width.
    """
    per_edge = [_common([tuple(layer[name].shape) for name in PER_EDGE]) for layer in layers.values()]
    flat = all(len(shape) == 1 for shape in per_edge)
    if width is None and flat:
        raise ValueError(
            "the tensors are flat, as p_dim=2 makes them, and do not say the width of the network; pass "
            f"width=[inputs, ..., outputs], {len(layers) + 1} numbers ({', '.join(str(s[0]) for s in per_edge)} edges)"
        )
    if width is not None and len(width) != len(layers) + 1:
        raise ValueError(
            f"width {width} has {len(width)} sizes, but {len(layers)} layers have {len(layers) + 1}; "
            "give [inputs, ..., outputs], or leave it out where the tensors are not flat"
        )
    sizes, problems = [], []
    for index, (prefix, shape) in enumerate(zip(layers, per_edge, strict=True)):
        edges = shape if width is None else (width[index + 1], width[index])
        if len(edges) != 2 or (shape != edges and not (flat and shape == (edges[0] * edges[1],))):
            wanted = "(out, in)" if width is None else f"{edges}, from width {width}"
            problems.append(f"{prefix}base_weight and its like are {shape} instead of {wanted}")
        sizes.append(edges)
    if not problems:
        shared = _any_shared(layers, sizes) if flat else None
        shapes = [
            _shape(prefix, layer, edges, shared, ansatz, problems)
            for (prefix, layer), edges in zip(layers.items(), sizes, strict=True)
        ]
    if problems:
        remedy = "take all of them from one model" + ("" if width is None else ", or correct width")
        raise ValueError(f"the tensors do not fit together: {listed(problems)}; {remedy}")
    return shapes


def _any_shared(layers: dict[str, dict[str, Tensor]], sizes: list[tuple[int, ...]]) -> bool:
    """Whether any layer has another number of circuits than edges: all layers of the original have one group."""
    return any(
        tuple(layer["preacts_weight"].shape[:1]) != (edges[0] * edges[1],)
        for layer, edges in zip(layers.values(), sizes, strict=True)
    )


def _shape(
    prefix: str,
    layer: dict[str, Tensor],
    edges: tuple[int, ...],
    shared: bool | None,
    ansatz: Ansatz,
    problems: list[str],
) -> _Shape:
    """The sizes of one layer. ``problems`` gets what does not fit; ``shared`` is None if tensors are not flat."""
    flat = shared is not None
    found = {name: tuple(tensor.shape) for name, tensor in layer.items()}
    lead = _common([found["theta"][: -1 if flat else -2], *(found[name][:-1] for name in CIRCUIT[1:])])
    reps = found["preacts_weight"][-1] if found["preacts_weight"] else 0
    if flat:
        count = lead[0] if lead else 0
        fits, circuits = len(lead) == 1, count if shared or count != edges[0] * edges[1] else None
    else:
        fits = lead == edges or len(lead) == 1 or (len(lead) == 2 and lead[0] == 1)
        circuits = None if lead == edges else lead[-1] if lead else 0
    if not fits or circuits == 0 or reps == 0:
        problems.append(
            f"{prefix}preacts_weight is {found['preacts_weight']} instead of (circuits, reps)"
            if flat
            else f"{prefix}preacts_weight is {found['preacts_weight']} instead of {(*edges, 'reps')} or (group, 'reps')"
        )
        return _Shape(1, 1, 1, None)

    def circuit(form: Ansatz) -> tuple[int, ...]:
        table = (form.rows(reps), form.angles)
        return (*lead, table[0] * table[1]) if flat else (*lead, *table)

    wanted = dict.fromkeys(PER_EDGE, (edges[0] * edges[1],) if flat else edges)
    wanted |= {"theta": circuit(ansatz), "preacts_weight": (*lead, reps), "preacts_bias": (*lead, reps)}
    for name, shape in wanted.items():
        if found[name] == shape:
            continue
        problem = f"{prefix}{name} is {found[name]} instead of {shape}"
        if name == "theta":
            others = [other.name for other in ANSATZE.values() if circuit(other) == found[name]]
            problem += f", as ansatz {ansatz.name!r} with reps {reps} has it"
            problem += f" (it fits ansatz {' or '.join(map(repr, others))})" if others else ""
        problems.append(problem)
    return _Shape(edges[1], edges[0], reps, circuits)


def _state(layer: dict[str, Tensor], shape: _Shape, ansatz: Ansatz) -> dict[str, Tensor]:
    """The tensors of a layer under the names, and in the shapes, of QKANLayer."""
    edges = (shape.outputs, shape.inputs)

    def circuits(tensor: Tensor, *last: int) -> Tensor:
        if shape.circuits is None:
            return tensor.reshape(*edges, *last)
        return tensor.reshape(1, shape.circuits, *last)[:, : shape.inputs]

    return {
        "theta": circuits(layer["theta"], ansatz.rows(shape.reps), ansatz.angles),
        "preact_weight": circuits(layer["preacts_weight"], shape.reps),
        "preact_bias": circuits(layer["preacts_bias"], shape.reps),
        "postact_weight": layer["postact_weights"].reshape(edges),
        "postact_bias": layer["postact_bias"].reshape(edges),
        "base_weight": layer["base_weight"].reshape(edges),
        "edge_mask": layer["mask"].reshape(edges) != 0,
    }


def _trained(
    states: list[dict[str, Tensor]],
    shapes: list[_Shape],
    ansatz: Ansatz,
    preact_trainable: bool | None,
    base_activation: BaseActivation,
) -> dict[str, Any]:
    """The options of QKANLayer that say which tensors there are, the same for all layers.

    Raises:
        ValueError: options of the caller that would leave out what the original reads.
        TypeError: preact_trainable is no bool.
    """

    def differs(name: str, start: float) -> bool:
        return any(bool((state[name] != start).any()) for state in states)

    if preact_trainable not in (None, True, False):
        raise TypeError(f"preact_trainable must be True, False or None, got {preact_trainable!r}")
    scaled, base = differs("preact_weight", 1), differs("base_weight", 0)
    always = ansatz.trains_preact_bias or ansatz.encoding_map != "identity"
    if preact_trainable is False and always and scaled:
        raise ValueError(
            f"preact_trainable=False would leave out preacts_weight, which differs from 1 and which the original reads "
            f"for ansatz {ansatz.name!r} even if it is not trained; leave preact_trainable to None"
        )
    if preact_trainable is None:
        preact_trainable = scaled or (not ansatz.trains_preact_bias and differs("preact_bias", 0))
    if base and base_activation is None:
        raise ValueError("base_activation=None would leave out base_weight, which is not 0; name the original's")
    alike = not base and any(shape.group is not None and shape.outputs > 1 for shape in shapes)
    return {
        "preact_trainable": preact_trainable,
        "postact_weight_trainable": alike or differs("postact_weight", 1),
        "postact_bias_trainable": differs("postact_bias", 0),
        "base_activation": base_activation if base else None,
    }
