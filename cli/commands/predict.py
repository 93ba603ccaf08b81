"""``qkan predict``."""

from __future__ import annotations

from pathlib import Path

import click

from qkan.cli.options import OVERWRITE, RUN, ListType, config_option, data_option, out_option
from qkan.forecasting.config.options import HORIZON


@click.command(
    short_help="Forecast what follows the last values of the data.",
    epilog="""\b
Examples:
  qkan predict runs/telecom-qkan-seed0 --horizon 12
  qkan predict runs/telecom-qkan-seed0 --level 80,90
  qkan predict runs/telecom-qkan-seed0 --data new-calls.csv --out forecast.csv
  qkan predict telecom.onnx --data new-calls.csv""",
)
@RUN
@data_option("Other data to go on from.")
@click.option(
    "--future",
    metavar="FILE",
    help="File with the covariates that are known in advance, one row for every step to forecast.  [default: the rows "
    "without a value at the end of the data]",
)
@click.option(
    "--horizon",
    type=click.IntRange(HORIZON.low, HORIZON.high),
    metavar="N",
    help="Steps to forecast; beyond the horizon of the training, forecasts are fed back.  [default: as trained]",
)
@click.option(
    "--level",
    type=ListType(float, "percentage", "80,90"),
    help="Prediction intervals in percent, separated by commas: those of the training (quantile loss), or else "
    "conformal ones from the errors on the validation part.  [default: those of the training]",
)
@click.option(
    "--conformal", is_flag=True, help="Conformal intervals, even if the training gave others (quantile loss)."
)
@config_option("intervals", "split")
@config_option("new_series", "refuse")
@out_option("CSV file for the forecast.  [default: the terminal]")
@OVERWRITE
def predict(
    run: Path,
    data: str | None,
    future: str | None,
    horizon: int | None,
    level: tuple[float, ...] | None,
    conformal: bool,
    intervals: str,
    new_series: str,
    out: Path | None,
    overwrite: bool,
) -> None:
    """Forecast what follows the last values, with the trained forecaster in the folder RUN.

    RUN may also be an ONNX file that `qkan export` wrote.

    The result is a table in CSV form: unique_id, ds and the forecaster's name, such as QKAN-LSTM (values in the unit of
    the series), and the ends of intervals, QKAN-LSTM-lo-90 and QKAN-LSTM-hi-90 for example, if --level asks for them or
    the training was for the quantile loss.
    """
    from qkan import forecasting
    from qkan._util.csv_cells import csv_text
    from qkan.cli.tables import count
    from qkan.datasets import has_clock
    from qkan.forecasting.io.files import check_new_file, make_folder, write_output

    if out is not None:
        check_new_file(out, overwrite)
    is_file = run.suffix in forecasting.EXPORT_FORMATS.values() and not run.is_dir()
    trained = forecasting.load_exported(run) if is_file else forecasting.load_run(run)
    table = forecasting.predict(
        trained,
        data=data,
        future=future,
        horizon=horizon,
        level=level,
        conformal=conformal,
        intervals=intervals,
        new_series=new_series,
    )
    text = csv_text(table, with_clock=has_clock(trained.data["frequency"]))
    if out is None:
        click.echo(text, nl=False)
        return
    make_folder(out.parent)
    content = text.encode()
    write_output(out, lambda file: file.write(content))
    click.echo(f"{count(len(table), 'forecast')} written to {out}", err=True)
