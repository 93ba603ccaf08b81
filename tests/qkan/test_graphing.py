"""``qkan.graphed``: what it takes, and what its graphs see; where there is no GPU a stand-in runs the step again."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import qkan
from qkan import QKANLSTM, QKANLayer, graphing
from qkan.kernels.common import constant_cache
from qkan.kernels.common.host_sync import as_in_a_graph, cannot_sync

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU a replay runs the step and writes over what it gave before, as a graph does."""
    if DEVICE == "cuda":
        return

    def captured(run: Callable[[], Any], device: torch.device) -> tuple[Any, Callable[[], None]]:
        for _ in range(graphing.WARM_UPS):
            run()
        outputs = run()

        def replay() -> None:
            for kept, new in zip(tree_leaves(outputs), tree_leaves(run()), strict=True):
                kept.data.copy_(new.detach())

        return outputs, replay

    monkeypatch.setattr(graphing, "captured", captured)
    monkeypatch.setattr(graphing, "_check_device", lambda device: None)


def test_inference_sees_new_inputs_and_parameters_that_were_updated_in_place() -> None:
    layer = QKANLayer(3, 2, 1).to(DEVICE)
    run = qkan.graphed(layer, torch.rand(5, 3, device=DEVICE))
    x = torch.rand(5, 3, device=DEVICE)
    first = run(x)
    torch.testing.assert_close(first, layer(x), rtol=0, atol=1e-5)
    with torch.no_grad():
        layer.theta.add_(0.5)
    second = run(x)
    torch.testing.assert_close(second, layer(x), rtol=0, atol=1e-5)
    assert not torch.equal(first, second)
    assert not second.requires_grad


def test_results_keep_their_structure() -> None:
    cell = QKANLSTM(3, 2, reps=1).to(DEVICE)
    x = torch.rand(4, 5, 3, device=DEVICE)
    y, (h, c) = qkan.graphed(cell, x)(x)
    expected = cell(x)
    torch.testing.assert_close([y, h, c], [expected[0], *expected[1]], rtol=0, atol=1e-5)


def test_a_training_step_is_the_eager_one() -> None:
    torch.manual_seed(0)
    layers = [QKANLayer(3, 1, 1, device=DEVICE) for _ in range(2)]
    layers[1].load_state_dict(layers[0].state_dict())

    def step_of(layer: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)

        def step(x: Tensor, y: Tensor) -> Tensor:
            optimizer.zero_grad(set_to_none=False)
            loss = (layer(x) - y).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        return step

    x, y = torch.rand(8, 3, device=DEVICE), torch.rand(8, 1, device=DEVICE)
    run, eager = qkan.graphed(step_of(layers[0]), (x, y), modules=(layers[0],)), step_of(layers[1])
    ran = graphing.WARM_UPS + (DEVICE == "cpu")  # a capture computes nothing, its stand-in does
    for _ in range(ran):
        eager(x, y)
    for _ in range(3):
        torch.testing.assert_close(run(x, y), eager(x, y), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda layer: setattr(layer, "theta", nn.Parameter(layer.theta.detach().clone())), "theta"),
        (lambda layer: layer.theta.requires_grad_(False), "theta"),
        (lambda layer: layer.train(False), "the mode of the module"),
    ],
)
def test_a_module_that_was_changed_behind_its_capture_is_refused(change: Callable[[Any], Any], name: str) -> None:
    layer = QKANLayer(3, 2, 1).to(DEVICE)
    run, x = qkan.graphed(layer, torch.rand(5, 3, device=DEVICE)), torch.rand(5, 3, device=DEVICE)
    change(layer)
    with pytest.raises(ValueError, match=f"{name} has changed since the capture .*; call qkan.graphed again"):
        run(x)


