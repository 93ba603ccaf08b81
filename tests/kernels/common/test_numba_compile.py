"""Machine code on disk: found again where nothing has changed, and never where a source of it has."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest
import torch
from numba import config
from small_kernels import kernel_of, written_by

from qkan import QKANLSTM
from qkan.kernels.common import numba_cache
from qkan.kernels.common.numba_runtime import Kernel
from qkan.kernels.recurrence import numba_kernels

KERNELS = Path(numba_cache.__file__).parents[1]
#: What makes a function one of Numba's.
DECORATORS = {"cfunc", "inlined", "intrinsic", "kernel", "njit", "overload", "register_jitable"}


def test_a_kernel_knows_whether_it_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    first = kernel_of(tmp_path / "one", 3.0)
    assert not first.is_compiled(torch.float32)
    assert written_by(first, torch.float32) == 3.0
    assert first.is_compiled(torch.float32)
    assert not first.is_compiled(torch.float64)
    # Another process would make such an object: it finds the machine code of its own module, no other's.
    again, other = kernel_of(tmp_path / "one", 3.0), kernel_of(tmp_path / "two", 4.0)
    assert again.is_compiled(torch.float32)
    assert not again.is_compiled(torch.float64)
    assert not other.is_compiled(torch.float32)
    assert written_by(again, torch.float32) == 3.0
    assert written_by(other, torch.float32) == 4.0


def test_kernels_of_recurrences_are_found_in_the_real_folder() -> None:
    QKANLSTM(2, 3)(torch.zeros(4, 1, 2))[0].sum().backward()
    functions = (numba_kernels._backward_single, numba_kernels._backward_double)
    assert Kernel(*functions).is_compiled(torch.float32)
    folder = Path(config.CACHE_DIR or numba_cache.cache_folder())
    assert [path for path in folder.rglob("*_backward_single-*.nbi") if "recurrence" in path.parent.name]


def test_without_a_folder_nothing_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setattr(numba_cache, "cache_folder", lambda: None)
    kernel = kernel_of(tmp_path / "one", 5.0)
    assert written_by(kernel, torch.float64) == 5.0
    assert kernel.is_compiled(torch.float64)
    assert not kernel_of(tmp_path / "one", 5.0).is_compiled(torch.float64)


def test_every_source_changes_the_folder(tmp_path: Path) -> None:
    copy = tmp_path / "kernels"
    shutil.copytree(KERNELS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = numba_cache.sources_digest(copy)
    assert before == numba_cache.sources_digest(KERNELS)
    for source in numba_cache.sources(copy):
        text = source.read_text()
        source.write_text(text + "# changed\n")
        assert numba_cache.sources_digest(copy) != before, source
        source.write_text(text)
    assert numba_cache.sources_digest(copy) == before


def compiles(tree: ast.Module) -> bool:
    """Whether a module has functions that Numba compiles."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Kernel":
            return True
        for decorator in getattr(node, "decorator_list", ()):
            call = decorator.func if isinstance(decorator, ast.Call) else decorator
            if getattr(call, "attr", getattr(call, "id", None)) in DECORATORS:
                return True
    return False


def test_all_that_is_compiled_is_a_source() -> None:
    covered = set(numba_cache.sources(KERNELS))
    compiled = {path: tree for path in KERNELS.rglob("*.py") if compiles(tree := ast.parse(path.read_text()))}
    assert len(compiled) >= 8
    for path, tree in compiled.items():
        assert path in covered, f"{path} has functions for Numba, so its name must have 'numba' in it"
        # A constant that a kernel takes from another module is part of its machine code, too.
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("qkan.kernels."):
                module = KERNELS.joinpath(*node.module.split(".")[2:]).with_suffix(".py")
                constants = [alias.name for alias in node.names if alias.name.isupper()]
                assert module in covered or not constants, f"{path} takes {constants} from {module}"
