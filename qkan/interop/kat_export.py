"""A Kolmogorov-Arnold Transformer as a folder that needs no package: code, configuration and weights."""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qkan._util.files import write_new_files
from qkan._util.train_mode import modes_kept
from qkan.interop.kat import KAT_NAMES
from qkan.layers.rational import GRKAN

#: Files of an export, in the order in which they are written.
CODE, WEIGHTS, CONFIG = "modeling_kat.py", "model.safetensors", "config.json"
#: How far outputs of the written form may be off, as a share of the largest.
TOLERANCE = 1e-5
_POOLS = ("token", "avg", "")


def export_kat(model: nn.Module, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a Vision Transformer with GR-KANs as a folder that anybody with PyTorch can load.

    ``modeling_kat.py`` is plain PyTorch, the same for every model; ``config.json`` holds sizes alone;
    ``model.safetensors`` holds the weights under timm's and KAT's names. ``from modeling_kat import load`` reads them
    without any other package than safetensors, and with transformers ``AutoModelForImageClassification
    .from_pretrained(folder, trust_remote_code=True)``. Outputs are compared before anything is written. Dropout is left
    out.

    Args:
        model: timm's VisionTransformer, or one of its structure, whose MLPs are :class:`qkan.GRKAN`.
        folder: to write to; made if it is missing.
        overwrite: whether files of these names may be replaced.

    Returns:
        the folder.

    Raises:
        ValueError: a model of another kind, or with a part that the file has no counterpart of; the message names it.
        FileExistsError: one of the files exists.

    Examples:
        >>> from qkan.interop import export_kat
        >>> from torch import nn
        >>> export_kat(nn.Linear(2, 2), "kat")
        Traceback (most recent call last):
        ValueError: Linear is no Vision Transformer of timm's structure: it has no blocks; ...
    """
    folder = Path(folder)
    network, pool = _describe(model)
    plain = _plain_copy(model, network, pool)
    _compare(model, plain, network)
    contents = {CODE: _code(), WEIGHTS: _weights(plain), CONFIG: _config(network, pool, plain)}
    write_new_files(folder, contents, overwrite=overwrite)
    return folder


def _code() -> bytes:
    from qkan.interop import modeling_kat

    return inspect.getsource(modeling_kat).encode()


def _weights(plain: nn.Module) -> bytes:
    import safetensors.torch

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in plain.state_dict().items()}
    return safetensors.torch.save(tensors, {"format": "pt"})


def _config(network: dict[str, Any], pool: str, plain: nn.Module) -> bytes:
    module = CODE.removesuffix(".py")
    classes = dict.fromkeys(("AutoModel", "AutoModelForImageClassification"), f"{module}.KatForImageClassification")
    content = {
        "architectures": ["KatForImageClassification"],
        "auto_map": {"AutoConfig": f"{module}.KatConfig", **classes},
        "model_type": "kat",
        "num_labels": max(1, network["classes"]),
        "dtype": str(next(plain.parameters()).dtype).removeprefix("torch."),
        "network": network,
        "pool": pool,
    }
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def _describe(model: Any) -> tuple[dict[str, Any], str]:
    """The sizes of a model, as the plain network takes them, and what is done with its tokens.

    Raises:
        ValueError: it is built otherwise.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    what = f"{type(model).__name__} is no Vision Transformer of timm's structure"
    remedy = "build it with timm.create_model(..., mlp_layer=qkan.GRKAN), or export it another way (qkan.compile)"
    for name in ("blocks", "patch_embed", "norm", "head"):
        if not isinstance(getattr(model, name, None), nn.Module):
            raise ValueError(f"{what}: it has no {name}; {remedy}")
    for name in ("reg_token", "attn_pool"):
        if getattr(model, name, None) is not None:
            raise ValueError(f"{what} that the file knows: it has {name}; {remedy}")
    blocks: Any = model.blocks
    projection, pool = getattr(model.patch_embed, "proj", None), getattr(model, "global_pool", "token")
    if not isinstance(projection, nn.Conv2d) or not isinstance(getattr(model, "pos_embed", None), Tensor):
        raise ValueError(f"{what}: its patches are no convolution, or it has no pos_embed; {remedy}")
    if pool not in _POOLS:
        raise ValueError(
            f"global_pool {pool!r} is none of {', '.join(map(repr, _POOLS))} that the file knows; {remedy}"
        )
    prefix = int(getattr(model, "cls_token", None) is not None)
    size = getattr(model.patch_embed, "img_size", None)
    if size is None:
        raise ValueError(f"{what}: its patch_embed does not say for which img_size it is built; {remedy}")
    network = {
        "width": projection.out_channels,
        "channels": projection.in_channels,
        "image_size": [int(each) for each in (size if isinstance(size, tuple | list) else (size, size))],
        "patch_size": [int(each) for each in projection.kernel_size],
        "patch_bias": projection.bias is not None,
        "prefix": prefix,
        "no_embed_class": bool(getattr(model, "no_embed_class", False)),
        "norms": {name: _norm(getattr(model, name, None), name) for name in ("norm_pre", "norm", "fc_norm")},
        "blocks": [_block(block, f"blocks.{index}") for index, block in enumerate(blocks)],
        "classes": model.head.out_features if isinstance(model.head, nn.Linear) else 0,
    }
    return network, pool


def _norm(module: nn.Module | None, name: str) -> float | None:
    """The eps of a layer norm, None for no norm."""
    if module is None or isinstance(module, nn.Identity):
        return None
    if not isinstance(module, nn.LayerNorm):
        raise ValueError(f"{name} is a {type(module).__name__}, but the file knows nn.LayerNorm alone; use that")
    return float(module.eps)


def _block(block: Any, name: str) -> dict[str, Any]:
    mlp: Any = getattr(block, "mlp", None)
    attention: Any = getattr(block, "attn", None)
    if not isinstance(mlp, GRKAN) or mlp.use_conv:
        kind = type(mlp).__name__
        raise ValueError(
            f"{name}.mlp is a {kind}, but a KAT has a qkan.GRKAN of linear maps there; build the model with "
            'mlp_layer=qkan.GRKAN, or call qkan.replace_mlp(model, "grkan")'
        )
    if not all(isinstance(getattr(attention, each, None), nn.Linear) for each in ("qkv", "proj")):
        raise ValueError(f"{name}.attn is a {type(attention).__name__}, but the file knows timm's Attention alone")
    acts = (mlp.act1, mlp.act2)
    return {
        "heads": int(attention.num_heads),
        "eps": [_norm(block.norm1, f"{name}.norm1"), _norm(block.norm2, f"{name}.norm2")],
        "qkv_bias": attention.qkv.bias is not None,
        "proj_bias": attention.proj.bias is not None,
        "layer_scale": hasattr(getattr(block, "ls1", None), "gamma"),
        "mlp": {
            "hidden": mlp.hidden_features,
            "groups": [act.num_groups for act in acts],
            "order": [list(act.spec.order) for act in acts],
            "denominator": [act.spec.denominator for act in acts],
            "share_numerator": [act.share_numerator for act in acts],
            "bias": [mlp.fc1.bias is not None, mlp.fc2.bias is not None],
            "norm_eps": _norm(mlp.norm, f"{name}.mlp.norm"),
        },
    }


def _plain_copy(model: nn.Module, network: dict[str, Any], pool: str) -> nn.Module:
    """The network of the written file with the weights of the model, on its device."""
    from qkan.interop.modeling_kat import Kat

    ours = {name: KAT for KAT, name in KAT_NAMES.items()}
    tensors = {}
    for name, tensor in model.state_dict().items():
        owner, _, last = name.rpartition(".")
        tensors[f"{owner}.{ours[last]}" if last in ours and ".act" in owner else name] = tensor.detach()
    with torch.device("meta"):
        plain = Kat(network, pool)
    try:
        plain.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        lines = " ".join(str(error).split("\n")[1:2]).strip()
        raise ValueError(f"{type(model).__name__} has other parts than the file knows: {lines}") from None
    return plain.eval()


def _compare(model: nn.Module, plain: nn.Module, network: dict[str, Any]) -> None:
    """Run both on made-up images.

    Raises:
        ValueError: other outputs.
    """
    like = next(plain.parameters())
    numbers = torch.Generator().manual_seed(0)
    images = torch.randn(2, network["channels"], *network["image_size"], generator=numbers).to(like)
    with torch.no_grad(), modes_kept(model):
        wanted, found = model.eval()(images), plain(images)
    size = float(wanted.abs().max()) if isinstance(wanted, Tensor) and wanted.numel() else 0.0
    tolerance = max(TOLERANCE, 8 * torch.finfo(like.dtype).eps) * max(size, 1e-3)
    if not isinstance(wanted, Tensor) or wanted.shape != found.shape:
        off = "other shapes"
    elif (difference := float((wanted - found).abs().max())) <= tolerance:
        return
    else:
        off = f"outputs that differ by {difference:.2g}"
    raise ValueError(
        f"{type(model).__name__} does something that the written file does not: they give {off} for the same images; "
        "export a plain timm VisionTransformer"
    )
