"""Forward and backward of one QKAN layer: our backends, the MLP and Linear it stands for, the original package.

    python benchmarks/layer.py                      # 256 samples, 64 to 64, 3 repetitions
    python benchmarks/layer.py --batch 1024 --features 32

Checks every backend against the state-vector reference first. The original package (PyPI ``qkan`` 0.2.3) is installed
into an environment of its own under ``build/peers`` and timed in a process of its own, before and after ours; the
better of its two medians counts, against one median of ours. Writes ``benchmarks/results/layer.json``.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch
from torch import Tensor, nn

from qkan import QKANLayer, __version__
from qkan.kernels import bloch

HERE = Path(__file__).resolve().parent
PEER = HERE.parent / "build" / "peers" / "qkan-0.2.3"


def milliseconds(step: Callable[[], object], rounds: int) -> float:
    for _ in range(3):
        step()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def training_step(module: nn.Module, x: Tensor) -> Callable[[], object]:
    return lambda: module(x).sum().backward()


def peer_results(arguments: list[str]) -> dict:
    python = PEER / "bin" / "python"
    complete = PEER / "installed"  # written last, so that an installation that broke off is done again
    if not complete.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", PEER], check=True)
        pins = [f"torch=={torch.__version__.split('+')[0]}", "qkan==0.2.3"]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *pins], check=True)
        complete.touch()
    done = subprocess.run(
        [python, "-P", HERE / "peer_original.py", *arguments], check=True, capture_output=True, text=True, cwd=PEER
    )
    return json.loads(done.stdout.splitlines()[-1])["results"]


def error_against_reference(layer: QKANLayer, x: Tensor) -> float:
    reference = QKANLayer(layer.in_features, layer.out_features, layer.reps, backend="reference", base_activation=None,
                          preact_trainable=layer.preact_trainable, dtype=torch.float64)  # fmt: skip
    reference.load_state_dict(layer.state_dict())
    return float((layer(x[:8]).double() - reference(x[:8].double())).abs().max().detach())


@click.command()
@click.option("--batch", default=256, show_default=True)
@click.option("--features", default=64, show_default=True)
@click.option("--reps", default=3, show_default=True)
@click.option("--rounds", default=15, show_default=True, help="Timed repetitions; medians are shown.")
@click.option("--threads", default=os.cpu_count() or 1, show_default=True)
@click.option(
    "--piece", default=bloch.PIECE_ELEMENTS, show_default=True, help="Elements of a piece of the Bloch route."
)
@click.option("--peer/--no-peer", default=True, show_default=True, help="Time the original package too.")
def main(batch: int, features: int, reps: int, rounds: int, threads: int, piece: int, peer: bool) -> None:
    """Time one QKAN layer, forward and backward."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    bloch.PIECE_ELEMENTS = piece
    x = torch.randn(batch, features, requires_grad=True)
    peer_arguments = [str(v) for v in (batch, features, features, reps, rounds, threads)]
    peers = [peer_results(peer_arguments)] if peer else []
    ours: dict[str, float] = {}
    errors: dict[str, float] = {}
    for name, backend, trained in (
        ("qkan spectral, fixed pre-activations", "spectral", False),
        ("qkan bloch, fixed pre-activations", "bloch", False),
        ("qkan bloch, trained pre-activations", "bloch", True),
    ):
        layer = QKANLayer(features, features, reps, backend=backend, preact_trainable=trained, base_activation=None)
        errors[name] = error_against_reference(layer, x)
        if errors[name] > 1e-4:
            raise click.ClickException(f"{name} differs from the reference by {errors[name]:.1e}; nothing was timed")
        ours[name] = milliseconds(training_step(layer, x), rounds)
    wide = (reps + 1) * features
    ours[f"MLP {features}-{wide}-{features}, as many parameters"] = milliseconds(
        training_step(nn.Sequential(nn.Linear(features, wide), nn.SiLU(), nn.Linear(wide, features)), x), rounds
    )
    ours[f"Linear {features}-{features}"] = milliseconds(training_step(nn.Linear(features, features), x), rounds)
    if peer:
        peers.append(peer_results(peer_arguments))
    merged = {
        kind: {
            solver: min(values) if all(isinstance(v, float) for v in values) else values[0]
            for solver, values in ((s, [p[kind][s] for p in peers]) for s in peers[0][kind])
        }
        for kind in (peers[0] if peers else {})
    }
    click.echo(f"batch {batch}, {features} to {features}, reps {reps}, forward + backward, {threads} threads, medians")
    for name, value in ours.items():
        note = f"   error {errors[name]:.1e}" if name in errors else ""
        click.echo(f"{name:55s} {value:9.2f} ms{note}")
    for kind, solvers in merged.items():
        for solver, value in solvers.items():
            shown = f"{value:9.2f} ms" if isinstance(value, float) else f"cannot run: {value}"
            click.echo(f"{f'original 0.2.3 {solver}, {kind}':55s} {shown}")
    report = {
        "size": {"batch": batch, "features": features, "reps": reps, "threads": threads},
        "milliseconds": ours,
        "largest_difference_from_reference": errors,
        "original": merged,
        "environment": {"qkan-seq": __version__, "torch": torch.__version__, "machine": platform.machine()},
    }
    if not peer:
        return  # a look, not the record
    path = HERE / "results" / "layer.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")
    click.echo(f"written: {path}")


if __name__ == "__main__":
    main()
