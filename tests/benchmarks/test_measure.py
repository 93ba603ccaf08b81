"""Measuring one step: known memory, limits, turns."""

import ast
import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks.harness import measure
from benchmarks.harness.measure import Cost, Limits, Step, TooLargeError, cost_of, cost_within, peak_of, time_in_turns

CPU = torch.device("cpu")
ROOM = 2**40


class Scratch(torch.autograd.Function):
    """The identity, which needs scratch memory forward and backward and keeps some in between."""

    @staticmethod
    def forward(ctx, x: Tensor, forward: int, kept: int, backward: int) -> Tensor:
        ctx.save_for_backward(torch.empty(kept, dtype=torch.uint8))
        ctx.bytes = backward
        torch.empty(forward, dtype=torch.uint8)
        return x.clone()

    @staticmethod
    def backward(ctx, grad: Tensor):
        torch.empty(ctx.bytes, dtype=torch.uint8)
        return grad.clone(), None, None, None


class Needs(nn.Module):
    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.sizes = sizes

    def forward(self, x: Tensor) -> Tensor:
        return Scratch.apply(x, *self.sizes)


def step(module: nn.Module, rows: int = 50, columns: int = 20, outputs: int = 20) -> Step:
    return Step(module, torch.rand(rows, columns, requires_grad=True), torch.rand(rows, outputs))


OUTPUT = 50 * 20 * 4


@pytest.mark.parametrize(
    ("forward", "kept", "backward", "peak"),
    [
        (70_000, 1_000, 100, 71_000),  # the scratch of the forward pass, before there is an output
        (100, 1_000, 70_000, 71_000 + OUTPUT),  # that of the backward pass, with the output
        (100, 50_000, 200, 50_200 + OUTPUT),
        (4_100, 1_000, 0, 5_100),
    ],
)
def test_peak_of_a_known_module_is_exact(forward: int, kept: int, backward: int, peak: int) -> None:
    assert cost_of(step(Needs(forward, kept, backward)), CPU).extra_bytes == peak


def test_linear_needs_its_output_only() -> None:
    assert cost_of(step(nn.Linear(20, 30), outputs=30), CPU).extra_bytes == 50 * 30 * 4


def test_memory_is_the_same_when_measured_again() -> None:
    mlp = nn.Sequential(nn.Linear(20, 64), nn.SiLU(), nn.Linear(64, 20))
    assert len({cost_of(step(mlp), CPU).extra_bytes for _ in range(3)}) == 1


@pytest.mark.parametrize(
    ("allocations", "results", "peak"),
    [
        ([], set(), 0),
        ([(1, 10), (2, 5), (1, -10), (3, 8), (2, -5), (3, -8)], set(), 15),
        ([(1, 10), (2, 5), (1, -10), (3, 8)], {3}, 15),
        ([(1, 10), (1, -10), (1, 4), (2, 3)], {1}, 10),  # an address is used again: the last one is the result
        ([(9, -100), (1, 10)], set(), 10),  # memory from before does not count when it is released
    ],
)
def test_replay_of_allocations(allocations: list[tuple[int, int]], results: set[int], peak: int) -> None:
    assert peak_of(allocations, results) == peak


def test_cuda_counts_the_forward_peak_and_the_backward_peak_without_gradients(monkeypatch) -> None:
    peaks = {"forward": 1_000_700, "backward": 1_000_000 + 9_000}
    state = {"part": "forward"}
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1_000_000)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: peaks[state["part"]])

    class Watched(Step):
        def backward(self, output: Tensor) -> tuple[Tensor, ...]:
            state["part"] = "backward"
            return super().backward(output)

    watched = Watched(nn.Identity(), torch.rand(50, 20, requires_grad=True), torch.rand(50, 20))
    assert cost_of(watched, torch.device("cuda")).extra_bytes == 9_000 - OUTPUT


