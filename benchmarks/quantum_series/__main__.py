"""The 27 tasks of a benchmark of quantum models (arXiv 2504.12416): chaotic series, forecast h steps ahead.

    python -m benchmarks.quantum_series                             # equal tuning: hours of a core
    python -m benchmarks.quantum_series --protocol paper --seeds 10 # the paper's training; hours
    python -m benchmarks.quantum_series --table                     # the tables of what is there already

Mackey-Glass (1, 70 and 140 steps ahead), Hénon (1, 2, 4) and Lorenz (1, 13, 25) from windows of 4, 8 and 16 points,
all coordinates in and out, 1,000 points, scaled to [0, 1] by the whole series (the paper's leak, kept for comparing).
The windows are parted in time, 60, 20 and 20 %. Every cell has the largest width that fits the budget of parameters,
and a linear head behind its last step. The weights with the lowest validation error are kept.

* ``--protocol tuned``: values are standardized by the training part; Adam with one cycle of the rate, 50 epochs; of
  two rates the lower validation error of seed 0 chooses; then at most 1,000 steps of LBFGS in float64, which end when
  the validation error has not fallen for 100. The same for every cell.
* ``--protocol paper``: Adam at 1e-3, until the validation error has not fallen for 20 epochs.

One JSON file a task takes every run as it ends; what is there is not run again. Test errors choose nothing.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch

from benchmarks.quantum_series.cells import CELLS
from benchmarks.quantum_series.record import Record
from benchmarks.quantum_series.tables import plot, show
from benchmarks.quantum_series.tasks import TASKS
from benchmarks.quantum_series.training import EPOCHS, RATES, STEPS, Training


def listed(text: str, known: tuple[str, ...], option: str) -> list[str]:
    """Return the names of a list with commas.

    Raises:
        click.UsageError: a name that is not known.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise click.UsageError(f"{option} has no {(unknown or [text])[0]!r}; choose from {', '.join(known)}")
    return names


@click.command(help=__doc__)
@click.option("--protocol", type=click.Choice(list(RATES)), default="tuned", show_default=True)
@click.option("--tasks", default=",".join(TASKS), help="Separated by commas.")
@click.option("--cells", default=",".join(CELLS), help="Separated by commas.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--budget", default=400, show_default=True, type=click.IntRange(8), help="Most parameters of a model.")
@click.option("--epochs", default=None, type=click.IntRange(1), help="By default 50 tuned, at most 500 as the paper.")
@click.option("--lbfgs-steps", default=None, type=click.IntRange(0), help="By default 1000 tuned, 0 as the paper.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/quantum-series"), show_default=True)
@click.option("--table", is_flag=True, help="Print the tables of what is there and run nothing.")
@click.option("--plot", "picture", type=click.Path(path_type=Path), help="Also draw errors beside lstm's to this file.")
def main(
    protocol: str,
    tasks: str,
    cells: str,
    seeds: int,
    budget: int,
    epochs: int | None,
    lbfgs_steps: int | None,
    out: Path,
    table: bool,
    picture: Path | None,
) -> None:
    torch.set_num_threads(1)
    names, asked = listed(tasks, tuple(TASKS), "--tasks"), listed(cells, CELLS, "--cells")
    folder = out / protocol
    steps = STEPS[protocol] if lbfgs_steps is None else lbfgs_steps
    training = Training(protocol, epochs or EPOCHS[protocol], steps, budget)
    for name in [] if table else names:
        folder.mkdir(parents=True, exist_ok=True)
        record = Record(folder / f"{name}.json", training, TASKS[name])
        for cell in asked:
            record.add(cell, seeds)
        click.echo(f"{name} done", err=True)
    show(folder, asked, names)
    if picture is not None:
        plot(folder, asked, names, picture)


if __name__ == "__main__":
    main()
