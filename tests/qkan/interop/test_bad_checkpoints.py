"""Checkpoints that cannot be loaded: the message names the tensor, what was expected, and the way out."""

import json
import os
import pickle
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from qkan import QKAN
from qkan.interop.original_qkan import load_original

HERE = Path(__file__).parent
CASES: dict[str, dict[str, Any]] = json.loads((HERE / "original.json").read_text())["cases"]
State = dict[str, Tensor]


def state(name: str = "pz, all trained") -> State:
    """Layers 3 -> 4 -> 2 with reps 2."""
    return {key: torch.tensor(value) for key, value in CASES[name]["state"].items()}


def without(*names: str) -> State:
    return {name: tensor for name, tensor in state().items() if name not in names}


def shaped(name: str, *shape: int) -> State:
    return state() | {name: torch.ones(shape)}


def holding(name: str, value: float) -> State:
    given = state()
    given[name].view(-1)[1] = value
    return given


BAD_TENSORS: list[tuple[str, State, str]] = [
    ("empty", {}, r"the state dict is empty; pass what state_dict\(\) of the original's QKAN returns"),
    ("missing", without("layers.0.theta", "layers.1.mask"), r"layers\.0\.theta is missing; layers\.1\.mask is missing"),
    ("a layer missing", {k: v for k, v in state().items() if k[7] == "1"}, r"layers\.0\.theta is missing"),
    ("extra", state() | {"layers.1.bias2": torch.ones(2)}, r"layers\.1\.bias2 is unknown; they must be those"),
    ("layer numbers far apart", state() | {"layers.999999.theta": torch.ones(2)}, "and [0-9]+ more"),
    ("another module", nn.Linear(3, 4).state_dict(), r"layers\.0\.theta is missing.*weight is unknown"),
    ("our own", QKAN([3, 4]).state_dict(), r"preacts_weight is missing"),
    ("a part", {f"net.kan.{k}": v for k, v in state().items()}, r"pass the part below 'net\.kan\.' alone: \{name\."),
    ("shape of theta", shaped("layers.0.theta", 4, 3, 2, 2), r"theta is \(4, 3, 2, 2\) instead of \(4, 3, 3, 2\)"),
    ("shape per edge", shaped("layers.1.mask", 4, 2), r"layers\.1\.mask is \(4, 2\) instead of \(2, 4\)"),
    ("shape of base", shaped("layers.1.base_weight", 8), r"layers\.1\.base_weight is \(8,\) instead of \(2, 4\)"),
    ("shape of bias", shaped("layers.0.preacts_bias", 4, 3, 5), r"preacts_bias is \(4, 3, 5\) instead of \(4, 3, 2\)"),
    ("no repetition", shaped("layers.0.preacts_weight", 4, 3, 0), r"is \(4, 3, 0\) instead of \(4, 3, 'reps'\)"),
    ("a number", shaped("layers.0.preacts_weight"), r"layers\.0\.preacts_weight is \(\) instead of"),
    ("NaN", holding("layers.1.theta", float("nan")), r"layers\.1\.theta holds NaN or infinite values"),
    ("infinite", holding("layers.0.base_weight", float("-inf")), r"layers\.0\.base_weight holds NaN or infinite"),
    ("half a mask", holding("layers.0.mask", 0.5), r"layers\.0\.mask holds values other than 0 and 1; multiply"),
    ("integers", state() | {"layers.0.theta": torch.ones(2).long()}, r"theta is torch\.int64 instead of a floating"),
    ("complex", state() | {"layers.0.theta": torch.ones(2).cfloat()}, r"theta is torch\.complex64"),
    ("batch norm", state() | {"layers.0.bn.weight": torch.ones(3)}, r"is_batchnorm=True.*\(layers\.0\.bn\.weight\)"),
    ("map", state() | {"layers.2.weight": torch.ones(3, 2), "layers.2.bias": torch.ones(3)}, "is_map=True.*nn.SiLU"),
    ("base activation", state() | {"layers.0.base_activation.weight": torch.ones(1)}, "its own.*pass the module"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "message"), [bad[1:] for bad in BAD_TENSORS], ids=[bad[0] for bad in BAD_TENSORS])