def test_gradients_are_those_of_the_weighted_sum_and_do_not_accumulate() -> None:
    linear = nn.Linear(3, 2)
    x, upstream = torch.rand(4, 3, requires_grad=True), torch.rand(4, 2)
    one = Step(linear, x, upstream)
    for _ in range(2):
        of_x, of_weight, of_bias = one()
        torch.testing.assert_close(of_x, upstream @ linear.weight)
        torch.testing.assert_close(of_weight, upstream.T @ x)
        torch.testing.assert_close(of_bias, upstream.sum(0))
    assert x.grad is None
    assert linear.weight.grad is None


def test_the_first_of_several_outputs_counts() -> None:
    lstm = nn.LSTM(3, 2)
    x, upstream = torch.rand(4, 5, 3, requires_grad=True), torch.rand(4, 5, 2)
    (expected,) = torch.autograd.grad((lstm(x)[0] * upstream).sum(), x)
    torch.testing.assert_close(Step(lstm, x, upstream)()[0], expected)


def test_inference_is_the_output_without_a_graph() -> None:
    half = nn.Sequential(nn.Linear(20, 20), nn.Dropout(0.5))
    found = measure.inference(step(half))
    output = found()
    assert not output.requires_grad
    torch.testing.assert_close(output, found())  # nothing is dropped


def climbed(
    monkeypatch: pytest.MonkeyPatch, of_bytes: tuple[int, int], of_seconds: tuple[float, float], limits: Limits
) -> list[int]:
    """Approach 1000 rows whose cost is (once, for each row); return the rows of every step that was measured."""
    ran: list[int] = []

    def cost(rows: int, device: torch.device) -> Cost:
        ran.append(rows)
        return Cost(of_bytes[0] + of_bytes[1] * rows, seconds(rows, device))

    def seconds(rows: int, device: torch.device) -> float:
        return of_seconds[0] + of_seconds[1] * rows

    monkeypatch.setattr(measure, "cost_of", cost)
    monkeypatch.setattr(measure, "seconds_of", seconds)
    assert cost_within(lambda rows: rows, 1000, CPU, limits) == cost(ran[-1], CPU)  # type: ignore[arg-type,return-value]
    return ran[:-1]


def test_cost_is_approached_from_a_few_rows(monkeypatch) -> None:
    assert climbed(monkeypatch, (0, 10), (0, 1e-6), Limits(5, 70, ROOM)) == [1, 2, 8, 32, 128, 512, 1000]


def test_what_does_not_grow_with_the_rows_is_not_multiplied(monkeypatch) -> None:
    assert climbed(monkeypatch, (400, 0), (4, 1e-3), Limits(5, 70, 1000))[-1] == 1000


def test_step_that_would_not_fit_is_not_begun(monkeypatch) -> None:
    reason = r"^not enough memory: 128 of 1,000 rows need 3\.0 GiB, and a step may take 3\.0 GiB$"
    with pytest.raises(TooLargeError, match=reason):
        climbed(monkeypatch, (2**30, 2**24), (0, 1e-6), Limits(5, 70, 3 * 2**30))
    assert climbed(monkeypatch, (2**30, 2**20), (0, 1e-6), Limits(5, 70, 3 * 2**30))[-1] == 1000


def test_step_that_would_be_slow_is_not_begun(monkeypatch) -> None:
    with pytest.raises(TooLargeError, match=r"^too slow: 32 of 1,000 rows took 4\.2 s, and a step may take 10 s$"):
        climbed(monkeypatch, (0, 1), (1, 0.1), Limits(5, 70, ROOM))


def test_a_slow_first_run_is_run_again(monkeypatch) -> None:
    monkeypatch.setattr(measure, "cost_of", lambda step, device: Cost(8, 20.0))
    monkeypatch.setattr(measure, "seconds_of", lambda step, device: 0.001)
    assert cost_within(lambda rows: rows, 10, CPU, Limits(5, 60, ROOM)).extra_bytes == 8  # type: ignore[arg-type,return-value]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let a step be its name; return the names in the order in which they were timed. ``slow...`` takes 4 s."""
    timed: list[str] = []

    def seconds(step: object, device: torch.device) -> float:
        timed.append(str(step))
        return 4.0 if str(step).startswith("slow") else 0.5

    monkeypatch.setattr(measure, "seconds_of", seconds)
    return timed


