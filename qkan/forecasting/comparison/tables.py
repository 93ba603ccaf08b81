"""Tables of a comparison, from the records of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qkan.forecasting.comparison.plan import Point, Record, Skipped, choose_learning_rate
from qkan.forecasting.config import CELL_NAMES, CELL_OPTIONS, LEARNING_RATES, CompareConfig

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import Series
    from qkan.forecasting.evaluation.metrics import Scores

REFERENCE = "lstm"
_OTHER_TITLES = {
    **{"ltsf_mse": "MSE of ltsf", "ltsf_mae": "MAE of ltsf", "m4_mase": "MASE of M4", "m4_smape": "sMAPE % of M4"},
    **{"median_mae": "median MAE", "coverage": "coverage of 90 %", "width": "median width"},
}
"""Columns of the protocol of a benchmark, and of several series."""
_SPREAD_METRICS = ("mae", "mse", "r2", "mase", "scaled_mse", *_OTHER_TITLES)


def points_table(config: CompareConfig, points: list[Point], records: list[Record]) -> pd.DataFrame:
    """Return one row per cell and size: size, chosen learning rate, median, minimum and maximum over seeds."""
    import pandas as pd

    return pd.DataFrame([_point_row(config, point, records) for point in points])


def _point_row(config: CompareConfig, point: Point, records: list[Record]) -> dict[str, Any]:
    lr = choose_learning_rate(config, point, records)
    own = [r for r in records if (r["cell"], r["hidden_size"], r["lr"]) == (point.cell, point.hidden_size, lr)]
    tried = LEARNING_RATES[: config.trials]
    row: dict[str, Any] = {
        "cell": point.cell,
        "budget": point.budget,
        "hidden_size": point.hidden_size,
        "parameters": point.parameters,
        "lr": lr,
        "lr_at_edge": lr in (min(tried), max(tried)),
        "seeds": len(own),
        "diverged": sum(bool(r["diverged"]) for r in own),
        "validation_loss": float(np.median([r["validation_loss"] for r in own])),
        "seconds": float(np.median([r["seconds"] for r in own])),
    }
    for metric in _SPREAD_METRICS:
        if f"test_{metric}" not in own[0]:  # of a protocol or of several series only
            continue
        values = np.array([r[f"test_{metric}"] for r in own], dtype=float)
        for name, statistic in (("median", np.median), ("min", np.min), ("max", np.max)):
            row[f"{metric}_{name}"] = float(statistic(values))
    return row


def main_table(points: pd.DataFrame, baselines: Scores) -> pd.DataFrame:
    """Return one row per cell at its best size (lowest median validation error), then one per baseline.

    ``parameters_change``, ``mae_change`` and ``mse_change`` are percent relative to the row of ``lstm``, if there.
    """
    import pandas as pd

    best = points.loc[points.groupby("cell", sort=False)["validation_loss"].idxmin()]
    naive_rows = [
        {
            "cell": name,
            "parameters": 0,
            **{f"{metric}_median": scores[metric] for metric in _SPREAD_METRICS if metric in scores},
        }
        for name, scores in baselines.items()
    ]
    table = pd.concat([best, pd.DataFrame(naive_rows)], ignore_index=True)
    reference = table[table["cell"] == REFERENCE]
    if len(reference):
        for name, column in (("parameters", "parameters"), ("mae", "mae_median"), ("mse", "mse_median")):
            table[f"{name}_change"] = 100 * (table[column] / reference[column].iloc[0] - 1)
        table.loc[table["parameters"] == 0, "parameters_change"] = np.nan
    return table


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of results as people read it: text cells, spreads as ``median (min-max)``."""
    import pandas as pd

    def spread(row: Any, metric: str) -> str:
        middle, low, high = (row.get(f"{metric}_{name}", np.nan) for name in ("median", "min", "max"))
        if middle is None or np.isnan(middle):
            return "-"
        return f"{middle:.4g}" if np.isnan(low) else f"{middle:.4g} ({low:.4g} to {high:.4g})"

    def optional(row: Any, column: str, form: str) -> str:
        value = row.get(column, np.nan)
        return "-" if np.isnan(value) else format(value, form)

    rows = []
    for _, row in table.iterrows():
        text = {
            "model": CELL_NAMES.get(row["cell"], row["cell"]),
            "hidden": optional(row, "hidden_size", ".0f"),
            "parameters": f"{row['parameters']:,.0f}",
            "MAE": spread(row, "mae"),
            "MSE": spread(row, "mse"),
            "R2": spread(row, "r2"),
            "MASE": spread(row, "mase"),
            "scaled MSE": spread(row, "scaled_mse"),
            **{title: spread(row, metric) for metric, title in _OTHER_TITLES.items() if f"{metric}_median" in table},
            "lr": optional(row, "lr", "g") + ("*" if row.get("lr_at_edge") is True else ""),
            "seconds": optional(row, "seconds", ".1f"),
        }
        for name, title in (("parameters", "parameters"), ("mae", "MAE"), ("mse", "MSE")):
            if f"{name}_change" in table:
                change = optional(row, f"{name}_change", "+.1f")
                text[f"{title} vs {CELL_NAMES[REFERENCE]}"] = change if change == "-" else f"{change} %"
        rows.append(text)
    return pd.DataFrame(rows)


