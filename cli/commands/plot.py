"""``qkan plot``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qkan.cli.lazy_groups import LazyGroup
from qkan.cli.options import OVERWRITE, RUN, config_option, data_option, out_option

if TYPE_CHECKING:
    from qkan.forecasting.season.profile import SeasonProfile


@click.group(cls=LazyGroup, lazy={"season": "qkan.cli.commands.plot:season"})
def plot() -> None:
    """Draw what a trained forecaster has learned."""


@click.command(
    short_help="Draw the learned seasons and print their closed form.",
    epilog="""\b
Examples:
  qkan plot season runs/telecom-qkan-seed0
  qkan plot season runs/milan-24-qkan-seed0 --series 1,1102 --out season.png""",
)
@RUN
@data_option("Other data with the same columns.")
@config_option("series", (), as_name="kept")
@out_option("Plot to write (.png).  [default: season.png in RUN]")
@OVERWRITE
def season(run: Path, data: str | None, kept: tuple[str, ...], out: Path | None, overwrite: bool) -> None:
    """Draw the seasons that the forecaster in the folder RUN has learned, and print their closed form.

    Above: what the model repeats when it forecasts on and on, fed with its own forecasts, over the mean of the training
    part. Below: how its forecast changes with the clock alone, all else as it is; a part of that is added to every
    forecast as it is, and for circuits and sines this part is a short sum of waves, which is printed.
    """
    from qkan import forecasting
    from qkan.cli.tables import print_facts
    from qkan.forecasting.io.files import check_new_file, make_folder
    from qkan.forecasting.season.plot import save_season_plot
    from qkan.forecasting.season.profile import season_profile

    out = run / "season.png" if out is None else out
    loaded = forecasting.load_run(run)
    check_new_file(out, overwrite)
    profile = season_profile(loaded, data, series=kept)
    make_folder(out.parent)
    save_season_plot(profile, out, title=f"{profile.model} on {loaded.data['name']}")
    for length in profile.seasons:
        print_facts(_facts(profile, length), title=f"Season of {length} steps: {profile.clocks[length].name}")
        for line in profile.sentences(length):
            click.echo(line)
        click.echo()
    click.echo(f"Plot: {out}")


def _facts(profile: SeasonProfile, season: int) -> dict[str, str]:
    """What the model's season is beside that of the data, in numbers."""
    rows, unit = profile.mean(season), f" {profile.unit}" if profile.unit else ""

    def size(name: str) -> str:
        return f"{rows[name].max() - rows[name].min():.3g}{unit} from lowest to highest"

    facts = {
        "data": size("y"),
        "model": f"{size(profile.model)}; leaves {100 * profile.unexplained(season):.2g} % of the data's variance over "
        "the season",
        "clock alone": f"changes a forecast by {size('effect')}",
    }
    if season == max(profile.seasons):
        drift = sum(profile.drift.values()) / len(profile.drift)
        facts["drift"] = f"{drift:+.3g}{unit} a season when it runs on by itself, taken out of the curve"
    return facts
