"""Hooks on the modules inside of a recurrence, most of which its engines read instead of calling them."""

from __future__ import annotations

from functools import cache
from typing import Any

from torch import nn
from torch.nn.modules import module as every_module
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

#: Hooks that set a parameter of their module, computed of others: torch.nn.utils' pruning and normalizations.
_SETTERS = (BasePruningMethod, SpectralNorm, WeightNorm)


def run_setters(root: nn.Module) -> bool:
    """Run the hooks inside of a module that set parameters, as calls of their modules would.

    Returns:
        whether there are other hooks or functions in the place of ``forward``, so that inner modules have to be called.

    Raises:
        RuntimeError: hooks on a module that nobody can call.
    """
    found = _hooked_everywhere()
    waiting = list(root._modules.values())
    while waiting:
        module = waiting.pop()
        if module is None:
            continue
        if module._forward_pre_hooks or module._forward_hooks or module._backward_hooks or module._backward_pre_hooks:
            found = _run(module) or found
        own = module.__dict__
        if ("forward" in own and "prepare" not in own) or _read_wrongly(type(module)):  # type: ignore[arg-type]
            found = True
        if module._modules:
            waiting += module._modules.values()
    return found


def is_hooked(*modules: nn.Module) -> bool:
    """Whether calls of these modules do more, or something else, than their class says."""
    for module in modules:
        if module._forward_pre_hooks or module._forward_hooks or "forward" in module.__dict__:
            return True
    return _hooked_everywhere()


def _hooked_everywhere() -> bool:
    """Whether there are hooks on all modules, as of tools that count or record calls."""
    return bool(
        every_module._global_forward_hooks
        or every_module._global_forward_pre_hooks
        or every_module._global_backward_hooks
        or every_module._global_backward_pre_hooks
    )


@cache
def _read_wrongly(kind: type) -> bool:
    """Whether a class says what it computes elsewhere than it says how engines read it, as a subclass may."""
    if not hasattr(kind, "operands"):
        return False
    first = next(base for base in kind.__mro__ if "forward" in base.__dict__ or "operands" in base.__dict__)
    return "operands" not in first.__dict__


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
