"""``python -m benchmarks.fwp``: a training step of QKANFWP as a scan, step by step, and of nn.LSTM; time and memory.

The step-by-step form is the backend ``reference``: at every step the gated update in PyTorch, then the circuits in
their fused kernel. All run in one process on the same inputs, in turns; memory is what PyTorch's allocator holds at
most during a step beyond what it held before, parameters, inputs and gradients of parameters not counted.

``--sunspots FILE`` writes the yearly sunspot numbers of statsmodels as a file for ``qkan compare``, and does no more.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from qkan import QKANFWP


def step_of(module: nn.Module, x: Tensor) -> Callable[[], None]:
    """A training step without an optimizer."""

    def step() -> None:
        module.zero_grad(set_to_none=False)
        module(x)[0].square().mean().backward()

    return step


def peak(step: Callable[[], None]) -> int:
    """The most bytes that a step holds beyond what was held before."""
    step()
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    held, most = 0, 0
    events = recorded.profiler.kineto_results.events()
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def seconds(step: Callable[[], None]) -> float:
    """CPU seconds of a step."""
    began = time.process_time()
    step()
    return time.process_time() - began


def yearly_sunspots() -> str:
    """A table of the columns ds and y: 309 years from 1700 on."""
    from statsmodels.datasets import sunspots

    table = sunspots.load_pandas().data
    rows = [f"{int(year)}-01-01,{value}" for year, value in zip(table["YEAR"], table["SUNACTIVITY"], strict=True)]
    return "\n".join(["ds,y", *rows, ""])


@click.command(help=__doc__)
@click.option("--batch", default=32, show_default=True)
@click.option("--steps", default=528, show_default=True)
@click.option("--hidden", default=48, show_default=True)
@click.option("--input-size", default=1, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--sunspots", type=click.Path(path_type=Path))
def main(
    batch: int, steps: int, hidden: int, input_size: int, rounds: int, threads: int, sunspots: Path | None
) -> None:
    if sunspots is not None:
        sunspots.write_text(yearly_sunspots())
        return
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    x = torch.randn(steps, batch, input_size)
    modules: dict[str, nn.Module] = {
        "QKANFWP": QKANFWP(input_size, hidden),
        "QKANFWP, gate per output": QKANFWP(input_size, hidden, gate="output"),
        "QKANFWP, linear fast layer": QKANFWP(input_size, hidden, fast="linear"),
        "QKANFWP in PyTorch": QKANFWP(input_size, hidden, backend="torch"),
        "QKANFWP step by step": QKANFWP(input_size, hidden, backend="reference"),
        "nn.LSTM": nn.LSTM(input_size, hidden),
    }
    made = {name: step_of(module, x) for name, module in modules.items()}
    memory = {name: peak(step) for name, step in made.items()}
    times: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(rounds):
        for name, step in made.items():
            times[name].append(seconds(step))
    best = {name: min(own) for name, own in times.items()}
    click.echo(f"B = {batch}, T = {steps}, H = {hidden}, input size {input_size}, float32, {threads} thread(s)\n")
    click.echo("| module | parameters | training step, ms of CPU | step by step / this | memory, MiB | of nn.LSTM's |")
    click.echo("|---|---|---|---|---|---|")
    for name, module in modules.items():
        count = sum(parameter.numel() for parameter in module.parameters())
        ratio = best["QKANFWP step by step"] / best[name]
        share = memory[name] / memory["nn.LSTM"]
        click.echo(
            f"| {name} | {count:,} | {1e3 * best[name]:.1f} | {ratio:.1f} | {memory[name] / 2**20:.1f} | {share:.2f} |"
        )
    modules["QKANFWP"].load_state_dict(modules["QKANFWP step by step"].state_dict())
    difference = modules["QKANFWP"](x)[0] - modules["QKANFWP step by step"](x)[0]
    click.echo(f"\nlargest difference of outputs from the form step by step: {difference.abs().max():.1e}")


if __name__ == "__main__":
    main()
