"""Damaged, foreign and hostile files are refused in one sentence, and nothing in them is executed."""

import io
import json
import os
import zipfile

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from tiny_runs import tiny_config
from untrained import untrained_run

from qkan.forecasting import RunError, export, load_exported


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The content of one exported run in both formats."""
    run, folder = untrained_run(tiny_config(window=2, horizon=2)), tmp_path_factory.mktemp("files")
    made = [export(run, folder / "lstm.pt2", "torch-export"), export(run, folder / "lstm.onnx")]
    return {one.path.suffix: one.path.read_bytes() for one in made}


def refusal(tmp_path, content, suffix=".onnx"):
    """What loading says, without the place."""
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(RunError) as error:
        load_exported(path)
    text = str(error.value)
    assert str(path) in text
    assert "\n" not in text
    return text.replace(str(path), "FILE")


def with_facts(files, change):
    """An exported file whose description went through ``change``: text -> text."""
    proto = onnx.load_model_from_string(files[".onnx"])
    proto.metadata_props[0].value = change(proto.metadata_props[0].value)
    return proto.SerializeToString()


def with_values(files, change):
    """An exported file whose description, as a dictionary, went through ``change``."""
    return with_facts(files, lambda text: json.dumps(change(json.loads(text))))


def foreign_onnx():
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "foreign", [value], [output])
    return helper.make_model(graph).SerializeToString()


def test_an_unchanged_copy_is_read(files, tmp_path):
    path = tmp_path / "copy.ONNX"
    path.write_bytes(files[".onnx"])
    assert load_exported(path).config.horizon == 2


def test_missing_and_misnamed_files(tmp_path):
    with pytest.raises(RunError, match="No such file or directory; give a file of qkan export"):
        load_exported(tmp_path / "none.onnx")
    sentence = r"model.zip is not named like an exported run, whose name ends in \.onnx; give a file of qkan export"
    with pytest.raises(RunError, match=sentence):
        load_exported(tmp_path / "model.zip")


def test_damaged_and_foreign_files(files, tmp_path):
    for content in (b"no archive", files[".onnx"][:-200], files[".pt2"]):
        assert refusal(tmp_path, content) == "FILE cannot be used: it is no ONNX file; export the run again"
    says_nothing = "FILE was not written by qkan export: it does not say how to predict with it; export the run again"
    for content in (b"", foreign_onnx()):
        assert refusal(tmp_path, content) == says_nothing


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "FILE has format version 2, this version of qkan reads up to 1; update qkan"),
        ({"format_version": None}, "FILE is damaged: its description has no format_version"),
        ({"extra": 1}, "FILE is damaged: it must describe ['format', 'format_version', 'margin', 'qkan', 'run'], got"),
        ({"run": []}, "FILE is damaged: it must describe"),
        ({"run": {}}, "FILE must hold exactly ['config', 'data', 'format_version', 'scaler', 'sha256'], got []"),
        ({"margin": 0.5}, "FILE is damaged: margin must be a number of at least 1 or null, got 0.5"),
        ({"format": "tflite"}, "FILE is damaged: it says that it is 'tflite', not"),
    ],
)
def test_descriptions_are_checked(files, tmp_path, change, message):
    assert message in refusal(tmp_path, with_values(files, lambda facts: facts | change))


def test_a_description_that_does_not_fit_the_program(files, tmp_path):
    def with_option(option, value):
        def changed(facts):
            facts["run"]["config"][option] = value
            return facts

        return with_values(files, changed)

    text = refusal(tmp_path, with_option("horizon", 3))
    assert "the program in FILE cannot be used: it forecasts (2, 2) where its description says (2, 3)" in text
    assert "the program in FILE cannot be used" in refusal(tmp_path, with_option("window", 5))
    text = refusal(tmp_path, with_option("hidden_size", -1))
    assert "FILE cannot be used: hidden_size must be an integer between 1 and 4096, got -1" in text


def test_a_changed_weight_or_scaler_is_refused(files, tmp_path):
    """It would be a wrong forecast that nothing tells from a right one."""
    proto = onnx.load_model_from_string(files[".onnx"])
    weight = next(tensor for tensor in proto.graph.initializer if tensor.data_type == TensorProto.FLOAT)
    weight.raw_data = bytes([weight.raw_data[0] ^ 1]) + weight.raw_data[1:]
    text = refusal(tmp_path, proto.SerializeToString())
    assert text.startswith("the program in FILE cannot be used: it is not as it was written (its sha256 differs)")
    text = refusal(tmp_path, with_values(files, lambda facts: facts | {"margin": 2}))
    assert "it is not as it was written (its sha256 differs)" in text


def test_a_description_that_is_no_json(files, tmp_path):
    assert "FILE is damaged: its description is no JSON" in refusal(tmp_path, with_facts(files, lambda _: "{"))


def test_weights_outside_an_onnx_file_are_refused(files, tmp_path):
    proto = onnx.load_model_from_string(files[".onnx"])
    tensor = proto.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    assert "it keeps weights in other files" in refusal(tmp_path, proto.SerializeToString())


def test_a_hostile_pt2_file_is_not_opened(files, tmp_path, monkeypatch):
    """A guard of the program, which torch.export.load evaluates as Python, would leave a file behind."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(files[".pt2"])) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("models/model.json"):
                assert b"Symbol('s" in content
                content = content.replace(b"Symbol('s", b"__import__('pathlib').Path('ran').touch() or Symbol('s")
            new.writestr(name, content)
    hostile = buffer.getvalue()
    monkeypatch.chdir(tmp_path)
    torch.export.load(io.BytesIO(hostile))
    (tmp_path / "ran").unlink()  # so the file is hostile indeed

    monkeypatch.setattr(torch.export, "load", None)  # would be a TypeError
    for name in (".pt2", ".PT2"):
        text = refusal(tmp_path, hostile, name)
        assert text.startswith(
            "FILE is not opened, because loading a .pt2 file runs what code it holds; export the run"
        )
    assert not (tmp_path / "ran").exists()


