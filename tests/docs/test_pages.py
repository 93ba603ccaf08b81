"""Every page works by copy and paste, here with less work in it, and says of every choice what there is."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from c_programs import compile_c
from documents import DOCS, NEEDS, ROOT, Done, blocks, pages, run_page

from qkan import QKAN
from qkan.datasets import SPECS
from qkan.forecasting import CELLS, EXPORT_FORMATS
from qkan.forecasting.config import CALENDAR, LOSSES, PRECISIONS, STRATEGIES, TREATMENTS

ORIGINAL = ROOT / "tests" / "qkan" / "interop" / "original.json"
#: Page -> what makes it quicker; its figures need the full work.
QUICKER = {
    "guides/evaluation.md": {', "ets"), Fitting(trials=3, workers=2)': "), Fitting()"},
    "guides/kan-fit.md": {"steps=200": "steps=20", "QKANSelector(2,": "QKANSelector(2, steps=20,"},
    "guides/kan-formula.md": {"auto_symbolic(x, ": 'auto_symbolic(x, ["x^2", "exp", "sin", "tanh"], '},
    "guides/kan-prune.md": {"train(300, 0.01)": "train(40, 0.01)", "train(200)": "train(20)"},
    "guides/kan-read.md": {"max_iter=300": "max_iter=40", "rand(100, 2": "rand(24, 2"},
    "guides/milan.md": {"range(1, 8)": "range(1, 2)"},
}
PAGES = {page.relative_to(DOCS).as_posix() if page.is_relative_to(DOCS) else page.name: page for page in pages()}


def runs(page: Path) -> bool:
    return any(block.language in ("python", "sh") and block.needs is None for block in blocks(page))


def text_of(name: str) -> str:
    return PAGES[name].read_text(encoding="utf-8")


def make_original(folder: Path) -> None:
    """The files that the page on other packages' models loads."""
    case = json.loads(ORIGINAL.read_text())["cases"]["pz, all trained"]
    torch.save({name: torch.tensor(values) for name, values in case["state"].items()}, folder / "model.pt")
    knots = (torch.arange(-3.0, 9) * 0.4 - 1).expand(2, -1).clone()
    pykan = {"grid": knots, "coef": torch.rand(2, 1, 8)}
    pykan |= dict.fromkeys(("mask", "scale_base", "scale_sp"), torch.ones(2, 1))
    torch.save({f"act_fun.0.{name}": tensor for name, tensor in pykan.items()}, folder / "model_state")
    efficient = {"grid": knots, "base_weight": torch.rand(1, 2), "spline_weight": torch.rand(1, 2, 8)}
    torch.save({f"layers.0.{name}": tensor for name, tensor in efficient.items()}, folder / "efficient.pt")


def check_export(done: Done, printed: str) -> None:
    first, second, third = next(v for line, v in done.printed.items() if line.endswith("--out shm.onnx")).splitlines()
    assert first == f"shm.onnx: {Path('shm.onnx').stat().st_size:,} bytes"
    assert re.fullmatch(r"largest difference from the run on 237 windows: \d\.\de-0[678]", second)
    assert third == "holds for inputs of any size"
    wanted = pd.read_csv("run.csv")
    for got in (pd.read_csv("onnx.csv"), done.session["table"]):
        pd.testing.assert_frame_equal(got, wanted, check_dtype=False, rtol=0, atol=1e-6)
    assert done.session["forecast"].shape == (1, 2)
    np.testing.assert_allclose(done.session["same"].detach().numpy(), done.session["forecast"], rtol=0, atol=1e-6)
    (program,) = [block for block in blocks(PAGES["guides/export.md"]) if block.language == "c"]
    wanted = np.repeat(done.session["forecast"], 2, axis=0)
    for name, most in (("shm.c", 1e-6), ("shm8.c", 2e-2)):
        Path("main.c").write_text(program.text.replace("shm.c", name))
        compile_c(Path("main.c"), Path("main"), name)
        words = subprocess.run(["./main"], check=True, capture_output=True, text=True).stdout.split()
        np.testing.assert_allclose(np.reshape([float(word) for word in words], (2, 2)), wanted, rtol=0, atol=most)


def check_forecasting(done: Done, printed: str) -> None:
    forecast = pd.read_csv("forecast.csv")
    assert len(forecast) == 18
    assert list(forecast.columns)[2:5] == ["QKAN-LSTM", "QKAN-LSTM-lo-80", "QKAN-LSTM-hi-80"]
    assert done.session["again"].equals(done.session["table"])
    assert done.session["past"].groupby("unique_id").size().tolist() == [18, 18, 18]
    assert list(done.session["chosen"]["ds"]) == list(done.session["table"]["ds"])


