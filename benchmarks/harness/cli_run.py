"""How commands of ``qkan bench`` measure: their sizes, options and what they print."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qkan.kernels.circuits.ansatz import MAX_REPS, get_ansatz

if TYPE_CHECKING:
    import torch

    from benchmarks.harness.contest import Contestant, Entry
    from benchmarks.harness.runs import Written
    from benchmarks.harness.work import Options, Work


class SizeType(click.ParamType):
    """Three or four numbers, of which R are repetitions.

    Args:
        letters: what they stand for, ``"B,I,O,R"``.
        example: a size.
    """

    def __init__(self, letters: str, example: str) -> None:
        self.name, self.example = letters, example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Split the text; all numbers count something."""
        parts, letters = [part.strip() for part in value.split(",")], self.name.split(",")
        numbers = tuple(int(part) for part in parts if part.isdecimal())
        if len(parts) != len(letters) or len(numbers) != len(letters) or 0 in numbers:
            count = {3: "three", 4: "four"}[len(letters)]
            self.fail(
                f"{value!r} is not {count} positive whole numbers {self.name}, such as {self.example}", param, ctx
            )
        if letters[-1] == "R" and numbers[-1] > MAX_REPS:
            self.fail(f"{value!r} has {numbers[-1]} repetitions R; a circuit has 1 to {MAX_REPS}", param, ctx)
        return numbers


def sizes_of(
    given: tuple[tuple[int, ...], ...], growth: bool, size: SizeType, defaults: Sequence[str], base: str
) -> Sequence[tuple[int, ...]]:
    """The sizes to measure: those given, or ``defaults``, or with ``--growth`` the one to start from."""
    if growth and len(given) > 1:
        raise click.UsageError(f"--growth starts from one --size, but {len(given)} are given.")
    return given or [size.convert(text, None, None) for text in ([base] if growth else defaults)]


def measure(
    name: str,
    works: Callable[[Options], list[Work]],
    growth: bool,
    peers: bool,
    out: Path,
    **chosen: Any,
) -> None:
    """Measure works and write what was measured; ``chosen`` are the options that every benchmark has."""
    from benchmarks.harness.runs import compare, grow

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

    from benchmarks.harness.work import Options

    if ansatz and get_ansatz(ansatz).encoding_map == "acos" and inputs == "normal":
        raise click.UsageError(f"--ansatz {ansatz} takes inputs in [-1, 1] only: use --inputs uniform.")
    return Options(
        inputs=inputs,
        ansatz=ansatz,
        device=_device(device),
        threads=torch.get_num_threads() if threads is None else threads,
        **same,
    )


def check_names(option: str, noun: str, names: tuple[str, ...], known: tuple[str, ...]) -> None:
    """Refuse names that are unknown or given twice, in words of an option."""
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
    from benchmarks.harness.others import modules_of_others

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
    for note in work.notes(entries):
        click.echo(note)


def _exponential(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"