def test_onnxruntime_gets_what_was_checked(files, tmp_path, monkeypatch):
    """Two readers of the same bytes may differ, so the checked message is written anew, without unknown fields."""
    import onnxruntime

    given = []
    session = onnxruntime.InferenceSession

    def record(content, options, **more):
        given.append((content, options.get_session_config_entry("session.load_model_format")))
        return session(content, options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", record)
    path = tmp_path / "model.onnx"
    # Field 1000, unknown here; and the graph's name twice, of which the last counts.
    path.write_bytes(files[".onnx"] + b"\xc2\x3e\x06secret" + b"\x12\x01a" + b"\x12\x01b")
    with pytest.raises(RunError, match="it is not as it was written"):
        load_exported(path)
    [(content, form)] = given
    assert form == "ONNX"
    assert b"secret" not in content
    proto = onnx.load_model_from_string(content)
    assert proto.producer_name == "b"
    assert content == proto.SerializeToString()


def test_weights_outside_are_found_wherever_they_are_named(files, tmp_path):
    def hostile(change):
        proto = onnx.load_model_from_string(files[".onnx"])
        tensor = TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[1])
        tensor.external_data.add(key="location", value="/etc/passwd")
        change(proto, tensor)
        return proto.SerializeToString()

    def in_a_function(proto, tensor):
        node = helper.make_node("Constant", [], ["t"], value=tensor)
        proto.functions.append(helper.make_function("here", "f", [], ["t"], [node], [helper.make_opsetid("", 18)]))

    def in_a_subgraph(proto, tensor):
        inner = helper.make_graph([helper.make_node("Constant", [], ["t"], value=tensor)], "inner", [], [])
        proto.graph.node.append(helper.make_node("If", ["c"], [], then_branch=inner, else_branch=inner))

    def sparse(proto, tensor):
        proto.graph.sparse_initializer.add().values.CopyFrom(tensor)

    for change in (in_a_function, in_a_subgraph, sparse):
        assert "it keeps weights in other files" in refusal(tmp_path, hostile(change))


def test_a_pipe_or_a_device_called_onnx_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "device.onnx").symlink_to("/dev/zero")
    for name in ("pipe.onnx", "device.onnx"):
        with pytest.raises(RunError, match="is no regular file; give a file of qkan export"):
            load_exported(tmp_path / name)