def trained_by_adam(**options: Any) -> tuple[Any, torch.optim.Optimizer]:
    """A captured training step and its optimizer."""
    layer = QKANLayer(3, 1, 1).to(DEVICE)
    optimizer = torch.optim.Adam(layer.parameters(), capturable=DEVICE == "cuda", **options)

    def step(x: Tensor) -> Tensor:
        optimizer.zero_grad(set_to_none=False)
        loss = layer(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    return qkan.graphed(step, torch.rand(5, 3, device=DEVICE), modules=(layer,)), optimizer


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda optimizer: optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict())), "(step|exp_avg) of Adam"),
        (lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5).step(), "lr of Adam"),
        (lambda optimizer: optimizer.state.clear(), "step of Adam"),
    ],
)
def test_an_optimizer_that_was_changed_behind_the_capture_of_its_step_is_refused(
    change: Callable[[Any], Any], name: str
) -> None:
    run, optimizer = trained_by_adam(lr=0.1)
    x = torch.rand(5, 3, device=DEVICE)
    run(x)
    change(optimizer)
    with pytest.raises(ValueError, match=f"{name} .*has changed since the capture .*; call qkan.graphed again"):
        run(x)


def test_a_learning_rate_that_is_a_tensor_may_change() -> None:
    x, rate = torch.rand(5, 3, device=DEVICE), torch.tensor(0.0, device=DEVICE)
    run, _ = trained_by_adam(lr=rate, foreach=False)
    first = run(x)
    rate.fill_(0.1)
    assert torch.equal(run(x), first)
    assert not torch.equal(run(x), first)


def test_a_part_that_was_replaced_by_another_without_parameters_is_refused() -> None:
    module = nn.Sequential(QKANLayer(3, 2, 1), nn.ReLU()).to(DEVICE)
    run = qkan.graphed(module, torch.rand(5, 3, device=DEVICE))
    module[1] = nn.Tanh()
    with pytest.raises(ValueError, match=r"^1 has changed since the capture \(moved to other memory, added, replaced"):
        run(torch.rand(5, 3, device=DEVICE))


