"""Compiled models travel: exported programs and ONNX files give the same numbers, the former without this package."""

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import qkan
from qkan import DARUAN, HQKAN, QKAN, QKANLSTM, JHCGNet, QKANLayer


def inputs(*shape: int) -> Tensor:
    return 2 * torch.rand(*shape, generator=torch.Generator().manual_seed(4)) - 1


EXPORTED: dict[str, Callable[[], nn.Module]] = {
    "fourier": lambda: QKANLayer(4, 3),
    "chebyshev": lambda: QKAN([4, 5, 2], preact_trainable=True),
    "grouped": lambda: QKANLayer(4, 3, group=2, postact_weight_trainable=True, base_activation="gelu"),
    "circuit": lambda: QKANLayer(4, 3, ansatz="px", preact_trainable=True, base_activation=nn.PReLU()),
    "hybrid": lambda: nn.Sequential(JHCGNet(4, 3, preact_trainable=True), DARUAN(3, readout="amplitude"), HQKAN(3)),
    "lstm": lambda: QKANLSTM(4, 3, batch_first=True, preact_trainable=True),
}

LOAD_WITHOUT_QKAN = """
import sys
sys.modules["qkan"] = sys.modules["triton"] = None
import torch
for path in sys.argv[1:]:
    x, y = torch.load(path + ".values")
    got = torch.export.load(path + ".pt2").module()(x)
    got = got if isinstance(got, torch.Tensor) else got[0]
    torch.testing.assert_close(got, y, rtol=0, atol=1e-6)
    print(path.rsplit("/")[-1], tuple(got.shape))
"""


def exportable(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    shape = (6, 5, 4) if name == "lstm" else (6, 4)
    x = 0.9 * inputs(*shape)
    return qkan.compile(EXPORTED[name](), x).eval(), x


def test_exported_programs_run_without_this_package_for_any_batch(tmp_path: Path) -> None:
    batch = torch.export.Dim("batch", max=4096)
    for name in EXPORTED:
        compiled, x = exportable(name)
        program = torch.export.export(compiled, (x,), dynamic_shapes=({0: batch},))
        torch.export.save(program, tmp_path / f"{name}.pt2")
        other = inputs(11, *x.shape[1:]) * 0.9
        y = compiled(other)
        torch.save((other, y if isinstance(y, Tensor) else y[0]), tmp_path / f"{name}.values")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD_WITHOUT_QKAN, *(str(tmp_path / name) for name in EXPORTED)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(EXPORTED)


@pytest.mark.parametrize("name", EXPORTED)
def test_onnx_gives_the_same_numbers(name: str, tmp_path: Path) -> None:
    compiled, x = exportable(name)
    batch = torch.export.Dim("batch", max=4096)
    program = torch.onnx.export(compiled, (x,), dynamo=True, dynamic_shapes=({0: batch},), verbose=False)
    program.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    other = 0.9 * inputs(9, *x.shape[1:])
    (feed,) = session.get_inputs()
    (got, *_) = session.run(None, {feed.name: other.numpy()})
    y = compiled(other)
    torch.testing.assert_close(torch.from_numpy(got), y if isinstance(y, Tensor) else y[0], rtol=0, atol=3e-6)
    if name == "chebyshev":
        (got, *_) = session.run(None, {feed.name: (50 * other).numpy()})
        assert torch.equal(torch.from_numpy(got).isnan(), compiled(50 * other).isnan())
        assert torch.from_numpy(got).isnan().any()


@pytest.mark.parametrize("name", EXPORTED)
def test_copies_and_pickles(name: str) -> None:
    compiled, x = exportable(name)
    y = compiled(x)
    for twin in (copy.deepcopy(compiled), pickle.loads(pickle.dumps(compiled))):
        torch.testing.assert_close(twin(x), y, rtol=0, atol=0)