def check_fit(done: Done, printed: str) -> None:
    assert done.session["history"].best_loss < 0.5  # of targets of variance 1.0
    assert Path("loss.png").read_bytes()[1:4] == b"PNG"
    assert done.session["pipeline"][0].get_support().sum() == 2


def check_prune(done: Done, printed: str) -> None:
    assert re.search(r"removed \d+ edges, .* of 12 edges are left; outputs moved by .* in the mean\n", printed)
    again, small, x = done.session["again"], done.session["small"], done.session["x"]
    assert isinstance(again, QKAN)
    assert (again(x) == small(x)).all()
    assert again.layers[0].reps == 5


def check_read(done: Done, printed: str) -> None:
    assert done.session["figure"].axes[0].get_title() == "layer 0: x2 to y1"
    assert printed.split()[0] == "function"
    assert len(printed.splitlines()) == 5  # three suggestions below their heading, then the formula


def check_formula(done: Done, printed: str) -> None:
    removed, *rest = printed.splitlines()
    assert removed.endswith("3 of 15 edges are left; outputs moved by 0 in the mean")
    assert rest == ["[2, 1, 1]", "[exp(x2**2 + sin(3.142*x1))]"]


def check_replace(done: Done, printed: str) -> None:
    assert tuple(done.session["output"].shape) == (8, 20, 10)
    assert printed.strip() in text_of("guides/replace-mlp.md")  # the very report that its code prints
    assert tuple(done.session["forecast"].shape) == (4, 1)


def check_stream(done: Done, printed: str) -> None:
    assert len(done.session["again"]) == 12
    assert done.session["forecasts"].shape == (1, 12)
    assert Path("calls.safetensors").exists()


def check_readme(done: Done, printed: str) -> None:
    assert tuple(done.session["output"].shape) == (8, 49, 16)
    assert tuple(done.session["h"].shape) == (1, 8, 16)
    assert done.session["loss"].item() < 0.05  # of a variance of 0.5


#: Page -> what must come of it.
CHECKS: dict[str, Callable[[Done, str], None]] = {
    "README.md": check_readme,
    "guides/export.md": check_export,
    "guides/forecasting.md": check_forecasting,
    "guides/kan-fit.md": check_fit,
    "guides/kan-formula.md": check_formula,
    "guides/kan-prune.md": check_prune,
    "guides/kan-read.md": check_read,
    "guides/replace-mlp.md": check_replace,
    "guides/stream.md": check_stream,
}


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if runs(page)])
def test_the_page_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("qkan.forecasting.training.lbfgs.FINISH_STEPS", 2)  # of 1,000, which take most of the time
    if name == "guides/interop.md":
        make_original(tmp_path)
    torch.manual_seed(0)
    done = run_page(PAGES[name], QUICKER.get(name, {}))
    CHECKS.get(name, lambda done, printed: None)(done, capsys.readouterr().out)


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_what_a_block_needs_is_said_in_words_that_are_known(page: Path) -> None:
    said = re.findall(r"<!-- needs: (.*?) -->", page.read_text(encoding="utf-8"))
    assert set(said) <= set(NEEDS)
    assert len(said) == sum(block.needs is not None for block in blocks(page)), "a comment stands in front of no block"


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_every_series_is_documented_with_its_size_seasons_and_unit(spec) -> None:
    rows = [line for line in text_of("guides/data.md").splitlines() if line.startswith(f"| `{spec.name}` |")]
    assert len(rows) == 1
    _, _, points, seasons, unit, definition, _ = rows[0].split("|")
    assert points.strip() == f"{spec.points:,}"
    assert [int(word) for word in seasons.replace(",", " ").split() if word.isdigit()] == list(spec.season)
    assert unit.strip() == spec.unit
    assert len(definition) > 20


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("guides/forecasting.md", (*CALENDAR, *LOSSES, *STRATEGIES, *TREATMENTS)),
        ("guides/export.md", (*CELLS, *EXPORT_FORMATS)),
        ("guides/scale.md", PRECISIONS),
    ],
    ids=["forecasting", "export", "scale"],
)
def test_every_choice_is_documented(name: str, choices: tuple[str, ...]) -> None:
    text = text_of(name)
    missing = [c for c in choices if not re.search(rf"`(?:--[a-z]+ )*{re.escape(c)}[` ]", text)]
    assert missing == []


@pytest.mark.parametrize("name", ["ansatz", "basis", "backend", "cell"])
def test_a_worked_example_of_extending_is_short(name: str) -> None:
    (block,) = [block for block in blocks(DOCS / "extending" / f"{name}.md") if block.language == "python"]
    assert len([line for line in block.text.splitlines() if line.strip()]) < 40
