"""``qkan bench``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qkan.cli.groups import LazyGroup
from qkan.cli.options import ListType
from qkan.kernels.ansatz import ANSATZE, MAX_REPS, get_ansatz

if TYPE_CHECKING:
    import torch

    from qkan.bench.contest import Contestant, Entry
    from qkan.bench.layer import Options, Work

SIZES = ("256,64,64,3", "1024,32,32,3", "4096,128,128,3", "64,8,20,3")
GROWTH_BASE = "64,16,16,2"
PREACTS = {"fixed": ("fixed",), "trained": ("trained",), "both": ("fixed", "trained")}


class SizeType(click.ParamType):
    """Batch, inputs, outputs and repetitions of a layer, as four numbers."""

    name = "B,I,O,R"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Split the text; all numbers count something."""
        parts = [part.strip() for part in value.split(",")]
        numbers = tuple(int(part) for part in parts if part.isdecimal())
        if len(parts) != 4 or len(numbers) != 4 or 0 in numbers:
            self.fail(f"{value!r} is not four positive whole numbers B,I,O,R, such as {SIZES[0]}", param, ctx)
        if numbers[3] > MAX_REPS:
            self.fail(f"{value!r} has {numbers[3]} repetitions R; a circuit has 1 to {MAX_REPS}", param, ctx)
        return numbers


@click.group(cls=LazyGroup, lazy={"layer": "qkan.cli.bench:layer"})
def bench() -> None:
    """Measure this machine: errors first, then time and memory."""


@click.command(
    epilog="""\b
Examples:
  qkan bench layer
  qkan bench layer --size 256,64,64,3 --peers
  qkan bench layer --growth --backends spectral,bloch --limit 10"""
)
@click.option(
    "--size", "sizes", multiple=True, type=SizeType(), metavar="B,I,O,R",
    help=f"Batch, inputs, outputs, repetitions; may be repeated.  [default: {'; '.join(SIZES)}]",
)  # fmt: skip
@click.option("--preact", type=click.Choice(tuple(PREACTS)), default="both", show_default=True, help="Pre-activations.")
@click.option(
    "--inputs", type=click.Choice(("uniform", "normal")), default="uniform", show_default=True,
    help="Distribution of the inputs: uniform on [-1, 1] or standard normal.",
)  # fmt: skip
@click.option("--ansatz", default="pz", show_default=True, metavar="NAME", help=f"Circuit: {', '.join(ANSATZE)}.")
@click.option(
    "--backends", type=ListType(str, "backend", "spectral,bloch"), metavar="NAME,...",
    help="Ways to evaluate circuits, separated by commas.  [default: all]",
)  # fmt: skip
@click.option("--peers", is_flag=True, help="Measure other people's layers too; installs them into build/peers once.")
@click.option("--growth", is_flag=True, help="Double B, I, O and R, one at a time, as far as memory and time allow.")
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    metavar="DEVICE",
    help="cpu, cuda, cuda:N, or auto: cuda if there is one.",
)
@click.option(
    "--dtype", type=click.Choice(("float32", "float64", "bfloat16")), default="float32", show_default=True,
    help="Of parameters and inputs.",
)  # fmt: skip
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Threads on the CPU.  [default: PyTorch's choice]")
@click.option(
    "--rounds", type=click.IntRange(1), default=15, show_default=True, metavar="N", help="Timed steps of each."
)
@click.option(
    "--limit", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True, metavar="SECONDS",
    help="About as long may one contestant take at one size.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Of all random numbers."
)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("build/bench/layer"), show_default=True,
    help="Folder for the figures (JSON) and the picture.",
)  # fmt: skip
def layer(sizes: tuple[tuple[int, ...], ...], peers: bool, growth: bool, out: Path, **chosen: Any) -> None:
    """Measure forward and backward of a QKAN layer.

    Every way to evaluate its circuits is compared with the reference in double precision, outputs and all gradients;
    then it is timed, in turns with Linear and with the MLP that has as many parameters. Memory is the peak of one
    step beyond parameters, inputs and gradients. Peers are timed in environments and processes of their own, before and
    after the others, and their better time counts. If an error is too large, its row says WRONG and the command ends
    with exit code 1.

    Figures and picture are written to the folder: layer.json and layer.png, or growth.json and growth.png.
    """
    if growth and len(sizes) > 1:
        raise click.UsageError(f"--growth starts from one --size, but {len(sizes)} are given.")
    from qkan.bench.layer import Size
    from qkan.bench.layer_runs import compare, grow

    options = _options(**chosen)
    given = sizes or [SizeType().convert(text, None, None) for text in ([GROWTH_BASE] if growth else SIZES)]
    found = [Size(*size) for size in given]
    with _threads(options.threads), _others(peers) as others:
        if growth:
            written = grow(found[0], options, out, _print, click.echo, others)
        else:
            written = compare(found, options, out, _print, others)
    click.echo(f"\nfigures: {written.figures}\npicture: {written.picture}")
    if written.wrong:
        raise click.ClickException(f"wrong, see the rows: {'; '.join(written.wrong)}")


