"""``qkan evaluate``."""

from __future__ import annotations

from pathlib import Path

import click

from qkan.cli.options import RUNS, config_option, data_option


@click.command(
    short_help="Compute the errors of trained forecasters.",
    epilog="""\b
Examples:
  qkan evaluate runs/telecom-qkan-seed0
  qkan evaluate runs/telecom-qkan-seed0 runs/telecom-lstm-seed0
  qkan evaluate runs/telecom-qkan-seed0 --data new-calls.csv""",
)
@RUNS
@data_option("Other data with the same columns.")
@config_option("new_series", "refuse")
def evaluate(runs: tuple[Path, ...], data: str | None, new_series: str) -> None:
    """Compute the errors of the trained forecaster in each folder RUN on the test part of its data.

    The errors are given in the unit of the series, next to those of forecasts that need no training. Several runs must
    be tested on the same targets; they share one table, with the simple methods of the first. Other data is
    split like the data of the run and scaled as in training; a series that the run was not trained on
    is refused, or scaled by its own training part with --new-series scale.
    """
    from qkan import forecasting
    from qkan.cli.tables import print_protocol, print_scores
    from qkan.forecasting.comparison.significance import simple_verdicts
    from qkan.forecasting.runs.inference import names_of, scores_of_all

    loaded = [forecasting.load_run(run) for run in dict.fromkeys(runs)]
    scores, medians, without_mase = scores_of_all(loaded, data, new_series)
    print_scores(scores, loaded[0], medians, without_mase, models=names_of(loaded))
    for line in simple_verdicts(loaded, names_of(loaded), data, new_series):
        click.echo(line)
    for run in loaded if data is None else []:
        print_protocol(run)
