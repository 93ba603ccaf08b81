"""Tables of a comparison, from the records of its runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qkan.forecasting.comparison.baseline_runs import losses_of
from qkan.forecasting.comparison.plan import Point, Record, choose_learning_rate, run_name
from qkan.forecasting.comparison.significance import Verdict, verdict_of
from qkan.forecasting.config import CELL_NAMES, LEARNING_RATES, METRIC_NAMES, CompareConfig, model_name

if TYPE_CHECKING:
    import pandas as pd


REFERENCE = "lstm"
_METRICS = ("mae", "mse", "rmse", "r2", "mase", "scaled_mse")
_OTHER_TITLES = {
    **{"ltsf_mse": "MSE of ltsf", "ltsf_mae": "MAE of ltsf", "m4_mase": "MASE of M4", "m4_smape": "sMAPE % of M4"},
    **{"median_mae": "median MAE", "coverage": "coverage of 90 %", "width": "median width"},
}
"""Columns of the protocol of a benchmark, and of several series."""
_SPREAD_METRICS = (*_METRICS, *_OTHER_TITLES)


def points_table(config: CompareConfig, points: list[Point], records: list[Record]) -> pd.DataFrame:
    """Return one row per cell and size: size, chosen learning rate, and errors.

    With one fold they are median, minimum and maximum over seeds; with several the mean, minimum and maximum over the
    folds of the medians over seeds.
    """
    import pandas as pd

    return pd.DataFrame([_point_row(config, point, records) for point in points])


def chosen_runs(config: CompareConfig, point: Point, records: list[Record]) -> list[list[Record]]:
    """Return, fold by fold, the runs of a cell and size with the learning rate that the fold chose."""
    found = []
    for fold in range(1, config.folds + 1):
        lr = choose_learning_rate(config, point, records, fold)
        key = (fold, point.cell, point.hidden_size, lr)
        found.append([r for r in records if (r["fold"], r["cell"], r["hidden_size"], r["lr"]) == key])
    return found


def _point_row(config: CompareConfig, point: Point, records: list[Record]) -> dict[str, Any]:
    folds = chosen_runs(config, point, records)
    own = [record for fold in folds for record in fold]
    tried = LEARNING_RATES[: config.trials]
    rates = [fold[0]["lr"] for fold in folds]
    row: dict[str, Any] = {
        "cell": point.cell,
        "budget": point.budget,
        "hidden_size": point.hidden_size,
        "parameters": point.parameters,
        "lr": rates[0] if len(set(rates)) == 1 else ", ".join(f"{lr:g}" for lr in rates),
        "lr_at_edge": any(lr in (min(tried), max(tried)) for lr in rates),
        "seeds": len(folds[0]),
        "diverged": sum(bool(r["diverged"]) for r in own),
        "validation_loss": _middle(folds, "validation_loss"),
        "seconds": float(np.median([r["seconds"] for r in own])),
        "predict_seconds": float(np.median([r["predict_seconds"] for r in own])),
    }
    for metric in _SPREAD_METRICS:
        if f"test_{metric}" not in own[0]:  # of a protocol or of several series only
            continue
        values = [np.array([r[f"test_{metric}"] for r in fold], dtype=float) for fold in folds]
        if len(folds) == 1:
            row |= _spread(metric, values[0])
        else:
            row |= _spread(metric, np.array([np.median(fold) for fold in values]), np.mean)
    return row


def _middle(folds: list[list[Record]], name: str) -> float:
    """The mean over folds of the median over seeds."""
    return float(np.mean([np.median([record[name] for record in fold]) for fold in folds]))


def _spread(metric: str, values: np.ndarray, middle: Callable[[np.ndarray], Any] = np.median) -> dict[str, float]:
    """The middle and the range of some values."""
    return {
        f"{metric}_{name}": float(statistic(values))
        for name, statistic in (("median", middle), ("min", np.min), ("max", np.max))
    }


def baseline_table(config: CompareConfig, kept: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row per baseline: ``cell`` is its name, the other columns are those of :func:`points_table`.

    A baseline that a fold lacks is left out.
    """
    import pandas as pd

    rows: dict[str, list[Mapping[str, Any]]] = {}
    for one in kept:
        for row in one["rows"]:
            rows.setdefault(row["model"], []).append(row)
    found = []
    for name, own in rows.items():
        if len(own) < config.folds:
            continue
        parameters = own[-1]["parameters"]
        table = {
            "cell": name,
            "parameters": np.nan if parameters is None else parameters,
            "seconds": float(np.median([row["seconds"] for row in own])),
            "predict_seconds": float(np.median([row["predict_seconds"] for row in own])),
        }
        for metric in _SPREAD_METRICS:
            values = [row["scores"].get(metric) for row in own]
            if any(metric in row["scores"] for row in own):
                numbers = np.array([np.nan if value is None else value for value in values], dtype=float)
                spread = _spread(metric, numbers, np.mean)
                table |= spread if len(own) > 1 else {f"{metric}_median": spread[f"{metric}_median"]}
        found.append(table)
    return pd.DataFrame(found)


