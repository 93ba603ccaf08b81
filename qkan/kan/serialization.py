"""Networks as one file: tensors in the safetensors format, what they were built with as JSON in its metadata.

Reading executes nothing: JSON and numbers are all that such a file holds.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from qkan._util.files import write_atomic
from qkan._version import __version__
from qkan.kernels.circuits.ansatz import Ansatz
from qkan.layers.edge_mask import EdgeMasked
from qkan.layers.kan_layer import KANLayer
from qkan.layers.qkan_layer import QKANLayer
from qkan.layers.spline_layer import SplineLayer

if TYPE_CHECKING:
    from qkan.kan.kan import KAN

Network = TypeVar("Network", bound="KAN")
#: The layers that a file may name.
KINDS: dict[str, Any] = {kind.__name__: kind for kind in (QKANLayer, KANLayer, SplineLayer)}
#: The entry of the metadata, and the version of what it holds.
ENTRY, FORMAT = "qkan", 1
_ANSATZ = (
    "name", "block", "encoding", "final", "initial", "encoding_map", "trains_preact_bias", "near_linear", "slope",
)  # fmt: skip


def _encode(index: int, layer: Any) -> dict[str, Any]:
    """The kind and the configuration of a layer in the words of JSON.

    Raises:
        ValueError: a value that only code can say.
    """
    config = layer.config
    for name, remedy in (
        ("base_activation", "build the network with one that has a name, or save its state_dict()"),
        ("backend", "set layer.backend = 'auto' (or 'pennylane') first"),
        ("basis", "save its state_dict()"),
    ):
        value = config.get(name)
        if not isinstance(value, str | type(None)):
            shown = getattr(value, "__name__", type(value).__name__)
            raise ValueError(f"layer {index}: {name} {shown} is an object that a file cannot hold; {remedy}")
    if "ansatz" in config:
        config["ansatz"] = {name: getattr(config["ansatz"], name) for name in _ANSATZ}
    return {"kind": type(layer).__name__} | config | {"dtype": str(config["dtype"]).removeprefix("torch.")}


def _decode(entry: Any) -> EdgeMasked:
    """The layer of an entry, without values."""
    if not isinstance(entry, dict):
        raise ValueError(f"a layer is {entry!r}")
    config = dict(entry)
    name = config.pop("kind")
    if name not in KINDS:
        raise ValueError(f"a layer of kind {name!r} is unknown; this version reads {', '.join(KINDS)}")
    kind = KINDS[name]
    known = set(kind(1, 1, device="meta").config)
    if set(config) != known:
        raise ValueError(f"options {sorted(set(config) ^ known)} of a layer are missing or unknown")
    config["dtype"] = getattr(torch, str(config["dtype"]), None)
    if not isinstance(config["dtype"], torch.dtype):
        raise ValueError(f"dtype {entry['dtype']!r} is unknown")
    if "ansatz" in config:
        ansatz = config["ansatz"]
        if not isinstance(ansatz, dict) or set(ansatz) != set(_ANSATZ):
            raise ValueError("an ansatz is incomplete")
        listed: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in ansatz.items()
        }
        config["ansatz"] = Ansatz(**listed)
    return kind(**config, device="meta")


def save(model: KAN, path: str | os.PathLike[str], overwrite: bool) -> None:
    """See :meth:`qkan.KAN.save`."""
    import safetensors.torch

    path = Path(path)
    if os.path.lexists(path) and not overwrite:
        raise FileExistsError(f"{path} exists; give another path, or overwrite=True to replace it")
    layers = [_encode(index, layer) for index, layer in enumerate(model.layers)]
    entry = json.dumps({"format": FORMAT, "version": __version__, "layers": layers}, allow_nan=False)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    content = safetensors.torch.save(tensors, {ENTRY: entry})
    write_atomic(path, lambda file: file.write(content))


def load(kind: type[Network], path: str | os.PathLike[str], device: torch.device | str | int) -> Network:
    """See :meth:`qkan.KAN.load`."""
    import safetensors

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; give the path that save() wrote")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            entry = (file.metadata() or {}).get(ENTRY)
            if entry is None:
                raise ValueError(
                    f"{path} holds tensors but no network of this package; read them with "
                    "safetensors.torch.load_file and give them to load_state_dict()"
                )
            # A copy: the tensors of the file are a map of it.
            tensors = {name: file.get_tensor(name).to(device, copy=True) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged or no safetensors file ({error}); restore it from a copy") from None
    model = _built(kind, path, entry)
    _check_tensors(path, model, tensors)
    for name, tensor in tensors.items():
        if tensor.dtype == torch.bool:  # a file may hold other bytes than 0 and 1, which torch counts on
            tensors[name] = tensor.view(torch.uint8) != 0
    model.load_state_dict(tensors, assign=True)
    return model


def _built(kind: type[Network], path: Path, entry: str) -> Network:
    """The network of an entry, without values: on the meta device nothing is allocated, whatever the file says."""
    try:
        config = json.loads(entry)
        if config["format"] != FORMAT:
            raise ValueError(f"format {config['format']!r} is not {FORMAT}, the one that version {__version__} reads")
        layers = [_decode(layer) for layer in config["layers"]]
        wanted, name = kind._kinds
        others = {type(layer).__name__ for layer in layers if not isinstance(layer, wanted)}
        if not others:
            return kind.from_layers(layers)
    except (ValueError, TypeError, KeyError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(f"{path}: its description of the network cannot be used: {reason}; save it again") from None
    raise ValueError(
        f"{path} holds a network of {', '.join(sorted(others))}, not of {name}; read it with qkan.KAN.load"
    )


def _check_tensors(path: Path, model: KAN, tensors: dict[str, Tensor]) -> None:
    expected = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in model.state_dict().items()}
    masks = {
        f"layers.{index}.edge_mask": ((layer.out_features, layer.in_features), torch.bool)
        for index, layer in enumerate(model.layers)
    }
    problems = [f"{name} is missing" for name in expected if name not in tensors]
    problems += [f"{name} is unknown" for name in tensors if name not in expected and name not in masks]
    for name, wanted in (expected | masks).items():
        found = (tuple(tensors[name].shape), tensors[name].dtype) if name in tensors else wanted
        if found != wanted:
            problems.append(f"{name} is {found[1]} {found[0]} instead of {wanted[1]} {wanted[0]}")
    if problems:
        raise ValueError(f"{path}: its tensors do not fit the network that it describes: {'; '.join(problems)}")
