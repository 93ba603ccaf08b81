"""The entry of the command line. Commands are imported when they are used; torch and pandas when they are needed."""

from __future__ import annotations

import click

from qkan import __version__
from qkan._util.signals import terminations_interrupt
from qkan.cli.lazy_groups import RootGroup
from qkan.cli.streams import Streams

COMMANDS = {
    "forecast": "qkan.cli.commands.forecast:forecast",
    "train": "qkan.cli.commands.train:train",
    "compare": "qkan.cli.commands.compare:compare",
    "predict": "qkan.cli.commands.predict:predict",
    "evaluate": "qkan.cli.commands.evaluate:evaluate",
    "report": "qkan.cli.commands.report:report",
    "plot": "qkan.cli.commands.plot:plot",
    "export": "qkan.cli.commands.export:export",
    "validate": "qkan.cli.commands.validate:validate",
    "circuit": "qkan.cli.commands.circuit:circuit",
    "data": "qkan.cli.commands.data:data",
    "doctor": "qkan.cli.commands.doctor:doctor",
    "completion": "qkan.cli.commands.completion:completion",
}


START = f"""\
qkan {__version__}: forecast series, with quantum-inspired networks or what is better.

  qkan data show FILE           what is in a file: its step, seasons, naive errors, a plot
  qkan forecast FILE            try methods for two minutes, and forecast with the best of them
  qkan train lstm --data FILE   train one QKAN-LSTM, or another cell
  qkan report RUN               a page that evaluates it
  qkan predict RUN              what comes next, with intervals

FILE is a .csv, .parquet or .xlsx file or a built-in series such as telecom; RUN is the folder of a training.
All commands: qkan --help.  About one: qkan forecast --help.  What runs on this machine: qkan doctor."""
"""What ``qkan`` alone prints."""


@click.group(
    cls=RootGroup,
    lazy=COMMANDS,
    start=START,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with:  qkan forecast telecom --horizon 12",
)
@click.version_option(__version__, prog_name="qkan")
@click.option("--traceback", is_flag=True, help="Show the full Python traceback of an error (for bug reports).")
def cli(traceback: bool) -> None:
    """Train, compare and use quantum-inspired forecasters.

    The activations of the networks are single-qubit circuits, simulated exactly on ordinary hardware.
    """


def main() -> None:
    """Run the command line; the console script ``qkan`` calls this.

    A reader that goes away does not stop the command. Output that is lost for another reason, such as a full disk, is
    said in one line at the end, with exit code 2.
    """
    terminations_interrupt()
    streams = Streams()
    try:
        cli.main(prog_name="qkan")
    except SystemExit as done:
        lost = streams.end()
        if lost is not None and not done.code:
            click.echo(lost, err=True)
            raise SystemExit(2) from None
        raise