def _options(
    preact: str,
    inputs: str,
    ansatz: str,
    backends: tuple[str, ...] | None,
    device: str,
    threads: int | None,
    **same: Any,
) -> Options:
    """Check what the option types did not; ValueError or UsageError, one sentence."""
    import torch

    from qkan.bench.layer import Options
    from qkan.kernels.dispatch import BACKENDS, available_backends

    if get_ansatz(ansatz).encoding_map == "acos" and inputs == "normal":
        raise click.UsageError(f"--ansatz {ansatz} takes inputs in [-1, 1] only: use --inputs uniform.")
    names = tuple(available_backends()) if backends is None else backends
    for name in names:
        if name not in {*BACKENDS, *available_backends()}:
            raise click.UsageError(f"--backends: unknown backend {name!r}; use one of {', '.join(BACKENDS)}.")
        if names.count(name) > 1:
            raise click.UsageError(f"--backends: {name!r} is given twice.")
    return Options(
        preacts=PREACTS[preact],
        inputs=inputs,
        ansatz=ansatz,
        backends=names,
        device=_device(device),
        threads=torch.get_num_threads() if threads is None else threads,
        **same,
    )


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
def _others(wanted: bool) -> Iterator[Callable[[Work], list[Contestant]] | None]:
    if not wanted:
        yield None
        return
    from qkan.bench.layer_peers import layers_of_others

    with layers_of_others(click.echo) as others:
        yield others


def _print(title: str, entries: Sequence[Entry], ratios: Mapping[str, Mapping[str, float]]) -> None:
    """Print what ran as a table, and a line for each that did not."""
    from qkan.cli.tables import number, print_rows

    against = list(dict.fromkeys(label for known in ratios.values() for label in known if label != "best peer"))
    head = ["forward + backward", "parameters", "ms", "quartiles", *(f"of {label}" for label in against)]
    head += ["extra MiB", "output error", "gradient error"]
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
                number((entry.extra_bytes or 0) / 2**20),
                *(
                    ["-", "-"]
                    if entry.errors is None
                    else [f"{entry.errors.output:.1e}", f"{entry.errors.gradient:.1e}"]
                ),
            ]
        )
    click.echo()
    if rows:
        print_rows(head, rows, title=title)
    else:
        click.echo(title)
    for entry in entries:
        if entry.reason is not None:
            click.echo(f"{entry.name}{' WRONG' * entry.wrong}: {entry.reason}")
        elif entry.wrong and entry.errors is not None:
            limits = f"{entry.errors.output_limit:.1e} (output) and {entry.errors.gradient_limit:.1e} (gradient)"
            click.echo(f"{entry.name} WRONG: the errors may be {limits}")
