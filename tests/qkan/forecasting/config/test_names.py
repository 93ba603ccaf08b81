"""One name for a model or a baseline, wherever it is named."""

import ast
from pathlib import Path

import pytest

import qkan.forecasting
from qkan.forecasting.baselines.rolling import ALLOWED
from qkan.forecasting.config import BASELINE_NAMES, CELLS, model_name
from qkan.forecasting.evaluation.frames import _BOUND


def test_every_cell_and_every_baseline_has_a_name_of_its_own() -> None:
    asked = [*CELLS, *BASELINE_NAMES]
    assert set(ALLOWED) <= set(BASELINE_NAMES)
    names = [model_name(word) for word in asked]
    assert len(set(names)) == len(asked)
    assert model_name("seasonal-naive", 24) == "SeasonalNaive(24)"
    assert not [name for name in names if _BOUND.fullmatch(name)]  # no name reads as an end of an interval
    with pytest.raises(KeyError):
        model_name("arima")


def test_names_are_written_in_one_place_only() -> None:
    root = Path(qkan.forecasting.__file__).parent
    names = {model_name(word) for word in BASELINE_NAMES} - {"Ridge"}
    found = [
        (path.name, node.value)
        for path in [*root.rglob("*.py"), *(root.parents[1] / "cli").rglob("*.py")]
        if path.name != "names.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.partition("(")[0] in names
    ]
    assert found == []
