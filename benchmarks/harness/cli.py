"""``qkan bench``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.harness.cli_run import SizeType, check_names, measure, sizes_of
from qkan.cli.lazy_groups import LazyGroup
from qkan.cli.options import Command, ListType
from qkan.kernels.circuits.ansatz import ANSATZE, MAX_REPS
from qkan.kernels.rational.types import DENOMINATORS

if TYPE_CHECKING:
    from benchmarks.harness.work import Options, Work

LAYER_SIZES, LAYER_BASE = ("256,64,64,3", "1024,32,32,3", "4096,128,128,3", "64,8,20,3"), "64,16,16,2"
LSTM_SIZES, LSTM_BASE = ("64,12,4,2", "64,12,16,2", "256,24,64,2", "64,512,32,2"), "64,12,16,2"
RATIONAL_SIZES, RATIONAL_BASE = ("64,197,768",), "1,197,192"
BLOCK_SIZES, BLOCK_BASE = ("8,128,256",), "1,16,64"
PREACTS = {"fixed": ("fixed",), "trained": ("trained",), "both": ("fixed", "trained")}


LAYER_SIZE, LSTM_SIZE = SizeType("B,I,O,R", LAYER_SIZES[0]), SizeType("B,T,H,R", LSTM_SIZES[1])
RATIONAL_SIZE = SizeType("B,T,C", RATIONAL_SIZES[0])
BLOCK_SIZE = SizeType("B,T,C", BLOCK_SIZES[0])


def _size_options(
    size: SizeType, words: str, defaults: Sequence[str], grows: str
) -> list[Callable[[Command], Command]]:
    return [
        click.option(
            "--size", "sizes", multiple=True, type=size, metavar=size.name,
            help=f"{words}; may be repeated.  [default: {'; '.join(defaults)}]",
        ),
        click.option("--growth", is_flag=True, help=f"Double {grows}, one at a time, as far as memory and time allow."),
    ]  # fmt: skip


def _options_of_circuits() -> list[Callable[[Command], Command]]:
    """Options of benchmarks of circuits."""
    return [
        click.option(
            "--ansatz", default="pz", show_default=True, metavar="NAME", help=f"Circuit: {', '.join(ANSATZE)}."
        ),
        click.option(
            "--peers", is_flag=True, help="Measure other people's packages too; installs them into build/peers once."
        ),
    ]  # fmt: skip


def _options_of_all(name: str, inputs: str = "uniform") -> list[Callable[[Command], Command]]:
    """Options that every benchmark has; those of :class:`benchmarks.harness.work.Options` and where it writes."""
    return [
        click.option(
            "--inputs", type=click.Choice(("uniform", "normal")), default=inputs, show_default=True,
            help="Distribution of the inputs: uniform on [-1, 1] or standard normal.",
        ),
        click.option(
            "--device", default="cpu", show_default=True, metavar="DEVICE",
            help="cpu, cuda, cuda:N, or auto: cuda if there is one.",
        ),
        click.option(
            "--dtype", type=click.Choice(("float32", "float64", "bfloat16")), default="float32", show_default=True,
            help="Of parameters and inputs.",
        ),
        click.option(
            "--threads", type=click.IntRange(1), metavar="N", help="Threads on the CPU.  [default: PyTorch's choice]"
        ),
        click.option(
            "--rounds", type=click.IntRange(1), default=15, show_default=True, metavar="N", help="Timed steps of each."
        ),
        click.option(
            "--limit", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True, metavar="SECONDS",
            help="About as long may one contestant take at one size.",
        ),
        click.option(
            "--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Of all random numbers."
        ),
        click.option(
            "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("build/bench") / name,
            show_default=True, help="Folder for the figures (JSON), the tables (Markdown) and the picture.",
        ),
    ]  # fmt: skip


def _with(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Add options to a command, the first one first."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.group(
    cls=LazyGroup, lazy={name: f"benchmarks.harness.cli:{name}" for name in ("block", "layer", "lstm", "rational")}
)
def bench() -> None:
    """Measure this machine: errors first, then time and memory."""


@click.command(
    epilog="""\b
