"""What a benchmark leaves behind: its figures as JSON and in tables, and pictures."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from benchmarks.harness.candidates import Entry, ratios
from qkan._version import __version__
from qkan.forecasting.io.files import write_atomic, write_json
from qkan.forecasting.runs.environment import git_revision

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCHEMA = 1
_COLOURS = {
    "qkan": "#d55e00",
    "classical": "#0072b2",
    "peer circuits": "#cc79a7",
    "peer splines": "#009e73",
}
_LINES = {"qkan": "-", "classical": "--"}
_MARKERS = "osD^vP*XdpH<>"


def environment(device: torch.device, threads: int) -> dict[str, Any]:
    """Versions, processor, device, threads and, in a checkout, the git revision."""
    packages: dict[str, str | None] = {}
    for package in ("torch", "triton", "numba", "numpy"):
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            packages[package] = None
    return {
        "qkan-seq": __version__,
        "python": platform.python_version(),
        **packages,
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_model(),
        "cuda": torch.version.cuda,
        "threads": threads,
        "git": git_revision(Path(__file__)),
    }


def cpu_model(table: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, as far as the system tells it."""
    if table.exists():
        for line in table.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def as_json(entries: Sequence[Entry], baselines: Sequence[str]) -> list[dict[str, Any]]:
    """Every entry with all it measured, and over what the baselines and the best peers took; times in milliseconds."""
    of_time = ratios(entries, baselines)
    of_inference = ratios(entries, baselines, lambda entry: entry.inference_median)
    of_memory = ratios(entries, baselines, lambda entry: entry.extra_bytes)
    rows = []
    for entry in entries:
        errors = entry.errors
        quartiles = entry.quartiles
        rows.append(
            {
                "name": entry.name,
                "family": entry.family,
                "detail": entry.detail,
                "parameters": entry.parameters,
                "median_ms": _milliseconds(entry.median),
                "quartiles_ms": None if quartiles is None else [1e3 * seconds for seconds in quartiles],
                "milliseconds": [1e3 * seconds for seconds in entry.seconds],
                "medians_of_runs_ms": [1e3 * seconds for seconds in entry.medians],
                "inference_median_ms": _milliseconds(entry.inference_median),
                "inference_milliseconds": [1e3 * seconds for seconds in entry.inference],
                "extra_bytes": entry.extra_bytes,
                "output_error": None if errors is None else _finite(errors.output),
                "gradient_error": None if errors is None else _finite(errors.gradient),
                "output_limit": None if errors is None else errors.output_limit,
                "gradient_limit": None if errors is None else errors.gradient_limit,
                "wrong": entry.wrong,
                "reason": entry.reason,
                "ratios": of_time.get(entry.name, {}),
                "inference_ratios": of_inference.get(entry.name, {}),
                "memory_ratios": of_memory.get(entry.name, {}),
            }
        )
    return rows


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else 1e3 * seconds


def _finite(number: float | None) -> float | str | None:
    """The number; JSON has no word for those that are none."""
    return number if number is None or abs(number) < float("inf") else str(number)


