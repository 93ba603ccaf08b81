"""``qkan.graphed``: what it takes, and what its graphs see; where there is no GPU a stand-in runs the step again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import qkan
from qkan import QKANLSTM, QKANLayer, graphing

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
            for kept, new in zip(graphing._tensors(outputs), graphing._tensors(run()), strict=True):
                kept.data.copy_(new.detach())

        return outputs, replay

    monkeypatch.setattr(graphing, "_captured", captured)
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


def test_without_a_gpu_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(ValueError, match="which need tensors on a CUDA device, not on 'cpu'; move the module and the"):
        qkan.graphed(QKANLayer(3, 2, 1), torch.rand(2, 3))