Examples:
  qkan bench layer
  qkan bench layer --size 256,64,64,3 --peers
  qkan bench layer --growth --backends spectral,bloch --limit 10"""
)
@_with(
    *_size_options(LAYER_SIZE, "Batch, inputs, outputs, repetitions", LAYER_SIZES, "B, I, O and R"),
    click.option(
        "--preact", type=click.Choice(tuple(PREACTS)), default="both", show_default=True, help="Pre-activations."
    ),
    click.option(
        "--backends",
        type=ListType(str, "backend", "spectral,bloch"),
        metavar="NAME,...",
        help="Ways to evaluate circuits, separated by commas.  [default: all]",
    ),
    *_options_of_circuits(),
    *_options_of_all("layer"),
)
def layer(
    sizes: tuple[tuple[int, ...], ...], preact: str, growth: bool, backends: tuple[str, ...] | None, **chosen: Any
) -> None:
    """Measure forward and backward of a QKAN layer.

    Every way to evaluate its circuits is compared with the reference in double precision, outputs and all gradients;
    then it is timed, in turns with Linear and with the MLP that has as many parameters. Memory is the peak of one
    step beyond parameters, inputs and gradients. Peers are timed in environments and processes of their own, before and
    after the others, and their better time counts. If an error is too large, its row says WRONG and the command ends
    with exit code 1.

    Figures, tables and picture are written to the folder: layer.json, .md and .png, or growth.json, .md and .png.
    """
    from benchmarks.layer import LayerWork, Size
    from qkan.kernels.layer import BACKENDS, available_backends

    here = tuple(available_backends())
    names = here if backends is None else backends
    check_names("--backends", "backend", names, tuple(dict.fromkeys((*BACKENDS, *here))))
    found = [Size(*size) for size in sizes_of(sizes, growth, LAYER_SIZE, LAYER_SIZES, LAYER_BASE)]

    def works(options: Options) -> list[Work]:
        return [LayerWork(size, options, kind) for size in found for kind in PREACTS[preact]]

    measure("layer", works, growth, backends=names, **chosen)


@click.command(
    epilog="""\b
Examples:
  qkan bench lstm
  qkan bench lstm --size 64,12,16,2 --peers --threads 2
  qkan bench lstm --growth --cells edge --limit 10
  qkan bench lstm --device cuda --size 256,128,64,2"""
)
@_with(
    *_size_options(LSTM_SIZE, "Batch, time steps, hidden size, repetitions", LSTM_SIZES, "B, T and H"),
    click.option(
        "--input-size", type=click.IntRange(1), default=1, show_default=True, metavar="I", help="Inputs of a step."
    ),
    click.option(
        "--cells", type=ListType(str, "cell", "edge,gru"), metavar="NAME,...",
        help="Of ours: edge (a circuit per edge), trained (and trained pre-activations), input (a circuit per input), "
        "hqkan, gru.  [default: all]",
    ),
    click.option(
        "--stream", type=click.IntRange(0), default=16, show_default=True, metavar="H",
        help="Hidden size of the cell whose single step is timed, without --growth; 0: none.",
    ),
    click.option(
        "--backends", type=ListType(str, "backend", "auto,torch"), metavar="NAME,...",
        help="Backends of the modules, separated by commas.  [default: auto]",
    ),
    *_options_of_circuits(),
    *_options_of_all("lstm"),
)  # fmt: skip
def lstm(
    sizes: tuple[tuple[int, ...], ...],
    input_size: int,
    cells: tuple[str, ...] | None,
    stream: int,
    backends: tuple[str, ...] | None,
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
    from benchmarks.harness.stream import StreamSize, StreamWork
    from benchmarks.lstm import VARIANTS, LSTMWork, Size
    from qkan.rnn.backend import NAMES

    found = [Size(*size) for size in sizes_of(sizes, growth, LSTM_SIZE, LSTM_SIZES, LSTM_BASE)]
    names = tuple(VARIANTS) if cells is None else cells
    check_names("--cells", "cell", names, tuple(VARIANTS))
    ways = ("auto",) if backends is None else backends
    check_names("--backends", "backend", ways, NAMES)

    def works(options: Options) -> list[Work]:
        works: list[Work] = [LSTMWork(size, options, input_size, names) for size in found]
        if stream and not growth:
            works.append(StreamWork(StreamSize(input_size, stream, found[0].reps), options))
        return works

    measure("lstm", works, growth, backends=ways, **chosen)


@click.command(
    epilog="""\b
