"""Which windows a process trains on, and in what order: a share of every batch that all processes compute together.

The order of the windows depends on (seed, epoch, shards) alone, never on the number of processes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from qkan.forecasting.data.batches import EVALUATION_BATCH, Batch, WindowTensors


def epoch_seed(seed: int, epoch: int, stream: int = 0) -> int:
    """Return the seed of one epoch: unrelated for neighbouring seeds and epochs, the same on every machine.

    Args:
        seed: Of the run.
        epoch: From 0.
        stream: Tells the shards, or the processes, of one epoch apart.
    """
    entropy = [seed, epoch, stream] if stream else [seed, epoch]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


def resolve_batch_size(batch_size: int | None, windows: int) -> int:
    """Return the batch size to use: the given one, or a power of two.

    It gives 32 steps an epoch, but is never below 8, above 128 only where it gives more than 512 steps an epoch, and
    above 1024 only where it gives more than 4096, so with more than 8 million windows, whose steps would otherwise be
    mostly waiting; never above 8192, and never more than there are windows.
    """
    if batch_size is not None:
        return min(batch_size, windows)

    def power(steps: int) -> int:
        return int(2 ** int(math.log2(max(1, windows / steps))))

    return min(max(8, min(128, power(32)), min(1024, power(512)), min(8192, power(4096))), windows)


def training_loader(
    windows: WindowTensors, batch_size: int, device: torch.device, *, seed: int, shards: int, rank: int, processes: int
) -> DataLoader[Batch]:
    """Return this process's shares of the training batches; every process has as many of them.

    Args:
        windows: All of them, of all processes.
        batch_size: Windows of a batch of all processes together; with several shards, up to ``shards`` more.
        device: Where the windows are put: all, or with several shards those of this process.
        seed: Of the run.
        shards: Groups of series; 1 or a multiple of the processes.
        rank: Number of this process, from 0.
        processes: How many there are.

    Raises:
        ValueError: there are fewer series than shards, or a shard without a window.
    """
    steps = -(-len(windows) // batch_size)
    if shards == 1:
        return _loader(windows, ShuffledBatches(len(windows), batch_size, seed, rank, processes), device)
    edges = _edges(windows, shards)
    own = edges[rank * (shards // processes) : (rank + 1) * (shards // processes) + 1]
    mine = windows.of_series(int(own[0]), int(own[-1]))
    return _loader(mine, ShardedBatches(_sizes(windows, edges), steps, seed, rank, processes), device)


def validation_loader(
    windows: WindowTensors, device: torch.device, *, shards: int, rank: int, processes: int
) -> DataLoader[Batch]:
    """Return this process's shares of the validation windows; see :func:`training_loader`."""
    if shards == 1:
        batches = torch.arange(len(windows)).split(EVALUATION_BATCH * processes)
        return _loader(windows, [batch.tensor_split(processes)[rank] for batch in batches], device)
    edges = _edges(windows, shards)[:: shards // processes]
    steps = -(-int(_sizes(windows, edges).max()) // EVALUATION_BATCH)
    mine = windows.of_series(int(edges[rank]), int(edges[rank + 1]))
    return _loader(mine, torch.arange(len(mine)).tensor_split(steps), device)


class ShuffledBatches(Sampler[Tensor]):
    """A process's shares of index batches of a permutation that depends on (seed, epoch) alone.

    Lightning calls ``set_epoch``.
    """

    def __init__(self, windows: int, batch_size: int, seed: int, rank: int = 0, processes: int = 1) -> None:
        self.windows, self.batch_size, self.seed, self.epoch = windows, batch_size, seed, 0
        self.rank, self.processes = rank, processes

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation of an epoch, from 0."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(epoch_seed(self.seed, self.epoch))
        for batch in torch.randperm(self.windows, generator=generator).split(self.batch_size):
            yield batch.tensor_split(self.processes)[self.rank]

    def total(self, step: int) -> int:
        """Windows of a batch, from 0, of all processes together."""
        return min(self.batch_size, self.windows - step * self.batch_size)

    def __len__(self) -> int:
        return -(-self.windows // self.batch_size)


class ShardedBatches(Sampler[Tensor]):
    """Index batches of the shards that a process holds: every batch takes an equal part of each of them.

    Every shard has a permutation of its own, which depends on (seed, epoch, shard) alone.

    Args:
        sizes: Windows of every shard of all processes, int64 (shards,).
        steps: Batches an epoch, the same in all processes.
        seed: Of the run.
        rank: Number of this process; it holds neighbouring shards.
        processes: How many there are.
    """

    def __init__(self, sizes: Tensor, steps: int, seed: int, rank: int = 0, processes: int = 1) -> None:
        own, self.sizes = len(sizes) // processes, sizes
        self.shards = {shard: int(sizes[shard]) for shard in range(rank * own, (rank + 1) * own)}
        self.steps, self.seed, self.epoch = steps, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation of an epoch, from 0."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Tensor]:
        parts, begin = [], 0
        for shard, windows in self.shards.items():
            generator = torch.Generator().manual_seed(epoch_seed(self.seed, self.epoch, 1 + shard))
            order = torch.randperm(windows, generator=generator).add_(begin)
            parts.append(order.tensor_split(self.steps))
            begin += windows
        yield from (torch.cat(part) for part in zip(*parts, strict=True))

    def total(self, step: int) -> int:
        """Windows of a batch, from 0, of all processes together."""
        return int((self.sizes // self.steps + (step < self.sizes % self.steps)).sum())

    def __len__(self) -> int:
        return self.steps


class _WindowSet(Dataset[Batch]):
    """Windows on the training device; a batch is gathered in a few indexing operations, not collated of samples."""

    def __init__(self, windows: WindowTensors, device: torch.device) -> None:
        self.windows = windows.to(device)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: Tensor) -> Batch:
        if len(index):
            return self.windows.batch(index)
        # All processes must go through forward and backward together, also one that has no share of a small batch.
        return self.windows.batch(torch.zeros(1, dtype=torch.int64))._replace(counts=False)


def _loader(windows: WindowTensors, batches: Iterable[Tensor], device: torch.device) -> DataLoader[Batch]:
    # Every iterator of a loader draws a seed. From the global state, that would shift the random numbers of a resumed
    # run, which makes its iterators at other moments than an uninterrupted one.
    return DataLoader(_WindowSet(windows, device), sampler=batches, batch_size=None, generator=torch.Generator())


def shard_edges(series: int, shards: int) -> Tensor:
    """First of so many series in every shard and, last, their number: int64 (shards + 1,)."""
    return -(-torch.arange(shards + 1) * series // shards)


def _edges(windows: WindowTensors, shards: int) -> Tensor:
    """First series of every shard and, last, their number: neighbouring series go together, about as many each."""
    if windows.series is None:
        raise ValueError(f"shards={shards} are groups of series, and these windows do not say which they belong to")
    series = windows.series_count()
    if series < shards:
        raise ValueError(f"shards must be at most the number of series, {series}, got {shards}")
    edges = shard_edges(series, shards)
    if not (_sizes(windows, edges) > 0).all():
        raise ValueError(f"one of shards={shards} groups of series has no window of one part; use fewer shards")
    return edges


def _sizes(windows: WindowTensors, edges: Tensor) -> Tensor:
    """How many windows there are between edges, which count series."""
    before = torch.cat([torch.zeros(1, dtype=torch.int64), windows.counts(int(edges[-1])).cumsum(0)])
    return before[edges].diff()