def test_tensors_that_do_not_fit(given: State, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_original(given)


def test_widths_that_do_not_chain() -> None:
    given = state()
    for name in given:
        if name.startswith("layers.1."):
            given[name] = given[name][:, :3]
    with pytest.raises(ValueError, match="layer 1 takes 3 inputs, but layer 0 has 4 outputs; they must be equal"):
        load_original(given)


@pytest.mark.parametrize(
    ("name", "ansatz", "fits"),
    [
        ("pz, all trained", "rpz", "'pz' or 'mix'"),
        ("rpz, all trained", "pz", "'rpz' or 'px'"),
        ("mix, all trained", "real", "'pz' or 'mix'"),
        ("real, all trained", "px", "'real'"),
        ("mix, group", "px_encoding", "'pz' or 'mix'"),
        ("real, flat", "mix", "'real'"),
    ],
)
def test_tensors_of_another_ansatz(name: str, ansatz: str, fits: str) -> None:
    width = [3, 4, 2] if "flat" in name else None
    short = ansatz.removesuffix("_encoding")
    message = rf"theta is \(.*\) instead of \(.*\), as ansatz '{short}' .* \(it fits ansatz {fits}\)"
    with pytest.raises(ValueError, match=message):
        load_original(state(name), ansatz=ansatz, width=width)


def test_options_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="unknown readout 'x'; use z"):
        load_original(state(), readout="x")
    with pytest.raises(ValueError, match="unknown ansatz 'py'; use one of pz"):
        load_original(state(), ansatz="py_encoding")
    with pytest.raises(ValueError, match="unknown base_activation 'swish'"):
        load_original(state(), base_activation="swish")


def test_widths_of_flat_tensors() -> None:
    flat = state("pz, flat")
    with pytest.raises(ValueError, match=r"p_dim=2.*width=\[inputs, \.\.\., outputs\], 3 numbers \(12, 8 edges\)"):
        load_original(flat)
    with pytest.raises(ValueError, match=r"width \[3, 4\] has 2 sizes, but 2 layers have 3"):
        load_original(flat, width=[3, 4])
    message = r"layers\.0\.base_weight and its like are \(12,\) instead of \(5, 3\), from width \[3, 5, 2\]"
    with pytest.raises(ValueError, match=message):
        load_original(flat, width=[3, 5, 2])
    with pytest.raises(ValueError, match=r"base_weight and its like are \(4, 3\) instead of \(3, 4\)"):
        load_original(state(), width=[4, 3, 2])
    with pytest.raises(ValueError, match=r"are \(12,\) instead of \(out, in\)"):
        load_original({k: v.flatten() if k[7] == "0" else v for k, v in state().items()})
    with pytest.raises(ValueError, match=r"width 0 is outside \[1, "):
        load_original(flat, width=[3, 0, 2])
    with pytest.raises(ValueError, match=r"layers\.0\.preacts_weight is \(\) instead of \(circuits, reps\)"):
        load_original(flat | {"layers.0.preacts_weight": torch.tensor(1.0)}, width=[3, 4, 2])
    cut = flat | {"layers.0.preacts_weight": torch.ones(2, 6, 2)}
    with pytest.raises(ValueError, match=r"layers\.0\.preacts_weight is \(2, 6, 2\) instead of \(12, 2\)"):
        load_original(cut, width=[3, 4, 2])


def test_what_is_no_state_dict() -> None:
    with pytest.raises(TypeError, match=r"state_dict is a module, QKAN; pass its state_dict\(\)"):
        load_original(QKAN([2, 3]))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="state_dict must be a mapping of names to tensors, got list"):
        load_original([1])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"has float under 'lr'; pass the weights themselves"):
        load_original({**state(), "lr": 0.1})


def refusal(path: Path) -> str:
    with pytest.raises((ValueError, TypeError)) as refused:
        load_original(path)
    return str(refused.value)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.pt is no file; give the path of a checkpoint"):
        load_original(tmp_path / "none.pt")
    with pytest.raises(FileNotFoundError, match="is no file"):
        load_original(tmp_path)
    whole = (HERE / "original.ckpt").read_bytes()
    pieces: dict[str, bytes] = {"empty": b"", "text": b"width: 3\n", "cut": whole[:900], "old": pickle.dumps({"a": 1})}
    make = random.Random(0)
    pieces |= {f"noise {index}": make.randbytes(index % 40) for index in range(200)}
    for name, content in pieces.items():
        path = tmp_path / "bad.pt"
        path.write_bytes(content)
        assert re.search("is damaged or no checkpoint|objects|mapping", refusal(path)), name
    path = tmp_path / "bad.safetensors"
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=re.escape(str(path)) + " is damaged or no safetensors file"):
        load_original(path)
    safetensors.torch.save_file({"a": torch.ones(2)}, path)
    with pytest.raises(ValueError, match=r"layers\.0\.theta is missing"):
        load_original(path)


class Runs:
    """Rebuilding it from a pickle makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("new", [True, False])
def test_a_pickled_module_is_refused_and_nothing_runs(new: bool, tmp_path: Path) -> None:
    path, made = tmp_path / "model.pt", tmp_path / "made"
    message = r"holds objects, not only tensors.*save its tensors alone with torch\.save\(model\.state_dict\(\), path\)"
    for content in (nn.Linear(2, 3), {"state_dict": state(), "hook": Runs(made)}):
        torch.save(content, path, _use_new_zipfile_serialization=new)
        with pytest.raises(ValueError, match=message):
            load_original(path)
    assert not made.exists()
