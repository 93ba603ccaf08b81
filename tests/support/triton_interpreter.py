"""Triton's interpreter without the third of its time that it spends on patching what is patched.

It replaces members of ``triton.language`` when a kernel is launched, and looks through all of them again whenever the
kernel calls a device function: it finds nothing to patch then, and replaces a few functions by equal ones.
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


def patch_once_a_launch() -> None:
    """Let device functions find the language as the launch has patched it, and look for its members only once.

    Releases of Triton that patch in another way are left alone.
    """
    from triton.runtime import interpreter

    patch: Callable[[Callable], Any] = interpreter._patch_lang
    if not hasattr(interpreter, "_LangPatchScope") or getattr(patch, "once", False):
        return
    patched: set[Any] = set()  # modules, by the launch that runs

    @cache
    def builtins(package: Any) -> list[tuple[str, Any]]:
        return [
            (name, member) for name, member in inspect.getmembers(package) if interpreter.tl.core.is_builtin(member)
        ]

    def patch_builtins(package: Any, builder: Any, scope: Any) -> None:
        for name, member in builtins(package):
            interpreter._patch_attr(package, name, member, builder, scope)

    @cache
    def languages(fn: Callable) -> frozenset[Any]:
        modules = [value for value in fn.__globals__.values() if inspect.ismodule(value)]
        return frozenset(module for module in modules if module in (interpreter.tl, interpreter.tl.core))

    def patch_unless_patched(fn: Callable) -> Any:
        if patched and languages(fn) <= patched:
            return _Scope(lambda: None)
        scope, outermost = patch(fn), not patched
        if outermost:
            patched.update(languages(fn))

        def restore() -> None:
            if outermost:
                patched.clear()
            scope.restore()

        return _Scope(restore)

    for package in (interpreter.tl, interpreter.tl.core):  # before anything is patched
        for part in (package, package.tensor, interpreter.tl.math, interpreter.tl.core.tensor_descriptor_base):
            builtins(part)
    patch_unless_patched.once = True  # type: ignore[attr-defined]
    interpreter._patch_builtin = patch_builtins
    interpreter._patch_lang = patch_unless_patched
