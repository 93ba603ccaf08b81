"""Runs as C files: bytes, nanoseconds and cycles a time step, and parity, beside nn.LSTM written the same way.

    python -m benchmarks.c_export                       # cells of at most 210 parameters, window 24
    python -m benchmarks.c_export --parameters 1000

Bytes are code and tables of the object file at -Os without the C library; time is that of a forecast at -O2 divided by
the steps of the window, the fastest of several rounds in which all files take turns. The weights are as drawn: neither
bytes nor time depends on them. Cycles are those of the time-stamp counter, on x86 only.
"""

import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import click
import torch

from qkan.forecasting import Run, TrainConfig, build_forecaster, export
from qkan.forecasting.data.load import as_cut, load_windows
from qkan.forecasting.model.build import count_parameters, largest_hidden_size

CELLS: dict[str, dict] = {
    "lstm": {"cell": "lstm"},
    "gru": {"cell": "gru"},
    "lowrank": {"cell": "lowrank"},
    "qkan, a circuit an input": {"cell": "qkan", "group": "input"},
    "qkan, a circuit an edge": {"cell": "qkan", "group": "edge"},
    "qkan, a circuit an edge, 3 repetitions": {"cell": "qkan", "group": "edge", "reps": 3},
    "qkan, a circuit an edge, trained frequencies": {"cell": "qkan", "group": "edge", "preact_trainable": True},
    "hqkan": {"cell": "hqkan"},
}
_MAIN = """
#define QKAN_API static
#include "model.c"
#include <stdio.h>
#include <time.h>
#if defined(__x86_64__) || defined(__i386__)
#include <x86intrin.h>
#define CYCLES() ((double)__rdtsc())
#else
#define CYCLES() 0.0
#endif
int main(void)
{
    qkan_real values[QKAN_CONTEXT], out[QKAN_HORIZON], sum = 0;
    double best = 1e30, cycles = 1e30;
    for (int k = 0; k < QKAN_CONTEXT; k++) values[k] = (qkan_real)(k % 7) / 7;
    for (int round = 0; round < 20; round++) {
        const double begin = CYCLES();
        const clock_t start = clock();
        for (int k = 0; k < 500; k++) {
            values[0] = (qkan_real)k / 500;
            qkan_predict(values, 0, 0, 0, 0, out);
            sum += out[0];
        }
        const double took = (double)(clock() - start) / CLOCKS_PER_SEC, counted = CYCLES() - begin;
        if (took < best) best = took;
        if (counted < cycles) cycles = counted; /* they go on while another program has the core */
    }
    printf("%g %g %g\\n", 1e9 * best / (500.0 * QKAN_CONTEXT), cycles / (500.0 * QKAN_CONTEXT), (double)sum);
    return 0;
}
"""


def drawn_run(options: dict, parameters: int, window: int) -> Run:
    """A run whose weights are as drawn, with as many as the budget allows, and nothing but cell and head."""
    bare = {"level": "none", "skip": 0, "season": "none", "decoder": "last"}
    config = TrainConfig(data="damped-shm", window=window, device="cpu", **bare, **options)
    config = replace(config, hidden_size=largest_hidden_size(config, parameters) or 1)
    data = load_windows(config)
    config = as_cut(config, data)
    generator = torch.Generator().manual_seed(0)
    model = build_forecaster(config, generator).eval()
    with torch.no_grad():  # frequencies that are trained begin at 1
        for name, parameter in model.named_parameters():
            if name.endswith("preact_weight"):
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return Run(Path("drawn"), config, model, data.scaler, data.series.describe(), {})


def compiled(folder: Path, compiler: str) -> tuple[int, Path]:
    """Bytes of the object file of ``model.c``, and a program that measures it."""
    subprocess.run([compiler, "-std=c99", "-Os", "-c", "model.c"], cwd=folder, check=True)
    sizes = subprocess.run(["size", "model.o"], cwd=folder, check=True, capture_output=True, text=True).stdout
    (folder / "main.c").write_text(_MAIN)
    subprocess.run([compiler, "-std=gnu99", "-O2", "main.c", "-o", "main", "-lm"], cwd=folder, check=True)
    return sum(map(int, sizes.splitlines()[1].split()[:2])), folder / "main"


@click.command()
@click.option("--parameters", default=210, show_default=True, help="Trained parameters, at most.")
@click.option("--window", default=24, show_default=True)
@click.option("--rounds", default=5, show_default=True, help="Turns that every file takes.")
def main(parameters: int, window: int, rounds: int) -> None:
    """Write, compile and measure, and print a table."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise click.ClickException("this needs a C compiler: cc is not on the path")
    torch.set_num_threads(1)
    rows, programs = [], []
    with tempfile.TemporaryDirectory() as place:
        for name, options in CELLS.items():
            run = drawn_run(options, parameters, window)
            count = f"{count_parameters(run.model)} (H = {run.config.hidden_size})"
            for edges in ("exact", "cubic", "int8") if "qkan" in name else (None,):
                folder = Path(place) / str(len(rows))
                made = export(run, folder / "model.c", "c", edges=edges)
                size, program = compiled(folder, compiler)
                bound = "-" if made.bound_on_windows is None else f"{made.bound_on_windows:.0e}"
                rows.append([name, count, edges or "-", f"{size:,}", f"{made.difference:.0e}", bound])
                programs.append(program)
        best = [(1e30, 1e30)] * len(programs)
        for _ in range(rounds):
            for index, program in enumerate(programs):
                said = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split()
                best[index] = min(best[index][0], float(said[0])), min(best[index][1], float(said[1]))
    click.echo("| cell | parameters | circuits | bytes | difference | proven | ns a step | cycles a step |")
    click.echo("|---|---|---|---|---|---|---|---|")
    for row, (nanoseconds, cycles) in zip(rows, best, strict=True):
        click.echo("| " + " | ".join([*row, f"{nanoseconds:,.0f}", f"{cycles:,.0f}" if cycles else "-"]) + " |")


if __name__ == "__main__":
    main()
