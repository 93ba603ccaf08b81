"""What imports must not drag in: they decide how long a user waits for ``import qkan`` and ``qkan --help``."""

import json
import subprocess
import sys

import pytest

HEAVY = {
    "pandas",
    "lightning",
    "pytorch_lightning",
    "torchmetrics",
    "matplotlib",
    "scipy",
    "statsmodels",
    "rich",
    "pyarrow",
    "pennylane",
    "numba",
    "llvmlite",
}


def loaded_by(code: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after running ``code``."""
    report = "import json, sys; print(); print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "module",
    ["qkan", "qkan.forecasting", "qkan.forecasting.evaluation", "qkan.quantum", "qkan.validation"],
)
def test_import_stays_light(module: str) -> None:
    assert loaded_by(f"import {module}") & HEAVY == set()


def test_public_names_load_without_the_heavy_packages() -> None:
    assert loaded_by("from qkan import *") & HEAVY == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["train", "--help"],
        ["train", "lstm", "--help"],
        ["compare", "lstm", "--help"],
        ["predict", "--help"],
        ["evaluate", "--help"],
        ["report", "--help"],
        ["validate", "--help"],
        ["circuit", "--help"],
        [],
        ["doctor", "--help"],
        ["completion", "bash"],
        ["data", "--help"],
        ["data", "fetch", "milan", "--help"],
        ["data", "import", "milan", "--help"],
    ],
    ids=" ".join,
)
def test_help_needs_neither_torch_nor_the_heavy_packages(arguments: list[str]) -> None:
    code = f"""
from qkan.cli.main import main
import sys
sys.argv = ["qkan", *{arguments!r}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
    assert loaded_by(code) & (HEAVY | {"torch", "numpy"}) == set()
