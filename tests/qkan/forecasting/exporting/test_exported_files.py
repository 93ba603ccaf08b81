"""Damaged, foreign and hostile files are refused in one sentence, and nothing in them is executed."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from tiny_runs import tiny_config
from untrained import untrained_run

from qkan.forecasting import RunError, export, load_exported

MODEL, WEIGHTS, FACTS = "models/model.json", "data/weights/model_weights_config.json", "extra/qkan.json"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The content of one exported run in both formats."""
    run, folder = untrained_run(tiny_config(window=2, horizon=2)), tmp_path_factory.mktemp("files")
    made = [export(run, folder / "lstm.pt2", "torch-export"), export(run, folder / "lstm.onnx")]
    return {one.path.suffix: one.path.read_bytes() for one in made}


def refusal(tmp_path, content, suffix=".pt2"):
    """What loading says, without the place."""
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(RunError) as error:
        load_exported(path)
    text = str(error.value)
    assert str(path) in text
    assert "\n" not in text
    return text.replace(str(path), "FILE")


def rewritten(content, change, extra=()):
    """A .pt2 archive whose files went through ``change``: name below the root, content -> content or None."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            changed = change(name.partition("/")[2], old.read(name))
            if changed is not None:
                new.writestr(name, changed)
        for name, added in extra:
            new.writestr(name, added)
    return buffer.getvalue()


def with_text(file, old, new):
    """A change of one text in one file, which must be there."""

    def change(name, content):
        if name != file:
            return content
        assert old.encode() in content
        return content.replace(old.encode(), new.encode())

    return change


def with_facts(files, suffix, change):
    """An exported file whose description was changed."""
    if suffix == ".pt2":
        return rewritten(files[suffix], lambda name, old: json.dumps(change(json.loads(old))) if name == FACTS else old)
    proto = onnx.load_model_from_string(files[suffix])
    proto.metadata_props[0].value = json.dumps(change(json.loads(proto.metadata_props[0].value)))
    return proto.SerializeToString()


def foreign_onnx():
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "foreign", [value], [output])
    return helper.make_model(graph).SerializeToString()


def foreign_pt2():
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(torch.nn.ReLU(), (torch.zeros(3),)), buffer)
    return buffer.getvalue()


def test_unchanged_copies_are_read(files, tmp_path):
    for suffix, content in files.items():
        path = tmp_path / f"copy{suffix.upper()}"
        path.write_bytes(content)
        assert load_exported(path).config.horizon == 2


@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_missing_and_misnamed_files(tmp_path, suffix):
    with pytest.raises(RunError, match="No such file or directory; give a file of qkan export"):
        load_exported(tmp_path / f"none{suffix}")
    with pytest.raises(
        RunError, match=r"model.zip is not named like an exported run, .* \.onnx \(onnx\) or \.pt2 \(tor"
    ):
        load_exported(tmp_path / "model.zip")


def test_damaged_and_foreign_files(files, tmp_path):
    for content in (b"", b"no archive", files[".pt2"][:-200], files[".onnx"]):
        text = refusal(tmp_path, content)
        assert text == "FILE cannot be used: it is no whole zip archive of torch.export; export the run again"
    assert refusal(tmp_path, b"no archive", ".onnx") == "FILE cannot be used: it is no ONNX file; export the run again"
    assert "it is no ONNX file" in refusal(tmp_path, files[".onnx"][:-200], ".onnx")
    says_nothing = "FILE was not written by qkan export: it does not say how to predict with it; export the run again"
    assert refusal(tmp_path, foreign_onnx(), ".onnx") == says_nothing
    no_facts = rewritten(files[".pt2"], lambda name, old: None if name == FACTS else old)
    assert refusal(tmp_path, no_facts) == says_nothing
    pickled = refusal(
        tmp_path, foreign_pt2()
    )  # an ordinary program: its example inputs are tensors, but no description
    assert pickled == says_nothing


@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "FILE has format version 2, this version of qkan reads up to 1; update qkan"),
        ({"format_version": None}, "FILE is damaged: its description has no format_version"),
        ({"extra": 1}, "FILE is damaged: it must describe ['format', 'format_version', 'margin', 'qkan', 'run'], got"),
        ({"run": []}, "FILE is damaged: it must describe"),
        ({"run": {}}, "FILE must hold exactly ['config', 'data', 'format_version', 'scaler'], got []; export the run"),
        ({"margin": 0.5}, "FILE is damaged: margin must be a number of at least 1 or null, got 0.5"),
        ({"format": "tflite"}, "FILE is damaged: it says that it is 'tflite', not"),
    ],
)
def test_descriptions_are_checked(files, tmp_path, suffix, change, message):
    assert message in refusal(tmp_path, with_facts(files, suffix, lambda facts: facts | change), suffix)


@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_a_description_that_does_not_fit_the_program(files, tmp_path, suffix):
    def change(option, value):
        def changed(facts):
            facts["run"]["config"][option] = value
            return facts

        return changed

    text = refusal(tmp_path, with_facts(files, suffix, change("horizon", 3)), suffix)
    assert "the program in FILE cannot be used: it forecasts (2, 2) where its description says (2, 3)" in text
    assert "the program in FILE cannot be used" in refusal(
        tmp_path, with_facts(files, suffix, change("window", 5)), suffix
    )
    text = refusal(tmp_path, with_facts(files, suffix, change("hidden_size", -1)), suffix)
    assert "FILE cannot be used: hidden_size must be an integer between 1 and 4096, got -1" in text


def test_a_description_that_is_no_json(files, tmp_path):
    broken = rewritten(files[".pt2"], lambda name, old: b"{" if name == FACTS else old)
    assert "FILE is damaged: its description is no JSON" in refusal(tmp_path, broken)


def test_weights_outside_an_onnx_file_are_refused(files, tmp_path):
    proto = onnx.load_model_from_string(files[".onnx"])
    tensor = proto.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    text = refusal(tmp_path, proto.SerializeToString(), ".onnx")
    assert "it keeps weights in other files" in text


class Touch:
    """Unpickling one leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