def test_every_round_begins_with_another_one(clock: list[str]) -> None:
    times = time_in_turns({name: name for name in "abc"}, CPU, Limits(4, 60, ROOM))  # type: ignore[misc]
    assert "".join(clock) == "aabbcc" + "abc" + "bca" + "cab" + "abc"
    assert times == {name: [0.5] * 4 for name in "abc"}


def test_a_slow_one_stops_early_but_not_before_three_rounds(clock: list[str]) -> None:
    times = time_in_turns({"a": "a", "slow": "slow"}, CPU, Limits(15, 60, ROOM))  # type: ignore[dict-item]
    assert {name: len(found) for name, found in times.items()} == {"a": 15, "slow": 3}


def test_garbage_collection_rests_while_the_clock_runs(monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(measure, "seconds_of", lambda step, device: seen.append(gc.isenabled()) or 1.0)
    time_in_turns({"a": "a"}, CPU, Limits(2, 60, ROOM))  # type: ignore[dict-item]
    assert seen[measure.WARM_UPS :] == [False, False]
    assert gc.isenabled()


def test_a_fast_step_runs_untimed_before_every_timed_run() -> None:
    calls = []

    class Counted(Step):
        def __call__(self) -> tuple[Tensor, ...]:
            calls.append(1)
            return super().__call__()

    linear = nn.Linear(3, 2)
    counted = Counted(linear, torch.rand(4, 3, requires_grad=True), torch.rand(4, 2))
    times = time_in_turns({"linear": counted}, CPU, Limits(5, 60, ROOM))
    assert len(calls) == measure.WARM_UPS + 2 * 5
    assert all(seconds > 0 for seconds in times["linear"])


def test_nothing_to_time_takes_no_time() -> None:
    assert time_in_turns({}, CPU, Limits(5, 60, ROOM)) == {}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TooLargeError("too slow: 4 rows"), "too slow: 4 rows"),
        (MemoryError(), "not enough memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "not enough memory"),
        (ImportError("\n  Triton is required\nInstall it"), "ImportError: Triton is required"),
        (KeyError(), "KeyError"),
    ],
)
def test_reasons(error: Exception, reason: str) -> None:
    assert measure.reason_of(error) == reason


def test_numbers_are_drawn_from_the_seed() -> None:
    uniform = measure.draw((200, 5), "uniform", 0.8, 3)
    assert uniform.abs().max() <= 0.8
    assert uniform.std() == pytest.approx(0.8 / 3**0.5, rel=0.05)
    assert torch.equal(uniform, measure.draw((200, 5), "uniform", 0.8, 3))
    normal = measure.draw((200, 5), "normal", 0.8, 3)
    assert normal.std() == pytest.approx(1, rel=0.1)


def test_free_memory_is_a_share_of_the_smaller_limit(monkeypatch) -> None:
    monkeypatch.setattr(measure, "_free_here", lambda: 1000.0)
    monkeypatch.setattr(measure, "_free_in_control_group", lambda: 500.0)
    assert measure.free_bytes(CPU) == 350
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2000, 4000))
    assert measure.free_bytes(torch.device("cuda")) == 1400


@pytest.mark.parametrize(("limit", "free"), [("max", float("inf")), ("1000", 600.0), ("what", float("inf"))])
def test_control_group(limit: str, free: float, tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text("400\n")
    assert measure._free_in_control_group(tmp_path) == free
    assert measure._free_in_control_group(tmp_path / "none") == float("inf")


def test_free_memory_of_this_machine() -> None:
    total = measure.os.sysconf("SC_PHYS_PAGES") * measure.os.sysconf("SC_PAGE_SIZE")
    assert 0 < measure._free_here() < total


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]


def test_peers_can_load_it_without_this_package() -> None:
    assert set(imported(Path(measure.__file__))) <= {"torch", *sys.stdlib_module_names}
