"""How time and memory grow: one of batch, inputs, outputs and repetitions doubles at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from qkan.bench import contest
from qkan.bench.contest import Contestant, Entry
from qkan.bench.layer import Options, Size, Work, contestants
from qkan.bench.measure import Limits, free_bytes
from qkan.kernels.ansatz import MAX_REPS

#: The sizes that grow, by the letter that stands for them.
AXES = {"B": "batch", "I": "in_features", "O": "out_features", "R": "reps"}
_GROWTH = 2.2  # of memory and time from one point to the next, at most: twice, and some more
_COPIES = 12  # of the parameters and of the inputs, counting those of all contestants, their gradients and the truth


@dataclass(frozen=True)
class Point:
    """One size of a sweep, measured."""

    axis: str
    work: Work
    entries: list[Entry]

    @property
    def value(self) -> int:
        """The size that grows."""
        return getattr(self.work.size, AXES[self.axis])


def sweep(
    axis: str,
    base: Size,
    preact: str,
    options: Options,
    say: Callable[[str], None],
    others: Callable[[Work], list[Contestant]] | None = None,
) -> Iterator[Point]:
    """Measure the base, then twice of it and so on, until no backend is left that memory and time allow.

    Args:
        axis: a key of :data:`AXES`.
        base: the first size.
        preact: ``"fixed"`` or ``"trained"``.
        options: as for one layer; the limit holds for every point.
        say: told why the sweep ends, and why a contestant leaves it.
        others: lists further contestants of a work.
    """
    gone: dict[str, str] = {}
    size = base
    while True:
        limits = Limits(options.rounds, options.limit, free_bytes(options.device))
        reason = _why_stop(axis, size, preact, limits.room)
        if reason is not None:
            say(f"{axis} ends before {getattr(size, AXES[axis]):,}: {reason}")
            return
        work = Work(size, preact, options)
        candidates = [*contestants(work), *([] if others is None else others(work))]
        running = [
            replace(one, prepare=None, ask=None, reason=gone[one.name]) if one.name in gone else one
            for one in candidates
        ]
        point = Point(axis, work, contest.run(running, size.batch, options.device, limits))
        yield point
        for entry in point.entries:
            why = entry.reason if entry.reason is not None else _why_leave(entry, limits)
            if why is not None and entry.name not in gone:
                gone[entry.name] = why
                say(f"{entry.name} ends at {axis} = {point.value:,}: {why}")
        if all(entry.name in gone for entry in point.entries if entry.family == contest.OURS):
            return
        size = size._replace(**{AXES[axis]: 2 * point.value})


def _why_stop(axis: str, size: Size, preact: str, room: int) -> str | None:
    """None if the data of this size can be made, else the reason."""
    if axis == "R" and size.reps > MAX_REPS:
        return f"a circuit has at most {MAX_REPS} repetitions"
    edges = size.in_features * size.out_features
    parameters = edges * (2 * (size.reps + 1) + 1 + (2 * size.reps if preact == "trained" else 0))
    needed = 4 * _COPIES * (parameters + size.batch * (size.in_features + size.out_features))
    if needed > room:
        return f"parameters and inputs alone would take about {needed / 2**30:.1f} GiB of {room / 2**30:.1f} GiB"
    return None


def _why_leave(entry: Entry, limits: Limits) -> str | None:
    """None if a contestant may go on to the next point, else the reason."""
    if entry.extra_bytes is not None and _GROWTH * entry.extra_bytes > limits.room:
        return f"the next step would need about {_GROWTH * entry.extra_bytes / 2**30:.1f} GiB"
    if entry.median is not None and _GROWTH * entry.median > limits.longest_step:
        return f"the next step would take about {_GROWTH * entry.median:.1f} s"
    return None
