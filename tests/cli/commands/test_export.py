"""``qkan export``, and the page docs/guides/export.md from top to bottom."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from qkan.forecasting import EXPORT_FORMATS
from qkan.forecasting.config import CELLS

PAGE = (Path(__file__).parents[3] / "docs" / "guides" / "export.md").read_text(encoding="utf-8")
SHELL, PYTHON = (re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) for kind in ("sh", "python"))


def test_the_page_runs(qkan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = {}
    for line in "".join(SHELL).splitlines():
        done = qkan(*line.split()[1:])
        assert done.exit_code == 0, done.output
        said[line.split()[1], line.split()[-1]] = done.stdout
    for name in ("shm.onnx", "shm.pt2"):
        first, second, third = said["export", name].splitlines()
        assert first == f"{name}: {Path(name).stat().st_size:,} bytes"
        assert re.fullmatch(r"largest difference from the run on 237 windows: \d\.\de-0[678]", second)
        assert third == "holds for inputs of any size"
    session: dict = {}
    for text in PYTHON:
        exec(text, session)
    wanted = pd.read_csv("run.csv")
    for got in (pd.read_csv("onnx.csv"), session["table"]):
        pd.testing.assert_frame_equal(got, wanted, check_dtype=False, rtol=0, atol=1e-6)
    assert session["forecast"].shape == (1, 2)
    np.testing.assert_allclose(session["same"].detach().numpy(), session["forecast"], rtol=0, atol=1e-6)


def test_every_cell_and_format_is_documented():
    for name in CELLS:
        assert f"`{name}`" in PAGE, name
    for name, suffix in EXPORT_FORMATS.items():
        assert name in PAGE
        assert suffix in PAGE


def test_the_file_lies_beside_the_run_and_stays(qkan, trained, tmp_path):
    data = tmp_path / "values.csv"
    pd.DataFrame({"y": [0.1, 0.2, 0.1, 0.0, -0.1, -0.2, -0.1, 0.0] * 3}).to_csv(data, index=False)
    done = qkan("export", trained, "--format", "torch-export", "--data", data)
    assert done.exit_code == 0, done.output
    out = trained.with_name("small.pt2")
    assert out.is_file()
    assert "on 20 windows" in done.stdout
    again = qkan("export", trained, "--format", "torch-export")
    assert again.exit_code == 2
    assert f"Error: {out} exists already; choose another file, or replace it with --overwrite" in again.stderr
    assert "Traceback" not in again.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["no-such-run"], "there is no run folder no-such-run; train one first"),
        (["{trained}", "--out", "model.pt2"], "the name of a file of format 'onnx' must end in .onnx, got model.pt2"),
        (["{trained}", "--margin", "0"], "margin must be at least 1, got 0.0"),
        (["{trained}", "--format", "tflite"], "'tflite' is not one of 'onnx', 'torch-export'."),
    ],
)
def test_bad_input_is_one_sentence(qkan, trained, arguments, sentence):
    done = qkan("export", *(word.format(trained=trained) for word in arguments))
    assert done.exit_code == 2
    assert sentence in done.stderr.splitlines()[-1]


def test_predict_says_what_is_wrong_with_a_file(qkan, tmp_path):
    (tmp_path / "model.onnx").write_text("nothing")
    done = qkan("predict", tmp_path / "model.onnx")
    assert done.exit_code == 2
    assert done.stderr.endswith("model.onnx cannot be used: it is no ONNX file; export the run again\n")


def test_predict_opens_no_pt2_file(qkan, tmp_path):
    (tmp_path / "model.pt2").write_text("nothing")
    done = qkan("predict", tmp_path / "model.pt2")
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1].endswith(
        "model.pt2 is not opened, because loading a .pt2 file runs what code it holds; export the run to ONNX and "
        "predict with that file, or call torch.export.load yourself on a file that you trust"
    )
