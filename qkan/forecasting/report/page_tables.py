"""The tables of a report, as texts with the best of every column marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from qkan.forecasting.config import METRIC_NAMES
from qkan.forecasting.evaluation.model_tests import LOSSES, Loss

if TYPE_CHECKING:
    import pandas as pd

SIGNIFICANT = 0.05
"""Level of the tests of a page."""
_MOST_SERIES = 50
_ERRORS = ("mae", "rmse", "smape", "mase")
_LEVEL_HEADS = {"coverage": "inside {level} %", "width": "width {level} %", "winkler": "Winkler {level} %"}


@dataclass(frozen=True)
class Table:
    """A table as a page shows it.

    Attributes:
        caption: What it shows.
        head: Names of the columns.
        rows: Texts, one for every column.
        best: Row and column of the cells that are marked as the best of their column, counted from 0.
        sentences: Whether cells may hold sentences, which are broken into lines.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]] = field(repr=False)
    best: frozenset[tuple[int, int]] = frozenset()
    sentences: bool = False


def number(value: float) -> str:
    """Return a number with four significant digits; what is not defined is a dash."""
    return "-" if value is None or not np.isfinite(value) else f"{value:.4g}"


def p_value(value: float) -> str:
    """Return a p-value with three decimals."""
    return "-" if not np.isfinite(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def accuracy_table(table: pd.DataFrame, caption: str) -> Table:
    """Return the errors of one model a row. Only models with as many series as the most can be best of a column."""
    return _table(table, caption, [str(name) for name in table if name in _ERRORS])


def interval_table(table: pd.DataFrame, caption: str) -> Table:
    """Return the coverage and width of the intervals of one model a row."""
    names = [str(name) for name in table if str(name).partition("-")[0] in (*_LEVEL_HEADS, "quantile_loss")]
    return _table(table[table[names].notna().any(axis=1)], caption, names)


def _table(table: pd.DataFrame, caption: str, names: Sequence[str]) -> Table:
    names = [name for name in names if table[name].notna().any()]
    whole = (table["series"] == table["series"].max()).to_numpy()
    first = ["model"] if whole.all() else ["model", "series"]
    texts = [[str(value) for value in table[name]] for name in first]
    texts += [[number(value) for value in table[name]] for name in names]
    best = frozenset(
        (row, column)
        for column, name in enumerate(names, len(first))
        for row in _best(name, table[name].to_numpy(np.float64), whole)
    )
    return Table(caption, [*first, *map(_head, names)], list(zip(*texts, strict=True)), best)


def _best(name: str, values: np.ndarray, allowed: np.ndarray) -> list[int]:
    """Return where the smallest loss is, or the coverage nearest to its level; widths are neither good nor bad."""
    if name.startswith("width-") or len(values) < 2:
        return []
    distance = np.abs(values - float(name.rpartition("-")[2])) if name.startswith("coverage-") else values
    distance = np.where(allowed & np.isfinite(distance), distance, np.inf)
    return np.flatnonzero((distance == distance.min()) & np.isfinite(distance)).tolist()


def _head(name: str) -> str:
    if name in METRIC_NAMES:
        return METRIC_NAMES[name]
    kind, _, level = name.rpartition("-")
    return _LEVEL_HEADS[kind].format(level=level)


def series_table(per_series: pd.DataFrame, models: Sequence[str]) -> Table:
    """Return the MAE of every series (the first 50) and model."""
    wide = per_series.pivot(index="unique_id", columns="model", values="mae").reindex(columns=list(models))
    shown = wide.head(_MOST_SERIES)
    rows = [(str(name), *map(number, own)) for name, own in zip(shown.index, shown.to_numpy(np.float64), strict=True)]
    best = frozenset(
        (row, column + 1)
        for row, own in enumerate(shown.to_numpy(np.float64))
        for column in _best("mae", own, np.ones(len(own), dtype=bool))
    )
    some = f", the first {_MOST_SERIES} of {len(wide)} series" if len(wide) > _MOST_SERIES else ""
    return Table(f"MAE of every series{some}", ("series", *models), rows, best)


def comparison_table(tests: Mapping[Loss, pd.DataFrame], reference: str) -> Table:
    """Return the tests of :func:`qkan.forecasting.evaluation.compare_models`, for each loss, in one table."""
    rows = [
        (
            str(row.model), loss, str(row.n), number(row.difference), number(row.statistic), p_value(row.p_value),
            p_value(row.p_holm), _in_words(row.difference, row.p_holm, reference),
        )
        for loss in LOSSES
        for row in tests[loss].itertuples(index=False)
    ]  # fmt: skip
    head = ("against", "loss", "origins", "difference", "statistic", "p", "p (Holm)", f"at {100 * SIGNIFICANT:g} %")
    return Table(f"{reference} against the others", head, rows)


def _in_words(difference: float, p: float, reference: str) -> str:
    if not np.isfinite(p):
        return "no test"
    if p >= SIGNIFICANT:
        return "no difference shown"
    return f"{reference} is {'better' if difference < 0 else 'worse'}"


def residual_table(diagnostics: pd.DataFrame) -> Table:
    """Return one row per model: medians and shares over the series."""
    rows = []
    for name, own in diagnostics.groupby("model", sort=False):
        tested = own[own["p_value"].notna()]
        shares = 100 * (tested[["bias_p", "p_value"]] < SIGNIFICANT).mean()  # NaN if there is no test
        medians = own[["bias", "acf1", "ljung_box", "p_value"]].median()
        rows.append(
            (
                str(name), number(medians["bias"]), number(shares["bias_p"]), number(medians["acf1"]),
                number(medians["ljung_box"]), p_value(medians["p_value"]), number(shares["p_value"]),
            )
        )  # fmt: skip
    lags = ", ".join(str(value) for value in sorted(set(diagnostics["lags"])))
    head = ("model", "bias", "biased series %", "autocorrelation at lag 1", "Ljung-Box", "p", "rejected series %")
    caption = f"One-step errors, medians over series; Ljung-Box over {lags} lags; shares at {100 * SIGNIFICANT:g} %"
    return Table(caption, head, rows)


def trial_table(trials: pd.DataFrame) -> Table:
    """Return one row per learning rate that was tried: the columns of ``tuning.csv``."""
    rows = [
        (
            f"{row.lr:g}", "diverged" if row.diverged else number(row.validation_loss), str(row.epochs),
            str(row.best_epoch or "the start"), number(row.seconds),
        )
        for row in trials.itertuples(index=False)
    ]  # fmt: skip
    losses = trials["validation_loss"].to_numpy(np.float64)
    best = frozenset((row, 1) for row in _best("mae", losses, np.ones(len(losses), dtype=bool)))
    head = ("learning rate", "validation loss", "epochs", "best epoch", "seconds")
    return Table("Learning rates that were tried before the training", head, rows, best)


def failure_table(failures: pd.DataFrame) -> Table:
    """Return one row for every model and reason, with the series that it concerns."""
    rows = []
    groups = list(failures.groupby(["model", "reason"], sort=False))
    for (model, reason), own in groups[:_MOST_SERIES]:
        names = own["unique_id"].astype(str)
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        rows.append((str(model), shown, str(reason)))
    some = f", the first {_MOST_SERIES} of {len(groups):,} reasons" if len(groups) > _MOST_SERIES else ""
    return Table(f"Models without a forecast for a series{some}", ("model", "series", "reason"), rows, sentences=True)
