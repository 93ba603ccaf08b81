"""``qkan export``."""

from __future__ import annotations

from pathlib import Path

import click

from qkan.cli.options import OVERWRITE, RUN, data_option, out_option
from qkan.forecasting.config import EXPORT_EDGES, EXPORT_FORMATS


@click.command(
    short_help="Write a trained forecaster as an ONNX, PyTorch or C file.",
    epilog="""\b
Examples:
  qkan export runs/telecom-qkan-seed0 --out telecom.onnx
  qkan export runs/telecom-qkan-seed0 --format torch-export
  qkan export runs/telecom-qkan-seed0 --format c --edges int8 --out telecom.c
  qkan predict telecom.onnx --horizon 12""",
)
@RUN
@click.option(
    "--format",
    type=click.Choice(list(EXPORT_FORMATS)),
    default="onnx",
    show_default=True,
    help="onnx for onnxruntime and qkan predict; torch-export for torch.export.load, which runs code of the file; "
    "c for one C99 file that needs nothing but math.h.",
)
@out_option("The file, .onnx, .pt2 or .c.  [default: the name of the run and that]")
@OVERWRITE
@data_option("Data to compare run and file on.")
@click.option(
    "--margin",
    type=float,
    default=2.0,
    show_default=True,
    metavar="X",
    help="With --preact-trainable, the file holds for inputs up to so many times the largest of the data.  [x>=1]",
)
@click.option(
    "--edges",
    type=click.Choice(list(EXPORT_EDGES)),
    help="Circuits in a C file: exact, or as cubic or int8 tables, with a printed bound on what these change.  "
    "[default: exact, which is the smallest]",
)
def export(
    run: Path, format: str, out: Path | None, overwrite: bool, data: str | None, margin: float, edges: str | None
) -> None:
    """Write the trained forecaster in the folder RUN as one file that runs without qkan's layers.

    The file is written only if it gives the forecasts of the run on windows of the data, to 1e-5 of the largest scaled
    one. It holds scaler, options and names of the series, so `qkan predict` takes an ONNX file like the run.

    --format onnx needs: pip install 'qkan-seq[onnx]'. --format c writes a file whose head says how to call it, and
    compares it with the run where it finds a C compiler (cc).
    """
    from qkan import forecasting
    from qkan.cli.tables import count

    if out is None:
        named = run if run.name else run.resolve()  # a run may be called "."
        out = named.with_name(named.name + EXPORT_FORMATS[format])
    loaded = forecasting.load_run(run)
    made = forecasting.export(loaded, out, format, data=data, margin=margin, edges=edges, overwrite=overwrite)
    click.echo(f"{made.path}: {made.size:,} bytes")
    for note in made.notes:
        click.echo(note)
    if made.difference is not None:
        click.echo(f"largest difference from the run on {count(made.windows, 'window')}: {made.difference:.1e}")
    if made.bound:
        click.echo("holds for inputs up to 8,192 in scaled values; beyond that, there is no forecast")
    elif made.margin is None:
        click.echo("holds for inputs of any size")
    else:
        click.echo(
            f"holds for inputs up to {made.margin:g} times the largest of the data; beyond that, predicting is an error"
        )
