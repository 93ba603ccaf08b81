"""``qkan data fetch milan`` and ``qkan data import milan``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from qkan.cli.errors import interruption
from qkan.cli.progress import FetchDisplay, ImportDisplay


@click.group("fetch")
def fetch() -> None:
    """Download a public data set."""


@click.group("import")
def import_data() -> None:
    """Turn a public data set into a file for --data."""


@fetch.command(
    "milan",
    short_help="Download the daily files of the Milan grid.",
    epilog="""\b
Examples:
  qkan data fetch milan --days 2013-11-01..2013-11-07
  qkan data fetch milan --out /data/milan""",
)
@click.option("--days", metavar="DAYS", help="Days and ranges, such as 2013-11-01..2013-11-03.  [default: all 62]")
@click.option("--out", type=click.Path(path_type=Path), default="milan", show_default=True, help="Folder of the files.")
@click.option("--base-url", metavar="URL", help="Dataverse server, https.  [default: https://dataverse.harvard.edu]")
def fetch_milan(days: str | None, out: Path, base_url: str | None) -> None:
    """Download the daily files of the Milan grid (about 300 MB each, ODbL).

    A file gets its name when its checksum agrees with the server's. An interrupted download goes on with the files that
    are missing.
    """
    from qkan.datasets.milan import fetch as milan_fetch
    from qkan.datasets.milan.grid import parse_days

    chosen = None if days is None else parse_days(days)
    try:
        with FetchDisplay() as display:
            paths = milan_fetch.fetch_milan(out, chosen, base_url=base_url or milan_fetch.BASE_URL, progress=display)
    except KeyboardInterrupt as cause:
        raise interruption("Interrupted. The same command goes on where it stopped.", cause) from None
    click.echo(f"{len(paths)} {'file' if len(paths) == 1 else 'files'} in {out}")
    click.echo(f"next: qkan data import milan {out}")


@import_data.command(
    "milan",
    short_help="Sum the daily files of the Milan grid to regular series.",
    epilog="""\b
Examples:
  qkan data import milan milan/
  qkan data import milan milan/*.txt --signal internet --freq 1h \\
      --squares 1,2,5000-5060 --out milan.parquet""",
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--squares", metavar="LIST", help="Squares to keep, such as 1,2,5000-5060.  [default: all]")
@click.option(
    "--signal", default="sms_in", show_default=True, metavar="[sms_in|sms_out|call_in|call_out|internet]",
    help="What is summed.",
)  # fmt: skip
@click.option("--freq", default="10min", show_default=True, metavar="[10min|1h]", help="Step.")
@click.option(
    "--fill", default="zero", show_default=True, metavar="[zero|missing]", help="What an interval without rows holds."
)
@click.option("--out", type=click.Path(path_type=Path), help="Parquet file.  [default: where --data milan looks]")
@click.option("--overwrite", is_flag=True, help="Replace the file.")
def import_milan(
    paths: tuple[Path, ...], squares: str | None, out: Path | None, overwrite: bool, **chosen: Any
) -> None:
    """Sum the daily files of the Milan grid over country codes and write regular series.

    PATHs are daily files (.txt, .tsv or .csv, also with .gz, .bz2 or .xz), .zip archives or folders of them. Times are
    Italian standard time. An interrupted import goes on where it stopped.
    """
    from qkan.datasets.milan import importer as milan_import
    from qkan.datasets.milan.grid import MilanOptions, parse_squares

    options = MilanOptions(squares=None if squares is None else parse_squares(squares), **chosen)
    try:
        with ImportDisplay() as display:
            done = milan_import.import_milan(paths, out, options, overwrite=overwrite, progress=display)
    except KeyboardInterrupt as cause:
        raise interruption("Interrupted. The same command goes on where it stopped.", cause) from None
    _print_import(done.facts, done.path)


def _print_import(facts: dict[str, Any], path: Path) -> None:
    from qkan.cli.tables import print_facts

    filled = facts["steps_filled"]
    share = filled / (facts["squares"] * facts["steps"])
    shown = {
        "signal": f"{facts['signal']}, every {facts['freq']}",
        "days": facts["days"] + (f", {facts['days_missing']} of them missing" if facts["days_missing"] else ""),
        "squares": f"{facts['squares']:,}",
        "steps": f"{facts['steps']:,} a square, Italian standard time (UTC+01:00)",
        "rows read": f"{facts['rows_read']:,}",
        "filled": f"{filled:,} steps without rows ({share:.1%}) as {facts['fill']}",
        "licence": f"{facts['licence']}, {facts['source']}",
        "file": str(path),
    }
    silent = facts["squares_without_rows"]
    if isinstance(silent, list) and silent:
        named = ", ".join(map(str, silent[:8])) + (f" and {len(silent) - 8} more" if len(silent) > 8 else "")
        shown["left out"] = f"squares without a row: {named}"
    if facts["intervals_without_rows"]:
        count = facts["intervals_without_rows"]
        shown["note"] = f"{count:,} intervals have no row of any square: a file may be incomplete"
    print_facts(shown)
