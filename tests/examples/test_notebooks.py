"""The notebooks: their .py form runs on small sizes, and the .ipynb beside it has the same cells, and outputs."""

import json
import re
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "notebooks"
#: What stands in the place of the values of the cell "parameters".
SMALL: dict[str, dict[str, Any]] = {
    "circuits_on_hardware": {"STEPS": 2, "REPEATS": 2, "SHOTS": (16, 64)},
    "forecast_a_csv": {"DAYS": 21, "EPOCHS": 1, "ORIGINS": 2, "CANDIDATES": ("naive", "ridge")},
    "kan_tutorial": {"SAMPLES": 40, "STEPS": 4, "FUNCTIONS": ["x^2", "sin"]},
    "learned_season": {"EPOCHS": 1},
    "mlp_in_a_transformer": {"STEPS": 2, "SEEDS": 1},
}
MOST_BYTES = 300_000


def cells(name: str) -> list[tuple[str, str]]:
    """Return the cells of a notebook in py:percent form: the line behind ``# %%`` and the source."""
    parts = re.split(r"^# %%(.*)\n", (FOLDER / f"{name}.py").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert parts[0] == ""
    return [(mark.strip(), source.strip("\n")) for mark, source in zip(parts[1::2], parts[2::2], strict=True)]


def test_19_there_are_five_notebooks() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.py")) == sorted(SMALL)
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_19_notebooks_run_on_small_sizes(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plt.switch_backend("agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    session: dict[str, Any] = {"__name__": "__main__"}
    for number, (mark, source) in enumerate(cells(name)):
        if mark != "[markdown]":
            exec(compile(source, f"{name}.py, cell {number}", "exec"), session)
        if "parameters" in mark:
            assert set(SMALL[name]) <= set(session)
            session.update(SMALL[name])
    assert plt.get_fignums()
    plt.close("all")


@pytest.mark.parametrize("name", SMALL)
def test_19_pairs_of_notebooks_hold_the_same_cells(name: str) -> None:
    file = FOLDER / f"{name}.ipynb"
    notebook = json.loads(file.read_text(encoding="utf-8"))
    expected = []
    for mark, source in cells(name):
        kind = "markdown" if mark == "[markdown]" else "code"
        text = re.sub(r"^# ?", "", source, flags=re.MULTILINE) if kind == "markdown" else source
        expected.append((kind, text))
    assert [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]] == expected, "make notebooks"
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    kinds = {output["output_type"] for output in outputs}
    assert "error" not in kinds
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert file.stat().st_size < MOST_BYTES
