"""Every public name is on a page of the API, with an example in its docstring that runs."""

from __future__ import annotations

import ast
import doctest
import inspect
import os
import re
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from documents import DOCS
from import_graph import modules

#: What users import from.
PUBLIC = (
    "qkan",
    "qkan.adapters",
    "qkan.kan",
    "qkan.quantum",
    "qkan.replace",
    "qkan.interop",
    "qkan.validation",
    "qkan.datasets",
    "qkan.datasets.milan",
    "qkan.forecasting",
    "qkan.forecasting.baselines",
    "qkan.forecasting.evaluation",
)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
SHOWN = re.findall(r"^::: ([\w.]+)$", "\n".join(page.read_text() for page in DOCS.glob("api/*.md")), re.MULTILINE)


def found(name: str) -> object:
    module, _, last = name.rpartition(".")
    return getattr(import_module(module), last)


def docstring(name: str) -> str:
    """That of a class or a function, or the string below the value of a constant."""
    value = found(name)
    if inspect.isclass(value) or inspect.isroutine(value):
        return inspect.getdoc(value) or ""
    last = name.rpartition(".")[2]
    for file in modules().values():
        if re.search(rf"^{last}\b.*=", text := file.read_text(encoding="utf-8"), re.MULTILINE):
            body = ast.parse(text).body
            for first, second in pairwise(body):
                target = first.targets[0] if isinstance(first, ast.Assign) else getattr(first, "target", None)
                described = isinstance(second, ast.Expr) and isinstance(second.value, ast.Constant)
                if isinstance(target, ast.Name) and target.id == last and described and ">>>" in second.value.value:
                    return inspect.cleandoc(second.value.value)
    return ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What examples take for granted: a file traffic.csv and a run runs/demo; all of them run in this folder."""
    from qkan.forecasting import TrainConfig, train

    place, before = tmp_path_factory.mktemp("examples"), Path.cwd()
    os.chdir(place)
    hours = np.arange(400)
    y = 10 + 5 * np.sin(hours * 2 * np.pi / 24) + np.random.default_rng(0).normal(size=400)
    ds = pd.date_range("2026-01-01", periods=400, freq="h")
    pd.DataFrame({"unique_id": "centre", "ds": ds, "y": y}).to_csv("traffic.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qkan.forecasting.training.lbfgs.FINISH_STEPS", 2)
        train(TrainConfig(data="traffic.csv", hidden_size=2, epochs=1), "runs/demo")
        yield place
    os.chdir(before)


def test_every_public_name_is_shown_once() -> None:
    public = {id(found(f"{module}.{name}")): f"{module}.{name}" for module in PUBLIC for name in all_of(module)}
    shown = [id(found(name)) for name in SHOWN]
    assert sorted(name for key, name in public.items() if key not in shown) == []
    assert len(shown) == len(set(shown))
    assert sorted(name for name in SHOWN if id(found(name)) not in public and name != "qkan.QKANSelector") == []


def all_of(module: str) -> list[str]:
    return [name for name in import_module(module).__all__ if name not in ("__version__", "interop")]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SHOWN)
def test_the_example_of_a_public_name_runs(name: str, folder: Path) -> None:
    text = docstring(name)
    assert "Examples:\n    >>> " in text, f"{name} has no example"
    if '"demo.onnx"' in text and not Path("demo.onnx").exists():
        from qkan.forecasting import export, load_run

        export(load_run("runs/demo"), "demo.onnx")
    torch.manual_seed(0)
    parsed = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    runner.run(parsed, out=said.append)
    assert runner.failures == 0, "".join(said)
