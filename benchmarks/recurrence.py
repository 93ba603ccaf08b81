"""Forward and backward of QKAN-LSTM and HQKAN-LSTM beside nn.LSTM of the same hidden size.

python benchmarks/recurrence.py
"""

import os
import statistics
import time

import click
import torch
from torch import nn

from qkan import HQKANLSTM, QKANLSTM

SIZES = ((64, 12, 4, 1), (64, 12, 4, 2), (64, 12, 16, 2), (256, 24, 64, 2))


def milliseconds(module: nn.Module, x: torch.Tensor, rounds: int) -> float:
    times = []
    for _ in range(rounds + 3):
        start = time.perf_counter()
        module(x)[0].square().mean().backward()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times[3:])


@click.command()
@click.option("--rounds", default=21, show_default=True, help="Timed repetitions; medians are shown.")
@click.option("--threads", default=os.cpu_count() or 1, show_default=True)
def main(rounds: int, threads: int) -> None:
    """Time one training step (without the optimizer) of each cell."""
    torch.set_num_threads(threads)
    print(f"forward + backward, milliseconds, medians, {threads} threads")
    print(
        "| B, T, H, R | nn.LSTM | QKANLSTM per edge | trained w | QKANLSTM per input | HQKANLSTM |\n" + "|---" * 6 + "|"
    )
    for batch, steps, hidden, reps in SIZES:
        x = torch.randn(steps, batch, 1)
        modules = (
            nn.LSTM(1, hidden),
            QKANLSTM(1, hidden, reps=reps),
            QKANLSTM(1, hidden, reps=reps, preact_trainable=True),
            QKANLSTM(1, hidden, reps=reps, group="input", postact_weight_trainable=True),
            HQKANLSTM(1, hidden, reps=reps),
        )
        row = [f"{milliseconds(module, x, rounds):.1f}" for module in modules]
        print(f"| {batch}, {steps}, {hidden}, {reps} | " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
