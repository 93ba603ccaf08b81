"""Recorded operations give on other inputs what the module gives, or refuse them; no kernel becomes a constant."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import onnxruntime
import pytest
import torch
from outputs import first
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils.rnn import pack_sequence

import qkan
from qkan import DARUAN, GRKAN, HQKAN, HQKANLSTM, QKAN, QKANGRU, QKANLSTM, QLSTM, GroupRational, QKANLayer, QKANLSTMCell

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "fixed": lambda: QKANLayer(3, 4),
    "trained": lambda: QKANLayer(3, 4, preact_trainable=True, reps=2),
    "inputs": lambda: QKANLayer(3, 4, group="input", postact_weight_trainable=True, preact_trainable="input"),
    "two circuits": lambda: QKANLayer(3, 4, group=2, postact_weight_trainable=True, preact_trainable=True),
    "bloch": lambda: QKANLayer(3, 4, backend="bloch"),
    "daruan": lambda: DARUAN(3, preact_trainable=True),
    "network": lambda: QKAN([3, 4, 2], preact_trainable=True),
    "hqkan": lambda: HQKAN(3),
    "gr-kan": lambda: GRKAN(3, num_groups=3),
    "rational": lambda: GroupRational(3, 3, backend="torch"),
    "frozen": lambda: QKANLayer(3, 4, preact_trainable=True).compile_spectral(domain=100.0),
}
RECURRENT: dict[str, Callable[[], nn.Module]] = {
    "lstm": lambda: QKANLSTM(3, 4, 2, bidirectional=True, proj_size=2),
    "trained": lambda: QKANLSTM(3, 4, preact_trainable=True),
    "checkpoints": lambda: QKANLSTM(3, 4, checkpoint_steps=2),
    "gru": lambda: QKANGRU(3, 4),
    "hqkan": lambda: HQKANLSTM(3, 4, batch_first=True),
}

FIXED = "takes sequences of a fixed number of time steps"
pytestmark = pytest.mark.filterwarnings(
    "ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning", f"ignore:.*{FIXED}:UserWarning"
)


def traced(module: nn.Module, x: Tensor) -> Callable[[Tensor], Tensor]:
    found = torch.jit.trace(module, x, check_trace=False)
    return lambda x: first(found(x))


def symbols(module: nn.Module, x: Tensor) -> Callable[[Tensor], Tensor]:
    return make_fx(lambda x: first(module(x)))(x)


def before_autograd(module: nn.Module, x: Tensor) -> Callable[[Tensor], Tensor]:
    return make_fx(lambda x: first(module(x)), pre_dispatch=True)(x)


def onnx(module: nn.Module, x: Tensor) -> Callable[[Tensor], Tensor]:
    buffer = io.BytesIO()
    axes = {"x": {dim: f"d{dim}" for dim in range(x.dim() - 1)}}
    torch.onnx.export(
        module.eval(), (x,), buffer, dynamo=False, input_names=["x"], output_names=["y"], dynamic_axes=axes
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(buffer.getvalue(), options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(["y"], {"x": x.numpy()})[0])


TRACERS = {"trace": traced, "make_fx": symbols, "pre_dispatch": before_autograd, "onnx": onnx}


@pytest.mark.parametrize(
    ("name", "tracer", "samples"),
    [
        *((name, tracer, 8) for name in LAYERS for tracer in ("trace", "onnx")),
        *((name, tracer, 8) for name in ("trained", "bloch", "gr-kan") for tracer in ("make_fx", "pre_dispatch")),
        ("fixed", "trace", 2),
        ("trained", "trace", 2),
    ],
)
def test_layers_on_other_inputs(name: str, tracer: str, samples: int) -> None:
    """Also far outside of the range that was traced, and in larger batches where the tracer allows them."""
    torch.manual_seed(0)
    module = LAYERS[name]()
    program = TRACERS[tracer](module, torch.rand(samples, 3))
    others = [8 * torch.randn(samples, 3)]
    if tracer in ("trace", "onnx"):
        others.append(8 * torch.randn(2000, 3))
    for x in others:
        torch.testing.assert_close(program(x), module(x).detach(), rtol=1e-5, atol=1e-5, check_stride=False)


@pytest.mark.parametrize(
    ("name", "tracer"),
    [*((name, tracer) for name in RECURRENT for tracer in ("trace", "onnx")), ("trained", "make_fx")],
)
def test_recurrent_layers_on_other_batches(name: str, tracer: str) -> None:
    """Any number of sequences; another number of steps is refused, where it was fixed, instead of cut."""
    torch.manual_seed(0)
    module = RECURRENT[name]()
    program = TRACERS[tracer](module, torch.rand(5, 5, 3))
    shapes = [(5, 5, 3)]
    if tracer != "make_fx":
        shapes.append((7, 5, 3) if getattr(module, "batch_first", False) else (5, 7, 3))
    for shape in shapes:
        x = 3 * torch.randn(shape)
        torch.testing.assert_close(program(x), first(module(x)).detach(), rtol=0, atol=2e-6)
    for steps in (4, 10):
        x = torch.rand((5, steps, 3) if getattr(module, "batch_first", False) else (steps, 5, 3))
        with pytest.raises(Exception, match=r"Expected 5 elements|invalid for input of size|[Ss]plit"):
            program(x)


@pytest.mark.parametrize("freeze", [False, True])
@pytest.mark.parametrize("tracer", ["trace", "onnx"])
def test_cells_on_other_batches(tracer: str, freeze: bool) -> None:
    torch.manual_seed(0)
    cell: nn.Module = QKANLSTMCell(3, 4)
    cell = qkan.compile(cell) if freeze else cell
    program = TRACERS[tracer](cell, torch.rand(5, 3))
    for rows in (1, 5, 9):
        x = torch.randn(rows, 3)
        torch.testing.assert_close(program(x), first(cell(x)).detach(), rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_layers_that_are_not_compiled_export_to_onnx() -> None:
    """By the default exporter too, whose operations have no inverse of a matrix."""
    torch.manual_seed(0)
    cell = QKANLSTMCell(3, 4).eval()
    program: Any = torch.onnx.export(cell, (torch.rand(5, 3),), dynamo=True, verbose=False)
    x = torch.randn(5, 3)
    torch.testing.assert_close(program(x)[0].detach(), cell(x)[0].detach(), rtol=0, atol=1e-6)


def test_entangled_circuits_are_traced() -> None:
    torch.manual_seed(0)
    module = QLSTM(3, 4, qubits=2)
    program = traced(module, torch.rand(5, 2, 3))
    x = torch.randn(5, 3, 3)
    torch.testing.assert_close(program(x), module(x)[0].detach(), rtol=0, atol=1e-6)


def test_gradients_of_a_traced_module_reach_its_parameters() -> None:
    torch.manual_seed(0)
    module, x = QKANLSTM(3, 4), torch.rand(5, 2, 3)
    program = traced(module, torch.rand(5, 2, 3))
    parameters = list(module.parameters())
    found = torch.autograd.grad(program(x).square().sum(), parameters)
    expected = torch.autograd.grad(module(x)[0].square().sum(), parameters)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_what_no_tracer_can_follow_is_refused() -> None:
    layer = QKANLayer(3, 4, preact_trainable=True, backend="spectral")
    with pytest.raises(ValueError, match=r"depends on their values, which cannot be read here; use 'bloch' or 'auto'"):
        traced(layer, torch.rand(8, 3))
    module = QKANLSTM(3, 4)

    def packed(x: Tensor) -> Tensor:
        return module(pack_sequence([x, x[:2]]))[0].data

    with pytest.raises(RuntimeError, match=r"a PackedSequence cannot be traced, because its batch sizes would become"):
        torch.jit.trace(packed, torch.rand(4, 3), check_trace=False)
    with pytest.raises(ValueError, match=r"backend 'numba' cannot run this module: an exported program holds plain"):
        traced(QKANLSTM(3, 4, backend="numba"), torch.rand(5, 2, 3))


@pytest.mark.parametrize("name", ["lstm", "gru", "hqkan"])
def test_a_fixed_number_of_time_steps_is_said_when_it_is_recorded(name: str) -> None:
    module, x = RECURRENT[name](), torch.rand(4, 2, 3)
    steps = x.shape[1] if name == "hqkan" else x.shape[0]
    with pytest.warns(UserWarning, match=f"{FIXED}, {steps}, and refuses others; other batch sizes run"):
        torch.jit.trace(module, x, check_trace=False)


def test_exported_recurrences_take_other_batches_and_say_that_time_is_fixed() -> None:
    """As nn.LSTM, whose number of time steps torch.export fixes, too."""
    module, x = qkan.compile(QKANLSTM(3, 4, batch_first=True)), torch.rand(2, 4, 3)
    with pytest.warns(UserWarning, match=f"{FIXED}, those of the example, and refuses others"):
        program = torch.export.export(
            module, (x,), dynamic_shapes=({0: torch.export.Dim("b"), 1: torch.export.Dim.AUTO},)
        )
    other = torch.rand(5, 4, 3)
    torch.testing.assert_close(program.module()(other)[0], module(other)[0], rtol=0, atol=1e-6)
    with pytest.raises(AssertionError, match="Guard failed"):
        program.module()(torch.rand(2, 7, 3))
