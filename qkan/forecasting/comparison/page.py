"""The page of a comparison, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qkan.forecasting.comparison.baseline_runs import left_out
from qkan.forecasting.comparison.plan import Skipped
from qkan.forecasting.comparison.significance import squares
from qkan.forecasting.comparison.tables import readable
from qkan.forecasting.config import CELL_NAMES, CELL_OPTIONS, LEARNING_RATES, METRIC_NAMES, CompareConfig
from qkan.forecasting.evaluation.metrics import mase_scale, without_mase

if TYPE_CHECKING:
    import pandas as pd

    from qkan.datasets import ForecastData

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


def _table(results: pd.DataFrame, metric: str) -> str:
    return readable(results, metric).to_markdown(index=False, disable_numparse=True) + "\n"


def comparison_page(
    config: CompareConfig,
    data: ForecastData,
    table: pd.DataFrame,
    points: pd.DataFrame,
    skipped: list[Skipped],
    baselines: Sequence[Mapping[str, Any]],
    conclusion: str,
) -> str:
    """Return the text of ``comparison.md``; ``data`` is the first fold."""
    series, none = data.series, without_mase(mase_scale(data))
    spread = f"median (minimum to maximum) of {config.seeds} seeds"
    if config.folds > 1:
        spread = (
            f"mean (minimum to maximum) over {config.folds} folds of the median of {config.seeds} seeds. The training "
            "part grows from fold to fold; each is tuned on a validation part of its own and tested on what comes next"
        )
    errors = "squared" if squares(config) else "absolute"
    tried = ", ".join(f"{lr:g}" for lr in LEARNING_RATES[: config.trials])
    lines = [
        f"# Comparison on {series.name}\n",
        f"Window {config.window}, horizon {config.horizon}, at most {config.effort}, "
        f"split {' / '.join(f'{share:g}' for share in config.split)}. Test errors in original units"
        f"{f' ({series.unit})' if series.unit else ''}: {spread}. "
        f"Every cell and size tried the same learning rates ({tried}) with {config.tuning_seeds_in_words()}; the "
        "validation error chose. "
        "A star marks a choice at the edge of these rates. LSTM and GRU are PyTorch's and count both of their "
        "bias vectors. Seconds are those of one training and of forecasting one test part, on a machine that other "
        "runs shared; baselines took as many trials (regressions and trees: settings by the validation error; "
        f"statistical models: forms by AIC). The column of the best baseline tests the {errors} errors against "
        f"those of the baseline with the smallest test {METRIC_NAMES[config.judged_by]}, by Diebold and Mariano: "
        "better or worse at 5 %, else level. The fronts of the plot describe test errors and choose nothing.\n",
        f"{_circuit_options(config)}\n",
        *([_PANEL_WORDS] if len(series.ids) > 1 else []),
        *([f"{none} of {len(series.ids)} series have no MASE: their training part repeats itself.\n"] if none else []),
        *([f"{conclusion}\n"] if conclusion else []),
        "## Each cell at its best size (by validation error)\n",
        _table(table, config.judged_by),
        "## All sizes\n",
        _table(points, config.judged_by),
    ]
    failures = [
        {"model": row["model"], "unique_id": name, "reason": reason}
        for one in baselines
        if one["fold"] == config.folds
        for row in one["rows"]
        for name, reason in row["failures"].items()
    ]
    absent = left_out(baselines, config.folds)
    if skipped or failures or absent:
        lines.append("## Left out\n")
        lines += [
            f"- {CELL_NAMES[skip.cell]} at {skip.budget} parameters: its smallest model has {skip.smallest}."
            for skip in skipped
        ]
    lines += [f"- {row['model']} of series {row['unique_id']}: {row['reason']}" for row in failures]
    lines += [f"- {one}." for one in absent]
    return "\n".join(lines).rstrip() + "\n"