CALL = "__import__('pathlib').Path('ran').touch()"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (MODEL, "torch.ops.aten.lstm.input", "torch.os.system", "it calls 'torch.os.system', which is no operation"),
        (MODEL, "torch.ops.aten.lstm.input", "torch.ops.qkan.x.y", "it calls 'torch.ops.qkan.x.y', which is no"),
        (MODEL, "Symbol('s", f"{CALL}+Symbol('s", "which is no arithmetic"),
        (MODEL, '"guards_code": []', f'"guards_code": ["{CALL}"]', "which compares no sizes"),
        (MODEL, '"as_int": 0', '"as_string": "/etc/passwd"', "one of its operations takes string '/etc/passwd'"),
        (MODEL, '"as_int": 0', '"as_custom_obj": 0', "one of its operations takes custom_obj '0'"),
        (WEIGHTS, '"use_pickle": false', '"use_pickle": true', "it holds pickled tensors"),
        (WEIGHTS, '"weight_0"', '"../weight_0"', "it refers to the file '../weight_0', which is no tensor"),
    ],
)
def test_programs_that_could_run_code_are_refused(files, tmp_path, monkeypatch, file, old, new, message):
    monkeypatch.chdir(tmp_path)
    text = refusal(tmp_path, rewritten(files[".pt2"], with_text(file, old, new)))
    assert text.startswith("FILE cannot be used: ")
    assert message in text
    assert [one.name for one in tmp_path.iterdir()] == ["model.pt2"]


@pytest.mark.parametrize(
    "name",
    ["../escaped", "/etc/x", "archive/../x", "archive/data/constants/opaque_obj_0", "archive/data/aotinductor/m/a.so"],
)
def test_unknown_files_in_an_archive_are_refused(files, tmp_path, name):
    text = refusal(tmp_path, rewritten(files[".pt2"], lambda _, old: old, [(name, b"x")]))
    assert "FILE cannot be used: it holds a file " in text


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_an_archive_holds_twice_is_refused(files, tmp_path):
    twice = rewritten(files[".pt2"], lambda _, old: old, [(f"archive/{MODEL}", b"{}")])
    assert f"it holds a file 'archive/{MODEL}', which" in refusal(tmp_path, twice)


def test_pickles_are_not_opened(files, tmp_path):
    mark = tmp_path / "ran"
    pickles = [pickle.dumps(Touch(mark), protocol=2)]
    buffer = io.BytesIO()
    torch.save((Touch(mark),), buffer)
    pickles.append(buffer.getvalue())
    for content in pickles:
        hostile = rewritten(files[".pt2"], lambda name, old, new=content: new if name.endswith("model.pt") else old)
        text = refusal(tmp_path, hostile)
        assert "its file 'data/sample_inputs/model.pt' is pickled and holds more than tensors" in text
        assert not mark.exists()


def test_compressed_archives_are_refused(files, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/version", b"0" * 10**6)
        archive.writestr("archive/archive_version", b"0" * 10**6)
    assert "FILE cannot be used" in refusal(tmp_path, buffer.getvalue())
