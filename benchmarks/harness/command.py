"""The command line of the benchmarks: types of options, options that all have, and what is printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import click
import torch

from benchmarks.harness.candidates import Entry
from benchmarks.harness.peer_modules import peer_candidates
from benchmarks.harness.runs import compare, grow
from benchmarks.harness.work import Options, Work
from qkan.cli.tables import number, print_rows
from qkan.kernels.circuits.ansatz import ANSATZE, MAX_REPS, get_ansatz

Function = TypeVar("Function", bound=Callable[..., Any])
Numbers = tuple[int, ...]
_COUNTS = {2: "two", 3: "three", 4: "four"}


class NumbersType(click.ParamType):
    """Whole numbers separated by commas, as a tuple.

    Args:
        letters: one for each number, ``"B,I,O,R"``; R are repetitions of a circuit.
        example: what the message of an error shows.
        lowest: of every number.
    """

    def __init__(self, letters: str, example: Numbers, lowest: int = 1) -> None:
        self.name, self.example, self.lowest = letters, ",".join(map(str, example)), lowest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Numbers:
        """Split the text; as many numbers as letters."""
        if isinstance(value, tuple):
            return value
        letters, parts = self.name.split(","), [part.strip() for part in value.split(",")]
        numbers = tuple(int(part) for part in parts if part.isdecimal())
        if not len(parts) == len(numbers) == len(letters) or min(numbers) < self.lowest:
            kind = f"{_COUNTS[len(letters)]} {'positive ' * (self.lowest > 0)}whole numbers {self.name}"
            self.fail(f"{value!r} is not {kind}, such as {self.example}", param, ctx)
        if letters[-1] == "R" and numbers[-1] > MAX_REPS:
            self.fail(f"{value!r} has {numbers[-1]} repetitions R; a circuit has 1 to {MAX_REPS}", param, ctx)
        return numbers


class NamesType(click.ParamType):
    """Names separated by commas, as a tuple; each once.

    Args:
        noun: what they name.
        known: lists the names that there are.
    """

    def __init__(self, noun: str, known: Callable[[], Iterable[str]]) -> None:
        self.name, self.noun, self.known = f"{noun},...", noun, known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Split the text and look every name up."""
        if isinstance(value, tuple):
            return value
        names, known = tuple(part.strip() for part in value.split(",")), tuple(self.known())
        for name in names:
            if name not in known:
                self.fail(f"unknown {self.noun} {name!r}; use one of {', '.join(known)}", param, ctx)
            if names.count(name) > 1:
                self.fail(f"{name!r} is given twice", param, ctx)
        return names


class Benchmark(click.Command):
    """A command that answers a ValueError with its sentence and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        try:
            return super().invoke(ctx)
        except ValueError as error:
            raise click.UsageError(str(error), ctx) from error


def benchmark(
    name: str,
    size: tuple[str, str],
    sizes: Sequence[Numbers],
    grows: str,
    *options: Callable[[Function], Function],
    inputs: str = "uniform",
    examples: Sequence[str] = (),
) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command of a function.

    Args:
        name: of the module, whose folder of results it is, too.
        size: letters of a size and what they stand for, in words.
        sizes: what is measured unless the user says otherwise.
        grows: the letters that ``--growth`` doubles, in words.
        options: of this benchmark alone.
        inputs: default distribution of the inputs.
        examples: options of commands to show.
    """
    letters, words = size
    shown = "; ".join(",".join(map(str, each)) for each in sizes)
    everything = [
        click.option(
            "--size", "sizes", multiple=True, type=NumbersType(letters, sizes[0]), metavar=letters,
            help=f"{words}; may be repeated.  [default: {shown}]",
        ),
        click.option("--growth", is_flag=True, help=f"Double {grows}, one at a time, as far as memory and time allow."),
        *options,
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
            help="Time that one candidate may take at one size, about.",
        ),
        click.option(
            "--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Of all random numbers."
        ),
        click.option(
            "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("build/bench") / name,
            show_default=True, help="Folder for the figures (JSON), the tables (Markdown) and the picture.",
        ),
    ]  # fmt: skip
    epilog = "\n".join(("\b", "Examples:", *(f"  python -m benchmarks.{name} {more}".rstrip() for more in examples)))

    def decorate(function: Callable[..., Any]) -> click.Command:
        for option in reversed(everything):
            function = option(function)
        return click.command(name, cls=Benchmark, epilog=epilog)(function)

    return decorate


