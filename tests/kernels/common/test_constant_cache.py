"""Constants beside CUDA graphs, which know their addresses, and streams, which have not read them yet."""

import pytest
import torch

from qkan.kernels.common import constant_cache


@pytest.fixture
def capturing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    monkeypatch.setattr(constant_cache, "_CAPTURED", {})


class OnCuda:
    """As much of a tensor of a CUDA device as the cache asks for."""

    device = torch.device("cuda:0")

    def __init__(self) -> None:
        self.read_on: list[object] = []

    def record_stream(self, stream: object) -> None:
        self.read_on.append(stream)


@pytest.mark.usefixtures("capturing")
def test_what_a_graph_is_captured_with_is_kept_for_ever() -> None:
    tensor = OnCuda()
    constant_cache.keep_while_used(tensor, tensor)  # type: ignore[arg-type]
    constant_cache.keep_while_used(torch.zeros(3))
    assert list(constant_cache._CAPTURED.values()) == [tensor]
    assert not tensor.read_on


def test_memory_that_a_cache_forgets_waits_for_the_streams_that_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"the side stream of {device}")
    tensor = OnCuda()
    constant_cache.keep_while_used(tensor)  # type: ignore[arg-type]
    assert tensor.read_on == ["the side stream of cuda:0"]


@pytest.mark.usefixtures("capturing")
def test_a_graph_captured_before_a_first_run_is_refused() -> None:
    with pytest.raises(ValueError, match="run the module once with tensors of these shapes before the capture"):
        constant_cache.before_copying(torch.device("cuda:0"))
    constant_cache.before_copying(torch.device("cpu"))


def test_what_a_transform_makes_of_constants_does_not_outlive_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands for a level of derivatives that is gone: the next one that met it failed inside of PyTorch."""
    monkeypatch.setattr(constant_cache, "_KNOWN", {})

    def rule(size: int) -> tuple[torch.Tensor, ...]:
        return (torch.tensor([2.0] * size),)

    def f(x: torch.Tensor) -> torch.Tensor:
        return (x * constant_cache.constants(rule, 3, torch.zeros(1))[0]).square().sum()

    for _ in range(2):
        assert torch.func.hessian(f)(torch.ones(3)).diagonal().tolist() == [8.0] * 3
    assert float(f(torch.ones(3))) == 12.0
    assert len(constant_cache._KNOWN) == 1