def save(folder: Path, name: str, figures: Mapping[str, Any], tables: str, picture: Figure) -> dict[str, Path]:
    """Write ``name.json``, ``name.md`` and ``name.png`` atomically; the folder is made if need be.

    Returns:
        "figures", "tables", "picture" -> path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    endings = {"figures": "json", "tables": "md", "picture": "png"}
    paths = {what: folder / f"{name}.{ending}" for what, ending in endings.items()}
    write_json(paths["figures"], {"schema": SCHEMA, **figures})
    write_atomic(paths["tables"], lambda file: file.write(tables.encode()))
    write_atomic(paths["picture"], lambda file: picture.savefig(file, format="png", dpi=130))
    return paths


#: The tables of :func:`markdown`: what their head says and the number of an entry that they show.
_TABLES: dict[str, Callable[[Entry], float | None]] = {
    "{step}, milliseconds": lambda entry: _milliseconds(entry.median),
    "inference, milliseconds": lambda entry: _milliseconds(entry.inference_median),
    "extra memory, MiB": lambda entry: None if entry.extra_bytes is None else entry.extra_bytes / 2**20,
    "parameters": lambda entry: entry.parameters,
}


def markdown(works: Sequence[tuple[str, str, Sequence[Entry]]]) -> str:
    """Tables in Markdown, a row for every candidate and a column for every work; what did not run is a dash.

    Args:
        works: label, step and entries of each; those of one step share their tables.
    """
    tables = []
    for step in dict.fromkeys(step for _, step, _ in works):
        chosen = [(label, entries) for label, of, entries in works if of == step]
        labels = [label for label, _ in chosen]
        names = dict.fromkeys(entry.name for _, entries in chosen for entry in entries)
        for head, of in _TABLES.items():
            columns = [{entry.name: of(entry) for entry in entries} for _, entries in chosen]
            numbers = {name: [column.get(name) for column in columns] for name in names}
            rows = [
                [
                    name,
                    *("-" if value is None else f"{value:,.4g}" if value < 1000 else f"{value:,.0f}" for value in row),
                ]
                for name, row in numbers.items()
                if any(value is not None for value in row)
            ]
            if rows:
                table = pd.DataFrame(rows, columns=[head.format(step=step), *labels])
                tables.append(table.to_markdown(index=False, disable_numparse=True) + "\n")
    return "\n".join(tables)


def dots(works: Sequence[tuple[str, str, Sequence[Entry]]]) -> Figure:
    """A row of two charts for every work, log axes: milliseconds of a step with quartiles, and its extra memory.

    Args:
        works: title, step and entries of each. Hollow marks are times without gradients.
    """
    from matplotlib.figure import Figure

    shown = [(title, step, [entry for entry in entries if entry.median is not None]) for title, step, entries in works]
    heights = [1.0 + 0.3 * len(entries) for _, _, entries in shown]
    figure = Figure(figsize=(13, sum(heights) + 0.4), layout="constrained")
    grid = figure.subplots(len(shown), 2, squeeze=False, sharex="col", height_ratios=heights)
    for (title, step, entries), (times, memory) in zip(shown, grid, strict=True):
        names = [_label(entry) for entry in entries]
        colours = [_COLOURS.get(entry.family, "#999999") for entry in entries]
        medians = [1e3 * (entry.median or 0) for entry in entries]
        whiskers = [(entry.quartiles or (0.0, 0.0)) for entry in entries]
        spread = (
            [median - 1e3 * low for median, (low, _) in zip(medians, whiskers, strict=True)],
            [1e3 * high - median for median, (_, high) in zip(medians, whiskers, strict=True)],
        )
        mebibytes = [(entry.extra_bytes or 0) / 2**20 for entry in entries]
        for index, name in enumerate(names):
            whisker = [[spread[0][index]], [spread[1][index]]]
            times.errorbar(medians[index], name, xerr=whisker, fmt="o", color=colours[index], capsize=3)
            forward = entries[index].inference_median
            if forward is not None:
                times.plot(1e3 * forward, name, "o", color=colours[index], fillstyle="none")
            memory.plot(mebibytes[index], name, "o", color=colours[index])
        memory.tick_params(labelleft=False)
        for axes in (times, memory):
            axes.set(xscale="log", ylabel="candidate" if axes is times else None)
            axes.tick_params(labelbottom=True)
            axes.invert_yaxis()
            axes.grid(alpha=0.3)
            axes.margins(y=0.15)
            axes.spines[["top", "right"]].set_visible(False)
        times.set_title(title, loc="left", fontsize=9)
        hollow = "; hollow: inference" if any(entry.inference for entry in entries) else ""
        times.set_xlabel(f"{step}, milliseconds (median, quartiles{hollow})")
        memory.set_xlabel("memory beyond parameters, inputs and gradients, MiB")
    return figure


def _label(entry: Entry) -> str:
    name = f"{entry.name} {entry.detail}".rstrip()
    return f"{name} (WRONG)" if entry.wrong else name


Points = Sequence[tuple[int, Sequence[Entry]]]


def curves(title: str, sweeps: Mapping[str, Mapping[str, Points]], axes_in_words: Mapping[str, str]) -> Figure:
    """Two rows for every kind of layer, times and memory; a column for every size that grows; log axes.

    Args:
        title: of the picture.
        sweeps: kind of pre-activations -> letter of the axis -> (value, entries) of every point.
        axes_in_words: letter -> what it stands for; a column each.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2 + 3.2 * len(axes_in_words), 0.6 + 5.6 * len(sweeps)), layout="constrained")
    grid = figure.subplots(2 * len(sweeps), len(axes_in_words), squeeze=False, sharex="col", sharey="row")
    for row, (kind, of_kind) in enumerate(sweeps.items()):
        for column, (axis, words) in enumerate(axes_in_words.items()):
            times, memory = grid[2 * row : 2 * row + 2, column]
            points = of_kind.get(axis, [])
            for index, (name, family) in enumerate(_names_of(points)):
                style = {"marker": _MARKERS[index % len(_MARKERS)], "ms": 4, "color": f"C{index % 10}"}
                style["ls"] = _LINES.get(family, "-.")
                _line(times, points, name, lambda entry: None if entry.median is None else 1e3 * entry.median, style)
                _line(memory, points, name, lambda entry: (entry.extra_bytes or 0) / 2**20 or None, style)
            memory.set_xlabel(f"{axis}, {words.replace('_', ' ')}")
            memory.tick_params(labelbottom=True)
            for axes in (times, memory):
                axes.set(xscale="log", yscale="log")
                axes.grid(alpha=0.3)
        grid[2 * row, 0].set_ylabel(f"{kind}: forward + backward, milliseconds")
        grid[2 * row + 1, 0].set_ylabel(f"{kind}: extra memory, MiB")
    lines = {str(line.get_label()): line for axes in grid.flat for line in axes.get_lines()}
    figure.legend(list(lines.values()), list(lines), loc="outside right upper", frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def _names_of(points: Points) -> list[tuple[str, str]]:
    return list({entry.name: (entry.name, entry.family) for _, entries in points for entry in entries}.values())


def _line(axes: Axes, points: Points, name: str, of: Any, style: dict[str, Any]) -> None:
    """Draw what ``of`` says of one candidate at every point where it says something."""
    drawn = [(value, of(entry)) for value, entries in points for entry in entries if entry.name == name]
    drawn = [(value, number) for value, number in drawn if number is not None]
    if drawn:
        axes.plot(*zip(*drawn, strict=True), label=name, lw=1.2, **style)
