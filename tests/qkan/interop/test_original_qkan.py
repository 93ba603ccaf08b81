"""Networks of the original authors' package, loaded here, against what that package itself computed.

original.json and original.ckpt are its outputs: see make_fixtures.py.
"""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

import qkan
from qkan import QKAN, QKANLayer
from qkan.interop.original_qkan import load_original
from qkan.kernels.circuits.ansatz import get_ansatz

HERE = Path(__file__).parent
FIXTURES = json.loads((HERE / "original.json").read_text())
CASES: dict[str, dict[str, Any]] = FIXTURES["cases"]
DTYPES = {"float32": torch.float32, "float64": torch.float64}
ALL = {"preact_trainable": True, "postact_weight_trainable": True, "postact_bias_trainable": True}


def state(name: str, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    return {key: torch.tensor(value, dtype=dtype) for key, value in CASES[name]["state"].items()}


def inputs(name: str, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor(CASES[name]["x"], dtype=dtype)


def expected(name: str, key: str) -> Tensor:
    return torch.tensor(CASES[name]["outputs"][key], dtype=torch.float64)


def arguments(name: str) -> dict[str, Any]:
    """What a user has to say beside the tensors."""
    options = CASES[name]["options"]
    said: dict[str, Any] = {"ansatz": options["ansatz"]}
    if options.get("p_dim") == 2:
        said["width"] = CASES[name]["shape"]
    if "base_activation" in options:
        base = options["base_activation"]
        said["base_activation"] = torch.sigmoid if base == "sigmoid" else base
    if name == "preactivations drawn, pz":
        said["preact_trainable"] = False
    return said


def load(name: str, dtype: torch.dtype = torch.float64, **more: Any) -> Any:
    return load_original(state(name, dtype), **(arguments(name) | more))


def test_the_fixtures_are_those_of_the_package_and_cover_it() -> None:
    assert FIXTURES["original"] == "0.2.3"
    ways = ("theta only", "all trained", "post and base", "pruned", "group", "flat")
    assert {f"{ansatz}, {way}" for ansatz in ("pz", "rpz", "real", "px", "mix") for way in ways} < set(CASES)
    assert len(CASES) == 47


@pytest.mark.parametrize("readout", ["amplitude", "z"])
@pytest.mark.parametrize("name", sorted(set(CASES) - {"nodes pruned"}))
def test_outputs_are_those_of_the_original(name: str, readout: str) -> None:
    """Double precision to 1e-11. Single to 1e-5, but the amplitude, a root of 1 - |Z|, to 1e-4 where |Z| nears 1."""
    x, wanted = inputs(name), expected(name, f"{readout}, float64")
    assert wanted.std() > 3e-3  # far above the tolerances
    torch.testing.assert_close(load(name, readout=readout)(x), wanted, rtol=0, atol=1e-11)
    y = load(name, torch.float32, readout=readout)(x.float())
    assert y.dtype == torch.float32
    near_pole = readout == "amplitude" and name in ("real, post and base", "real, flat")
    wanted = expected(name, f"{readout}, float32")
    torch.testing.assert_close(y.double(), wanted, rtol=0, atol=1e-4 if near_pole else 1e-5)


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("real")])
def test_the_original_computes_real_in_bfloat16(name: str) -> None:
    """What its users saw differs from its own formula by the rounding of bfloat16 (docs/guides/interop.md)."""
    for readout in ("amplitude", "z"):
        off = (expected(name, f"{readout}, native") - expected(name, f"{readout}, float64")).abs().max()
        assert 1e-4 < off < 0.2


def test_what_the_original_returns_after_pruning_nodes_reads_amplitude() -> None:
    """It was made with fast_measure=False, which its smaller copy forgets."""
    model = load("nodes pruned", torch.float32)
    assert model.width == CASES["nodes pruned"]["shape"]
    x, wanted = inputs("nodes pruned", torch.float32), expected("nodes pruned", "amplitude, float32")
    torch.testing.assert_close(model(x).double(), wanted, rtol=0, atol=1e-5)
    assert (load("nodes pruned", torch.float32, readout="z")(x) - wanted).abs().max() > 1e-2


@pytest.mark.parametrize("name", CASES)
def test_options_are_read_from_the_tensors(name: str) -> None:
    """Only what is trained has parameters; widths, repetitions and groups are the original's."""
    options, shape = CASES[name]["options"], CASES[name]["shape"]
    model = load(name)
    layers = [model] if isinstance(model, QKANLayer) else list(model.layers)
    assert isinstance(model, QKANLayer) == ("single" in options)
    assert [layer.in_features for layer in layers] + [layers[-1].out_features] == shape
    drawn = options.get("preact_init") and name.endswith("rpz")
    alike = name == "group, theta only"
    for layer in layers:
        assert layer.reps == 2
        assert layer.ansatz.name == options["ansatz"].removesuffix("_encoding")
        assert layer.readout == "amplitude"
        assert layer.preact_trainable is bool(options.get("preact_trainable") or drawn) or name == "px, theta only"
        assert (layer.postact_weight is not None) == (options.get("postact_weight_trainable", False) or alike)
        assert (layer.postact_bias is not None) == options.get("postact_bias_trainable", False)
        assert (layer.base_weight is not None) == options.get("ba_trainable", False)
        group = options.get("group", -1)
        group = group[1] if isinstance(group, list) else group
        assert layer.group == (None if group == -1 else min(group, layer.in_features))
        assert (layer.edge_mask is not None) == ("pruned" in name and name != "nodes pruned")


