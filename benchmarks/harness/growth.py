"""How time and memory grow: one of the sizes of a work doubles at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from benchmarks.harness.candidates import OURS, Candidate, Entry
from benchmarks.harness.measure import Limits
from benchmarks.harness.work import Work
from qkan.kernels.circuits.ansatz import MAX_REPS

_GROWTH = 2.2  # of memory and time from one point to the next, at most: twice, and some more
_COPIES = 12  # of the parameters and of the inputs, counting those of all candidates, their gradients and the truth


@dataclass(frozen=True)
class Point:
    """One size of a sweep, measured."""

    axis: str
    work: Work
    entries: list[Entry]

    @property
    def value(self) -> int:
        """The size that grows."""
        return getattr(self.work.size, self.work.axes[self.axis])


def sweep(
    axis: str,
    base: Work,
    say: Callable[[str], None],
    peers: Callable[[Work], list[Candidate]] | None = None,
) -> Iterator[Point]:
    """Measure the base, then twice of it and so on, until none of ours is left that memory and time allow.

    Args:
        axis: a key of ``base.axes``.
        base: the first work.
        say: told why the sweep ends, and why a candidate leaves it.
        peers: lists further candidates of a work.
    """
    gone: dict[str, str] = {}
    work = base
    while True:
        limits = work.limits()
        reason = _why_stop(axis, work, limits.room)
        if reason is not None:
            say(f"{axis} ends before {getattr(work.size, work.axes[axis]):,}: {reason}")
            return
        running = [
            replace(one, prepare=None, ask=None, reason=gone[one.name]) if one.name in gone else one
            for one in (*work.candidates(), *([] if peers is None else peers(work)))
        ]
        point = Point(axis, work, work.run(running, limits))
        yield point
        for entry in point.entries:
            why = entry.reason if entry.reason is not None else _why_leave(entry, limits)
            if why is not None and entry.name not in gone:
                gone[entry.name] = why
                say(f"{entry.name} ends at {axis} = {point.value:,}: {why}")
        if all(entry.name in gone for entry in point.entries if entry.family == OURS):
            return
        work = replace(work, size=work.size._replace(**{work.axes[axis]: 2 * point.value}))


def _why_stop(axis: str, work: Work, room: int) -> str | None:
    """None if the data of this work can be made, else the reason."""
    if axis == "R" and work.size.reps > MAX_REPS:
        return f"a circuit has at most {MAX_REPS} repetitions"
    needed = 4 * _COPIES * work.numbers
    if needed > room:
        return f"parameters and inputs alone would take about {needed / 2**30:.1f} GiB of {room / 2**30:.1f} GiB"
    return None


def _why_leave(entry: Entry, limits: Limits) -> str | None:
    """None if a candidate may go on to the next point, else the reason."""
    if entry.extra_bytes is not None and _GROWTH * entry.extra_bytes > limits.room:
        return f"the next step would need about {_GROWTH * entry.extra_bytes / 2**30:.1f} GiB"
    if entry.median is not None and _GROWTH * entry.median > limits.longest_step:
        return f"the next step would take about {_GROWTH * entry.median:.1f} s"
    return None
