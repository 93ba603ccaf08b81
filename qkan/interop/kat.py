"""Published checkpoints of the Kolmogorov-Arnold Transformer (arXiv 2409.10594) in modules made of GR-KANs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from qkan.interop.checkpoint_reader import tensors_of
from qkan.layers.rational import GroupRational
from qkan.layers.rational_init import check_coefficients

#: KAT's name of a tensor of an activation -> ours. Linear maps have the same names in both.
KAT_NAMES = {"weight_numerator": "numerator", "weight_denominator": "denominator"}
#: The form that KAT's kernels compute and so its checkpoints are trained with: Q = 1 + sum_j |b_j| |x|^j.
KAT_DENOMINATOR = "abs_terms"


def load_kat_state_dict(module: nn.Module, state_dict: Mapping[str, Any], *, strict: bool = True) -> Any:
    """Load a KAT checkpoint into a module whose MLPs are :class:`qkan.GRKAN`.

    KAT is timm's Vision Transformer with rational activations in its MLPs: ``act1``, which starts as the identity,
    ``fc1``, ``act2``, which starts as swish or GELU, ``fc2``. Each activation has ``weight_numerator`` (1, m + 1), a_0
    .. a_m, shared by all groups, and ``weight_denominator`` (num_groups, n), b_1 .. b_n, for (m, n) = (5, 4) and 8
    groups. So a published model fits ``timm.create_model("vit_tiny_patch16_224", mlp_layer=GRKAN)`` and its like.

    Args:
        module: its :class:`qkan.GroupRational` modules stand where the checkpoint's activations do. Those with a
            numerator for each group get the shared one in every group.
        state_dict: name to tensor, or the whole dictionary of a training script, with them under ``state_dict``,
            ``model_state_dict`` or ``model``. For averaged weights pass ``checkpoint["state_dict_ema"]``. A prefix
            ``module.`` or ``_orig_mod.`` of all names is left out. It is not changed; tensors may have another dtype
            or device.
        strict: whether every tensor of either side must have a partner.

    Returns:
        what :meth:`torch.nn.Module.load_state_dict` returns, names as in ``module``.

    Raises:
        TypeError: no mapping of names to tensors.
        ValueError: a module without GroupRational or a checkpoint without rational activations; an activation with
            another denominator than KAT computes, or whose groups or order are not the checkpoint's; coefficients that
            put a pole on the real line, as NaN and infinity do. Nothing is loaded then.
        RuntimeError: missing or unexpected names, or other shapes, as load_state_dict raises them.

    Examples:
        >>> import torch
        >>> from qkan import GroupRational, load_kat_state_dict
        >>> checkpoint = {"weight_numerator": torch.rand(1, 6), "weight_denominator": torch.rand(8, 4)}
        >>> load_kat_state_dict(GroupRational(64), checkpoint)
        <All keys matched successfully>
    """
    tensors = tensors_of(state_dict)
    rationals = {name: found for name, found in module.named_modules() if isinstance(found, GroupRational)}
    if not rationals:
        raise ValueError(f"{type(module).__name__} has no GroupRational; build it with GRKAN as its MLP")
    if not any(name.rpartition(".")[2] in KAT_NAMES for name in tensors):
        raise ValueError(
            "the checkpoint has no weight_numerator and no weight_denominator, so it is none of a KAT; load it with "
            "load_state_dict"
        )
    translated = {}
    for name, tensor in tensors.items():
        owner, _, last = name.rpartition(".")
        ours = last
        if owner in rationals and last in KAT_NAMES:
            ours = KAT_NAMES[last]
            tensor = _fitted(owner, rationals[owner], last, tensor)
        translated[f"{owner}.{ours}" if owner else ours] = tensor
    return module.load_state_dict(translated, strict=strict)


def _fitted(owner: str, rational: GroupRational, name: str, tensor: Tensor) -> Tensor:
    """The coefficients of one activation, shaped as ``rational`` has them."""
    owner = owner or "the module"
    if rational.spec.denominator != KAT_DENOMINATOR:
        raise ValueError(
            f"{owner} computes the denominator {rational.spec.denominator!r}, but KAT's checkpoints are trained with "
            f"{KAT_DENOMINATOR!r}; build it with denominator={KAT_DENOMINATOR!r}"
        )
    own = rational.numerator if name == "weight_numerator" else rational.denominator
    shared = name == "weight_numerator" and tensor.dim() == 2 and len(tensor) == 1
    if tuple(tensor.shape) != tuple(own.shape) and not (shared and tensor.shape[1] == own.shape[1]):
        raise ValueError(
            f"{owner}.{name} has the shape {tuple(tensor.shape)}, but {tuple(own.shape)} is needed for "
            f"num_groups={rational.num_groups} and order={rational.spec.order}; build the module with the checkpoint's"
        )
    zeros = own.new_zeros(1, 1)
    found = (tensor, zeros) if own is rational.numerator else (zeros, tensor)
    check_coefficients(*found, f"{owner} in the checkpoint")
    return tensor.expand_as(own)
