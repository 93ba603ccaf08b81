"""Triton's interpreter without half of the time that it takes, which it spends on what it has done before.

It replaces members of ``triton.language`` when a kernel is launched, and looks through all of them again whenever the
kernel calls a device function: it finds nothing to patch then, and replaces a few functions by equal ones. For every
operation it makes a table of the types of NumPy. Releases of Triton that do these in another way are left alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any


class _Scope:
    """What ends with a launch, as the interpreter's own."""

    def __init__(self, restore: Callable[[], None]) -> None:
        self.restore = restore


def take_short_cuts() -> None:
    """Patch the language once a launch, and look for its members and for types once in all."""
    from triton.runtime import interpreter

    if hasattr(interpreter, "_LangPatchScope"):
        _patch_once_a_launch(interpreter)
    if hasattr(interpreter, "_get_np_dtype"):
        _keep_types(interpreter)


def _patch_once_a_launch(interpreter: Any) -> None:
    patch: Callable[[Callable], Any] = interpreter._patch_lang
    language = interpreter.tl
    patched: set[Any] = set()  # modules, by the launch that runs

    @cache
    def builtins(package: Any) -> list[tuple[str, Any]]:
        return inspect.getmembers(package, language.core.is_builtin)

    def patch_builtins(package: Any, builder: Any, scope: Any) -> None:
        for name, member in builtins(package):
            interpreter._patch_attr(package, name, member, builder, scope)

    @cache
    def seen_by(fn: Callable) -> frozenset[Any]:
        modules = [value for value in fn.__globals__.values() if inspect.ismodule(value)]
        return frozenset(module for module in modules if module in (language, language.core))

    def patch_unless_patched(fn: Callable) -> Any:
        if patched and seen_by(fn) <= patched:
            return _Scope(lambda: None)
        scope, outermost = patch(fn), not patched
        if outermost:
            patched.update(seen_by(fn))

        def restore() -> None:
            if outermost:
                patched.clear()
            scope.restore()

        return _Scope(restore)

    # Before anything is patched.
    for part in (language, language.core, language.tensor, language.math, language.core.tensor_descriptor_base):
        builtins(part)
    interpreter._patch_builtin = patch_builtins
    interpreter._patch_lang = patch_unless_patched


def _keep_types(interpreter: Any) -> None:
    find, language = interpreter._get_np_dtype, interpreter.tl
    by_name: dict[str, Any] = {}

    def number_type(kind: Any) -> Any:
        of_one = kind.element_ty if isinstance(kind, language.block_type) else kind
        if type(of_one) is not language.dtype:
            return find(kind)
        if of_one.name not in by_name:
            by_name[of_one.name] = find(of_one)
        return by_name[of_one.name]

    interpreter._get_np_dtype = number_type
