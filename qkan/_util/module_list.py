"""A list of modules of one class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar, cast

from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def module_list(modules: Iterable[Module]) -> Sequence[Module]:
    """An nn.ModuleList of ``modules`` that a type checker takes for a sequence of their class, as it cannot itself."""
    return cast("Sequence[Module]", nn.ModuleList(modules))
