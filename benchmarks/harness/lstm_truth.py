"""Whether a recurrence is right: compared with itself on the reference, in double precision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.harness.candidates import Errors
from benchmarks.harness.work import gradient_error, spread

#: Largest errors by dtype, for one input and one repetition: of an output or a state, and of a gradient over its
#: largest entry. Both are multiplied by sqrt(repetitions), the first also with that of the inputs that a gate sums.
#: About ten times what is reached, two times in bfloat16.
TOLERANCES = {"float64": (5e-14, 5e-12), "float32": (1e-5, 1e-4), "bfloat16": (5e-2, 2e-1)}
#: Angles x rows x steps that are compared, spread over the rows, from the first step on.
CHECKED_ANGLES = 2**21
_CHECKED_STEPS, _FEWEST_STEPS = 256, 2
_CHECKED_ROWS = 4  # before fewer steps are compared, not fewer rows
_SMALL, _GROWTH = 1e-6, 10
_LARGEST_H = 0.9  # of given hidden states, as an LSTM's own are inside (-1, 1)

States = tuple[Tensor, ...]


@dataclass(frozen=True)
class _Case:
    """One way to run a recurrence, and what must come of it.

    Attributes:
        x: (steps, batch, inputs), what a candidate runs.
        states: to start from, each (1, batch, size); None for zeros.
        upstream: of the output and, where the truth goes on to the last of these steps, of the final states; zero
            beyond the rows and steps of the truth.
        results, gradients: of the truth, for its rows and steps.
    """

    x: Tensor
    states: States | None
    upstream: list[Tensor]
    results: list[Tensor]
    gradients: list[Tensor]


class Truth:
    """Outputs, final states and all gradients of a module in double precision on a part of the work.

    The part is some rows, spread evenly over the batch, and the first steps, but none of those where the recurrence has
    magnified a change of its parameters more than tenfold: it magnifies rounding, too. A candidate runs the whole
    work, from zero states, with the upstream gradient of that part; all other gradients must be zero. Then it runs the
    first steps of all rows from given states, and the final states count, too.

    Args:
        exact: the module, float64, with ``backend="reference"``.
        x, upstream: (T, batch, inputs) and (T, batch, hidden), in the dtype of the candidates.
        dtype: that dtype, by name.
        terms: how many inputs a gate sums, and repetitions.
    """

    def __init__(self, exact: nn.Module, x: Tensor, upstream: Tensor, dtype: str, terms: tuple[int, int]) -> None:
        angles = sum(tensor.numel() for name, tensor in exact.named_parameters() if name.endswith("theta"))
        steps, batch = x.shape[:2]
        wanted = CHECKED_ANGLES // (angles * min(batch, _CHECKED_ROWS))
        most = min(steps, _CHECKED_STEPS, max(_FEWEST_STEPS, wanted))
        of_output, of_gradient = TOLERANCES[dtype]
        self.output_limit = of_output * math.sqrt(math.prod(terms))
        self.gradient_limit = of_gradient * math.sqrt(terms[1])
        self.exact = exact
        given = self._draw_states(x)
        self.rows = spread(batch, CHECKED_ANGLES // (angles * most), x.device)
        self.steps = min(most, max(_FEWEST_STEPS, self._steady_steps(x[:most], given)))
        whole = self._case(x, upstream, None, len(given))
        self.cases = [whole, self._case(x[: self.steps], upstream[: self.steps], given, len(given))]

    def _draw_states(self, x: Tensor) -> States:
        """Initial states (1, batch, size); those of all sequences have the sizes of the final ones."""
        generator = torch.Generator().manual_seed(len(x))
        with torch.no_grad():
            _, finals = self.exact(x[:1, :1].double())
        h, *others = [torch.randn(1, x.shape[1], final.shape[-1], generator=generator) for final in _as_tuple(finals)]
        return tuple(state.to(x) for state in (_LARGEST_H * h.tanh(), *others))

    def _steady_steps(self, x: Tensor, states: States) -> int:
        """Before the effect of a small change of all parameters has grown beyond :data:`_GROWTH` times its first one.

        Circuits with several repetitions easily make a chaotic recurrence: it magnifies rounding alike.
        """
        near = deepcopy(self.exact)
        generator = torch.Generator().manual_seed(len(x))
        start = _as_argument(tuple(state[:, self.rows].double() for state in states))
        with torch.no_grad():
            for parameter in near.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter), alpha=_SMALL)
            here, there = (module(x[:, self.rows].double(), start)[0] for module in (self.exact, near))
        apart = (here - there).norm(dim=-1).amax(1)
        beyond = (apart > _GROWTH * apart[0]).nonzero()
        return int(beyond[0]) if len(beyond) else len(x)

    def _case(self, x: Tensor, upstream: Tensor, states: States | None, count: int) -> _Case:
        part = (slice(self.steps), self.rows)
        masked = [torch.zeros_like(upstream)]
        masked[0][part] = upstream[part]
        if self.steps == len(x):
            of_state = torch.zeros_like(upstream[:1])
            of_state[:, self.rows] = upstream[:1, self.rows]
            masked += [of_state, -of_state][:count]
        exact_states = None if states is None else tuple(state[:, self.rows].double() for state in states)
        exact_upstream = [masked[0][part].double(), *(state[:, self.rows].double() for state in masked[1:])]
        results, gradients = _run(self.exact, x[part].double(), exact_states, exact_upstream)
        return _Case(x, states, masked, results, gradients)

    def errors(self, module: nn.Module) -> Errors:
        """Of a module with the same parameters."""
        of_results, of_gradients = [], []
        for case in self.cases:
            results, gradients = _run(module, case.x, case.states, case.upstream)
            # A sequence and its states first, so many as there are; then parameters, of which all counts.
            sequence, state = (slice(self.steps), self.rows), (slice(None), self.rows)
            parts: list[tuple[Any, ...]] = [sequence, *[state] * (len(results) - 1)]
            for got, expected, part in zip(results, case.results, parts, strict=True):
                of_results.append((got[part].double() - expected).abs().max())
            parts = [sequence, *[state] * len(case.states or ())]
            parts += [(...,)] * (len(gradients) - len(parts))
            largest = torch.stack([expected.abs().max() for expected in case.gradients]).max()
            for got, expected, part in zip(gradients, case.gradients, parts, strict=True):
                of_gradients.append(gradient_error(got, expected, part, largest))
        # torch.max, unlike max, lets a NaN through
        worst = [float(torch.stack(errors).max()) for errors in (of_results, of_gradients)]
        return Errors(worst[0], worst[1], self.output_limit, self.gradient_limit)


def _as_tuple(states: Tensor | States) -> States:
    return states if isinstance(states, tuple) else (states,)


def _as_argument(states: States) -> Tensor | States:
    """As nn.LSTM and nn.GRU take them."""
    return states if len(states) > 1 else states[0]


def _run(
    module: nn.Module, x: Tensor, states: States | None, upstream: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """The output and, as far as they have an upstream gradient, final states; gradients of x, states, parameters."""
    x = x.detach().requires_grad_()
    given = tuple(state.detach().requires_grad_() for state in states or ())
    output, finals = module(x, _as_argument(given)) if given else module(x)
    results = [output, *_as_tuple(finals)][: len(upstream)]
    wanted = [x, *given, *(parameter for parameter in module.parameters() if parameter.requires_grad)]
    gradients = torch.autograd.grad(results, wanted, list(upstream))
    return [result.detach() for result in results], list(gradients)
