"""The floors of the house."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KERNELS = sorted((ROOT / "kernels").rglob("*.py"))


def imported_roots(file: Path) -> set[str]:
    """Return the names that ``file`` imports, first parts only, except for modules of qkan, given in full."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            found.add(node.module or "")
    return {name if name.startswith("qkan") else name.split(".")[0] for name in found}


def test_import_contracts_hold(package_tree: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache", "--config", ROOT / "pyproject.toml"],
        cwd=package_tree,
        env={**os.environ, "PYTHONPATH": str(package_tree)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize("file", KERNELS, ids=lambda file: file.name)
def test_kernels_import_few_packages(file: Path) -> None:
    allowed = {"torch", "triton", *sys.stdlib_module_names}
    if file.stem.startswith("numba_") or file.stem.endswith("_numba_jit"):
        allowed |= {"numba", "llvmlite", "numpy"}
    assert {name for name in imported_roots(file) - allowed if not name.startswith("qkan.kernels")} == set()