def test_what_a_step_alone_holds_and_gradients_outlive_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph writes to the state of an optimizer and to gradients, whoever has forgotten them."""
    monkeypatch.setattr(graphing, "captured", lambda run, device: (run(), lambda: None))
    layer = QKANLayer(3, 1, 1, device=DEVICE)

    def step(x: Tensor) -> Tensor:
        loss = layer(x).sum()
        loss.backward()
        return loss

    held = weakref.ref(step)
    run = qkan.graphed(step, torch.rand(4, 3, device=DEVICE), modules=(layer,))
    gradient = weakref.ref(layer.theta.grad)
    del step
    layer.zero_grad(set_to_none=True)
    assert held() is not None
    assert gradient() is not None
    del run


def test_inputs_leave_no_trace_and_may_need_gradients() -> None:
    layer = QKANLayer(2, 1, 1, device=DEVICE)

    def slope(x: Tensor) -> Tensor:
        return torch.autograd.grad(layer(x).sum(), x, create_graph=True)[0]

    x = torch.rand(4, 2, device=DEVICE, requires_grad=True)
    run = qkan.graphed(slope, x, modules=(layer,))
    other = torch.rand(4, 2, device=DEVICE, requires_grad=True)
    torch.testing.assert_close(run(other), slope(other), rtol=0, atol=1e-5)
    assert run._inputs[0].grad_fn is None
    inference = qkan.graphed(layer, x)
    inference(other)
    assert not inference._inputs[0].requires_grad


def test_what_is_captured_in_inference_mode_runs_outside_of_it() -> None:
    layer, x = QKANLayer(3, 2, 1, device=DEVICE), torch.rand(5, 3, device=DEVICE)
    with torch.inference_mode():
        run = qkan.graphed(layer, x)
    torch.testing.assert_close(run(x + 1), layer(x + 1), rtol=0, atol=1e-5)


def test_autocast_around_a_capture_keeps_no_rounded_parameters() -> None:
    seen = []

    class Watching(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(torch.is_autocast_cache_enabled())
            return super().forward(x)

    with torch.autocast(DEVICE, torch.bfloat16):
        qkan.graphed(Watching(3, 2, device=DEVICE), torch.rand(5, 3, device=DEVICE))
        assert torch.is_autocast_cache_enabled()
    assert not any(seen)


class _Pair(NamedTuple):
    first: Tensor
    second: dict[str, Tensor]


def test_results_in_dicts_and_named_tuples_are_copied() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> _Pair:
            return _Pair(x + 1, {"twice": 2 * x, "positive": x > 0})

    run, x = qkan.graphed(Two(), torch.zeros(3, device=DEVICE)), torch.ones(3, device=DEVICE)
    first = run(x)
    run(3 * x)
    assert isinstance(first, _Pair)
    assert first.second["twice"].tolist() == [2.0] * 3

    class Other(nn.Module):
        def forward(self, x: Tensor) -> object:
            return object()

    with pytest.raises(TypeError, match="gives back tensors in tuples, lists and dicts, and this returns a object"):
        qkan.graphed(Other(), x)


def test_what_cannot_be_captured_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    class Capturing(nullcontext[None]):
        def __exit__(self, *_: Any) -> None:
            raise RuntimeError("CUDA error: capture ended")

    class Stream:
        def wait_stream(self, other: Any) -> None:
            pass

    for name, stand_in in (("device", nullcontext), ("stream", nullcontext), ("Stream", Stream), ("graph", Capturing),
                           ("current_stream", Stream), ("CUDAGraph", object)):  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, stand_in)
    calls = []

    def step() -> None:
        calls.append(cannot_sync(torch.zeros(1)))  # True in the runs in front of it: they go the ways of a capture
        if len(calls) > graphing.WARM_UPS:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

    with pytest.raises(ValueError, match=r"a CUDA graph: operation not permitted when .* capturing; nothing"):
        graphing.captured(step, torch.device("cuda"))
    assert calls == [True] * graphing.WARM_UPS + [False]


def test_runs_in_front_of_a_capture_leave_it_no_constants_to_copy() -> None:
    """Where nothing is read back, trained pre-activations take a bound for the largest, and other nodes."""
    cell, x = QKANLSTM(3, 2, reps=1, preact_trainable=True, device=DEVICE), torch.rand(4, 5, 3, device=DEVICE)
    with torch.no_grad():
        cell(x)
        with as_in_a_graph():
            cell(x)
            known = set(constant_cache._KNOWN)
            cell(x)
    assert set(constant_cache._KNOWN) == known


def test_other_inputs_than_the_example_are_refused() -> None:
    run = qkan.graphed(QKANLayer(3, 2, 1).to(DEVICE), torch.rand(5, 3, device=DEVICE))
    with pytest.raises(ValueError, match=r"input 0 is \(6, 3\) of torch.float32 on .*captured with \(5, 3\)"):
        run(torch.rand(6, 3, device=DEVICE))
    with pytest.raises(ValueError, match=r"input 0 is \(5, 3\) of torch.float64"):
        run(torch.rand(5, 3, device=DEVICE, dtype=torch.float64))
    with pytest.raises(ValueError, match="captured with 1 tensors, got 2"):
        run(torch.rand(5, 3, device=DEVICE), torch.rand(5, 3, device=DEVICE))


def test_modules_that_compute_something_else_every_time_are_refused() -> None:
    module = nn.Sequential(QKANLayer(3, 20, 1), nn.Dropout(0.5)).to(DEVICE)
    with pytest.raises(ValueError, match="the graph of this module differs from the module by"):
        qkan.graphed(module, torch.rand(50, 3, device=DEVICE))


def test_what_is_no_module_and_no_tensor_is_refused() -> None:
    with pytest.raises(TypeError, match="graphed needs a module or a function of tensors, got int"):
        qkan.graphed(3, torch.rand(2))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="example must be a tensor or a tuple of tensors, and holds a list"):
        qkan.graphed(QKANLayer(3, 2, 1), ([1.0],))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least one tensor, got an empty tuple"):
        qkan.graphed(QKANLayer(3, 2, 1), ())
    layer = QKANLayer(3, 2, 1)
    with pytest.raises(TypeError, match=r"modules must be a tuple of modules, as \(model,\), got QKANLayer"):
        qkan.graphed(layer.forward, torch.rand(2, 3), modules=layer)  # type: ignore[arg-type]


def test_without_a_gpu_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(ValueError, match="which need tensors on a CUDA device, not on 'cpu'; move the module and the"):
        qkan.graphed(QKANLayer(3, 2, 1), torch.rand(2, 3))
