"""What every executor does, and the loop that hands out jobs and takes results."""

from __future__ import annotations

import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

from qkan.forecasting.io.files import RunError

RETRIES = 2
"""How often a job is done again whose worker was lost."""
LOST: Final = object()
"""In the place of a result: the worker that had the job is gone."""


class ExecutorError(RunError):
    """Whoever does the work is gone; what was finished before can be kept."""


class Executor(Protocol):
    """Does jobs, several at a time.

    Attributes:
        room: How many jobs it takes at a time.
    """

    room: int

    def submit(self, number: int, job: Any) -> None:
        """Take a job; at most ``room`` are there at a time.

        Raises:
            ExecutorError: whoever does the work is gone.
        """

    def wait(self) -> list[tuple[int, Any]]:
        """Wait until a job is done; return the numbers and results of all that are, or :data:`LOST`.

        Raises:
            ExecutorError: whoever does the work is gone. What a job raises is raised here.
        """

    def cancel(self) -> None:
        """End everything at once; jobs under way are given up."""

    def close(self) -> None:
        """End, with no job under way."""


def results(executor: Executor, jobs: Sequence[Any], name: Callable[[Any], str] = str) -> Iterator[tuple[int, Any]]:
    """Yield the place of every job and its result, as they come.

    A job whose worker is lost (killed, out of memory, its machine gone) is done again, :data:`RETRIES` times at most.

    Args:
        executor: Does them.
        jobs: What it does.
        name: What a job is called in messages.

    Raises:
        ExecutorError: a job lost its worker once more, or all are gone.
    """
    waiting, running, lost = deque(range(len(jobs))), 0, Counter[int]()
    finished: list[tuple[int, Any]] = []
    while True:
        while waiting and running < executor.room:
            number = waiting.popleft()
            executor.submit(number, jobs[number])
            running += 1
        yield from finished  # the workers have their next jobs already
        if not running:
            return
        found = executor.wait()
        running -= len(found)
        finished = [(number, result) for number, result in found if result is not LOST]
        for number in sorted((number for number, result in found if result is LOST), reverse=True):
            lost[number] += 1
            if lost[number] > RETRIES:
                raise ExecutorError(
                    f"{name(jobs[number])} lost its worker process {lost[number]} times, as happens where memory runs "
                    "out; use fewer workers"
                )
            warnings.warn(f"{name(jobs[number])} lost its worker process and is done again", stacklevel=2)
            waiting.appendleft(number)
