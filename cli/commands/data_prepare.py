"""``qkan data prepare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from qkan.cli.errors import interruption
from qkan.cli.options import config_option, file_options
from qkan.cli.progress import PrepareDisplay


@click.command(
    short_help="Check a large file once and write its series as a panel for --data.",
    epilog="""\b
Examples:
  qkan data prepare panel.parquet --out panel/
  qkan data prepare calls.csv --out calls/ \\
      --time-col hour --target-col calls --missing zero
  qkan train lstm --data panel/ --hidden-size 8""",
)
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the panel.")
@file_options
@config_option("freq", as_name="frequency")
@click.option("--overwrite", is_flag=True, help="Replace the panel in the folder.")
def prepare(path: Path, out: Path, overwrite: bool, **how: Any) -> None:
    """Check a table of any size and write its series as a panel.

    FILE is a .csv, .csv.gz, .parquet or .xlsx file, one row a value, in any order; it need not fit into memory. The
    panel is a folder that --data takes like a file: commands map what they look at, and processes their own series. It
    holds values and times, no covariates. An interrupted preparation goes on where it stopped.
    """
    from qkan.datasets import prepare_panel

    try:
        with PrepareDisplay() as display:
            done = prepare_panel(path, out, overwrite=overwrite, progress=display, **how)
    except KeyboardInterrupt as cause:
        raise interruption("Interrupted. The same command goes on where it stopped.", cause) from None
    facts = done.facts
    click.echo(
        f"{facts['series']:,} series, {facts['points']:,} values, step {facts['frequency'] or facts['step']}, in {out}"
    )
    click.echo(f"next: qkan train lstm --data {out}{'/' if '/' not in str(out) else ''}")