def main_table(
    config: CompareConfig, points: pd.DataFrame, simple: pd.DataFrame, records: list[Record], horizon: int
) -> tuple[pd.DataFrame, str]:
    """Return one row per cell at its best size (lowest validation error), then one per baseline, and a conclusion.

    ``parameters_change``, ``mae_change``, ``mse_change`` and the change of the metric that was asked for are percent
    relative to the row of ``lstm``, if there. ``verdict`` and ``p_value`` are those of the test of every cell against
    the baseline with the smallest test error.

    Args:
        config: What was compared.
        points: From :func:`points_table`.
        simple: From :func:`baseline_table`.
        records: Of all runs; their losses lie in the folder of the comparison.
        horizon: Steps to forecast.
    """
    import pandas as pd

    best = points.loc[points.groupby("cell", sort=False)["validation_loss"].idxmin()]
    rival = strongest(config, simple)
    words, p_values = [], []
    for _, row in best.iterrows():
        point = Point(row["cell"], int(row["budget"]), int(row["hidden_size"]), int(row["parameters"]))
        found = None if rival is None else _tested(config, chosen_runs(config, point, records), rival, horizon)
        words.append("" if found is None else found.word)
        p_values.append(np.nan if found is None else found.p_value)
    table = pd.concat([best.assign(verdict=words, p_value=p_values), simple], ignore_index=True)
    reference = table[table["cell"] == REFERENCE]
    if len(reference):
        for name, column in {"parameters": "parameters", **{own: f"{own}_median" for own in _changes(config)}}.items():
            table[f"{name}_change"] = 100 * (table[column] / reference[column].iloc[0] - 1)
        table.loc[~table["cell"].isin(best["cell"]), "parameters_change"] = np.nan
    return table, "" if rival is None else _conclusion(table.head(len(best)), simple, rival, config.judged_by)


def _changes(config: CompareConfig) -> list[str]:
    """The metrics whose change from cell to cell is told."""
    return list(dict.fromkeys((config.judged_by, "mae", "mse")))


def strongest(config: CompareConfig, simple: pd.DataFrame) -> str | None:
    """Return the baseline with the smallest test error of those that forecast every series; ``None`` without one."""
    column = f"{config.judged_by}_median"
    if column not in simple:
        return None
    own = simple[simple[column].notna()].sort_values(column, kind="stable")["cell"]
    whole = [
        name
        for name in own
        if all(losses_of(Path(config.out), fold, name) is not None for fold in range(1, config.folds + 1))
    ]
    return whole[0] if whole else None


def _tested(config: CompareConfig, folds: list[list[Record]], rival: str, horizon: int) -> Verdict | None:
    """Test a cell against a baseline; ``None`` if one of its runs diverged or its losses are not there any more."""
    own, others = [], []
    for fold, runs in enumerate(folds, start=1):
        losses = [losses_of(Path(config.out), fold, run_name(record)) for record in runs]
        other = losses_of(Path(config.out), fold, rival)
        if other is None or any(one is None or len(one) != len(other) for one in losses):
            return None
        own.append(np.mean([one for one in losses if one is not None], axis=0))
        others.append(other)
    return verdict_of(own, others, horizon)


