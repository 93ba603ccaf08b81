"""``qkan predict``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import IO

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
  qkan predict telecom.onnx --data new-calls.csv
  qkan predict runs/telecom-qkan-seed0 --follow calls.csv
  tail -f calls.csv | qkan predict runs/telecom-qkan-seed0 --follow -""",
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
@click.option(
    "--follow",
    metavar="FILE",
    help="Follow a CSV file that grows, or - for standard input, and forecast as rows come, until Ctrl-C. What the "
    "series have come to is kept in RUN/stream.safetensors, where the next --follow goes on.",
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
    follow: str | None,
    out: Path | None,
    overwrite: bool,
    **others: str,
) -> None:
    """Forecast what follows the last values, with the trained forecaster in the folder RUN.

    RUN may also be an ONNX file that `qkan export` wrote.

    The result is a table in CSV form: unique_id, ds and the forecaster's name, such as QKAN-LSTM (values in the unit of
    the series), and the ends of intervals, QKAN-LSTM-lo-90 and QKAN-LSTM-hi-90 for example, if --level asks for them or
    the training was for the quantile loss. With --follow there is one more column behind ds, cutoff: the last time that
    was known.
    """
    from qkan import forecasting
    from qkan._util.csv_cells import csv_text
    from qkan.cli.tables import count
    from qkan.datasets import has_clock
    from qkan.forecasting.io.files import check_new_file, make_folder, write_output

    if out is not None:
        check_new_file(out, overwrite)
    if follow is not None:
        idle = {
            "--future": future, "--horizon": horizon, "--conformal": conformal,
            f"--intervals {others['intervals']}": others["intervals"] != "split",
            f"--new-series {others['new_series']}": others["new_series"] != "refuse",
        }  # fmt: skip
        for name, given in idle.items():
            if given:
                raise click.UsageError(f"{name} has no effect with --follow; leave one of them out")
        _follow(run, follow, data, level, out)
        return
    is_file = run.suffix in forecasting.EXPORT_FORMATS.values() and not run.is_dir()
    trained = forecasting.load_exported(run) if is_file else forecasting.load_run(run)
    table = forecasting.predict(
        trained,
        data=data,
        future=future,
        horizon=horizon,
        level=level,
        conformal=conformal,
        **others,
    )
    text = csv_text(table, with_clock=has_clock(trained.data["frequency"]))
    if out is None:
        click.echo(text, nl=False)
        return
    make_folder(out.parent)
    content = text.encode()
    write_output(out, lambda file: file.write(content))
    click.echo(f"{count(len(table), 'forecast')} written to {out}", err=True)


def _follow(run: Path, source: str, data: str | None, level: tuple[float, ...] | None, out: Path | None) -> None:
    """Print or write forecasts as the rows of a file come."""
    from qkan._util.csv_cells import csv_text
    from qkan.cli.errors import interruption
    from qkan.cli.tables import count
    from qkan.datasets import has_clock
    from qkan.forecasting import load_run
    from qkan.forecasting.io.files import make_folder, only_writer
    from qkan.forecasting.streaming.follow import Lines, follow, open_stream

    trained, written = load_run(run), 0
    clock = has_clock(trained.data["frequency"])
    with contextlib.ExitStack() as opened:
        opened.enter_context(only_writer(run))
        if source == "-":
            lines = Lines(sys.stdin.buffer, "standard input", grows=False)
        else:
            lines = Lines(opened.enter_context(_followed(source)), source, grows=True)
        stream = open_stream(trained, data)
        if out is not None:
            make_folder(out.parent)
        sink = None if out is None else opened.enter_context(out.open("w", encoding="utf-8"))
        try:
            tables = opened.enter_context(contextlib.closing(follow(stream, lines, level)))
            for table in tables:
                text = csv_text(table, with_clock=clock)
                click.echo(text if not written else text.partition("\n")[2], nl=False, file=sink)
                written += len(table)
                if sink is not None:
                    sink.flush()
        except KeyboardInterrupt as error:
            raise interruption(f"stopped; the next --follow of {run} goes on from here", error) from None
    if out is not None:
        click.echo(f"{count(written, 'forecast')} written to {out}", err=True)


def _followed(source: str) -> IO[bytes]:
    """The file to follow, open.

    Raises:
        UserError: there is none.
    """
    import stat

    from qkan.cli.errors import UserError

    path = Path(source)
    if path.suffix in (".parquet", ".xlsx", ".gz"):
        raise UserError(f"{source} does not grow line by line; follow a CSV file, or give it to --data")
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UserError(f"{source} is no regular file; follow a pipe by standard input: --follow -")
        return path.open("rb")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"cannot follow {source}: {why}; give a CSV file, or - for standard input") from error
