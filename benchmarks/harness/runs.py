"""Whole benchmarks: all works, or all sweeps. What was measured is on disk after every work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import report
from benchmarks.harness.candidates import Candidate, Entry, ratios
from benchmarks.harness.growth import Point, sweep
from benchmarks.harness.work import Work

Peers = Callable[[Work], list[Candidate]]
#: Told every work, its entries and their ratios.
Show = Callable[[Work, Sequence[Entry], Mapping[str, Mapping[str, float]]], None]


@dataclass(frozen=True)
class Written:
    """What a benchmark left behind.

    Attributes:
        files: figures, tables and picture, by these words.
        wrong: every candidate whose errors are too large or that failed, with its work.
    """

    files: Mapping[str, Path]
    wrong: list[str]


def compare(works: Sequence[Work], out: Path, show: Show, peers: Peers | None = None) -> Written:
    """Measure every work; ``NAME.json``, ``.md`` and ``.png`` in the folder ``out``, by the name of the first one."""
    measured: list[tuple[Work, list[Entry]]] = []
    for work in works:
        found = [*work.candidates(), *([] if peers is None else peers(work))]
        measured.append((work, work.run(found, work.limits())))
        show(work, measured[-1][1], ratios(measured[-1][1], work.baselines))
        described = [{"title": one.title, **_as_json(one, entries)} for one, entries in measured]
        picture = report.dots([(one.title, one.step, entries) for one, entries in measured])
        files = report.save(out, works[0].name, {**_head(works), "works": described}, _tables(measured), picture)
    return Written(files, _wrong(measured))


def grow(
    bases: Sequence[Work], out: Path, show: Show, say: Callable[[str], None], peers: Peers | None = None
) -> Written:
    """Let every size grow from each of ``bases``; ``growth.json``, ``growth.md`` and ``growth.png`` in ``out``.

    Raises:
        ValueError: not even the bases fit into memory.
    """
    points: list[Point] = []
    files: Mapping[str, Path] | None = None
    for base in bases:
        for axis in base.axes:
            for point in sweep(axis, base, say, peers):
                points.append(point)
                show(point.work, point.entries, ratios(point.entries, base.baselines))
            if points:
                files = _save_points(bases, points, out)
    if files is None:
        raise ValueError(f"nothing can be measured from {bases[0].size} on; start from a smaller size")
    return Written(files, _wrong([(point.work, point.entries) for point in points]))


def _save_points(bases: Sequence[Work], points: Sequence[Point], out: Path) -> Mapping[str, Path]:
    curves: dict[str, dict[str, list[tuple[int, list[Entry]]]]] = {}
    for point in points:
        of_kind = curves.setdefault(point.work.kind, {})
        of_kind.setdefault(point.axis, []).append((point.value, point.entries))
    base = bases[0]
    found = [{"axis": point.axis, **_as_json(point.work, point.entries)} for point in points]
    figures = {**_head(bases), "base": base.size._asdict(), "points": found}
    tables = _tables([(point.work, point.entries) for point in points])
    return report.save(
        out, "growth", figures, tables, report.curves(f"From {base.size}: {base.options}", curves, base.axes)
    )


def _as_json(work: Work, entries: Sequence[Entry]) -> dict[str, Any]:
    notes = work.notes(entries)
    return {**work.facts, "rows": report.as_json(entries, work.baselines), **({"notes": notes} if notes else {})}


def _head(works: Sequence[Work]) -> dict[str, Any]:
    options = works[0].options
    return {
        "command": f"python -m benchmarks.{works[0].name}",
        "environment": report.environment(options.device, options.threads),
        "options": asdict(options) | {"device": str(options.device)},
        "tolerances": works[0].tolerances,
    }


def _tables(measured: Sequence[tuple[Work, Sequence[Entry]]]) -> str:
    return report.markdown([(work.label, work.step, entries) for work, entries in measured])


def _wrong(measured: Sequence[tuple[Work, Sequence[Entry]]]) -> list[str]:
    return [f"{entry.name} ({work.label})" for work, entries in measured for entry in entries if entry.wrong]
