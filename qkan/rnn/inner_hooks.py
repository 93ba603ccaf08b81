"""Hooks on the modules inside of a recurrence, most of which its engines read instead of calling them."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

#: Hooks that set a parameter of their module, computed of others: torch.nn.utils' pruning and normalizations.
_SETTERS = (BasePruningMethod, SpectralNorm, WeightNorm)


def run_setters(root: nn.Module) -> bool:
    """Run the hooks inside of a module that set parameters, as calls of their modules would.

    Returns:
        whether there are other hooks, so that inner modules have to be called.

    Raises:
        RuntimeError: hooks on a module that nobody can call.
    """
    found = False
    waiting = list(root._modules.values())
    while waiting:
        module = waiting.pop()
        if module is None:
            continue
        if module._forward_pre_hooks or module._forward_hooks or module._backward_hooks or module._backward_pre_hooks:
            found = _run(module) or found
        if module._modules:
            waiting += module._modules.values()
    return found


def _run(module: nn.Module) -> bool:
    others: list[Any] = [*module._forward_hooks.values(), *module._backward_hooks.values()]
    others += module._backward_pre_hooks.values()
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, _SETTERS):
            hook(module, ())
        else:
            others.append(hook)
    if others and type(module).forward is nn.Module.forward:
        inner = ", ".join(name for name, child in module.named_children() if child is not None) or "none"
        raise RuntimeError(
            f"hooks on {type(module).__name__} would never run, because nobody calls it; register them on the module "
            f"around it or on those inside of it ({inner})"
        )
    return bool(others)


def is_linear(module: nn.Module) -> bool:
    """Whether a module is what its weight and bias say, so that a product with them stands for a call."""
    return type(module).forward is nn.Linear.forward and "forward" not in module.__dict__
