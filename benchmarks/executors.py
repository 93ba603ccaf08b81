"""The same trials in processes of this machine and on Ray here: seconds of each, and whether the results are equal.

    python -m benchmarks.executors                      # 24 trials of an LSTM, two at a time
    python -m benchmarks.executors --pairs 2 --epochs 20

A trial is one learning rate of one size, as ``qkan compare lstm`` tunes. Every measurement is a process of its own, so
that the start of the workers and what they import count; the data are read before. It needs the extra ``ray``.
"""

import json
import subprocess
import sys
import time

import click

from qkan.forecasting.comparison.folds import cut_folds
from qkan.forecasting.comparison.plan import plan_points, tuning_runs
from qkan.forecasting.comparison.workers import trainer
from qkan.forecasting.config import CompareConfig
from qkan.forecasting.data.load import as_cut, load_series_of

EXECUTORS = ("processes", "ray")


def measure(executor: str, data: str, epochs: int, workers: int) -> dict[str, object]:
    """Train 24 trials; give seconds, those of the trials themselves, and what they found."""
    config = CompareConfig(
        data=data, out="unused", cells=("lstm",), budget_params=(100, 150, 200, 300, 400, 500, 600, 800), trials=3,
        seeds=1, window=24, horizon=1, season="none", epochs=epochs, lbfgs_steps=0, device="cpu", workers=workers,
        executor=executor,
    )  # fmt: skip
    folds = cut_folds(load_series_of(config), config)
    config = as_cut(config, folds[0])
    runs = tuning_runs(config, plan_points(config)[0])
    begin = time.perf_counter()
    with trainer(config, folds) as train_all:
        records = [outcome.record for outcome in train_all(runs)]
    seconds = time.perf_counter() - begin
    found = sorted([one["hidden_size"], one["lr"], one["validation_loss"], one["test_mae"]] for one in records)
    return {"trials": len(records), "seconds": seconds, "own": sum(one["seconds"] for one in records), "found": found}


@click.command()
@click.option("--data", default="telecom", show_default=True)
@click.option("--epochs", default=20, show_default=True)
@click.option("--workers", default=2, show_default=True)
@click.option("--pairs", default=1, show_default=True)
@click.option("--only", type=click.Choice(EXECUTORS), help="Measure one of them, here, and print it as JSON.")
def main(data: str, epochs: int, workers: int, pairs: int, only: str | None) -> None:
    """Measure pairs, the order turned in every second one."""
    if only:
        click.echo(json.dumps(measure(only, data, epochs, workers)))
        return
    options = ["--data", data, "--epochs", str(epochs), "--workers", str(workers)]
    for pair in range(pairs):
        found = {}
        for executor in EXECUTORS if pair % 2 == 0 else EXECUTORS[::-1]:
            command = [sys.executable, "-m", "benchmarks.executors", *options, "--only", executor]
            found[executor] = json.loads(subprocess.check_output(command, text=True).splitlines()[-1])
            one = found[executor]
            click.echo(
                f"{executor}: {one['trials']} trials in {one['seconds']:.1f} s; one {one['own'] / one['trials']:.1f} s"
            )
        pool, ray = (found[executor] for executor in EXECUTORS)
        equal = "equal" if pool["found"] == ray["found"] else "NOT equal"
        click.echo(f"ray takes {ray['seconds'] / pool['seconds']:.3f} of the time of processes; results are {equal}")


if __name__ == "__main__":
    main()
