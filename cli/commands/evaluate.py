"""``qkan evaluate``."""

from __future__ import annotations

from pathlib import Path

import click

from qkan.cli.options import RUN, config_option, data_option


@click.command(
    short_help="Compute the errors of a trained forecaster.",
    epilog="""\b
Examples:
  qkan evaluate runs/telecom-qkan-seed0
  qkan evaluate runs/telecom-qkan-seed0 --data new-calls.csv""",
)
@RUN
@data_option("Other data with the same columns.")
@config_option("new_series", "refuse")
def evaluate(run: Path, data: str | None, new_series: str) -> None:
    """Compute the errors of the trained forecaster in the folder RUN on the test part of its data.

    The errors are given in the unit of the series, next to those of forecasts that need no training. Other data is
    split like the data of the run and scaled as in training; a series that the run was not trained on
    is refused, or scaled by its own training part with --new-series scale.
    """
    from qkan import forecasting
    from qkan.cli.tables import print_scores
    from qkan.forecasting.runs.inference import scores_of

    loaded = forecasting.load_run(run)
    scores, medians, without_mase = scores_of(loaded, data, new_series)
    print_scores(scores, loaded, medians, without_mase)
