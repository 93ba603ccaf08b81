"""``qkan export``."""

from __future__ import annotations

from pathlib import Path

import click

from qkan.cli.options import OVERWRITE, RUN, data_option, out_option
from qkan.forecasting.config import EXPORT_FORMATS


@click.command(
    short_help="Write a trained forecaster as one file for onnxruntime or PyTorch.",
    epilog="""\b
Examples:
  qkan export runs/telecom-qkan-seed0 --out telecom.onnx
  qkan export runs/telecom-qkan-seed0 --format torch-export
  qkan predict telecom.onnx --horizon 12""",
)
@RUN
@click.option(
    "--format",
    type=click.Choice(list(EXPORT_FORMATS)),
    default="onnx",
    show_default=True,
    help="onnx for onnxruntime and qkan predict; torch-export for torch.export.load, which runs code of the file.",
)
@out_option("The file, .onnx or .pt2.  [default: the name of the run and that]")
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
def export(run: Path, format: str, out: Path | None, overwrite: bool, data: str | None, margin: float) -> None:
    """Write the trained forecaster in the folder RUN as one file that runs without qkan's layers.

    The file is written only if it gives the forecasts of the run on windows of the data, to 1e-5 of the largest scaled
    one. It holds scaler, options and names of the series, so `qkan predict` takes an ONNX file like the run.

    --format onnx needs: pip install 'qkan-seq[onnx]'.
    """
    from qkan import forecasting
    from qkan.cli.tables import count

    if out is None:
        named = run if run.name else run.resolve()  # a run may be called "."
        out = named.with_name(named.name + EXPORT_FORMATS[format])
    loaded = forecasting.load_run(run)
    made = forecasting.export(loaded, out, format, data=data, margin=margin, overwrite=overwrite)
    click.echo(f"{made.path}: {made.size:,} bytes")
    click.echo(f"largest difference from the run on {count(made.windows, 'window')}: {made.difference:.1e}")
    if made.margin is None:
        click.echo("holds for inputs of any size")
    else:
        click.echo(
            f"holds for inputs up to {made.margin:g} times the largest of the data; beyond that, predicting is an error"
        )
