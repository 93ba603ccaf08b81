"""``qkan export``."""

import pandas as pd
import pytest


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


def test_a_c_file_is_written_with_what_is_proven_about_it(qkan, trained, tmp_path):
    data = tmp_path / "values.csv"
    pd.DataFrame({"y": [0.1, 0.2, 0.1, 0.0, -0.1, -0.2, -0.1, 0.0] * 3}).to_csv(data, index=False)
    out = tmp_path / "small.c"
    done = qkan("export", trained, "--format", "c", "--out", out, "--data", data)
    assert done.exit_code == 0, done.output
    size, tables, *_, holds = done.stdout.splitlines()
    assert size == f"{out}: {out.stat().st_size:,} bytes"
    assert tables.startswith("tables: ")
    assert holds == "holds for inputs of any size"
    assert "qkan_predict" in out.read_text(encoding="ascii")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["no-such-run"], "there is no run folder no-such-run; train one first"),
        (["{trained}", "--out", "model.pt2"], "the name of a file of format 'onnx' must end in .onnx, got model.pt2"),
        (["{trained}", "--margin", "0"], "margin must be at least 1, got 0.0"),
        (["{trained}", "--format", "tflite"], "'tflite' is not one of 'onnx', 'torch-export', 'c'."),
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
