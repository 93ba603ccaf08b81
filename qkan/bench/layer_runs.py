"""Whole benchmarks of a layer: all sizes, or all sweeps. What was measured is on disk after every size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qkan.bench import report
from qkan.bench.contest import Contestant, Entry, ratios
from qkan.bench.growth import AXES, Point, sweep
from qkan.bench.layer import MLP, TOLERANCES, Options, Size, Work, measure

Others = Callable[[Work], list[Contestant]]
#: Told title, entries and ratios of every work.
Show = Callable[[str, Sequence[Entry], Mapping[str, Mapping[str, float]]], None]


@dataclass(frozen=True)
class Written:
    """What a benchmark left behind.

    Attributes:
        figures, picture: files.
        wrong: every contestant whose errors are too large or that failed, with its work.
    """

    figures: Path
    picture: Path
    wrong: list[str]


def compare(sizes: Sequence[Size], options: Options, out: Path, show: Show, others: Others | None = None) -> Written:
    """Measure every size with every kind of pre-activations; ``layer.json`` and ``layer.png`` in the folder ``out``."""
    measured: list[tuple[Work, list[Entry]]] = []
    for size in sizes:
        for preact in options.preacts:
            work = Work(size, preact, options)
            measured.append((work, measure(work, others)))
            show(work.title, measured[-1][1], ratios(measured[-1][1], MLP))
            works = [{"title": one.title, **_as_json(one, entries)} for one, entries in measured]
            picture = report.dots([(one.title, entries) for one, entries in measured])
            paths = report.save(out, "layer", {**_head(options), "works": works}, picture)
    return Written(*paths, _wrong(measured))


def grow(
    base: Size, options: Options, out: Path, show: Show, say: Callable[[str], None], others: Others | None = None
) -> Written:
    """Let every size grow from ``base``; ``growth.json`` and ``growth.png`` in the folder ``out``.

    Raises:
        ValueError: not even the base fits into memory.
    """
    points: list[Point] = []
    written: tuple[Path, Path] | None = None
    for preact in options.preacts:
        for axis in AXES:
            for point in sweep(axis, base, preact, options, say, others):
                points.append(point)
                show(point.work.title, point.entries, ratios(point.entries, MLP))
            if points:
                written = _save_points(base, points, options, out)
    if written is None:
        raise ValueError(f"nothing can be measured from {base} on; start from a smaller size")
    return Written(*written, _wrong([(point.work, point.entries) for point in points]))


def _save_points(base: Size, points: Sequence[Point], options: Options, out: Path) -> tuple[Path, Path]:
    curves: dict[str, dict[str, list[tuple[int, list[Entry]]]]] = {}
    for point in points:
        of_preact = curves.setdefault(point.work.preact, {})
        of_preact.setdefault(point.axis, []).append((point.value, point.entries))
    title = f"From {Work(base, ' and '.join(options.preacts), options).title}"
    found = [{"axis": point.axis, **_as_json(point.work, point.entries)} for point in points]
    figures = {**_head(options), "base": base._asdict(), "points": found}
    return report.save(out, "growth", figures, report.curves(title, curves, AXES))


def _as_json(work: Work, entries: Sequence[Entry]) -> dict[str, Any]:
    rows = report.as_json(entries, ratios(entries, MLP))
    return {"size": work.size._asdict(), "preact": work.preact, "rows": rows}


def _head(options: Options) -> dict[str, Any]:
    of_output, of_gradient = TOLERANCES[options.dtype]
    return {
        "command": "qkan bench layer",
        "environment": report.environment(options.device, options.threads),
        "options": asdict(options) | {"device": str(options.device)},
        "tolerances": {
            "output, times the root of inputs x repetitions": of_output,
            "gradient, times the root of repetitions": of_gradient,
        },
    }


def _wrong(measured: Sequence[tuple[Work, Sequence[Entry]]]) -> list[str]:
    return [
        f"{entry.name} ({work.size}, {work.preact})" for work, entries in measured for entry in entries if entry.wrong
    ]