_PANEL_WORDS = (
    "MAE, MSE and R2 are pooled over all series, MASE is the mean over the series that have one; median MAE is the "
    "median over the series of their mean absolute errors. Coverage counts the test targets inside 90 % intervals "
    "that are made alike for every row: split-conformal, per series and step, from the errors on the validation part. "
    "Statistical baselines see the values up to each origin with parameters that were fitted on the training part.\n"
)


def _circuit_options(config: CompareConfig) -> str:
    """The options of the circuit cells, for the page that a comparison leaves."""
    names = sorted(set().union(*(CELL_OPTIONS[cell] for cell in config.cells)))
    shown = ", ".join(f"{name} {getattr(config, name)}" for name in names if getattr(config, name) is not None)
    return (f"Options of the cells that have them: {shown}; " if shown else "") + f"gate bias {config.bias}."


def _table(results: pd.DataFrame) -> str:
    return readable(results).to_markdown(index=False, disable_numparse=True) + "\n"


def comparison_page(
    config: CompareConfig,
    series: Series,
    table: pd.DataFrame,
    points: pd.DataFrame,
    skipped: list[Skipped],
    failures: Sequence[Mapping[str, Any]],
    without_mase: int,
) -> str:
    """Return the text of ``comparison.md``."""
    tried = ", ".join(f"{lr:g}" for lr in LEARNING_RATES[: config.trials])
    lines = [
        f"# Comparison on {series.name}\n",
        f"Window {config.window}, horizon {config.horizon}, at most {config.epochs} epochs, "
        f"split {' / '.join(f'{share:g}' for share in config.split)}. Test errors in original units"
        f"{f' ({series.unit})' if series.unit else ''}: median (minimum to maximum) of {config.seeds} seeds. "
        f"Every cell and size tried the same learning rates ({tried}) with {config.tuning_seeds_in_words()}; the "
        "validation error chose. "
        "A star marks a choice at the edge of these rates. LSTM and GRU are PyTorch's and count both of their "
        "bias vectors. Seconds are those of runs that shared the machine. The fronts of the plot describe test "
        "errors and choose nothing.\n",
        f"{_circuit_options(config)}\n",
        *([_PANEL_WORDS] if len(series.ids) > 1 else []),
        *(
            [f"{without_mase} of {len(series.ids)} series have no MASE: their training part repeats itself.\n"]
            if without_mase
            else []
        ),
        "## Each cell at its best size (by validation error)\n",
        _table(table),
        "## All sizes\n",
        _table(points),
    ]
    if skipped or failures:
        lines.append("## Left out\n")
        lines += [
            f"- {CELL_NAMES[skip.cell]} at {skip.budget} parameters: its smallest model has {skip.smallest}."
            for skip in skipped
        ]
    lines += [f"- {row['model']} of series {row['unique_id']}: {row['reason']}" for row in failures]
    return "\n".join(lines).rstrip() + "\n"
