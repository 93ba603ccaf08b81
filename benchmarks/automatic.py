"""How far `qkan forecast` is from the best single method, chosen afterwards, series by series.

    python -m benchmarks.automatic telecom --horizon 1
    python -m benchmarks.automatic milan-24 --horizon 24 --series 6
    python -m benchmarks.automatic Hourly-train.csv --horizon 48 --series 20
    python -m benchmarks.automatic ETTh1.csv --protocol ltsf --horizon 96

The newest fifth of every series tests. The search knows what comes before, and chooses; then every method that it tried
is fitted to all of that and forecasts from every origin of the test part, as does the choice. Errors are mean absolute
errors. What the search left out for want of time is not among the single methods either.
"""

import statistics
import warnings
from dataclasses import replace
from typing import Any

import click
import numpy as np
import torch

from qkan.datasets import DataNotice, LastSteps, Series, keep_series
from qkan.forecasting import TrainConfig
from qkan.forecasting.automatic.budget import Budget
from qkan.forecasting.automatic.candidates import FittedBaseline, astray, fit_candidate
from qkan.forecasting.automatic.options import DEFAULT_CANDIDATES, AutoConfig, parse_budget
from qkan.forecasting.automatic.parts import Parts
from qkan.forecasting.automatic.trials import Search, mean_error, search, with_sizes
from qkan.forecasting.data.load import cut_windows, load_series_of

TEST = 0.2
"""Share of the newest values."""


def one_of(series: Series, name: str, last: int | None) -> Series:
    """One series by itself, or its newest values."""
    own = replace(keep_series(series, [name]), borders=None, observed=None, futr_exog=None)
    return own if last is None else replace(own, frame=own.frame.iloc[-last:].reset_index(drop=True))


def tested(series: Series, known: Parts, test: int, newest: int) -> Parts:
    """The parts that are fitted before the ``test`` newest values of a series and forecast the ``newest`` of them."""
    begin, end = known.judged.boundaries[0]
    data = cut_windows(series, known.config, split=LastSteps(int(end - begin), test=test))
    first = int(series.lengths[0]) - newest
    return replace(known, judged=replace(data, test=data.test.pick(np.flatnonzero(data.test.target_index >= first))))


def forecasts_of(found: Search, known: Parts, parts: Parts, before: Parts) -> dict[str, np.ndarray]:
    """What every method that was tried forecasts in the test part, fitted again as the search fits its choice again.

    ``known`` is what the search knew, ``parts`` is fitted to all of it, ``before`` to what comes before its origins.
    """
    own: dict[str, np.ndarray] = {}
    judged = {one.name: one for one in found.candidates}
    for asked in dict.fromkeys(one.asked for one in found.candidates):
        for one in fit_candidate(asked, parts, found.config, Budget(None)):
            own[one.name] = one.judged
            if isinstance(one, FittedBaseline) and astray(one.fitted, judged[one.name], known)[0]:
                kept = fit_candidate(asked, before, found.config, Budget(None))
                own |= {same.name: same.judged for same in kept if same.name == one.name}
    return own


def score(series: Series, config: AutoConfig, horizon: int) -> dict[str, Any]:
    """Search without the test part, and judge the choice and every single method by it."""
    length = int(series.lengths[0])
    test = max(horizon, round(TEST * length))
    past = replace(series, frame=series.frame.iloc[: length - test].reset_index(drop=True))
    found = search(past, with_sizes(config, past, horizon))
    if found.parts is None:
        raise click.UsageError(f"series {series.ids[0]} is too short to be judged")
    known = found.parts
    held = int(known.judged.series.lengths[0] - known.judged.boundaries[0, 1])
    parts = tested(series, known, test, test)
    own = forecasts_of(found, known, parts, tested(series, known, test + held, test))
    errors = {name: mean_error(parts, judged) for name, judged in own.items()}
    chosen = mean_error(parts, np.sum([weight * own[one.name] for one, weight in found.members], axis=0))
    best = min(errors, key=lambda name: errors[name])
    return {
        "series": series.ids[0],
        "chosen": " + ".join(f"{weight:.2f} {one.name}" for one, weight in found.members),
        "error": chosen,
        "best": best,
        "best_error": errors[best],
        "naive": errors["Naive"],
        "ridge": errors.get("Ridge", float("nan")),
        "seconds": found.seconds,
        "left_out": ", ".join(found.skipped) or "-",
    }


@click.command(help=__doc__)
@click.argument("data")
@click.option("--horizon", type=int, required=True)
@click.option("--protocol", help="Read the file as that of a benchmark: ltsf or m4.")
@click.option("--series", "count", type=int, help="At most so many series, evenly spread.")
@click.option("--last", type=int, help="At most so many values of each, the newest.")
@click.option("--budget", default="2min", show_default=True)
@click.option("--candidates", default=",".join(DEFAULT_CANDIDATES), show_default=True)
def main(
    data: str,
    horizon: int,
    protocol: str | None,
    count: int | None,
    last: int | None,
    budget: str,
    candidates: str,
) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", DataNotice)
    whole = load_series_of(TrainConfig(data=data, protocol=protocol))
    places = np.unique(np.linspace(0, len(whole.ids) - 1, min(count or len(whole.ids), len(whole.ids))).round())
    train = TrainConfig(data=data, loss="mae")
    config = AutoConfig(train=train, budget=parse_budget(budget), candidates=tuple(candidates.split(",")))
    head = ("series", "chosen", "MAE", "best afterwards", "MAE", "above it %", "against naive %", "against ridge %")
    print("|", " | ".join((*head, "seconds", "left out")), "|\n" + "|---" * 10 + "|")
    rows = []
    for place in places.astype(int):
        row = score(one_of(whole, whole.ids[place], last), config, horizon)
        row |= {f"to_{name}": 100 * (row["error"] / row[name] - 1) for name in ("best_error", "naive", "ridge")}
        rows.append(row)
        numbers = " | ".join(f"{row[name]:+.1f}" for name in ("to_best_error", "to_naive", "to_ridge"))
        print(
            f"| {row['series']} | {row['chosen']} | {row['error']:.4g} | {row['best']} | {row['best_error']:.4g} | "
            f"{numbers} | {row['seconds']:.0f} | {row['left_out']} |",
            flush=True,
        )
    near = sum(row["to_best_error"] <= 1 for row in rows)
    print(
        f"\n{near} of {len(rows)} series within 1 % of the best single method, median {_median(rows, 'to_best_error')} "
        f"%; worst against naive {max(row['to_naive'] for row in rows):+.1f} %, median {_median(rows, 'to_naive')} %."
    )


def _median(rows: list[dict[str, Any]], name: str) -> str:
    return f"{statistics.median(row[name] for row in rows):+.1f}"


if __name__ == "__main__":
    main()
