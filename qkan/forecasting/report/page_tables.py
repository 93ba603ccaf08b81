"""The tables of a report, as texts with the best of every column marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from qkan.forecasting.evaluation.model_tests import LOSSES, Loss

if TYPE_CHECKING:
    import pandas as pd

_SIGNIFICANT = 0.05
_MOST_SERIES = 50
_HEADS = {"mae": "MAE", "rmse": "RMSE", "smape": "sMAPE %", "mase": "MASE", "quantile_loss": "quantile loss"}


@dataclass(frozen=True)
class Cell:
    """A text of a table, and whether it is the best of its column."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A table as a page shows it; ``texts`` means that cells may hold sentences."""

    caption: str
    head: tuple[str, ...]
    rows: list[list[Cell]] = field(repr=False)
    texts: bool = False


def number(value: float) -> str:
    """Return a number with four significant digits; what is not defined is a dash."""
    return "-" if value is None or not np.isfinite(value) else f"{value:.4g}"


def p_value(value: float) -> str:
    """Return a p-value with three decimals."""
    return "-" if not np.isfinite(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def accuracy_table(table: pd.DataFrame, caption: str) -> Table:
    """Return one row per model. Only models with as many series as the most can be best of a column."""
    names = [name for name in table if name not in ("model", "series", "n") and table[name].notna().any()]
    whole = (table["series"] == table["series"].max()).to_numpy()
    columns = []
    for name in names:
        values = table[name].to_numpy(np.float64)
        best = _best(str(name), values, whole)
        columns.append([Cell(number(value), bool(mark)) for value, mark in zip(values, best, strict=True)])
    lacking = not whole.all()
    head = (
        "model",
        *(["series"] if lacking else []),
        *(_head(str(name)) for name in names),
    )
    rows = [
        [Cell(str(row.model)), *([Cell(str(row.series))] if lacking else []), *(column[index] for column in columns)]
        for index, row in enumerate(table.itertuples(index=False))
    ]
    return Table(caption, head, rows)


def _best(name: str, values: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Mark the smallest loss, or the coverage nearest to its level; widths are neither good nor bad."""
    if name.startswith("width-") or len(values) < 2:
        return np.zeros(len(values), dtype=bool)
    distance = np.abs(values - float(name.rpartition("-")[2])) if name.startswith("coverage-") else values
    distance = np.where(allowed & np.isfinite(distance), distance, np.inf)
    return (distance == distance.min()) & np.isfinite(distance)


def _head(name: str) -> str:
    if name in _HEADS:
        return _HEADS[name]
    kind, _, level = name.rpartition("-")
    return {"coverage": f"inside {level} %", "width": f"width {level} %", "winkler": f"Winkler {level} %"}[kind]


def series_table(per_series: pd.DataFrame, models: Sequence[str]) -> Table:
    """Return the MAE of every series (the first 50) and model."""
    wide = per_series.pivot(index="unique_id", columns="model", values="mae").reindex(columns=list(models))
    rows = []
    for name, own in wide.head(_MOST_SERIES).iterrows():
        values = own.to_numpy(np.float64)
        best = _best("mae", values, np.ones(len(values), dtype=bool))
        cells = [Cell(number(value), bool(mark)) for value, mark in zip(values, best, strict=True)]
        rows.append([Cell(str(name)), *cells])
    some = f", the first {_MOST_SERIES} of {len(wide)} series" if len(wide) > _MOST_SERIES else ""
    return Table(f"MAE of every series{some}", ("series", *models), rows)


def comparison_table(tests: Mapping[Loss, pd.DataFrame], reference: str) -> Table:
    """Return the tests of :func:`qkan.forecasting.evaluation.compare_models`, for each loss, in one table."""
    rows = [
        [
            Cell(text)
            for text in (
                str(row.model), loss, str(row.n), number(row.difference), number(row.statistic), p_value(row.p_value),
                p_value(row.p_holm), _in_words(row.difference, row.p_holm, reference),
            )
        ]
        for loss in LOSSES
        for row in tests[loss].itertuples(index=False)
    ]  # fmt: skip
    head = ("against", "loss", "origins", "difference", "statistic", "p", "p (Holm)", f"at {100 * _SIGNIFICANT:g} %")
    return Table(f"{reference} against the others", head, rows)


def _in_words(difference: float, p: float, reference: str) -> str:
    if not np.isfinite(p):
        return "no test"
    if p >= _SIGNIFICANT:
        return "no difference shown"
    return f"{reference} is {'better' if difference < 0 else 'worse'}"


def residual_table(diagnostics: pd.DataFrame) -> Table:
    """Return one row per model: medians and shares over the series."""
    rows = []
    for name, own in diagnostics.groupby("model", sort=False):
        tested = own[own["p_value"].notna()]
        few = len(tested) == 0
        rejected = float("nan") if few else 100 * float((tested["p_value"] < _SIGNIFICANT).mean())
        biased = float("nan") if few else 100 * float((tested["bias_p"] < _SIGNIFICANT).mean())
        values = (own["bias"].median(), biased, own["acf1"].median(), own["ljung_box"].median())
        cells = [number(float(value)) for value in values] + [p_value(float(own["p_value"].median())), number(rejected)]
        rows.append([Cell(text) for text in (str(name), *cells)])
    lags = ", ".join(str(value) for value in sorted(set(diagnostics["lags"])))
    head = ("model", "bias", "biased series %", "autocorrelation at lag 1", "Ljung-Box", "p", "rejected series %")
    caption = f"One-step errors, medians over series; Ljung-Box over {lags} lags; shares at {100 * _SIGNIFICANT:g} %"
    return Table(caption, head, rows)


def failure_table(failures: pd.DataFrame) -> Table:
    """Return one row for every model and reason, with the series that it concerns."""
    rows = []
    for (model, reason), own in failures.groupby(["model", "reason"], sort=False):
        names = [str(name) for name in own["unique_id"]]
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        rows.append([Cell(str(model)), Cell(shown), Cell(str(reason))])
    return Table("Models without a forecast for a series", ("model", "series", "reason"), rows, texts=True)
