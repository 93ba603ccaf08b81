"""``qkan bench``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qkan.cli.groups import LazyGroup
from qkan.cli.options import Command, ListType
from qkan.kernels.ansatz import ANSATZE, MAX_REPS, get_ansatz

if TYPE_CHECKING:
    import torch

    from qkan.bench.contest import Contestant, Entry
    from qkan.bench.runs import Written
    from qkan.bench.work import Options, Work

LAYER_SIZES, LAYER_BASE = ("256,64,64,3", "1024,32,32,3", "4096,128,128,3", "64,8,20,3"), "64,16,16,2"
LSTM_SIZES, LSTM_BASE = ("64,12,4,2", "64,12,16,2", "256,24,64,2", "64,512,32,2"), "64,12,16,2"
PREACTS = {"fixed": ("fixed",), "trained": ("trained",), "both": ("fixed", "trained")}


class SizeType(click.ParamType):
    """Four numbers, the last of which are repetitions.

    Args:
        letters: what they stand for, ``"B,I,O,R"``.
        example: a size.
    """

    def __init__(self, letters: str, example: str) -> None:
        self.name, self.example = letters, example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Split the text; all numbers count something."""
        parts = [part.strip() for part in value.split(",")]
        numbers = tuple(int(part) for part in parts if part.isdecimal())
        if len(parts) != 4 or len(numbers) != 4 or 0 in numbers:
            self.fail(f"{value!r} is not four positive whole numbers {self.name}, such as {self.example}", param, ctx)
        if numbers[3] > MAX_REPS:
            self.fail(f"{value!r} has {numbers[3]} repetitions R; a circuit has 1 to {MAX_REPS}", param, ctx)
        return numbers


LAYER_SIZE, LSTM_SIZE = SizeType("B,I,O,R", LAYER_SIZES[0]), SizeType("B,T,H,R", LSTM_SIZES[1])


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


