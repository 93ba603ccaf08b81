"""A recurrent cell that follows a stream: how long one step of one sample takes, without gradients."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.harness.candidates import CLASSICAL, OURS, Candidate, Errors, Prepared, trained
from benchmarks.harness.lstm_truth import TOLERANCES
from benchmarks.harness.measure import Step
from benchmarks.harness.work import Work, seeded
from qkan.compiling import compile as frozen
from qkan.rnn.lstm_cell import QKANLSTMCell

NN_CELL, FROZEN = "nn.LSTMCell", "QKANLSTMCell, qkan.compile"
#: Steps that are timed at once, and steps that are compared with the reference.
STEPS, CHECKED_STEPS = 100, 20


class Walk(Step):
    """So many steps of a cell, one after the other, from zero states on one sample; nothing to go back.

    Args:
        cell: with the call contract of nn.LSTMCell.
        x: (steps, 1, inputs).
    """

    def __init__(self, cell: nn.Module, x: Tensor) -> None:
        self.module, self.wanted, self.upstream = cell, [x], x

    def states(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(h, c) behind every step."""
        state = None
        for x in self.wanted[0]:
            state = self.module(x) if state is None else self.module(x, state)
            yield state

    @torch.no_grad()
    def forward(self) -> Tensor:
        """The last hidden state."""
        return deque(self.states(), maxlen=1)[0][0]

    def backward(self, output: Tensor) -> tuple[Tensor, ...]:
        """Nothing."""
        return ()


class StreamSize(NamedTuple):
    """Of a cell."""

    inputs: int
    hidden: int
    reps: int

    def __str__(self) -> str:
        return f"input size {self.inputs}, H = {self.hidden}, R = {self.reps}"


@dataclass(frozen=True)
class StreamWork(Work):
    """One sample, one step at a time."""

    size: StreamSize

    name = "stream"
    baselines = (NN_CELL,)
    step = "one step of one sample"

    @property
    def label(self) -> str:
        return f"H = {self.size.hidden}, R = {self.size.reps}"

    @property
    def rows(self) -> int:
        return 1

    @property
    def numbers(self) -> int:
        size = self.size
        return 4 * size.hidden * ((size.inputs + size.hidden) * 2 * (size.reps + 1) + 1)

    @property
    def facts(self) -> dict[str, Any]:
        return {"size": self.size._asdict()}

    @property
    def tolerances(self) -> dict[str, float]:
        return {"states, times the root of (inputs + hidden) x repetitions": TOLERANCES[self.options.dtype][0]}

    def cell(self, backend: str, dtype: torch.dtype | None = None) -> QKANLSTMCell:
        """The cell, with fresh parameters."""
        options = self.options
        return QKANLSTMCell(
            self.size.inputs,
            self.size.hidden,
            reps=self.size.reps,
            ansatz=options.ansatz,
            backend=backend,
            generator=options.generator(),
            device=options.device,
            dtype=options.torch_dtype if dtype is None else dtype,
        ).eval()

    def candidates(self) -> list[Candidate]:
        """The cell, the frozen cell, and nn.LSTMCell."""
        options = self.options
        x = options.numbers((STEPS, 1, self.size.inputs), options.inputs, 1)

        def classical() -> nn.Module:
            with seeded(options.seed):
                return nn.LSTMCell(self.size.inputs, self.size.hidden).to(options.device, options.torch_dtype).eval()

        def ours(name: str, make: Callable[[], nn.Module]) -> Candidate:
            def prepare() -> Prepared:
                cell = make()
                parameters = trained(self.cell("auto"))  # a frozen cell trains nothing any more
                return Prepared(parameters, lambda rows: Walk(cell, x), lambda: self._errors(cell, x), repeats=STEPS)

            return Candidate(name, OURS, prepare)

        def theirs() -> Prepared:
            cell = classical()
            return Prepared(trained(cell), lambda rows: Walk(cell, x), repeats=STEPS)

        return [
            ours("QKANLSTMCell", lambda: self.cell("auto")),
            ours(FROZEN, lambda: frozen(self.cell("auto"))),
            Candidate(NN_CELL, CLASSICAL, theirs),
        ]

    def _errors(self, cell: nn.Module, x: Tensor) -> Errors:
        """Of the states of the first steps, from the reference in double precision."""
        exact = self.cell("reference", torch.float64)
        exact.load_state_dict(self.cell("auto").state_dict())
        x = x[:CHECKED_STEPS]
        with torch.no_grad():
            pairs = list(zip(Walk(cell, x).states(), Walk(exact, x.double()).states(), strict=True))
        apart = [(a.double() - b).abs().max() for got, expected in pairs for a, b in zip(got, expected, strict=True)]
        limit = TOLERANCES[self.options.dtype][0] * math.sqrt((self.size.inputs + self.size.hidden) * self.size.reps)
        return Errors(float(torch.stack(apart).max()), None, limit, None)
