"""Exported runs forecast what the run does."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_runs import tiny_config
from untrained import untrained_run

from qkan.datasets import DataError
from qkan.forecasting import EXPORT_FORMATS, RunError, export, load_exported, predict
from qkan.forecasting.config import FRAME
from qkan.forecasting.exporting import exporter as exporting
from qkan.forecasting.exporting.exported import Exported, ProgramModel, describe

RICH = {
    "past_cols": ("price",),
    "future_cols": ("off",),
    "calendar": ("hour",),
    "missing": "mask",
    "loss": "quantile",
    "levels": (80.0,),
    "horizon": 2,
}
PROGRAMS = ("onnx", "torch-export")  # C files are in tests/qkan/forecasting/c99
AROUND = {"season": (2, 3), "level": "auto", "skip": 1, "seasonal_lags": True, "decoder": "steps"}
CASES = {
    ("lstm", "onnx"): {"horizon": 3, "strategy": "recursive"},
    ("lstm", "torch-export"): {"horizon": 3, "strategy": "recursive"},
    ("qkan", "onnx"): {"preact_trainable": True, "group": "edge", **RICH},
    ("qkan", "torch-export"): {"preact_trainable": True, "group": "edge", **RICH},
    ("hqkan", "torch-export"): {"preact_trainable": True, "base_activation": "silu"},
    ("lowrank", "torch-export"): {"future_cols": ("off",), "past_cols": ("price",), "scaler": "standard"},
    ("gru", "onnx"): {"num_layers": 2, "horizon": 2},
    ("qlstm", "torch-export"): {"qubits": 2},
    ("gr-kan", "torch-export"): {},
    ("fwp", "torch-export"): {},
    ("spline", "torch-export"): {},
    ("fourier", "onnx"): {},
    ("hqkan", "onnx"): {"horizon": 3, "order": "periods", "segment": 2, "window": 4, **AROUND},
    ("lowrank", "onnx"): {"horizon": 3, "segment": 2, "window": 4, **AROUND},
    ("sparse", "torch-export"): {"horizon": 3, "season": (2,), "window": 4, "level": "auto"},
    ("cycle", "onnx"): {"horizon": 2, "season": (2, 4), "level": "auto"},
}


@pytest.fixture(scope="session")
def panel(tmp_path_factory):
    """Two series, their covariates and three hours of the future; one value is missing."""
    rng, folder = np.random.default_rng(3), tmp_path_factory.mktemp("panel")
    parts = []
    for name, level in (("east", 10.0), ("west", -50.0)):
        ds = pd.date_range("2024-01-01", periods=40, freq="h")
        y = level + np.sin(np.arange(40) / 3) + 0.1 * rng.normal(size=40)
        parts.append(
            pd.DataFrame({"unique_id": name, "ds": ds, "y": y, "price": rng.random(40), "off": rng.random(40)})
        )
    frame = pd.concat(parts, ignore_index=True)
    late = frame.groupby("unique_id").tail(3).index
    frame.loc[late, ["unique_id", "ds", "off"]].to_csv(folder / "future.csv", index=False)
    frame = frame.drop(index=late)
    frame.drop(index=5).to_csv(folder / "values.csv", index=False)
    frame.to_csv(folder / "whole.csv", index=False)
    return folder


def read_back(run, made, format):
    """What ``load_exported`` gives; the program of a .pt2 file, which it does not open, takes the run's record."""
    if format == "onnx":
        return load_exported(made.path)
    program = torch.export.load(made.path).module()
    return Exported(
        made.path, run.config, ProgramModel(program, run.config.trained_horizon), run.scaler, run.data, made.margin
    )


@pytest.fixture(scope="session")
def exported(panel, tmp_path_factory):
    """``exported(cell, format)`` gives a run, what its export said, and the file read back."""
    done, folder = {}, tmp_path_factory.mktemp("exports")

    def once(cell, format):
        if (cell, format) not in done:
            options = CASES[cell, format]
            data = panel / ("values.csv" if "missing" in options else "whole.csv")
            run = untrained_run(tiny_config(**{"cell": cell, "window": 2, "data": str(data), **options}))
            made = export(run, folder / f"{cell}{EXPORT_FORMATS[format]}", format)
            done[cell, format] = run, made, read_back(run, made, format)
        return done[cell, format]

    return once


@pytest.mark.parametrize(("cell", "format"), CASES)
def test_program_and_run_agree(exported, panel, cell, format):
    run, made, loaded = exported(cell, format)
    assert made.difference <= 1e-6
    assert made.size == made.path.stat().st_size
    future = panel / "future.csv" if run.config.future_cols else None
    for horizon in (None, 3):  # beyond the horizon of the model, too
        wanted = predict(run, future=future, horizon=horizon)
        got = loaded.predict(future=future, horizon=horizon)
        assert got.columns.equals(wanted.columns)
        assert got[["unique_id", "ds"]].equals(wanted[["unique_id", "ds"]])
        np.testing.assert_allclose(got.iloc[:, 2:], wanted.iloc[:, 2:], rtol=0, atol=1e-5)
        assert wanted[run.config.model_name].notna().all()


