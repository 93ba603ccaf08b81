"""Adapters as one file: their tensors alone in the safetensors format, what they were built with as JSON beside them.

Reading executes nothing: JSON and numbers are all that such a file holds.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from qkan._util.files import write_atomic
from qkan._version import __version__
from qkan.adapters.adapter import Adapter, adapters_of
from qkan.replace.adapt import KINDS, add_adapters, remove_adapters

#: The entry of the metadata, and the version of what it holds.
ENTRY, FORMAT = "qkan-adapters", 1
_CLASSES = {kind.__name__: (name, kind) for name, kind in KINDS.items()}
_SIZES = ("in_features", "out_features")


def save_adapters(model: nn.Module, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write the adapters of a model to a safetensors file, without the model's own weights.

    Args:
        model: to which :func:`qkan.add_adapters` added adapters of this package.
        path: of the file.
        overwrite: whether an existing file may be replaced.

    Raises:
        ValueError: no adapters, or one of a class of your own, which a file cannot describe.
        FileExistsError: the file exists.

    Examples:
        >>> from torch import nn
        >>> from qkan import add_adapters, load_adapters, save_adapters
        >>> model = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 4))
        >>> report = add_adapters(model, 2, "0")
        >>> save_adapters(model, "adapters.safetensors")
        >>> again = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 4))
        >>> load_adapters(again, "adapters.safetensors")
        >>> type(again[0]).__name__
        'CircuitLoRA'
    """
    import safetensors.torch

    path, found = Path(path), adapters_of(model, "save")
    for name, one in found.items():
        if type(one).__name__ not in _CLASSES or _CLASSES[type(one).__name__][1] is not type(one):
            raise ValueError(
                f"{name} has a {type(one).__name__}, which a file cannot describe; save its state_dict() yourself"
            )
    if os.path.lexists(path) and not overwrite:
        raise FileExistsError(f"{path} exists; give another path, or overwrite=True to replace it")
    layers = {name: one.config for name, one in found.items()}
    entry = json.dumps({"format": FORMAT, "version": __version__, "layers": layers}, allow_nan=False)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _tensors(found).items()}
    content = safetensors.torch.save(tensors, {ENTRY: entry})
    write_atomic(path, lambda file: file.write(content))


def load_adapters(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Read adapters from a file of :func:`save_adapters` into a model, which gets them if it has none.

    Args:
        model: with layers of the names and sizes in the file. If it has adapters, they must be those of the file.
        path: of the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file or one of another kind; a layer that the model lacks, of another size, or that cannot
            be adapted; other adapters than in the file; missing, unknown, misshapen or not finite tensors. The model is
            as before then.

    Examples:
        >>> from torch import nn
        >>> from qkan import add_adapters, load_adapters, save_adapters
        >>> model = nn.Sequential(nn.Linear(16, 4))
        >>> report = add_adapters(model, 2, "0")
        >>> save_adapters(model, "task.safetensors")
        >>> load_adapters(model, "task.safetensors")
    """
    path = Path(path)
    layers, tensors = _read(path)
    had = adapters_of(model)
    try:
        if not had:
            _add(model, layers)
        found = adapters_of(model)
        _check(path, {name: one.config for name, one in found.items()}, layers, _tensors(found), tensors)
    except (ValueError, TypeError, KeyError) as error:
        if not had and adapters_of(model):
            remove_adapters(model)
        shown = str(error) if str(path) in str(error) else f"{path}: {error}"
        raise ValueError(shown) from None
    for name, parameter in _tensors(found).items():
        parameter.data.copy_(tensors[name])


def _tensors(found: dict[str, Adapter]) -> dict[str, Tensor]:
    return {f"{name}.{key}": p for name, one in found.items() for key, p in one.new_parameters().items()}


def _read(path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, Tensor]]:
    """What adapters a file describes, and its tensors.

    Raises:
        FileNotFoundError, ValueError: as of :func:`load_adapters`.
    """
    import safetensors

    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; give the path that save_adapters wrote")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            entry = (file.metadata() or {}).get(ENTRY)
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged or no safetensors file ({error}); restore it from a copy") from None
    if entry is None:
        raise ValueError(f"{path} holds no adapters of this package; give a file that save_adapters wrote")
    try:
        content = json.loads(entry)
        layers = content["layers"]
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r} is not {FORMAT}, the one that version {__version__} reads")
        if not layers or not all(config["kind"] in _CLASSES for config in layers.values()):
            raise ValueError("it names no adapter, or one that is unknown")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: its description of the adapters cannot be used: {error!r}") from None
    return layers, tensors


def _add(model: nn.Module, layers: dict[str, dict[str, Any]]) -> None:
    """Add what a file describes."""
    known = dict(model.named_modules())
    missing = [name for name in layers if name not in known]
    if missing:
        raise ValueError(f"{type(model).__name__} has no layer {missing[0]}; load it into the model it was trained in")

    names = {id(known[name]): name for name in layers}

    def build(layer: nn.Module, rank: int) -> Adapter:
        name = names[id(layer)]
        config = dict(layers[name])
        kind = _CLASSES[config.pop("kind")][1]
        sizes = [config.pop(size) for size in _SIZES]
        made = kind(layer, config.pop("rank"), **config)
        if sizes != [made.in_features, made.out_features]:
            raise ValueError(
                f"{name} is {made.out_features} x {made.in_features} here, but {sizes[1]} x {sizes[0]} in the file"
            )
        return made

    add_adapters(model, 1, lambda name, module: name in layers, build)


def _check(path: Path, own: Any, layers: Any, wanted: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
    """Compare the adapters of a model with those of a file.

    Raises:
        ValueError: they differ.
    """
    for name in sorted({*own, *layers}):
        if own.get(name) != layers.get(name):
            raise ValueError(f"{path}: {name} is {layers.get(name, 'no adapter')}, but here {own.get(name, 'none')}")
    problems = [f"{name} is missing" for name in wanted if name not in tensors]
    problems += [f"{name} is unknown" for name in tensors if name not in wanted]
    for name in wanted.keys() & tensors.keys():
        found, here = tensors[name], wanted[name]
        if found.shape != here.shape or not found.is_floating_point():
            problems.append(f"{name} is {found.dtype} {tuple(found.shape)} instead of {tuple(here.shape)}")
        elif not found.isfinite().all():
            problems.append(f"{name} has values that are not finite")
    if problems:
        raise ValueError(
            f"{path}: its tensors do not fit the adapters that it describes: {'; '.join(sorted(problems))}"
        )
