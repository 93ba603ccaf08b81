"""``python -m benchmarks.lstm``: a QKAN-LSTM, its variants, nn.LSTM of its hidden size and of as many parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from types import MappingProxyType
from typing import Any, NamedTuple

import click
import torch
from torch import Tensor, nn

from benchmarks.harness.candidates import CLASSICAL, OURS, Candidate, module_candidate, trained
from benchmarks.harness.command import NamesType, Numbers, benchmark, chosen_sizes, circuit_options, measure
from benchmarks.harness.lstm_truth import TOLERANCES, Truth
from benchmarks.harness.stream import StreamSize, StreamWork
from benchmarks.harness.work import Options, Work, seeded, state_of
from qkan.rnn.backend import NAMES
from qkan.rnn.lstm import HQKANLSTM, QKANGRU, QKANLSTM

SIZES, BASE = ((64, 12, 4, 2), (64, 12, 16, 2), (256, 24, 64, 2), (64, 512, 32, 2)), (64, 12, 16, 2)
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
        return f"{self.size}: input size {self.input_size}, {self.options}"

    @property
    def numbers(self) -> int:
        """About as many have parameters (where pre-activations are trained), inputs and outputs together."""
        size = self.size
        gates = 4 * size.hidden * ((self.input_size + size.hidden) * (4 * size.reps + 2) + 1)
        return gates + size.batch * size.steps * (self.input_size + size.hidden)

    @property
    def facts(self) -> dict[str, Any]:
        return {"size": self.size._asdict(), "input_size": self.input_size}

    @property
    def request(self) -> dict[str, Any]:
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
        of_output, of_gradient = TOLERANCES[self.options.dtype]
        return {
            "outputs and states, times the root of (inputs + hidden) x repetitions": of_output,
            "gradient, times the root of repetitions": of_gradient,
        }

    def module(self, variant: Variant, backend: str) -> nn.Module:
        """A variant with fresh parameters, on one of its backends."""
        return self._module(variant, backend=backend, dtype=self.options.torch_dtype)

    def state(self, variant: Variant) -> dict[str, Tensor]:
        """The parameters of a variant: the same for all of its backends."""
        return state_of(self.module(variant, "auto"), self.options.seed)

    def truth(self, variant: Variant, x: Tensor, upstream: Tensor) -> Truth:
        """What a variant must give, of (T, batch, inputs) and (T, batch, hidden)."""
        exact = self.exact(variant)
        exact.load_state_dict(self.state(variant))
        return Truth(exact, x, upstream, self.options.dtype, (self.input_size + self.size.hidden, self.size.reps))

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

    def candidates(self) -> list[Candidate]:
        """The variants on every backend, and both nn.LSTM."""
        size, options = self.size, self.options
        x = options.numbers((size.steps, size.batch, self.input_size), options.inputs, 1)
        upstream = options.numbers((size.steps, size.batch, size.hidden), "normal", 2)
        hidden = equal_hidden(trained(self.module(VARIANTS["edge"], "auto")), self.input_size)
        return [
            *(one for cell in self.cells for one in self._ours(VARIANTS[cell], x, upstream)),
            self._classical(EQUAL_HIDDEN, size.hidden, x),
            self._classical(EQUAL_PARAMETERS, hidden, x),
        ]

    def _ours(self, variant: Variant, x: Tensor, upstream: Tensor) -> Iterator[Candidate]:
        """A variant on every backend."""
        truth = cache(lambda: self.truth(variant, x, upstream))

        def make(backend: str) -> nn.Module:
            module = self.module(variant, backend)
            module.load_state_dict(self.state(variant))
            return module

        for backend in self.options.backends:
            yield module_candidate(
                variant.name if backend == "auto" else f"{variant.name}, {backend}",
                OURS,
                partial(make, backend),
                x,
                upstream,
                errors=lambda module: truth().errors(module),
                batch_dim=1,
            )

    def _classical(self, name: str, hidden: int, x: Tensor) -> Candidate:
        options = self.options

        def make() -> nn.Module:
            with seeded(options.seed):
                return nn.LSTM(self.input_size, hidden).to(options.device, options.torch_dtype)

        upstream = options.numbers((self.size.steps, self.size.batch, hidden), "normal", 2)
        return module_candidate(name, CLASSICAL, make, x, upstream, detail=f"(H = {hidden})", batch_dim=1)


def equal_hidden(parameters: int, input_size: int) -> int:
    """Smallest hidden size of an nn.LSTM (with biases) that has at least so many parameters."""
    hidden = 1
    while 4 * hidden * (input_size + hidden + 2) < parameters:
        hidden += 1
    return hidden


@benchmark(
    "lstm",
    ("B,T,H,R", "Batch, time steps, hidden size, repetitions"),
    SIZES,
    "B, T and H",
    click.option(
        "--input-size", type=click.IntRange(1), default=1, show_default=True, metavar="I", help="Inputs of a step."
    ),
    click.option(
        "--cells", type=NamesType("cell", lambda: VARIANTS), metavar="NAME,...", default=",".join(VARIANTS),
        help="Of ours: edge (a circuit per edge), trained (and trained pre-activations), input (a circuit per input), "
        "hqkan, gru.  [default: all]",
    ),
    click.option(
        "--stream", type=click.IntRange(0), default=16, show_default=True, metavar="H",
        help="Hidden size of the cell whose single step is timed, without --growth; 0: none.",
    ),
    click.option(
        "--backends", type=NamesType("backend", lambda: NAMES), metavar="NAME,...", default="auto",
        show_default=True, help="Backends of the modules, separated by commas.",
    ),
    circuit_options,
    examples=(
        "",
        "--size 64,12,16,2 --peers --threads 2",
        "--growth --cells edge --limit 10",
        "--device cuda --size 256,128,64,2",
    ),
)  # fmt: skip
def main(
    sizes: tuple[Numbers, ...],
    input_size: int,
    cells: tuple[str, ...],
    stream: int,
    backends: tuple[str, ...],
    growth: bool,
    **chosen: Any,
) -> None:
    """Measure a training step and inference of a QKAN-LSTM.

    Each of our recurrent modules is compared with itself on the reference in double precision, outputs, final states
    and all gradients, on as many rows and steps as that can do soon; then it is timed, in turns with nn.LSTM of its
    hidden size and nn.LSTM of as many parameters. A training step is forward and backward, to inputs and parameters,
    without an optimizer; inference is the forward pass without gradients. Memory is the peak of one training step
    beyond parameters, inputs and gradients. Peers are timed in environments and processes of their own, before and
    after the others, and their better time counts. Last, single steps of single samples are timed beside nn.LSTMCell.
    If an error is too large, its row says WRONG and the command ends with exit code 1.

    Figures, tables and picture are written to the folder: lstm.json, .md and .png, or growth.json, .md and .png.
    """
    found = [Size(*size) for size in chosen_sizes(sizes, growth, SIZES, BASE)]

    def works(options: Options) -> list[Work]:
        works: list[Work] = [LSTMWork(size, options, input_size, cells) for size in found]
        if stream and not growth:
            works.append(StreamWork(StreamSize(input_size, stream, found[0].reps), options))
        return works

    measure("lstm", works, growth, backends=backends, **chosen)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.lstm")
