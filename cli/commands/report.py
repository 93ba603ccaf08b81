"""``qkan report``."""

from __future__ import annotations

from pathlib import Path

import click

from qkan.cli.options import OVERWRITE, RUN, ListType, config_option, count_option, data_option, out_option
from qkan.forecasting.config import BASELINE_NAMES

_ORIGINS = 1000


@click.command(
    short_help="Write a page that evaluates a trained forecaster.",
    epilog="""\b
Examples:
  qkan report runs/telecom-qkan-seed0
  qkan report runs/telecom-qkan-seed0 --beside runs/telecom-lstm-seed0
  qkan report runs/telecom-qkan-seed0 --baselines naive,ets \\
      --levels 50,80,95 --out report.html""",
)
@RUN
@data_option("Other data with the same columns.")
@out_option("File for the page.  [default: report.html in RUN]")
@click.option(
    "--baselines",
    type=ListType(str, "baseline", "naive,ets"),
    help=f"Some of {', '.join(BASELINE_NAMES)}, or none.  [default: all of no extra; sarima for up to 100 series]",
)
@click.option(
    "--levels",
    type=ListType(float, "percentage", "80,90"),
    help="Levels of the prediction intervals in percent.  [default: those of the training, or 80,90]",
)
@count_option("--origins", "Cover at most the last N origins of the test part of each series.", default=_ORIGINS)
@count_option("--workers", "Processes that fit baselines.", default=1, most=1024)
@config_option("intervals", "split")
@click.option(
    "--beside",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="RUN",
    help="Another run with the same test part, such as an LSTM, to compare with; may be given several times.",
)
@OVERWRITE
def report(
    run: Path,
    data: str | None,
    out: Path | None,
    baselines: tuple[str, ...] | None,
    levels: tuple[float, ...] | None,
    origins: int,
    workers: int,
    intervals: str,
    beside: tuple[Path, ...],
    overwrite: bool,
) -> None:
    """Write a page about the forecaster in the folder RUN: no network, readable on a phone and on paper.

    It begins with whether the forecaster is better than the naive forecast, ridge and other methods, and whether by
    more than chance. Below are the forecasts with their intervals, to zoom and to hover; errors on the test part beside
    those of statistical baselines from the same origins; the measured coverage of intervals; and what the residuals
    hold.
    """
    from qkan import forecasting
    from qkan.cli.tables import number, print_rows
    from qkan.forecasting.report import report_run

    chosen = () if baselines == ("none",) else baselines
    made = report_run(
        forecasting.load_run(run),
        out,
        data=data,
        baselines=chosen,
        levels=levels,
        origins=origins,
        workers=workers,
        intervals=intervals,
        beside=[forecasting.load_run(other) for other in beside],
        overwrite=overwrite,
    )
    pooled = made.accuracy.pooled
    names = [name for name in pooled if name in ("mae", "rmse", "mase") or str(name).startswith("coverage-")]
    heads = [
        str(name).replace("coverage-", "inside % of ") if "-" in str(name) else str(name).upper() for name in names
    ]
    rows = [
        [str(row["model"]), *(number(None if row[name] != row[name] else row[name]) for name in names)]
        for row in pooled.to_dict("records")
    ]
    print_rows(["forecast", *heads], rows, title="Test part")
    for note in made.notes:
        click.echo(note)
    click.echo(f"Report written to {made.path}")
