"""How Numba kernels are compiled.

A kernel calls dozens of functions. Numba optimizes each of them by itself, turns it into machine code with wrappers for
calls from Python, and then inlines it into its callers, which are optimized again, level by level: most of the work is
done for code that never runs. So functions marked :func:`inlined` are only translated, and LLVM optimizes a kernel
once, as a whole: a recurrence with its coefficients compiles in 13 instead of 32 seconds of one core.

This module imports Numba, which takes most of a second, so only modules of kernels import it, and those are imported
when a kernel first runs.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from numba import extending, njit
from numba._dynfunc import make_function
from numba.core import sigutils
from numba.core.ccallback import CFunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, DefaultPassBuilder
from numba.core.compiler_machinery import LoweringPass, register_pass
from numba.core.registry import cpu_target
from numba.core.typed_passes import NativeLowering

from qkan.kernels.common.numba_cache import cache_of

#: Untyped: an intrinsic is called without the typing context that its definition names.
intrinsic: Any = extending.intrinsic

#: What all kernels are compiled with. Fused multiply-adds and the sign of zero may vary; NaN and infinity keep their
#: meaning, sums keep their order, and a division by zero gives infinity instead of an exception.
OPTIONS: Any = {"fastmath": {"contract", "nsz"}, "error_model": "numpy"}


# --------------------------------------------------------------------------------------------- kernels and their parts


def kernel(function: Callable[..., Any]) -> Any:
    """Compile ``function`` on its first call, without the GIL, and keep the machine code on disk if possible."""
    compiled: Any = njit(nogil=True, **OPTIONS)(function)
    if hasattr(compiled, "_cache"):  # it is the function itself with NUMBA_DISABLE_JIT
        compiled._cache = cache_of(function) or compiled._cache
    return compiled


def callback(function: Callable[..., Any], signature: Any) -> Any:
    """Compile ``function`` as a function of C with an ``address``, and keep the machine code on disk if possible."""
    made: Any = CFunc(function, sigutils.normalize_signature(signature), locals={}, options=OPTIONS)
    made._cache = cache_of(function) or made._cache
    made.compile()
    return made


def is_on_disk(function: Callable[..., Any], signature: Any) -> bool:
    """Whether machine code of ``function`` for that signature is kept for these sources and this processor."""
    kept = cache_of(function)
    return kept is not None and kept.load_overload(signature, cpu_target.target_context) is not None


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
