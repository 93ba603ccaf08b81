"""Speed and memory of `qkan data import milan` on an invented day of 5 million rows.

    python -m benchmarks.milan_import             # about a minute of one core, 350 MB of disk
    python -m benchmarks.milan_import --days 3 --freq 1h

Prints the rows per second of the whole import, checking, joining and writing included, and the peak memory of the
process that imports. The sums of all squares are checked against those of the rows that were written.
"""

import datetime as dt
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import pandas as pd

from qkan.datasets.milan.grid import FIRST_DAY, SQUARES, MilanOptions
from qkan.datasets.milan.importer import import_milan
from qkan.datasets.milan.sample import file_name, sample_rows

GROUP = 500  # squares that are made at a time


def _write_day(path: Path, day: dt.date, rows: int) -> tuple[int, float]:
    """Write about so many rows; their number and the sum of sms_in."""
    written, total = 0, 0.0
    with path.open("w") as file:
        for first in range(1, SQUARES + 1, GROUP):
            frame = sample_rows(day, range(first, first + GROUP), codes=12, seed=first)
            keep = round(rows * GROUP / SQUARES)
            if len(frame) > keep:
                chosen = np.random.default_rng(first).choice(len(frame), keep, replace=False)
                frame = frame.iloc[np.sort(chosen)]
            frame.to_csv(file, sep="\t", header=False, index=False)
            written += len(frame)
            total += frame["sms_in"].sum()
    return written, total


def _import(folder: Path, options: MilanOptions, pipe) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    summary = import_milan([folder], folder / "milan.parquet", options)
    seconds = time.perf_counter() - start
    pipe.send((seconds, before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, summary.facts["rows_read"]))


@click.command()
@click.option("--rows", default=5_000_000, show_default=True, help="Rows a day, about.")
@click.option("--days", default=1, show_default=True, help="Days.")
@click.option("--freq", default="10min", show_default=True, type=click.Choice(["10min", "1h"]), help="Step to write.")
@click.option("--repeats", default=3, show_default=True, help="Imports; the median counts.")
def main(rows: int, days: int, freq: str, repeats: int) -> None:
    context = multiprocessing.get_context("spawn")  # a process of its own: its peak is the import's
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        total = 0.0
        for number in range(days):
            day = FIRST_DAY + dt.timedelta(days=number)
            written, of_day = _write_day(folder / file_name(day), day, rows)
            size = (folder / file_name(day)).stat().st_size
            click.echo(f"{file_name(day)}: {written:,} rows, {size / 1e6:.0f} MB")
            total += of_day
        rates, peaks = [], []
        for _ in range(repeats):
            (folder / "milan.parquet").unlink(missing_ok=True)
            receive, send = context.Pipe(duplex=False)
            process = context.Process(target=_import, args=(folder, MilanOptions(freq=freq), send))
            process.start()
            seconds, before, peak, read = receive.recv()
            process.join()
            rates.append(read / seconds)
            peaks.append(peak)
            click.echo(
                f"{read:,} rows in {seconds:.2f} s: {rates[-1]:,.0f} rows/s, peak memory {peak / 1024:.0f} MiB "
                f"({before / 1024:.0f} MiB before the import)"
            )
        y = pd.read_parquet(folder / "milan.parquet", columns=["y"])["y"]
        np.testing.assert_allclose(y.sum(), total, rtol=1e-9)
        click.echo(f"median {np.median(rates):,.0f} rows/s, highest peak {max(peaks) / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