def test_options_can_be_said_where_tensors_do_not() -> None:
    name = "pz, theta only"
    model = load(name, preact_trainable=True, ansatz=get_ansatz("pz"))
    assert all(layer.preact_weight.requires_grad for layer in model.layers)
    torch.testing.assert_close(model(inputs(name)), expected(name, "amplitude, float64"), rtol=0, atol=1e-11)
    assert (load("preactivations drawn, pz", preact_trainable=None).layers[0].preact_weight != 1).all()
    with pytest.raises(ValueError, match="preact_trainable=False would leave out preacts_weight"):
        load("preactivations drawn, rpz", preact_trainable=False)
    with pytest.raises(ValueError, match="base_activation=None would leave out base_weight"):
        load("pz, all trained", base_activation=None)
    with pytest.raises(TypeError, match="preact_trainable must be True, False or None, got 'input'"):
        load("pz, all trained", preact_trainable="input")


@pytest.mark.parametrize("name", ["pz, pruned", "group, theta only", "mix, flat"])
def test_training_goes_on(name: str) -> None:
    model, x = load(name, readout="z"), inputs(name)
    target = x[:, :2] + 1
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = (model(x) - target).square().mean()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


def test_nothing_is_shared_drawn_or_changed() -> None:
    given = state("pz, pruned")
    before, generator = copy.deepcopy(given), torch.get_rng_state()
    model = load_original(given)
    assert torch.equal(torch.get_rng_state(), generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(given[name], before[name]) for name in before)


def test_dtypes_are_kept() -> None:
    given = state("pz, all trained", torch.float32) | {"layers.0.mask": torch.ones(4, 3, dtype=torch.float64)}
    model = load_original(given)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    given["layers.0.theta"] = given["layers.0.theta"].double()
    assert {p.dtype for p in load_original(given).layers[0].parameters()} == {torch.float64}
    half = {name: tensor.bfloat16() for name, tensor in state("pz, all trained").items()}
    assert {p.dtype for p in load_original(half).parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("mode", [True, False])
def test_defect_2_a_pruned_checkpoint_keeps_its_mask(mode: bool) -> None:
    """In training and evaluation, after further training, in the state of what was loaded."""
    name = "mix, pruned"
    model = load(name).train(mode)
    for index, layer in enumerate(model.layers):
        kept = state(name)[f"layers.{index}.mask"] == 1
        assert torch.equal(layer.edge_mask, kept)
        assert (layer.edge_outputs(torch.rand(3, layer.in_features).double())[:, ~kept] == 0).all()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model(inputs(name)).square().sum().backward()
    optimizer.step()
    assert (model.layers[0].edge_outputs(inputs(name))[:, ~model.layers[0].edge_mask] == 0).all()
    other = load(name).train(mode)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(inputs(name)), model(inputs(name)))


@pytest.mark.parametrize("name", ["pz, pruned", "group, pruned", "px, theta only", "group, pair", "long names"])
def test_defect_9_what_was_loaded_is_saved_with_its_configuration(name: str, tmp_path: Path) -> None:
    model = load(name)
    model = QKAN.from_layers([model]) if isinstance(model, QKANLayer) else model
    model.save(tmp_path / "model.safetensors")
    again = QKAN.load(tmp_path / "model.safetensors")
    assert again.config == model.config
    torch.testing.assert_close(again(inputs(name)), expected(name, "amplitude, float64"), rtol=0, atol=1e-11)


def test_files_of_all_kinds(tmp_path: Path) -> None:
    given, x = state("pz, all trained"), inputs("pz, all trained")
    wanted = load_original(given)(x)
    files = {name: tmp_path / name for name in ("plain.pt", "no_suffix", "wrapped.pth", "old.pt", "m.safetensors")}
    torch.save(given, files["plain.pt"])
    torch.save(given, files["no_suffix"])
    parallel = {f"module._orig_mod.{name}": tensor for name, tensor in given.items()}
    torch.save({"model_state_dict": parallel, "epoch": 3, "optimizer": {"lr": 0.1}}, files["wrapped.pth"])
    torch.save(given, files["old.pt"], _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(given, files["m.safetensors"])
    for path in files.values():
        assert torch.equal(load_original(path)(x), wanted), path
        assert torch.equal(load_original(str(path))(x), wanted), path


def test_a_checkpoint_of_the_originals_save_ckpt() -> None:
    model = load_original(HERE / "original.ckpt")
    assert model.width == [2, 3, 1]
    assert [layer.group for layer in model.layers] == [None, None]
    assert {name for name, _ in model.layers[0].named_parameters()} == {
        "theta", "preact_weight", "preact_bias", "postact_weight", "postact_bias", "base_weight",
    }  # fmt: skip


def test_the_module_needs_no_import_of_its_own() -> None:
    program = (
        "import sys, qkan; assert 'interop' in dir(qkan) and 'torch' not in sys.modules;"
        "print(qkan.interop.load_original.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "load_original\n"
    assert qkan.interop.load_original is load_original