def test_every_window_of_a_small_panel_is_compared(exported):
    assert exported("gru", "onnx")[1].windows == 2 * (37 - 2 - 2 + 1)


@pytest.mark.parametrize(("cell", "format"), [("lstm", "torch-export"), ("gru", "onnx")])
def test_one_series_of_several_is_forecast_alone(exported, panel, tmp_path, cell, format):
    _, _, loaded = exported(cell, format)
    frame = pd.read_csv(panel / "whole.csv")
    frame[frame["unique_id"] == "west"].to_csv(tmp_path / "west.csv", index=False)
    whole, alone = loaded.predict(), loaded.predict(data=tmp_path / "west.csv")
    both = whole[whole["unique_id"] == "west"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, both, rtol=0, atol=1e-5)


@pytest.mark.parametrize("format", PROGRAMS)
def test_what_prediction_needs_is_in_the_file(exported, format):
    run, made, loaded = exported("qkan", format)
    assert (loaded.path, loaded.margin) == (made.path, 2.0)
    assert loaded.config == run.config
    assert loaded.scaler == run.scaler
    assert loaded.data == run.data
    if format == "torch-export":
        text = {"qkan.json": ""}
        torch.export.load(made.path, extra_files=text)
        assert text["qkan.json"] == describe(run, format, 2.0, made.path.parent)
    assert str(Path(exporting.__file__).parent) not in made.path.read_bytes().decode("latin-1")
    assert str(Path(run.config.data).parent) not in made.path.read_bytes().decode("latin-1")


def test_a_program_and_its_data_move_together(panel, tmp_path):
    """The file of the data is named as seen from that of the program, and no folder of the user is told."""
    (tmp_path / "here").mkdir()
    shutil.copy(panel / "whole.csv", tmp_path / "here" / "calls.csv")
    run = untrained_run(tiny_config(data=str(tmp_path / "here" / "calls.csv"), window=2))
    made = export(run, tmp_path / "here" / "program.onnx", "onnx")
    assert str(tmp_path).encode() not in made.path.read_bytes()
    (tmp_path / "here").rename(tmp_path / "there")
    loaded = load_exported(tmp_path / "there" / "program.onnx")
    assert loaded.config.data == str(tmp_path / "there" / "calls.csv")
    assert len(loaded.predict()) > 0


def test_margin_is_told_only_where_there_is_a_domain(exported):
    assert exported("hqkan", "torch-export")[1].margin == 2.0
    assert exported("lstm", "onnx")[1].margin is None
    assert exported("gr-kan", "torch-export")[2].margin is None


WITHOUT_QKAN = """
import sys
sys.modules["qkan"] = sys.modules["triton"] = None
import numpy as np
torch_file, onnx_file, values = sys.argv[1:]
arguments = np.load(values)
inputs, ahead, wanted = (arguments[name] for name in ("inputs", "ahead", "wanted"))
import onnxruntime
feed = {"inputs": inputs, "ahead": ahead}
(got,) = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"]).run(["forecast"], feed)
np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6)
assert "torch" not in sys.modules
import torch
got = torch.export.load(torch_file).module()(torch.from_numpy(inputs), torch.from_numpy(ahead))
np.testing.assert_allclose(got.detach().numpy(), wanted, rtol=0, atol=1e-6)
print(got.shape)
"""


def test_programs_run_where_qkan_cannot_be_imported(exported, tmp_path):
    run, made, _ = exported("qkan", "torch-export")
    _, other, _ = exported("qkan", "onnx")
    generator = torch.Generator().manual_seed(0)
    inputs, ahead = (torch.rand(size.shape, generator=generator) for size in run.model.example(11))
    with torch.no_grad():
        wanted = run.model(inputs, ahead)
    np.savez(tmp_path / "values.npz", inputs=inputs.numpy(), ahead=ahead.numpy(), wanted=wanted.numpy())
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT_QKAN, made.path, other.path, tmp_path / "values.npz"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "torch.Size([11, 2, 3])"


@pytest.mark.parametrize("format", PROGRAMS)
def test_values_beyond_the_domain_are_an_error_that_names_the_series(exported, panel, tmp_path, format):
    run, made, loaded = exported("qkan", format)
    frame = pd.read_csv(panel / "values.csv")
    frame.loc[frame.index[-1], "y"] = 400
    frame.to_csv(tmp_path / "jump.csv", index=False)
    assert predict(run, data=tmp_path / "jump.csv", future=panel / "future.csv").iloc[:, 2].notna().all()
    with pytest.raises(DataError) as error:
        loaded.predict(data=tmp_path / "jump.csv", future=panel / "future.csv")
    text = str(error.value)
    assert text.startswith("the forecast of series 'west' is not a finite number at step 1: the last 2 values,")
    assert f"beyond what {made.path} was exported for, 2 times the largest values of its data" in text


