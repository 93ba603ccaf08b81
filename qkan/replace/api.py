"""Replace the MLP blocks, linear maps and recurrent layers of a model by quantum-inspired ones, and undo it.

HQKAN in the place of an MLP: arXiv 2509.14026; group-rational KANs: arXiv 2409.10594; QKAN-LSTM: arXiv 2512.05049.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from qkan.kan.jhcg import HQKAN, default_latent_features
from qkan.layers.options import MAX_FEATURES, positive_int
from qkan.layers.qkan_layer import QKANLayer
from qkan.layers.rational import GRKAN
from qkan.replace.find_layers import Block, find_linears, find_recurrent
from qkan.replace.find_mlps import find_mlps
from qkan.replace.swap import Replacements, check_output, choose, parameters_of, swap_all
from qkan.rnn.lstm import HQKANLSTM, QKANGRU, QKANLSTM

Select = Callable[[str, nn.Module], bool]
Replacement = str | Callable[[Block], nn.Module]

#: Activations by class or function name, and what a GRKAN's second activation starts as.
_STARTS = {
    "ReLU": "relu", "relu": "relu", "SiLU": "silu", "SiLUActivation": "silu", "Tanh": "tanh", "LeakyReLU": "leaky_relu",
    "ELU": "elu", "Mish": "mish", "Softplus": "softplus", "Sigmoid": "sigmoid",
}  # fmt: skip


def replace_mlp(
    model: nn.Module,
    replacement: Replacement = "hqkan",
    *,
    select: Select | None = None,
    latent_features: int | None = None,
    parameters: float | None = None,
    **options: Any,
) -> Replacements:
    """Replace the MLP blocks of a model, in place.

    Blocks are found by structure, whatever library built them: a module of two linear maps (nn.Linear, or Hugging
    Face's Conv1D) with anything between them, or of three whose first two get the input (a gated MLP, as in Llama);
    ``intermediate`` and ``output`` of BERT's layers; ``linear1`` to ``linear2`` of nn.TransformerEncoderLayer and
    DecoderLayer, which keep residuals, norms and outer dropouts; within nn.Sequential, a run of linear maps with
    activations between them. Two 1 x 1 convolutions make an MLP of pixels, (batch, channels, height, width), by the
    same rules, with BatchNorm2d between them, too. That a module is an MLP and no attention, and that no pixel sees
    another one, is tested by running it once in eval mode on made-up numbers. A replacement takes over sizes, bias,
    dropout, device, dtype and training mode; where all parameters of a block are frozen, it is frozen, too.

    Args:
        model: any module.
        replacement: ``"hqkan"`` (:class:`qkan.HQKAN`), ``"grkan"`` (:class:`qkan.GRKAN`, whose second activation
            starts as the block's if it is a common one, else as GELU), or a function from a block to a module; see
            :class:`qkan.replace.find_layers.Block`.
        select: a function of a block's name and module, which tells whether to replace it; None for all.
        latent_features: inner width; default ceil(log2 in_features) for HQKAN, the block's own for GRKAN.
        parameters: in place of ``latent_features``, a share of the block's parameters: the inner width becomes the
            largest with which the replacement has at most so many; 1.0 for as many, 0.25 for a quarter.
        options: keyword options of :class:`qkan.HQKAN` (``reps``, ``group``, ...) or :class:`qkan.GRKAN`, in place of
            what would be taken over.

    Returns:
        what was replaced: print it for a table; ``.undo()``, or leaving it as a context, takes it back.

    Raises:
        ValueError: nothing to replace, with what was found; a block that cannot be (tied or shared in part, hooks,
            parametrizations, lazy, quantised, the model itself); a size or option outside its range. The model is
            as before then.
        TypeError: a replacement that is neither a name nor a function, an option that it does not have.

    Examples:
        >>> from torch import nn
        >>> from qkan import replace_mlp
        >>> model = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 4))
        >>> report = replace_mlp(model, latent_features=3)
        >>> type(model[0]).__name__, report.change < 0
        ('HQKAN', True)
    """
    return _replace(
        model, find_mlps, "MLP blocks", ("hqkan", "grkan"), replacement, select, latent_features, parameters, options
    )


def replace_linear(
    model: nn.Module,
    replacement: Replacement = "qkan",
    *,
    select: Select,
    latent_features: int | None = None,
    parameters: float | None = None,
    **options: Any,
) -> Replacements:
    """Replace the linear maps (nn.Linear, Hugging Face's Conv1D) that a function selects, in place.

    Args:
        model: any module.
        replacement: ``"qkan"`` (:class:`qkan.QKANLayer`, a circuit for each pair of input and output, whose constant
            terms take the place of the bias), ``"hqkan"`` (:class:`qkan.HQKAN`), or a function from a block to a
            module.
        select: a function of name and module, which tells whether to replace it.
        latent_features, parameters: of HQKAN, as in :func:`replace_mlp`.
        options: keyword options of the replacement.

    Returns:
        what was replaced, as of :func:`replace_mlp`.

    Raises:
        ValueError, TypeError: as :func:`replace_mlp`; a linear map whose weight is tied to another, such as an
            embedding, or is read by nn.MultiheadAttention.

    Examples:
        >>> from torch import nn
        >>> from qkan import replace_linear
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))
        >>> report = replace_linear(model, select=lambda name, module: name == "2")
        >>> type(model[2]).__name__
        'QKANLayer'
    """
    return _replace(
        model, find_linears, "linear maps", ("qkan", "hqkan"), replacement, select, latent_features, parameters, options
    )


def replace_recurrent(
    model: nn.Module, replacement: Replacement = "qkan", *, select: Select | None = None, **options: Any
) -> Replacements:
    """Replace the recurrent layers nn.LSTM and nn.GRU of a model, in place.

    Args:
        model: any module.
        replacement: ``"qkan"`` (:class:`qkan.QKANLSTM` and :class:`qkan.QKANGRU`), ``"hqkan"``
            (:class:`qkan.HQKANLSTM`, of nn.LSTM only), or a function from a block to a module.
        select: a function of name and module, which tells whether to replace it; None for all.
        options: keyword options of the replacement.

    Returns:
        what was replaced, as of :func:`replace_mlp`.

    Raises:
        ValueError, TypeError: as :func:`replace_mlp`; nn.RNN, which has no counterpart; nn.GRU by ``"hqkan"``.

    Examples:
        >>> from torch import nn
        >>> from qkan import replace_recurrent
        >>> model = nn.ModuleDict({"rnn": nn.LSTM(3, 8), "head": nn.Linear(8, 1)})
        >>> report = replace_recurrent(model)
        >>> type(model["rnn"]).__name__
        'QKANLSTM'
    """
    return _replace(
        model, find_recurrent, "recurrent layers", ("qkan", "hqkan"), replacement, select, None, None, options
    )


def _replace(
    model: nn.Module,
    find: Callable[[nn.Module], list[Block]],
    what: str,
    names: tuple[str, ...],
    replacement: Replacement,
    select: Select | None,
    latent_features: int | None,
    parameters: float | None,
    options: dict[str, Any],
) -> Replacements:
    _check_replacement(replacement, names)
    if select is not None and not callable(select):
        raise TypeError(f"select must be a function of a name and a module, got {type(select).__name__}")
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    sized = _sized(replacement, latent_features, parameters, options)
    recurrent = find is find_recurrent

    def make(block: Block, device: torch.device, dtype: torch.dtype) -> nn.Module:
        if callable(replacement):
            new = replacement(block)
            if not isinstance(new, nn.Module):
                raise TypeError(f"replacement must return a torch.nn.Module, got {type(new).__name__}")
            new = new.to(device=device, dtype=dtype)
            if not recurrent:
                check_output(new, block, torch.empty(0, device=device, dtype=dtype))
            return new
        factory = {**options, "device": device, "dtype": dtype}
        if recurrent:
            return _recurrent(block, replacement, factory)
        return _build(block, replacement, sized(block), factory)

    return swap_all(model, choose(model, find(model), select, what), make)


def _check_replacement(replacement: Replacement, names: tuple[str, ...]) -> None:
    if isinstance(replacement, str):
        if replacement not in names:
            raise ValueError(f"unknown replacement {replacement!r}; use {', '.join(map(repr, names))} or a function")
    elif isinstance(replacement, nn.Module) or not callable(replacement):
        raise TypeError(
            f"replacement must be {', '.join(map(repr, names))} or a function from a block to a module, so that every "
            f"place gets its own, got {type(replacement).__name__}"
        )


def _sized(
    replacement: Replacement, latent_features: int | None, parameters: float | None, options: dict[str, Any]
) -> Callable[[Block], int | None]:
    """How wide the inside of a replacement is; None for its own default.

    Raises:
        ValueError: both sizes are given, one is out of range, or there is no inside to give a size to.
        TypeError: sizes or options for a function, which has its own.
    """
    given = {"latent_features": latent_features, "parameters": parameters}
    named = [name for name, value in given.items() if value is not None]
    if callable(replacement):
        extra = [*named, *options]
        if extra:
            raise TypeError(f"{extra[0]} has no effect on a function as replacement; let the function see to it")
        return lambda block: None
    if replacement == "qkan" and named:
        raise ValueError(f"{named[0]} is for replacements with an inner width; a QKANLayer has none")
    if len(named) == 2:
        raise ValueError(f"latent_features {latent_features} and parameters {parameters} both set the size; give one")
    if latent_features is not None:
        positive_int("latent_features", latent_features)
        return lambda block: latent_features
    if parameters is None:
        return lambda block: None
    if isinstance(parameters, bool) or not isinstance(parameters, int | float) or not 0 < parameters < math.inf:
        raise ValueError(f"parameters {parameters!r} must be a positive share of a block's parameters, such as 0.25")
    known: dict[tuple[int, ...], int] = {}

    def width(block: Block) -> int:
        room = math.floor(parameters * parameters_of(*block.parts))
        key = (block.in_features, block.out_features, block.bias, block.pixels, room)
        if key not in known:
            known[key] = _widest(block, replacement, room, options)
        return known[key]

    return width


def _widest(block: Block, replacement: str, room: int, options: dict[str, Any]) -> int:
    """The largest inner width with at most ``room`` parameters; ValueError if there is none."""
    step = options.get("num_groups", 8) if replacement == "grkan" else 1
    meta = {**options, "device": torch.device("meta"), "dtype": torch.float32}
    meta.pop("generator", None)  # belongs to a device with numbers

    def parameters(width: int) -> int:
        return parameters_of(_build(block, replacement, width, meta))

    fitting = bisect_right(range(step, MAX_FEATURES, step), room, key=parameters)
    if not fitting:
        raise ValueError(
            f"{block.name} may have {room:,} parameters, but the smallest {replacement} there, of inner width {step}, "
            f"has {parameters(step):,}; raise parameters"
        )
    return fitting * step


def _build(block: Block, replacement: str, width: int | None, options: dict[str, Any]) -> nn.Module:
    inputs, outputs, image = block.in_features, block.out_features, {"use_conv": True} if block.pixels else {}
    if replacement == "qkan":
        return QKANLayer(inputs, outputs, **options)
    if replacement == "hqkan":
        latent = default_latent_features(inputs) if width is None else width
        return HQKAN(inputs, latent, outputs, **{"bias": block.bias, "drop": block.drop, **image, **options})
    inside, behind = block.drop
    start = _STARTS.get(block.activation or "", "gelu")
    options = {"act_layer": start, "bias": block.bias, "drop": (0.0, inside), **image, **options}
    width = block.hidden_features if width is None else width
    new = GRKAN(inputs, width, outputs, **options)
    return nn.Sequential(OrderedDict(block=new, drop=nn.Dropout(behind))) if behind else new


def _recurrent(block: Block, replacement: str, options: dict[str, Any]) -> nn.Module:
    old: Any = block.module
    if isinstance(old, nn.GRU) and replacement == "hqkan":
        raise ValueError(f"{block.name} is an nn.GRU, which has no HQKAN form; use 'qkan', or leave it out by select")
    same: dict[str, Any] = {
        name: getattr(old, name)
        for name in ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
    }
    if isinstance(old, nn.GRU):
        return QKANGRU(**same, **options)
    return (QKANLSTM if replacement == "qkan" else HQKANLSTM)(**same, proj_size=old.proj_size, **options)
