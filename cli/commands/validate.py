"""``qkan validate``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qkan.cli.options import ListType, count_option, out_option
from qkan.forecasting.config import METRIC_NAMES, model_name

if TYPE_CHECKING:
    from qkan.forecasting import Run
    from qkan.quantum import Noise, PennyLane
    from qkan.validation import Difference

DEVICES = ("default.qubit", "lightning.qubit", "default.mixed")


@click.command(
    short_help="Compare every backend with PennyLane.",
    epilog="""\b
Examples:
  qkan validate
  qkan validate --shots 4096
  qkan validate runs/telecom-qkan-seed0 \\
      --noise depolarizing=0.01,amplitude_damping=0.02,readout=0.03""",
)
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option(
    "--backends", type=ListType(str, "backend", "spectral,bloch"), metavar="NAME,...",
    help="Ways to evaluate circuits to compare.  [default: auto and all that can run here]",
)  # fmt: skip
@click.option(
    "--device", type=click.Choice(DEVICES), metavar="NAME",
    help=f"PennyLane's device: {', '.join(DEVICES)}.  [default: default.qubit; with --noise default.mixed]",
)  # fmt: skip
@click.option(
    "--diff-method", type=click.Choice(("backprop", "adjoint", "parameter-shift")), metavar="NAME",
    help="PennyLane's way to gradients: backprop, adjoint or parameter-shift.  [default: the device's best]",
)  # fmt: skip
@count_option("--shots", "Also measure circuits with N shots.", least=16)
@click.option("--noise", metavar="NAME=P,...", help="Also forecast on noisy circuits (with RUN).")
@count_option("--windows", "Windows of the test part that are forecast with noise.", default=100)
@count_option("--seed", "Seed of all random numbers.", default=0, least=0)
@click.option("--force", is_flag=True, help="Run even what is estimated to take very long.")
@out_option("Plot that --noise draws.  [default: noise.png in RUN]")
def validate(
    run: Path | None,
    backends: tuple[str, ...] | None,
    device: str | None,
    diff_method: str | None,
    shots: int | None,
    noise: str | None,
    windows: int,
    seed: int,
    force: bool,
    out: Path | None,
) -> None:
    """Compare every backend with PennyLane: outputs and all gradients.

    Without RUN, fresh random layers are compared over a grid of circuits, repetitions, shapes and precisions; with the
    folder RUN, the forecasts of its model. The largest differences are printed, relative to the largest entry where
    that is above 1. If one is above its tolerance, the command ends with exit code 1.

    --shots prints the error of estimates from shots beside the one that statistics predict. --noise prints the errors
    of the forecasts against the strength of the noise, and draws them.

    It needs PennyLane: pip install 'qkan-seq[pennylane]'.
    """
    if noise is not None and run is None:
        raise click.UsageError("--noise needs the folder of a trained forecaster: qkan validate RUN --noise ...")
    if out is not None and noise is None:
        raise click.UsageError("--out names the plot that --noise draws; add --noise, or do without --out.")
    from qkan import forecasting, validation
    from qkan.quantum import Noise, PennyLane

    disturbed = None if noise is None else Noise.parse(noise)
    settings = PennyLane(device=device, diff_method=diff_method, force=force)
    loaded = None if run is None else forecasting.load_run(run)
    if loaded is None:
        differences = validation.validate_layers(seed=seed, backends=backends, settings=settings)
    else:
        differences = validation.validate_run(loaded, backends=backends, settings=settings)
    _print_differences(differences, settings)
    if shots is not None:
        _print_shots(shots, loaded, settings, seed)
    if loaded is not None and disturbed is not None:
        _print_noise(loaded, disturbed, windows, force, out)
    _fail_on(differences)


def _print_differences(differences: Sequence[Difference], settings: PennyLane) -> None:
    from qkan.cli.tables import count, print_rows

    largest: dict[tuple[str, str], list[Difference]] = defaultdict(list)
    for difference in differences:
        kind = "outputs" if difference.quantity == "output" else "gradients"
        largest[difference.backend, f"{kind}, {difference.case.rpartition(', ')[2]}"].append(difference)
    rows = []
    for (backend, kind), found in largest.items():
        worst = max(found, key=lambda difference: (not difference.passed, difference.value))
        verdict = "ok" if all(difference.passed for difference in found) else "WRONG"
        rows.append(
            (backend, kind, f"{worst.value:.1e}", f"{worst.tolerance:.0e}", verdict, str(len(found)), worst.case)
        )
    head = ("backend", "what", "difference", "allowed", "", "compared", "largest at")
    print_rows(head, rows, title=f"Differences from {settings}")
    click.echo(f"{count(len(differences), 'tensor')} compared")


def _print_shots(shots: int, run: Run | None, settings: PennyLane, seed: int) -> None:
    from qkan import validation
    from qkan.cli.tables import number, print_rows
    from qkan.validation.runs import circuit_layers

    layers = None if run is None else list(circuit_layers(run.model).values())
    errors = validation.shot_errors(shots, layers=layers, settings=settings, seed=seed)
    rows = [(f"{e.shots:,}", *(number(v) for v in (e.measured, e.predicted, e.bound))) for e in errors]
    head = ("shots", "measured error", "sqrt(mean(1 - <Z>^2) / shots)", "1 / sqrt(shots)")
    print_rows(head, rows, title=f"Error of <Z>, root mean square over {errors[0].circuits:,} circuits")


def _print_noise(run: Run, noise: Noise, windows: int, force: bool, out: Path | None) -> None:
    from qkan import validation
    from qkan.cli.tables import number, print_rows
    from qkan.forecasting.io.files import make_folder
    from qkan.forecasting.runs.plots import save_noise_plot

    forecasts, naive = validation.noise_curve(run, noise, windows=windows, force=force)
    metrics = ("mae", "rmse", "r2", "smape", "mase")
    rows = [(f"{f.strength:g}", str(f.noise), *(number(f.metrics[name]) for name in metrics)) for f in forecasts]
    title = f"Noisy forecasts; MAE of {model_name('naive')}: {number(naive)}"
    print_rows(("strength", "noise", *(METRIC_NAMES[name] for name in metrics)), rows, title=title)
    path = run.path / "noise.png" if out is None else out
    make_folder(path.parent)
    strengths, errors = ([f.strength for f in forecasts], [f.metrics["mae"] or 0.0 for f in forecasts])
    unit = str(run.data.get("unit") or "unit of the series")
    save_noise_plot(path, strengths, errors, naive=naive, noise=str(noise), unit=unit)
    click.echo(f"plot: {path}")


def _fail_on(differences: Sequence[Difference]) -> None:
    wrong = [difference for difference in differences if not difference.passed]
    if wrong:
        worst = wrong[0]
        raise click.ClickException(
            f"{len(wrong)} of {len(differences)} differences are above their tolerance, the first of {worst.backend}: "
            f"{worst.quantity} of {worst.case} is off by {worst.value:.1e}, allowed are {worst.tolerance:.0e}"
        )
