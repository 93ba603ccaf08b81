import re

import pytest
import torch
from several_processes import CASES, panel

from qkan.forecasting.data.batches import Batch, WindowTensors
from qkan.forecasting.data.loaders import training_loader, validation_loader

CPU = torch.device("cpu")
MASKED = panel(CASES["masked"], 23, seed=0)


def epoch(rank: int, processes: int, shards: int, *, number: int = 0, windows: WindowTensors = MASKED) -> list[Batch]:
    loader = training_loader(windows, 8, CPU, seed=3, shards=shards, rank=rank, processes=processes)
    loader.sampler.set_epoch(number)
    return list(loader)


def rows(batches: list[Batch]) -> torch.Tensor:
    """Inputs and targets of every window that counts, in an order of their own."""
    parts = [torch.cat([b.arguments[0].flatten(1), b.targets], dim=1) for b in batches if b.counts]
    return torch.unique(torch.cat(parts), dim=0)


def test_kept_windows_are_the_same_windows_with_fewer_rows() -> None:
    chosen = MASKED.series == 1
    kept = MASKED.keep(chosen)
    assert len(kept.values) <= 23 + 4  # those of one series of 23 windows of 4 steps and a target
    assert kept.series.unique().tolist() == [1]
    mine, before = kept.batch(torch.arange(len(kept))), MASKED.batch(torch.nonzero(chosen)[:, 0])
    torch.testing.assert_close(mine, before, rtol=0, atol=0)


@pytest.mark.parametrize("shards", [1, 2])
def test_processes_share_every_batch_of_a_single_one(shards: int) -> None:
    alone = epoch(0, 1, shards, number=2)
    shared = [epoch(rank, 2, shards, number=2) for rank in (0, 1)]
    assert len(alone) == len(shared[0]) == len(shared[1]) == -(-len(MASKED) // 8)
    for whole, *parts in zip(alone, *shared, strict=True):
        torch.testing.assert_close(rows([whole]), rows(parts), rtol=0, atol=0)
        assert whole.observed() == sum(part.observed() for part in parts)
    assert len(rows(alone)) == len(MASKED)


def test_shards_take_equal_parts_of_every_batch_and_change_with_the_epoch() -> None:
    windows = panel(CASES["sharded"], 23, seed=0)  # 3 series of 23 windows; shards of 2 and 1 series
    sizes = [[len(batch.targets) for batch in epoch(rank, 2, 2, windows=windows)] for rank in (0, 1)]
    assert sizes == [[6] + [5] * 8, [3] * 5 + [2] * 4]
    first, second = epoch(0, 2, 2, windows=windows), epoch(0, 2, 2, number=1, windows=windows)
    assert not torch.equal(first[0].targets, second[0].targets)
    torch.testing.assert_close(rows(first), rows(second), rtol=0, atol=0)


def test_a_process_without_a_share_holds_a_stand_in_that_does_not_count() -> None:
    few = MASKED.keep(torch.arange(len(MASKED)) < 9)
    last = epoch(1, 2, 1, windows=few)[1]
    assert not last.counts
    assert len(last.targets) == 1
    assert last.observed() == 0


@pytest.mark.parametrize("shards", [1, 3])
def test_validation_sees_every_window_once(shards: int) -> None:
    batches = [
        batch for rank in range(3) for batch in validation_loader(MASKED, CPU, shards=shards, rank=rank, processes=3)
    ]
    assert sum(len(batch.targets) for batch in batches if batch.counts) == len(MASKED)
    assert len(rows(batches)) == len(MASKED)


@pytest.mark.parametrize(
    ("windows", "sentence"),
    [
        (MASKED, "shards must be at most the number of series, 3, got 4"),
        (
            MASKED.keep(MASKED.series != 1),
            "one of shards=3 groups of series has no window of one part; use fewer shards",
        ),
    ],
)
def test_shards_that_series_cannot_fill(windows: WindowTensors, sentence: str) -> None:
    shards = 4 if "4" in sentence else 3
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        training_loader(windows, 8, CPU, seed=0, shards=shards, rank=0, processes=1)
