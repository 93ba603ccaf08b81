"""The tables of what was run."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import click

from benchmarks.quantum_series.cells import CIRCUITS
from benchmarks.quantum_series.record import chosen_runs, read_runs
from benchmarks.quantum_series.tasks import SYSTEMS, TASKS

PUBLISHED = {
    **{"LSTM": 1.78, "RNN": 2.70, "le-QLSTM": 2.85, "MLP": 4.22},
    **{"d-QNN": 4.70, "ru-QNN": 5.33, "QLSTM": 7.04, "QRNN": 7.37},
}
"""Mean ranks that the paper reports, among its own eight models of its own sizes: beside ours, not comparable."""

CLASSICAL = ("lstm", "rnn", "mlp")
"""The kinds of models without circuits that the paper compares."""
KEPT = ("test", "adam_test", "parameters", "seconds", "finish_seconds", "steps")

Table = dict[str, dict[str, float]]
"""Numbers by task and cell."""


def ranks(errors: Table) -> dict[str, dict[str, int]]:
    """Return the rank of every cell in every task, the lowest error first, from errors by task and cell."""
    placed = {task: sorted(own, key=own.__getitem__) for task, own in errors.items()}
    return {task: {cell: cells.index(cell) + 1 for cell in cells} for task, cells in placed.items()}


def medians(out: Path, cells: list[str], tasks: list[str]) -> dict[str, Table]:
    """Return medians over the seeds of what runs hold, by task and cell, for those of some tasks that all cells have.

    Raises:
        click.UsageError: no task has runs of all cells.
    """
    found: dict[str, Table] = {key: {} for key in KEPT}
    for name in tasks:
        runs = read_runs(out / f"{name}.json")
        chosen = {cell: chosen_runs(runs, cell) for cell in cells}
        if all(chosen.values()):
            for key, by_task in found.items():
                by_task[name] = {cell: statistics.median(row[key] for row in rows) for cell, rows in chosen.items()}
    if not found["test"]:
        raise click.UsageError(
            f"{out} has no task with runs of all of {', '.join(cells)}; run them, or name other --cells"
        )
    return found


def mean_ranks(errors: Table, cells: list[str]) -> dict[str, float]:
    """Return the mean rank of every cell among some, over all tasks."""
    place = ranks({task: {cell: own[cell] for cell in cells} for task, own in errors.items()})
    return {cell: statistics.fmean(own[cell] for own in place.values()) for cell in cells}


def against(errors: Table, cell: str, other: str) -> tuple[int, float, float]:
    """Compare two cells over the tasks, in pairs.

    Returns:
        In how many tasks the first has the lower error, the median ratio of the first one's error to the other's, and
        the two-sided p of Wilcoxon's signed-rank test of the difference of the log errors; 1 if all are equal.
    """
    from scipy.stats import wilcoxon

    differences = [math.log(own[cell] / own[other]) for own in errors.values()]
    p = float(wilcoxon(differences).pvalue) if any(differences) else 1.0
    return sum(one < 0 for one in differences), math.exp(statistics.median(differences)), p


def print_table(head: list[str], rows: list[list[str]]) -> None:
    """Print a table in Markdown."""
    print("\n| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def show(out: Path, cells: list[str], tasks: list[str]) -> None:
    """Print the mean ranks over the tasks that all cells have, the circuits against the others, the errors by task."""
    found = medians(out, cells, tasks)
    errors, before = found["test"], found["adam_test"]
    _print_ranks(found, cells)
    told = ", ".join(f"{name} {rank:.2f}" for name, rank in PUBLISHED.items())
    print(f"\nThe paper's own mean ranks, among its eight models: {told}")
    circuits = [cell for cell in cells if cell in CIRCUITS]
    if set(CLASSICAL) <= set(cells) and circuits:
        mean = {
            cell: (mean_ranks(errors, [*CLASSICAL, cell]), mean_ranks(before, [*CLASSICAL, cell])) for cell in circuits
        }
        print_table(
            [
                "circuit",
                *(f"`{cell}` beside it" for cell in CLASSICAL),
                "mean rank among the four",
                "before the finish",
            ],
            [
                [f"`{cell}`", *(f"{own[other]:.2f}" for other in (*CLASSICAL, cell)), f"{first[cell]:.2f}"]
                for cell, (own, first) in mean.items()
            ],
        )
    rows = [(cell, other, *against(errors, cell, other)) for cell in circuits for other in cells if other != cell]
    if rows:
        print_table(
            ["circuit", "against", f"lower in, of {len(errors)}", "median ratio of errors", "p"],
            [
                [f"`{cell}`", f"`{other}`", str(wins), f"{ratio:.2f}", f"{p:.2g}"]
                for cell, other, wins, ratio, p in rows
            ],
        )
    place = ranks(errors)
    marked = {
        name: [f"**{own[cell]:.3g}**" if place[name][cell] == 1 else f"{own[cell]:.3g}" for cell in cells]
        for name, own in errors.items()
    }
    print_table(["task", *(f"`{cell}`" for cell in cells)], [[name, *own] for name, own in marked.items()])


def _print_ranks(found: dict[str, Table], cells: list[str]) -> None:
    errors, place = found["test"], ranks(found["test"])
    mean, before = mean_ranks(errors, cells), mean_ranks(found["adam_test"], cells)
    systems = [system for system in SYSTEMS if any(TASKS[name].system == system for name in errors)]
    rows = []
    for cell in sorted(cells, key=mean.__getitem__):
        by_system = [[own[cell] for name, own in place.items() if TASKS[name].system == one] for one in systems]
        sizes = [own[cell] for own in found["parameters"].values()]
        seconds = [found["seconds"][name][cell] + found["finish_seconds"][name][cell] for name in errors]
        lower = f"{sum(own[cell] < own['lstm'] for own in errors.values())}" if "lstm" in cells else "-"
        rows.append(
            [
                *(f"`{cell}`", f"{mean[cell]:.2f}", f"{before[cell]:.2f}"),
                *(f"{statistics.fmean(own):.2f}" for own in by_system),
                *(f"{sum(own[cell] == 1 for own in place.values())}", lower),
                *(f"{min(sizes):.0f} to {max(sizes):.0f}", f"{statistics.median(seconds):.1f}"),
                f"{statistics.median(own[cell] for own in found['steps'].values()):.0f}",
            ]
        )
    columns = ("first", "below lstm", "parameters", "seconds", "steps of the finish")
    print_table(["cell", f"mean rank of {len(place)} tasks", "before the finish", *systems, *columns], rows)


def plot(out: Path, cells: list[str], tasks: list[str], path: Path) -> None:
    """Draw the error of cells in units of the LSTM's, task by task.

    Raises:
        click.UsageError: ``lstm`` is not among the cells.
    """
    if "lstm" not in cells:
        raise click.UsageError("--plot draws errors in units of lstm's; name lstm in --cells as well")
    from matplotlib.figure import Figure

    errors = medians(out, cells, tasks)["test"]
    names = list(errors)
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(1, color="black", linewidth=1, label="lstm")
    others = [cell for cell in cells if cell != "lstm"]
    for number, cell in enumerate(others):
        shift = 0.6 * ((number + 0.5) / len(others) - 0.5)
        ratios = [errors[name][cell] / errors[name]["lstm"] for name in names]
        places = [place + shift for place in range(len(names))]
        axes.plot(places, ratios, linestyle="none", marker="os^Dv<>P*Xhd"[number % 12], markersize=5, label=cell)
    for place in range(1, len(names)):
        changes = TASKS[names[place]].system != TASKS[names[place - 1]].system
        axes.axvline(place - 0.5, color="gray", linewidth=1.0 if changes else 0.2)
    axes.set_yscale("log")
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_xlabel("task: system, steps ahead (h), points of the window (w)")
    axes.set_ylabel("test error in units of the LSTM's")
    axes.legend(ncols=len(cells), loc="upper center", bbox_to_anchor=(0.5, 1.12))
    figure.savefig(path, dpi=110)