def test_overflow_in_a_run_is_an_error_too(panel):
    run = untrained_run(tiny_config(data=str(panel / "whole.csv"), window=2))
    with torch.no_grad():
        run.model.head.bias.fill_(np.inf)
    with pytest.raises(DataError, match="series 'east' is not a finite number at step 1: the numbers inside the model"):
        predict(run)
    with pytest.raises(RunError, match="untrained itself gives forecasts that are no finite numbers; train again"):
        export(run, panel / "never.pt2", "torch-export")


def lstm_run(panel, **options):
    return untrained_run(tiny_config(data=str(panel / "whole.csv"), window=2, **options))


def test_a_program_that_differs_is_not_written(panel, tmp_path, monkeypatch):
    def shifted(model, *arguments, **options):
        copy = compile(model, *arguments, **options)
        copy.head.bias += 3e-5
        return copy

    compile = exporting.compile
    monkeypatch.setattr(exporting, "compile", shifted)
    run = lstm_run(panel)
    with pytest.raises(
        RunError, match=r"the exported program differs from untrained by 3\.2e-04 of the largest .*1e-05"
    ):
        export(run, tmp_path / "never.pt2", "torch-export")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_cannot_be_exported_is_one_sentence(panel, tmp_path, monkeypatch):
    run = lstm_run(panel)

    def forward(inputs):
        return run.model.head(inputs.new_zeros(len(inputs), 2) * float(inputs.sum()))

    monkeypatch.setattr(run.model, "forward", forward)
    with pytest.raises(RunError, match=r"^PyTorch .* cannot export the cell 'lstm' to 'torch-export': .+") as error:
        export(run, tmp_path / "never.pt2", "torch-export")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_files_are_replaced_only_when_asked(panel, tmp_path):
    run, path = lstm_run(panel), tmp_path / "new" / "model.pt2"
    export(run, path, "torch-export")
    before = path.read_bytes()
    with pytest.raises(
        RunError, match=r"model.pt2 exists already; choose another file, or replace it with overwrite=True"
    ):
        export(run, path, "torch-export")
    assert path.read_bytes() == before
    export(lstm_run(panel, hidden_size=3), path, "torch-export", overwrite=True)
    assert path.read_bytes() != before
    assert [file.name for file in path.parent.iterdir()] == ["model.pt2"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("model.pt2", {}, "the name of a file of format 'onnx' must end in .onnx, got .*model.pt2"),
        ("model", {"format": "torch-export"}, "the name of a file of format 'torch-export' must end in .pt2"),
        ("model.onnx", {"format": "tflite"}, "unknown format 'tflite'; choose one of onnx, torch-export, c"),
        ("model.onnx", {"margin": 0.5}, "margin must be at least 1, got 0.5"),
        ("file/model.onnx", {}, "cannot make the folder .*file: .*; choose another one"),
        ("folder.onnx", {}, "folder.onnx is a folder; give the name of a file"),
    ],
)
def test_what_cannot_be_written_is_refused_before_any_work(panel, tmp_path, monkeypatch, name, options, message):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.onnx").mkdir()
    monkeypatch.setattr(exporting, "compile", None)  # would be a TypeError
    with pytest.raises(ValueError, match=message):
        export(lstm_run(panel), tmp_path / name, **options)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_missing_packages_are_one_sentence(panel, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    sentence = f"^{package} is not installed, and ONNX files need it: pip install 'qkan-seq\\[onnx\\]'$"
    with pytest.raises(ModuleNotFoundError, match=sentence):
        export(lstm_run(panel), tmp_path / "model.onnx")
    with pytest.raises(ModuleNotFoundError, match=sentence):
        load_exported(tmp_path / "model.onnx")


def test_a_model_of_a_data_frame_is_compared_on_given_data(panel, tmp_path):
    run = lstm_run(panel)
    run = replace(run, config=replace(run.config, data=FRAME))
    with pytest.raises(RunError, match="was trained on a data frame, which it does not hold; give the data"):
        export(run, tmp_path / "model.pt2", "torch-export")
    made = export(run, tmp_path / "model.pt2", "torch-export", data=panel / "whole.csv")
    assert made.windows == 2 * (37 - 2)
    given = read_back(run, made, "torch-export").predict(data=panel / "whole.csv")
    pd.testing.assert_frame_equal(given, predict(run, data=panel / "whole.csv"), rtol=0, atol=1e-6)