def circuit_options(function: Function) -> Function:
    """Options of benchmarks of circuits, which other packages have, too."""
    peers = click.option("--peers", is_flag=True, help="Measure other packages, too: `make bench-peers` installs them.")
    ansatz = click.option(
        "--ansatz", default="pz", show_default=True, metavar="NAME", help=f"Circuit: {', '.join(ANSATZE)}."
    )
    return ansatz(peers(function))


def chosen_sizes(
    given: tuple[Numbers, ...], growth: bool, defaults: Sequence[Numbers], base: Numbers
) -> Sequence[Numbers]:
    """The sizes to measure: those given, or ``defaults``, or with ``--growth`` the one to start from."""
    if growth and len(given) > 1:
        raise click.UsageError(f"--growth starts from one --size, but {len(given)} are given.")
    return given or ([base] if growth else defaults)


def measure(
    name: str,
    works: Callable[[Options], list[Work]],
    growth: bool,
    out: Path,
    *,
    device: str,
    threads: int | None,
    ansatz: str = "",
    peers: bool = False,
    **same: Any,
) -> None:
    """Measure works, print and write what was measured; ``same`` are further fields of :class:`Options`."""
    if ansatz and get_ansatz(ansatz).encoding_map == "acos" and same["inputs"] == "normal":
        raise click.UsageError(f"--ansatz {ansatz} takes inputs in [-1, 1] only: use --inputs uniform.")
    options = Options(
        ansatz=ansatz, device=_device(device), threads=torch.get_num_threads() if threads is None else threads, **same
    )
    more = peer_candidates(name, click.echo) if peers else nullcontext()
    with _threads(options.threads), more as listed:
        if growth:
            written = grow(works(options), out, _print, click.echo, listed)
        else:
            written = compare(works(options), out, _print, listed)
    click.echo()
    for what, path in written.files.items():
        click.echo(f"{what}: {path}")
    if written.wrong:
        raise click.ClickException(f"wrong, see the rows: {'; '.join(written.wrong)}")


def _device(name: str) -> torch.device:
    count = torch.cuda.device_count()
    if name == "auto":
        return torch.device("cuda", 0) if count else torch.device("cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdecimal()) or (kind == "cpu" and index):
        raise click.UsageError(f"--device: {name!r} is none of auto, cpu, cuda and cuda:N.")
    if kind == "cuda" and int(index or 0) >= count:
        raise click.UsageError(f"--device: {name!r} is missing: PyTorch sees {count} CUDA devices; use --device cpu.")
    return torch.device(kind, int(index or 0)) if kind == "cuda" else torch.device(kind)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _print(work: Work, entries: Sequence[Entry], ratios: Mapping[str, Mapping[str, float]]) -> None:
    """Print what ran as a table, and a line for each that did not."""
    against = list(dict.fromkeys(label for known in ratios.values() for label in known if label != "best peer"))
    head = [work.step, "parameters", "ms", "quartiles", *(f"of {label}" for label in against)]
    head += ["inference ms"] * work.infers + ["extra MiB", "output error", "gradient error"]
    rows = []
    for entry in entries:
        if entry.median is None or entry.quartiles is None:
            continue
        low, high = (number(1e3 * seconds) for seconds in entry.quartiles)
        rows.append(
            [
                f"{entry.name} {entry.detail}".rstrip() + " WRONG" * entry.wrong,
                f"{entry.parameters:,}",
                number(1e3 * entry.median),
                f"{low} to {high}",
                *(f"{ratios[entry.name][label]:.3g}" for label in against),
                *[number(None if entry.inference_median is None else 1e3 * entry.inference_median)] * work.infers,
                number((entry.extra_bytes or 0) / 2**20),
                *(["-", "-"] if entry.errors is None else map(_error, (entry.errors.output, entry.errors.gradient))),
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
    for note in work.notes(entries):
        click.echo(note)


def _error(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"
