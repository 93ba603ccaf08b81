"""QKAN.save and QKAN.load: the same network from one file, and one clear sentence where that cannot be."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from qkan import QKAN, Ansatz, PennyLane, QKANLayer

OWN = Ansatz("own", ("ry", "rz"), "rx", ("ry", "rz"), initial=(0.0, 0.0, 1.0), near_linear=(0.5, 0.25), slope=1)
OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": {
        "reps": 2,
        "group": 2,
        "ansatz": OWN,
        "preact_trainable": True,
        "postact_weight_trainable": True,
        "postact_bias_trainable": True,
        "base_activation": "tanh",
        "base_trainable": False,
        "init": "normal",
        "backend": "bloch",
        "dtype": torch.float64,
    },
    "per input": {"group": "input", "postact_weight_trainable": True, "readout": "amplitude", "dtype": torch.bfloat16},
    "bare": {"base_activation": None, "ansatz": "rpz", "preact_trainable": "input"},
}


def meta(path: Path) -> dict[str, Any]:
    (size,) = struct.unpack("<Q", path.read_bytes()[:8])
    return json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    QKAN([3, 4, 2], base_activation="silu").save(tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


@pytest.mark.parametrize("name", OPTIONS)
def test_what_was_saved_comes_back(tmp_path: Path, name: str) -> None:
    model = QKAN([3, 4, 2], **OPTIONS[name])
    model.layers[0].prune([(1, 2), (3, 0)])
    if name != "bare":
        model.layers[1].refine(4)
    model.save(tmp_path / "net")
    state = torch.get_rng_state()
    other = QKAN.load(tmp_path / "net")
    assert torch.equal(torch.get_rng_state(), state)
    assert other.config == model.config
    x = torch.randn(5, 3).to(model.layers[0].theta.dtype)
    assert torch.equal(other(x), model(x))
    for mine, others in zip(model.parameters(), other.parameters(), strict=True):
        assert (mine.dtype, mine.requires_grad) == (others.dtype, others.requires_grad)
    assert torch.equal(other.layers[0].edge_mask, model.layers[0].edge_mask)
    assert other.layers[1].edge_mask is None
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


def test_config_builds_a_twin() -> None:
    layer = QKANLayer(3, 4, **OPTIONS["everything"])
    assert QKANLayer(**layer.config).config == layer.config
    assert QKANLayer(3, 4, group=3, postact_weight_trainable=True).config["group"] == "input"
    assert QKAN([3, 2]).config["width"] == [3, 2]


def test_the_loaded_network_does_not_live_on_its_file(saved: Path) -> None:
    model = QKAN.load(saved)
    before = model.layers[0].theta.detach().clone()
    with torch.no_grad():
        model.layers[0].theta.add_(1)
    assert torch.equal(QKAN.load(saved).layers[0].theta, before)
    saved.unlink()
    assert (model.layers[0].theta - before - 1).abs().max() < 1e-6


def test_no_file_is_overwritten_unless_asked(saved: Path) -> None:
    old = saved.read_bytes()
    with pytest.raises(FileExistsError, match=r"net.safetensors exists; give another path, or overwrite=True"):
        QKAN([2, 1]).save(saved)
    assert saved.read_bytes() == old
    QKAN([2, 1]).save(saved, overwrite=True)
    assert QKAN.load(saved).width == [2, 1]


def test_a_crash_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = saved.read_bytes()

    def full(*arguments: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        QKAN([2, 1]).save(saved, overwrite=True)
    assert saved.read_bytes() == old
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_activation": torch.sin}, "layer 0: base_activation sin is an object that a file cannot hold; build"),
        ({"base_activation": nn.PReLU()}, "layer 0: base_activation PReLU is an object"),
        (
            {"backend": PennyLane()},
            "layer 0: backend PennyLane is an object that a file cannot hold; set layer.backend",
        ),
    ],
)
def test_objects_are_refused_by_name(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        QKAN([2, 1], **options).save(tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("layers.1.theta"), r"layers\.1\.theta is missing"),
        (lambda t: t.update(extra=torch.ones(2)), "do not fit the network that it describes: extra is unknown"),
        (
            lambda t: t.update({"layers.0.theta": torch.ones(4, 3, 2, 2)}),
            r"layers\.0\.theta is torch\.float32 \(4, 3, 2, 2\) instead of torch\.float32 \(4, 3, 4, 2\)",
        ),
        (
            lambda t: t.update({"layers.0.base_weight": torch.ones(4, 3, dtype=torch.int64)}),
            r"layers\.0\.base_weight is torch\.int64 \(4, 3\) instead of torch\.float32 \(4, 3\)",
        ),
        (
            lambda t: t.update({"layers.1.edge_mask": torch.ones(4, 2, dtype=torch.bool)}),
            r"layers\.1\.edge_mask is torch\.bool \(4, 2\) instead of torch\.bool \(2, 4\)",
        ),
        (lambda t: t.update({"layers.2.edge_mask": torch.ones(1, dtype=torch.bool)}), "edge_mask is unknown"),
    ],
)
def test_tensors_that_do_not_fit(saved: Path, change: Any, message: str) -> None:
    tensors = load_file(saved)
    change(tensors)
    save_file(tensors, saved, meta(saved))
    with pytest.raises(ValueError, match=message):
        QKAN.load(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format=2), "format 2 is not 1, the one that version"),
        (lambda c: c.pop("layers"), "'layers' is missing"),
        (lambda c: c.update(layers=[]), "a network needs at least one layer"),
        (lambda c: c["layers"][0].pop("reps"), r"options \['reps'\] of a layer are missing or unknown"),
        (lambda c: c["layers"][0].update(colour=1), r"options \['colour'\] of a layer are missing or unknown"),
        (lambda c: c["layers"][0].update(reps=0), r"reps 0 is outside \[1, 1024\]"),
        (lambda c: c["layers"][0].update(dtype="save"), "dtype 'save' is unknown"),
        (lambda c: c["layers"][0].update(base_activation="os.system"), "unknown base_activation 'os.system'"),
        (lambda c: c["layers"][0]["ansatz"].pop("block"), "an ansatz is incomplete"),
        (lambda c: c["layers"][0]["ansatz"].update(block=["rw"]), "unknown gate 'rw' in block"),
        (lambda c: c["layers"][0].update(out_features=5), "layer 1 takes 4 inputs, but layer 0 has 5 outputs"),
        (lambda c: c["layers"].insert(0, 3), "a layer is 3"),
        (lambda c: c["layers"][0].update(kind="Linear"), "a layer of kind 'Linear' is unknown; this version"),
    ],
)
def test_descriptions_that_cannot_be_used(saved: Path, change: Any, message: str) -> None:
    config = json.loads(meta(saved)["qkan"])
    change(config)
    save_file(load_file(saved), saved, {"qkan": json.dumps(config)})
    with pytest.raises(
        ValueError, match=rf"net\.safetensors: its description of the network cannot be used: .*{message}"
    ):
        QKAN.load(saved)


@pytest.mark.parametrize("entry", ["{", "[1]", '"x"', "null"])
def test_an_entry_that_is_no_description(saved: Path, entry: str) -> None:
    save_file(load_file(saved), saved, {"qkan": entry})
    with pytest.raises(ValueError, match="its description of the network cannot be used"):
        QKAN.load(saved)


def test_other_files(saved: Path, tmp_path: Path) -> None:
    save_file(load_file(saved), tmp_path / "plain")
    with pytest.raises(
        ValueError, match="plain holds tensors but no network of this package; read them with safetensors"
    ):
        QKAN.load(tmp_path / "plain")
    with pytest.raises(FileNotFoundError, match=r"nowhere is no file; give the path that save\(\) wrote"):
        QKAN.load(tmp_path / "nowhere")
    for cut in (0, 5, 200, len(saved.read_bytes()) - 1):
        (tmp_path / "cut").write_bytes(saved.read_bytes()[:cut])
        with pytest.raises(ValueError, match="cut is damaged or no safetensors file"):
            QKAN.load(tmp_path / "cut")


def test_bytes_other_than_0_and_1_in_a_mask_are_true(tmp_path: Path) -> None:
    """A safetensors file may hold any byte where it says bool; torch counts on 0 and 1."""
    net, path = QKAN([2, 2]), tmp_path / "net.safetensors"
    net.prune_edges([(0, 0, 1)])
    net.save(path)
    content, mask = path.read_bytes(), net.layers[0].edge_mask
    size = int.from_bytes(content[:8], "little")
    first, last = json.loads(content[8 : 8 + size])["layers.0.edge_mask"]["data_offsets"]
    start, end = 8 + size + first, 8 + size + last
    assert content[start:end] == bytes(mask.flatten().tolist())
    path.write_bytes(content[:start] + content[start:end].replace(b"\x01", b"\x02") + content[end:])
    read = QKAN.load(path).layers[0].edge_mask
    assert read.view(torch.uint8).max() == 1
    assert torch.equal(read, mask)