Examples:
  qkan bench rational
  qkan bench rational --threads 2 --order 8,8 --denominator abs_sum
  qkan bench rational --device cuda --dtype bfloat16 --engines auto,torch"""
)
@_with(
    *_size_options(RATIONAL_SIZE, "Batch, tokens, channels", RATIONAL_SIZES, "B, T and C"),
    click.option("--groups", type=click.IntRange(1), default=8, show_default=True, metavar="N", help="Of channels."),
    click.option(
        "--order", type=ListType(int, "degree", "5,4"), default="5,4", show_default=True, metavar="M,N",
        help="Degrees of numerator and denominator, at most 8,8.",
    ),
    click.option(
        "--denominator", type=click.Choice(DENOMINATORS), default=DENOMINATORS[0], show_default=True,
        help="1 + sum |b_j| |x|^j or 1 + |sum b_j x^j|.",
    ),
    click.option(
        "--engines", type=ListType(str, "engine", "auto,torch"), metavar="NAME,...",
        help="Of ours, separated by commas.  [default: auto]",
    ),
    *_options_of_all("rational", "normal"),
)  # fmt: skip
def rational(
    sizes: tuple[tuple[int, ...], ...],
    groups: int,
    order: tuple[int, ...],
    denominator: str,
    engines: tuple[str, ...] | None,
    growth: bool,
    **chosen: Any,
) -> None:
    """Measure group-rational activations (GR-KAN), forward and backward.

    Ours is compared with double precision, outputs and all gradients, and so are the gradients of the coefficients that
    come of adding one element after the other in float32. Then it is timed, in turns with autograd of the formula, the
    form that stacks all powers, nn.GELU, and a copy, whose bandwidth is what memory allows: of x read and written in
    the forward pass, x and the upstream gradient read and the gradient of x written in the backward pass. Memory is the
    peak of one step beyond parameters, inputs and gradients. If an error is too large, its row says WRONG and the
    command ends with exit code 1.

    Figures, tables and picture are written to the folder: rational.json, .md and .png, or growth.json, .md and .png.
    """
    from benchmarks.harness.work import TokenSize
    from benchmarks.rational import RationalWork
    from qkan.kernels.rational.api import BACKENDS
    from qkan.kernels.rational.types import Spec

    ways = ("auto",) if engines is None else engines
    check_names("--engines", "engine", ways, BACKENDS.names)
    spec = Spec(groups, order, denominator)  # type: ignore[arg-type]
    found = [TokenSize(*size) for size in sizes_of(sizes, growth, RATIONAL_SIZE, RATIONAL_SIZES, RATIONAL_BASE)]

    def works(options: Options) -> list[Work]:
        return [RationalWork(size, options, spec) for size in found]

    measure("rational", works, growth, False, backends=ways, ansatz="", **chosen)


@click.command(
    epilog="""\b
Examples:
  qkan bench block --threads 2
  qkan bench block --size 4,64,384 --heads 6 --latents equal --reps 1"""
)
@_with(
    *_size_options(BLOCK_SIZE, "Batch, tokens, width of the model", BLOCK_SIZES, "B, T and C"),
    click.option("--heads", type=click.IntRange(1), default=4, show_default=True, metavar="N", help="Of attention."),
    click.option(
        "--reps", type=click.IntRange(1, MAX_REPS), default=3, show_default=True, metavar="R",
        help="Repetitions of the circuits.",
    ),
    click.option(
        "--latents", type=ListType(str, "latent", "log2,equal"), metavar="NAME,...",
        help="Latents of the HQKANs: log2 (of the width, as in the paper), quarter and equal (parameters of the MLP).  "
        "[default: all]",
    ),
    *_options_of_all("block", "normal"),
)  # fmt: skip
def block(
    sizes: tuple[tuple[int, ...], ...],
    heads: int,
    reps: int,
    latents: tuple[str, ...] | None,
    growth: bool,
    **chosen: Any,
) -> None:
    """Measure a GPT block with an MLP against the same block with HQKANs in its place.

    The block is causal attention and an MLP four times as wide with GELU, each behind a norm and beside a residual.
    Every contestant is compared with itself in double precision, circuits on the reference, on the first tokens of the
    first sequence, outputs and all gradients; then it is timed, in turns with all others. A training step is forward
    and backward, to inputs and parameters, without an optimizer. Memory is the peak of one step beyond parameters,
    inputs and gradients. If an error is too large, its row says WRONG and the command ends with exit code 1.

    Figures, tables and picture are written to the folder: block.json, .md and .png, or growth.json, .md and .png.
    """
    from benchmarks.block import LATENTS, BlockWork
    from benchmarks.harness.work import TokenSize

    names = tuple(LATENTS) if latents is None else latents
    check_names("--latents", "latent", names, tuple(LATENTS))
    found = [TokenSize(*size) for size in sizes_of(sizes, growth, BLOCK_SIZE, BLOCK_SIZES, BLOCK_BASE)]

    def works(options: Options) -> list[Work]:
        return [BlockWork(size, options, heads, reps, names) for size in found]

    measure("block", works, growth, False, backends=("auto",), ansatz="pz", **chosen)
