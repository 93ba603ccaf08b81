"""Tests of one engine: no other can run, and the test fails unless the engine's own code ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from qkan.kernels.circuits.bloch import evaluate, numba_cpu
from qkan.kernels.edges import numba_cpu as edges_numba
from qkan.kernels.recurrence import api as recurrence
from qkan.kernels.recurrence import numba_cpu as recurrence_numba
from qkan.kernels.recurrence import pytorch as recurrence_torch
from qkan.kernels.spectral import matmul
from qkan.kernels.spectral import numba_cpu as spectral_numba

#: Where engines are entered: for each kind of computation and engine, an object and the name of a callable of it.
ENTRIES: dict[str, dict[str, tuple[Any, str]]] = {
    "circuits": {"numba": (numba_cpu.Case, "values"), "torch": (evaluate.Circuit, "run")},
    "recurrences": {"numba": (recurrence_numba, "_launch"), "torch": (recurrence_torch, "_Forward")},
    "edges": {"numba": (edges_numba.EdgeKernels, "forward"), "torch": (matmul, "_pieces")},
    "sums": {"numba": (spectral_numba, "products"), "torch": (matmul, "_pieces")},
}


def without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make CPU kernels take no tensor, so that what runs is what runs on CUDA without Triton and on MPS."""
    monkeypatch.setattr(numba_cpu, "_DTYPES", ())
    engines = tuple(
        engine._replace(unsupported_reason=lambda *given: "this test is about others")
        if engine.name == "numba"
        else engine
        for engine in recurrence.ENGINES.engines
    )
    monkeypatch.setattr(recurrence, "ENGINES", replace(recurrence.ENGINES, engines=engines))


@contextmanager
def only_engine(kind: str, name: str) -> Iterator[Counter[str]]:
    """Let one engine alone compute; yields how often each engine of the kind was entered.

    Args:
        kind: one of :data:`ENTRIES`.
        name: ``"numba"`` or ``"torch"``.
    """
    calls: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as monkeypatch:
        if name != "numba":
            without_numba(monkeypatch)
        for engine, (place, attribute) in ENTRIES[kind].items():
            monkeypatch.setattr(place, attribute, _counted(getattr(place, attribute), calls, engine))
        yield calls
    assert calls[name] > 0, f"the test never ran the engine {name!r}"
    others = {engine: count for engine, count in calls.items() if engine != name}
    assert not others, f"the test ran {others}, not only {name!r}"


def _counted(entry: Any, calls: Counter[str], engine: str) -> Any:
    def enter(*args: Any, **options: Any) -> Any:
        calls[engine] += 1
        return entry(*args, **options)

    return enter
