"""How Numba kernels are compiled, and where their machine code is kept.

A kernel calls dozens of functions. Numba optimizes each of them by itself, turns it into machine code with wrappers for
calls from Python, and then inlines it into its callers, which are optimized again, level by level: most of the work is
done for code that never runs. So functions marked :func:`inlined` are only translated, and LLVM optimizes a kernel
once, as a whole: a recurrence with its coefficients compiles in 13 instead of 32 seconds of one core.

This module imports Numba, which takes most of a second, so only modules of kernels import it, and those are imported
when a kernel first runs.
"""

from __future__ import annotations

import hashlib
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from numba import config as numba_config
from numba import extending, njit
from numba._dynfunc import make_function
from numba.core.caching import FunctionCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, DefaultPassBuilder
from numba.core.compiler_machinery import LoweringPass, register_pass
from numba.core.registry import cpu_target
from numba.core.typed_passes import NativeLowering

#: Untyped: an intrinsic is called without the typing context that its definition names.
intrinsic: Any = extending.intrinsic

#: Files with constants that are compiled into kernels, beside those of kernels.
CONSTANTS = ("circuits/bloch/bytecode.py", "rational/types.py")
#: What all kernels are compiled with. Fused multiply-adds and the sign of zero may vary; NaN and infinity keep their
#: meaning, sums keep their order, and a division by zero gives infinity instead of an exception.
OPTIONS: Any = {"fastmath": {"contract", "nsz"}, "error_model": "numpy"}


# --------------------------------------------------------------------------------------------- machine code on disk


@cache
def cache_folder() -> str | None:
    """A folder for machine code of the present sources, beside them or in the user's cache; None if there is none.

    Numba looks at the file of a kernel alone to tell whether its machine code is out of date, but kernels are made of
    functions and constants of several files, and an upgrade may leave some as they are. So the folder is named after a
    digest of all of them.
    """
    here = Path(__file__).parents[1]
    name = f"numba-{sources_digest(here)}"
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qkan"
    for folder in (here / "__pycache__" / name, user / name):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return str(folder)
    return None


def sources(kernels: Path) -> list[Path]:
    """The files of which machine code is made: those with ``numba`` in their name, and those of their constants."""
    return [*sorted(kernels.rglob("*numba*.py")), *(kernels / name for name in CONSTANTS)]


def sources_digest(kernels: Path) -> str:
    """Sixteen hexadecimal digits that change with every one of the :func:`sources`."""
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources(kernels))).hexdigest()[:16]


@contextmanager
def _folder_for_numba() -> Iterator[bool]:
    """Have Numba keep machine code in our folder, unless the user gave it one (NUMBA_CACHE_DIR); False without any."""
    settings: Any = numba_config
    before = settings.CACHE_DIR
    folder = before or cache_folder()
    if folder is None:  # compiled once per process
        yield False
        return
    settings.CACHE_DIR = folder
    try:
        yield True
    finally:
        settings.CACHE_DIR = before


def cached(compile: Callable[..., Any], function: Callable[..., Any]) -> Any:
    """``compile(function, cache=True)`` with machine code kept on disk, if there is a folder for it."""
    with _folder_for_numba() as kept:
        return compile(function, cache=True) if kept else compile(function)


def is_on_disk(function: Callable[..., Any], signature: Any) -> bool:
    """Whether machine code of ``function`` for that signature is kept for these sources and this processor."""
    with _folder_for_numba() as kept:
        return kept and FunctionCache(function).load_overload(signature, cpu_target.target_context) is not None


# --------------------------------------------------------------------------------------------- kernels and their parts


def kernel(function: Callable[..., Any]) -> Any:
    """Compile ``function`` on its first call, without the GIL, and keep the machine code on disk if possible."""
    return cached(lambda f, **kept: njit(nogil=True, **kept, **OPTIONS)(f), function)


class _PartLibrary(JITCodeLibrary):
    """The code of a part: linked into that of its callers, never optimized or turned into machine code by itself."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._final_module.__library = weakref.proxy(self)
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _OfferToCallers(LoweringPass):
    """Let callers find a part by a key, as Numba does for functions that have machine code."""

    _name = "qkan_offer_to_callers"

    def __init__(self) -> None:
        LoweringPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        """Replace the missing entry point by a function that stands for it, and that Python never calls."""
        lowered, library = state["cr"], state.library
        key = make_function(lowered.fndesc.lookup_module(), lowered.fndesc.qualname, "", 0, lowered.env, (library,))
        state.targetctx.insert_user_function(key, lowered.fndesc, [library])
        state["cr"] = lowered._replace(cfunc=key)
        return True


class _PartCompiler(Compiler):
    def define_pipelines(self) -> list[Any]:
        """Numba's own pipeline without machine code at its end."""
        state = self.state
        state.flags.no_compile = True
        state.library = _PartLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        pipeline = DefaultPassBuilder.define_nopython_pipeline(state)
        pipeline.add_pass_after(_OfferToCallers, NativeLowering)
        pipeline.finalize()
        return [pipeline]


#: Options of functions that are parts of kernels.
PART_OPTIONS: Any = {
    "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": _PartCompiler, **OPTIONS
}  # fmt: skip


def inlined(function: Callable[..., Any]) -> Any:
    """Make ``function`` a part of the kernels that call it; called from Python, it runs as Python."""
    return extending.register_jitable(**PART_OPTIONS)(function)