def _options_of_all(name: str) -> list[Callable[[Command], Command]]:
    """Options that every benchmark has; those of :class:`qkan.bench.work.Options` and where it writes."""
    return [
        click.option(
            "--inputs", type=click.Choice(("uniform", "normal")), default="uniform", show_default=True,
            help="Distribution of the inputs: uniform on [-1, 1] or standard normal.",
        ),
        click.option(
            "--ansatz", default="pz", show_default=True, metavar="NAME", help=f"Circuit: {', '.join(ANSATZE)}."
        ),
        click.option(
            "--peers", is_flag=True, help="Measure other people's packages too; installs them into build/peers once."
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


@click.group(cls=LazyGroup, lazy={"layer": "qkan.cli.bench:layer", "lstm": "qkan.cli.bench:lstm"})
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
    from qkan.bench.layer import LayerWork, Size
    from qkan.kernels.dispatch import BACKENDS, available_backends

    here = tuple(available_backends())
    names = here if backends is None else backends
    _check_names("--backends", "backend", names, tuple(dict.fromkeys((*BACKENDS, *here))))
    found = [Size(*size) for size in _sizes(sizes, growth, LAYER_SIZE, LAYER_SIZES, LAYER_BASE)]

    def works(options: Options) -> list[Work]:
        return [LayerWork(size, options, kind) for size in found for kind in PREACTS[preact]]

    _measure("layer", works, growth, backends=names, **chosen)


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
        "--engines", type=ListType(str, "engine", "auto,torch"), metavar="NAME,...",
        help="What walks over time, separated by commas, as the modules name it.  [default: auto]",
    ),
    *_options_of_all("lstm"),
)  # fmt: skip
def lstm(
    sizes: tuple[tuple[int, ...], ...],
    input_size: int,
    cells: tuple[str, ...] | None,
    stream: int,
    engines: tuple[str, ...] | None,
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
    from qkan.bench.lstm import VARIANTS, LSTMWork, Size
    from qkan.bench.stream import StreamSize, StreamWork
    from qkan.kernels.recurrence import ENGINES

    found = [Size(*size) for size in _sizes(sizes, growth, LSTM_SIZE, LSTM_SIZES, LSTM_BASE)]
    names = tuple(VARIANTS) if cells is None else cells
    _check_names("--cells", "cell", names, tuple(VARIANTS))
    ways = ("auto",) if engines is None else engines
    _check_names("--engines", "engine", ways, (*ENGINES, "loop"))

    def works(options: Options) -> list[Work]:
        works: list[Work] = [LSTMWork(size, options, input_size, names) for size in found]
        if stream and not growth:
            works.append(StreamWork(StreamSize(input_size, stream, found[0].reps), options))
        return works

    _measure("lstm", works, growth, backends=ways, **chosen)


def _sizes(
    given: tuple[tuple[int, ...], ...], growth: bool, size: SizeType, defaults: Sequence[str], base: str
) -> Sequence[tuple[int, ...]]:
    if growth and len(given) > 1:
        raise click.UsageError(f"--growth starts from one --size, but {len(given)} are given.")
    return given or [size.convert(text, None, None) for text in ([base] if growth else defaults)]


def _measure(
    name: str,
    works: Callable[[Options], list[Work]],
    growth: bool,
    peers: bool,
    out: Path,
    **chosen: Any,
) -> None:
    from qkan.bench.runs import compare, grow

    options = _options(**chosen)
    with _threads(options.threads), _others(name, peers) as others:
        if growth:
            written = grow(works(options), out, _print, click.echo, others)
        else:
            written = compare(works(options), out, _print, others)
    _finish(written)


def _finish(written: Written) -> None:
    """Say where everything is; fail if something was wrong."""
    click.echo()
    for what, path in written.files.items():
        click.echo(f"{what}: {path}")
    if written.wrong:
        raise click.ClickException(f"wrong, see the rows: {'; '.join(written.wrong)}")


def _options(
    inputs: str,
    ansatz: str,
    device: str,
    threads: int | None,
    **same: Any,
) -> Options:
    """Check what the option types did not; ValueError or UsageError, one sentence."""
    import torch

    from qkan.bench.work import Options

    if get_ansatz(ansatz).encoding_map == "acos" and inputs == "normal":
        raise click.UsageError(f"--ansatz {ansatz} takes inputs in [-1, 1] only: use --inputs uniform.")
    return Options(
        inputs=inputs,
        ansatz=ansatz,
        device=_device(device),
        threads=torch.get_num_threads() if threads is None else threads,
        **same,
    )


def _check_names(option: str, noun: str, names: tuple[str, ...], known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known:
            raise click.UsageError(f"{option}: unknown {noun} {name!r}; use one of {', '.join(known)}.")
        if names.count(name) > 1:
            raise click.UsageError(f"{option}: {name!r} is given twice.")


def _device(name: str) -> torch.device:
    import torch

    count = torch.cuda.device_count()
    if name == "auto":
        return torch.device("cuda", 0) if count else torch.device("cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdecimal()) or (kind == "cpu" and index):
        raise click.UsageError(f"--device: {name!r} is none of auto, cpu, cuda and cuda:N.")
    if kind == "cuda" and int(index or 0) >= count:
        raise click.UsageError(f"--device: {name!r} is not there: PyTorch sees {count} CUDA devices; use --device cpu.")
    return torch.device(kind, int(index or 0)) if kind == "cuda" else torch.device(kind)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _others(name: str, wanted: bool) -> Iterator[Callable[[Work], list[Contestant]] | None]:
    if not wanted:
        yield None
        return
    from qkan.bench.others import modules_of_others

    with modules_of_others(name, click.echo) as others:
        yield others


def _print(work: Work, entries: Sequence[Entry], ratios: Mapping[str, Mapping[str, float]]) -> None:
    """Print what ran as a table, and a line for each that did not."""
    from qkan.cli.tables import number, print_rows

    against = list(dict.fromkeys(label for known in ratios.values() for label in known if label != "best peer"))
    head = [work.step, "parameters", "ms", "quartiles", *(f"of {label}" for label in against)]
    head += ["inference ms"] * work.infers + ["extra MiB", "output error", "gradient error"]
    rows = []
    for entry in entries:
        if entry.median is None or entry.quartiles is None:
            continue
        low, high = (number(1e3 * seconds) for seconds in entry.quartiles)
        known = ratios[entry.name]
        rows.append(
            [
                f"{entry.name} {entry.detail}".rstrip() + " WRONG" * entry.wrong,
                f"{entry.parameters:,}",
                number(1e3 * entry.median),
                f"{low} to {high}",
                *(f"{known[label]:.3g}" for label in against),
                *[number(None if entry.inference_median is None else 1e3 * entry.inference_median)] * work.infers,
                number((entry.extra_bytes or 0) / 2**20),
                *(
                    ["-", "-"]
                    if entry.errors is None
                    else [f"{entry.errors.output:.1e}", _exponential(entry.errors.gradient)]
                ),
            ]
        )
    click.echo()
    if rows:
        print_rows(head, rows, title=work.title)
    else:
        click.echo(work.title)
    for entry in entries:
        if entry.reason is not None:
            click.echo(f"{entry.name}{' WRONG' * entry.wrong}: {entry.reason}")
        elif entry.wrong and entry.errors is not None:
            limits = f"{entry.errors.output_limit:.1e} (output)"
            if entry.errors.gradient_limit is not None:
                limits += f" and {entry.errors.gradient_limit:.1e} (gradient)"
            click.echo(f"{entry.name} WRONG: the errors may be {limits}")


def _exponential(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"
