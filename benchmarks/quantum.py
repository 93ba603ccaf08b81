"""Forward and backward of a layer in PennyLane: this package's backend beside the original package's ``qml`` solver.

The original package runs in an environment and a process of its own: ``make bench-peers`` first. Its solver is right at
square layers only, so the layer is square.

    python -m benchmarks.quantum
"""

import copy
import statistics
import time

import click
import torch

from benchmarks.harness.measure import draw
from benchmarks.harness.peer_process import process_of
from qkan import PennyLane, QKANLayer
from qkan.validation.layers import distance

DEVICES = (PennyLane(), PennyLane(diff_method="parameter-shift"), PennyLane(device="default.mixed"))


def seconds_of(layer: QKANLayer, x: torch.Tensor, rounds: int) -> list[float]:
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        layer(x).sum().backward()
        times.append(time.perf_counter() - start)
    return times[1:]


@click.command()
@click.option("--width", default=16, show_default=True, help="Inputs and outputs.")
@click.option("--reps", default=3, show_default=True)
@click.option("--batch", default=64, show_default=True)
@click.option("--rounds", default=5, show_default=True, help="Timed steps; medians are shown.")
@click.option("--threads", default=1, show_default=True)
@click.option("--limit", default=300.0, show_default=True, help="Seconds that the original package may take.")
def main(width: int, reps: int, batch: int, rounds: int, threads: int, limit: float) -> None:
    """Check, then time."""
    torch.set_num_threads(threads)
    layer = QKANLayer(width, width, reps, generator=torch.Generator().manual_seed(0))
    x = draw((batch, width), "uniform", 1.0, 0).requires_grad_()
    truth = copy.deepcopy(layer).double()(x.double()).detach()
    request = {
        "builder": "original", "solver": "qml", "ansatz": "pz", "preact": "fixed", "in_features": width,
        "out_features": width, "reps": reps, "x_shape": [batch, width], "y_shape": [batch, width], "batch_dim": 0,
        "infer": False, "inputs": "uniform", "bound": 1.0, "seed": 0, "device": "cpu", "dtype": "float32",
        "threads": threads, "rounds": rounds, "limit": limit,
    }  # fmt: skip
    ours = {}
    original = process_of("qkan-0.2.3")
    if original is None:
        raise SystemExit("the original package is not installed: make bench-peers")
    with original as process:
        answers = [process.ask(request, 2 * limit)]
        for settings in DEVICES:
            layer.backend = settings
            error = distance(layer(x).detach(), truth)
            if not error < 1e-6:
                raise SystemExit(f"{settings} is off by {error}")
            ours[str(settings)] = seconds_of(layer, x, rounds)
        answers.append(process.ask(request, 2 * limit))
    # Before and after ours, because machines are noisy; the better time counts.
    theirs = min((statistics.median(a["seconds"]) for a in answers if "seconds" in a), default=None)
    print(f"forward + backward, {width} to {width}, R = {reps}, batch {batch}, median of {rounds}, {threads} thread(s)")
    print(f"{'original 0.2.3, qml':50s} {answers[0]['reason'] if theirs is None else f'{1e3 * theirs:.0f} ms'}")
    for name, times in ours.items():
        own = statistics.median(times)
        ratio = "" if theirs is None else f"  {theirs / own:.0f} times as fast"
        print(f"{name:50s} {1e3 * own:.1f} ms{ratio}")


if __name__ == "__main__":
    main()
