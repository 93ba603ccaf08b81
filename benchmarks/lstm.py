"""What a QKAN-LSTM is measured against: its variants, nn.LSTM of its hidden size and of as many parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.harness import contest
from benchmarks.harness.contest import Contestant, Prepared
from benchmarks.harness.lstm_truth import TOLERANCES, Truth
from benchmarks.harness.measure import Step
from benchmarks.harness.work import Work, seeded, state_of, trained
from qkan.rnn.lstm import HQKANLSTM, QKANGRU, QKANLSTM

EQUAL_HIDDEN, EQUAL_PARAMETERS = "nn.LSTM", "nn.LSTM, equal params"


class Size(NamedTuple):
    """Of a recurrence and its batch."""

    batch: int
    steps: int
    hidden: int
    reps: int

    def __str__(self) -> str:
        return f"B = {self.batch}, T = {self.steps}, H = {self.hidden}, R = {self.reps}"


@dataclass(frozen=True)
class Variant:
    """One of our recurrent modules.

    Attributes:
        name: in the tables.
        module: its class.
        options: keyword options besides ``reps``, ``ansatz`` and the like.
    """

    name: str
    module: type[QKANLSTM | HQKANLSTM | QKANGRU]
    options: Mapping[str, Any] = field(default_factory=dict)


#: By the words that choose them.
VARIANTS = {
    "edge": Variant("QKANLSTM", QKANLSTM),
    "trained": Variant("QKANLSTM, trained preact", QKANLSTM, {"preact_trainable": True}),
    "input": Variant("QKANLSTM, per input", QKANLSTM, {"group": "input", "postact_weight_trainable": True}),
    "hqkan": Variant("HQKANLSTM", HQKANLSTM),
    "gru": Variant("QKANGRU", QKANGRU),
}


@dataclass(frozen=True)
class LSTMWork(Work):
    """A recurrence over a batch of sequences, all of one length.

    Attributes:
        input_size: of every step.
        cells: keys of :data:`VARIANTS`.
    """

    size: Size
    input_size: int = 1
    cells: tuple[str, ...] = tuple(VARIANTS)

    name = "lstm"
    axes = MappingProxyType({"B": "batch", "T": "steps", "H": "hidden"})
    baselines = (EQUAL_HIDDEN, EQUAL_PARAMETERS)
    infers = True

    @property
    def title(self) -> str:
        """What the table is about."""
        return f"{self.size}: input size {self.input_size}, {self.options}"

    @property
    def numbers(self) -> int:
        """About as many have parameters (where pre-activations are trained), inputs and outputs together."""
        size = self.size
        gates = 4 * size.hidden * ((self.input_size + size.hidden) * (4 * size.reps + 2) + 1)
        return gates + size.batch * size.steps * (self.input_size + size.hidden)

    @property
    def facts(self) -> dict[str, Any]:
        """What the figures on disk say of the work."""
        return {"size": self.size._asdict(), "input_size": self.input_size}

    @property
    def request(self) -> dict[str, Any]:
        """What other people's packages must know."""
        size = self.size
        return {
            "in_features": self.input_size,
            "out_features": size.hidden,
            "reps": size.reps,
            "preact": "fixed",
            "x_shape": [size.steps, size.batch, self.input_size],
            "y_shape": [size.steps, size.batch, size.hidden],
            "batch_dim": 1,
        }

    @property
    def tolerances(self) -> dict[str, float]:
        """Largest errors, with words that say of what."""
        of_output, of_gradient = TOLERANCES[self.options.dtype]
        return {
            "outputs and states, times the root of (inputs + hidden) x repetitions": of_output,
            "gradient, times the root of repetitions": of_gradient,
        }

    def module(self, variant: Variant, backend: str) -> nn.Module:
        """A variant with fresh parameters, on one of its backends."""
        return self._module(variant, backend=backend, dtype=self.options.torch_dtype)

    def exact(self, variant: Variant) -> nn.Module:
        """A variant in double precision, its gates evaluated step by step on the reference."""
        return self._module(variant, backend="reference", dtype=torch.float64)

    def _module(self, variant: Variant, **more: Any) -> nn.Module:
        options = self.options
        return variant.module(
            self.input_size,
            self.size.hidden,
            reps=self.size.reps,
            ansatz=options.ansatz,
            generator=options.generator(),
            device=options.device,
            **variant.options,
            **more,
        )

    def contestants(self) -> list[Contestant]:
        """The variants on every backend, and both nn.LSTM."""
        size, options = self.size, self.options
        x = options.numbers((size.steps, size.batch, self.input_size), options.inputs, 1)
        upstream = options.numbers((size.steps, size.batch, size.hidden), "normal", 2)
        ours: list[Contestant] = []
        for cell in self.cells:
            truth = _truth(self, VARIANTS[cell], x, upstream)
            ours += [_ours(self, VARIANTS[cell], backend, x, upstream, truth) for backend in options.backends]
        hidden = equal_hidden(trained(self.module(VARIANTS["edge"], "auto")), self.input_size)
        return [
            *ours,
            _classical(self, EQUAL_HIDDEN, size.hidden, x, upstream),
            _classical(self, EQUAL_PARAMETERS, hidden, x, upstream),
        ]


def equal_hidden(parameters: int, input_size: int) -> int:
    """Smallest hidden size of an nn.LSTM (with biases) that has at least so many parameters."""
    hidden = 1
    while 4 * hidden * (input_size + hidden + 2) < parameters:
        hidden += 1
    return hidden


def _step_of(module: nn.Module, x: Tensor, upstream: Tensor) -> Callable[[int], Step]:
    return lambda rows: Step(module, x[:, :rows].detach().requires_grad_(), upstream[:, :rows])


def _truth(work: LSTMWork, variant: Variant, x: Tensor, upstream: Tensor) -> Callable[[], Truth]:
    """The truth about a variant, made when the first of its backends is checked."""
    made: list[Truth] = []

    def truth() -> Truth:
        if not made:
            exact = work.exact(variant)
            exact.load_state_dict(_state(work, variant))
            terms = work.input_size + work.size.hidden, work.size.reps
            made.append(Truth(exact, x, upstream, work.options.dtype, terms))
        return made[0]

    return truth


def _state(work: LSTMWork, variant: Variant) -> dict[str, Tensor]:
    return state_of(work.module(variant, "auto"), work.options.seed)


def _ours(
    work: LSTMWork, variant: Variant, backend: str, x: Tensor, upstream: Tensor, truth: Callable[[], Truth]
) -> Contestant:
    def prepare() -> Prepared:
        module = work.module(variant, backend)
        module.load_state_dict(_state(work, variant))
        return Prepared(trained(module), _step_of(module, x, upstream), lambda: truth().errors(module))

    name = variant.name if backend == "auto" else f"{variant.name}, {backend}"
    return Contestant(name, contest.OURS, prepare)


def _classical(work: LSTMWork, name: str, hidden: int, x: Tensor, upstream: Tensor) -> Contestant:
    def prepare() -> Prepared:
        with seeded(work.options.seed):
            module = nn.LSTM(work.input_size, hidden).to(work.options.device, work.options.torch_dtype)
        given = upstream
        if hidden != work.size.hidden:
            given = work.options.numbers((work.size.steps, work.size.batch, hidden), "normal", 2)
        return Prepared(trained(module), _step_of(module, x, given), detail=f"(H = {hidden})")

    return Contestant(name, contest.CLASSICAL, prepare)
