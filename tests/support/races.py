"""What an interpreted kernel reads and writes, held against what threads of a device may do at the same time.

Threads of a program run apart between two barriers: what one wrote there, another must neither read nor write, and what
one read, another must not write. A number belongs to one thread if it is touched at the same place of tiles of the same
shape: compilers spread these over threads alike. Programs run apart all the time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pytest


class Access(NamedTuple):
    """Who touched a number last: program, number of barriers before, shape of the tile and place in it."""

    program: tuple[int, ...]
    epoch: int
    shape: tuple[int, ...]
    place: int


class Races:
    """Conflicts by kind; ``barriers`` says whether barriers count."""

    def __init__(self, barriers: bool) -> None:
        self.found: Counter[str] = Counter()
        self.barriers, self.programs = barriers, 0
        self._start((0, 0, 0))

    def _start(self, program: tuple[int, ...]) -> None:
        self.program, self.epoch = program, 0

    def launch(self) -> None:
        """A kernel starts: what was before is over."""
        self.written: dict[int, Access] = {}
        self.read: dict[int, list[Access]] = {}

    def begin(self, *program: int) -> None:
        """A program starts."""
        self.programs += 1
        self._start(program)

    def barrier(self) -> None:
        """All threads of the program have come here."""
        self.epoch += self.barriers

    def touch(self, pointers: Any, mask: Any, *, write: bool) -> None:
        """A tile is read or written."""
        addresses, live = np.broadcast_arrays(np.atleast_1d(pointers.data), np.atleast_1d(mask.data))
        flat, shape = addresses.ravel(), addresses.shape
        if write:
            chosen = flat[live.ravel().astype(bool)]
            if len(chosen) != len(np.unique(chosen)):
                self.found["two threads of a tile write one number"] += 1
        for place in np.flatnonzero(live.ravel().astype(bool)).tolist():
            self._one(int(flat[place]), Access(self.program, self.epoch, shape, place), write)

    def _one(self, address: int, now: Access, write: bool) -> None:
        before = self.written.get(address)
        if before is not None and self._together(before, now):
            self.found["written twice" if write else "read while it is written"] += 1
        if not write:
            self.read.setdefault(address, []).append(now)
            return
        for reader in self.read.pop(address, ()):
            if self._together(reader, now):
                self.found["written while it is read"] += 1
        self.written[address] = now

    @staticmethod
    def _together(one: Access, other: Access) -> bool:
        """Whether two accesses are those of threads that do not wait for each other."""
        if one.program != other.program:
            return True
        return one.epoch == other.epoch and (one.shape, one.place) != (other.shape, other.place)


@contextmanager
def races(*, barriers: bool = True) -> Iterator[Races]:
    """Check all interpreted kernels that are started inside."""
    from triton.runtime.interpreter import InterpreterBuilder as Builder

    checker = Races(barriers)
    checker.launch()
    load, store, grid, program = (
        getattr(Builder, name) for name in ("create_masked_load", "create_masked_store", "set_grid_dim", "set_grid_idx")
    )

    def checked_load(builder: Any, pointers: Any, mask: Any, *others: Any) -> Any:
        checker.touch(pointers, mask, write=False)
        return load(builder, pointers, mask, *others)

    def checked_store(builder: Any, pointers: Any, value: Any, mask: Any, *others: Any) -> Any:
        checker.touch(pointers, mask, write=True)
        return store(builder, pointers, value, mask, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Builder, "create_masked_load", checked_load)
        patch.setattr(Builder, "create_masked_store", checked_store)
        patch.setattr(Builder, "create_barrier", lambda builder: checker.barrier())
        patch.setattr(Builder, "set_grid_dim", lambda builder, *sizes: (checker.launch(), grid(builder, *sizes))[1])
        patch.setattr(Builder, "set_grid_idx", lambda builder, *at: (checker.begin(*at), program(builder, *at))[1])
        yield checker