def _conclusion(cells: pd.DataFrame, simple: pd.DataFrame, rival: str, metric: str) -> str:
    """Say which simple method would have done as well as the cell that validation chose."""
    best = cells.loc[cells["validation_loss"].idxmin()]
    name = model_name(best["cell"])
    error, own = float(simple.set_index("cell").loc[rival, f"{metric}_median"]), float(best[f"{metric}_median"])
    if not best["verdict"]:
        return f"{name} could not be tested against {rival}, the best baseline."
    place = "below" if own < error else "above"
    change = f"{abs(100 * (own / error - 1)):.1f} % {place}"
    test = f"Diebold-Mariano, p = {best['p_value']:.2g}"
    side = {"better": "below", "worse": "above"}.get(best["verdict"], place)  # of the mean of the seeds
    differs = side != place and own != error  # a seed is far off
    stands = f"the {'median ' if differs else ''}{METRIC_NAMES[metric]} of {name}, the cell with the smallest "
    stands += f"validation error, is {change} that of {rival}"
    stands += ", the best baseline" if best["verdict"] == "better" else ""
    stands += f", but the mean of its seeds is {side} it" if differs else ""
    if best["verdict"] == "better":
        return f"No simple method would have done as well: {stands} ({test})."
    if best["verdict"] == "worse":
        return f"{rival} would have done better: {stands} ({test})."
    chance = "the same errors" if np.isnan(best["p_value"]) else f"no more than chance ({test})"
    return f"{rival} would have done as well: {stands}, {chance}."


def readable(table: pd.DataFrame, metric: str = "mae") -> pd.DataFrame:
    """Return a table of results as people read it: text cells, spreads as ``median (min-max)``, a metric first."""
    import pandas as pd

    def spread(row: Any, metric: str) -> str:
        middle, low, high = (row.get(f"{metric}_{name}", np.nan) for name in ("median", "min", "max"))
        if middle is None or np.isnan(middle):
            return "-"
        return f"{middle:.4g}" if np.isnan(low) else f"{middle:.4g} ({low:.4g} to {high:.4g})"

    def optional(row: Any, column: str, form: str) -> str:
        value = row.get(column, np.nan)
        return "-" if np.isnan(value) else format(value, form)

    # Beside MSE, RMSE tells nothing new.
    shown = dict.fromkeys((metric, *(own for own in _METRICS if own != "rmse")))
    rows = []
    for _, row in table.iterrows():
        text = {
            "model": CELL_NAMES.get(row["cell"], row["cell"]),
            "hidden": optional(row, "hidden_size", ".0f"),
            "parameters": optional(row, "parameters", ",.0f"),
            **{METRIC_NAMES[own]: spread(row, own) for own in shown},
            **{title: spread(row, metric) for metric, title in _OTHER_TITLES.items() if f"{metric}_median" in table},
            "lr": _rate(row),
            "training s": optional(row, "seconds", ".1f"),
            "prediction s": optional(row, "predict_seconds", ".2f"),
        }
        if "verdict" in table:
            text["vs best baseline"] = _verdict_text(row)
        for name, title in {"parameters": "parameters", **METRIC_NAMES}.items():
            if f"{name}_change" in table:
                change = optional(row, f"{name}_change", "+.1f")
                text[f"{title} vs {CELL_NAMES[REFERENCE]}"] = change if change == "-" else f"{change} %"
        rows.append(text)
    return pd.DataFrame(rows)


def _rate(row: Any) -> str:
    """The learning rate of a row, or those of its folds, with a star at the edge of what was tried."""
    rate = row.get("lr", np.nan)
    if not isinstance(rate, str):
        rate = "-" if np.isnan(rate) else f"{rate:g}"
    return rate + ("*" if row.get("lr_at_edge") is True else "")


def _verdict_text(row: Any) -> str:
    word = row["verdict"]
    if not isinstance(word, str) or not word:
        return "-"
    return word if np.isnan(row["p_value"]) else f"{word} (p = {row['p_value']:.2g})"
