"""One page about forecasts that needs nothing else: no network, no scripts, readable on a phone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qkan.forecasting.evaluation.calibration import without_beside
from qkan.forecasting.evaluation.frames import (
    check_frame,
    check_levels,
    check_models,
    interval_levels_of_all,
    model_columns,
)
from qkan.forecasting.evaluation.metrics import Accuracy, accuracy, mase_scales, without_mase
from qkan.forecasting.evaluation.model_tests import LOSSES, compare_models
from qkan.forecasting.evaluation.residuals import residual_acf, residual_diagnostics
from qkan.forecasting.io.files import check_new_file, make_folder, write_output
from qkan.forecasting.report import page_plots as plots
from qkan.forecasting.report import page_tables as tables
from qkan.forecasting.report.page_tables import number

if TYPE_CHECKING:
    import pandas as pd

    from qkan.forecasting.season.profile import SeasonProfile

_SHOWN_SERIES = 3
_DEEPEST_LAG = 60


def write_report(
    path: str | Path,
    frame: pd.DataFrame,
    *,
    title: str,
    season: int = 1,
    training: pd.DataFrame | None = None,
    facts: Mapping[str, object] | None = None,
    settings: Mapping[str, object] | None = None,
    reference: str | None = None,
    levels: Iterable[float] | None = None,
    failures: pd.DataFrame | None = None,
    notes: Sequence[str] = (),
    commands: Sequence[str] = (),
    unit: str = "",
    learned: SeasonProfile | None = None,
    overwrite: bool = False,
) -> Accuracy:
    """Write a page with tables, tests and plots of the forecasts of a cross-validation frame.

    The file holds everything it shows; opening it loads nothing from anywhere. It is written in one step: a crash
    leaves the old file or the new one.

    Args:
        path: The file to write; its folder is made if missing.
        frame: Forecasts and values; see :mod:`qkan.forecasting.evaluation.frames`.
        title: Heading of the page.
        season: Period in steps, for MASE and the residuals.
        training: Columns unique_id, ds, y before the first origin; without it there is no MASE.
        facts: Names and values to show about the data, beside those that the frame tells.
        settings: Names and values to show about how the forecasts were made.
        reference: The model that is tested against the others; ``None`` takes the first column.
        levels: Levels of intervals in percent; ``None`` takes all of the frame.
        failures: Columns model, unique_id, reason: what could not be forecast (``BaselineForecasts.failures``).
        notes: Sentences to show at the top, such as limits of the computation.
        commands: Lines of a shell or of Python that make the report again.
        unit: Unit of y.
        learned: What the model believes of its seasons.
        overwrite: Replace an existing file.

    Returns:
        The errors that the page shows.

    Raises:
        RunError: the file exists and ``overwrite`` is false, or it cannot be written.
        TypeError, ValueError: the frame is not valid, or names a model, level or season that it cannot have.
    """
    path = Path(path)
    check_new_file(path, overwrite)
    checked = check_frame(frame)
    reference = check_models(checked, None if reference is None else (reference,))[0]
    wanted = interval_levels_of_all(checked) if levels is None else check_levels(levels)
    scales = None if training is None else mase_scales(training, season)
    found = accuracy(checked, scales=scales, levels=wanted)
    page = {
        "title": title,
        "notes": notes,
        "facts": [*(facts or {}).items(), *_facts(checked)],
        "settings": list((settings or {}).items()),
        "commands": commands,
        "failures": tables.failure_table(failures) if failures is not None and len(failures) else None,
        **_results(checked, found, reference, scales, unit),
        **_residuals(checked, without_beside(model_columns(checked)), season),
        **_plots(checked, found, reference, wanted, unit),
        "seasons": _seasons(learned),
    }
    make_folder(path.parent)
    content = _render(page).encode()
    write_output(path, lambda file: file.write(content))
    return found


def _results(
    frame: pd.DataFrame, found: Accuracy, reference: str, scales: Mapping[str, float] | None, unit: str
) -> dict[str, Any]:
    """Return the tables of errors and tests, and what the text around them says."""
    several = frame["unique_id"].nunique() > 1
    shown = without_beside(found.pooled["model"])
    table = found.pooled[found.pooled["model"].isin(shown)]
    return {
        "verdict": " ".join(
            [_verdict(table, reference), *_as_well(frame, table, reference, scales if several else None)]
        ),
        "unit_words": f" and widths in {unit}" if unit else " and widths in the unit of the series",
        "mase_words": _mase_words(frame, scales),
        "reference": reference,
        "overlaps": bool(frame["step"].max() > 1),
        "bandwidth": f"bandwidth {frame['step'].max() - 1}, the horizon less one",
        "accuracy": tables.accuracy_table(found.pooled, "Over all forecasts"),
        "median": tables.accuracy_table(found.median, "Median over the series") if several else None,
        "per_series": tables.series_table(found.per_series, shown) if several else None,
        "comparison": _comparison(frame, reference, shown, scales if several else None),
    }


def _mase_words(frame: pd.DataFrame, scales: Mapping[str, float] | None) -> str:
    """Say what the MASE of the page is that of."""
    if scales is None:
        return ""
    own = [scales.get(name, np.nan) for name in frame["unique_id"].unique()]
    none, mean = without_mase(own), ", of several series the mean of theirs" if len(own) > 1 else ""
    if not none:
        return mean
    return f"{mean}; {none:,} of {len(own):,} series have none, because their training part repeats itself"


def _render(page: dict[str, Any]) -> str:
    from importlib.resources import files

    from jinja2 import Environment, StrictUndefined

    template = files("qkan.forecasting.report").joinpath("report.html.jinja").read_text(encoding="utf-8")
    # Whatever a user calls a series or a model is text, never markup.
    return Environment(autoescape=True, undefined=StrictUndefined).from_string(template).render(page) + "\n"


def _verdict(pooled: pd.DataFrame, reference: str) -> str:
    whole = pooled[pooled["series"] == pooled["series"].max()]
    best = whole.loc[whole["mae"].idxmin()]
    if len(pooled) == 1:
        return f"The mean absolute error of {best['model']} is {number(best['mae'])}."
    first = f"{best['model']} has the smallest mean absolute error of {len(whole)} models, {number(best['mae'])}"
    if best["model"] == reference or reference not in set(whole["model"]):
        return f"{first}."
    own = float(whole.set_index("model").loc[reference, "mae"])
    more = "" if best["mae"] == 0 else f", {100 * (own / best['mae'] - 1):.1f} % more"
    return f"{first}; that of {reference} is {number(own)}{more}."


def _as_well(
    frame: pd.DataFrame, pooled: pd.DataFrame, reference: str, scales: Mapping[str, float] | None
) -> list[str]:
    """Say whether the best of the other models would have done as well, by the test of Diebold and Mariano."""
    others = pooled[(pooled["series"] == pooled["series"].max()) & (pooled["model"] != reference)]
    if not len(others) or reference not in set(pooled["model"]):
        return []
    best = str(others.loc[others["mae"].idxmin(), "model"])
    usable = scales if scales is not None and any(np.isfinite(value) for value in scales.values()) else None
    test = compare_models(frame, reference, models=(best,), scales=usable).iloc[0]
    if not np.isfinite(test["p_value"]):
        return []
    shown = f"(Diebold-Mariano, p = {test['p_value']:.2g})"
    if test["p_value"] >= 0.05:
        return [f"{best} does as well as {reference}: the difference is no more than chance {shown}."]
    if test["difference"] > 0:
        return [f"{best} does better than {reference}, by more than chance {shown}."]
    return [f"No other method does as well as {reference}; {best} comes closest {shown}."]


def _facts(frame: pd.DataFrame) -> list[tuple[str, str]]:
    y = frame["y"].to_numpy()
    origins = frame.groupby("unique_id")["cutoff"].nunique()
    spread = f"{origins.min():,}" if origins.min() == origins.max() else f"{origins.min():,} to {origins.max():,}"
    return [
        ("series", f"{len(origins):,}"),
        ("origins per series", spread),
        ("steps ahead", str(int(frame["step"].max()))),
        ("forecasts per model", f"{len(frame):,}"),
        ("first and last value forecast", f"{frame['ds'].min()} to {frame['ds'].max()}"),
        ("mean and range of the values", f"{number(y.mean())}, {number(y.min())} to {number(y.max())}"),
    ]


def _comparison(
    frame: pd.DataFrame, reference: str, shown: Sequence[str], scales: Mapping[str, float] | None
) -> tables.Table | None:
    """Return the tests; errors of several series are in units of their scales, where there are any."""
    if len(shown) < 2 or reference not in shown:
        return None
    usable = scales if scales is not None and any(np.isfinite(value) for value in scales.values()) else None
    tests = {loss: compare_models(frame, reference, models=shown, loss=loss, scales=usable) for loss in LOSSES}
    return tables.comparison_table(tests, reference)


def _residuals(frame: pd.DataFrame, shown: Sequence[str], season: int) -> dict[str, Any]:
    diagnostics = residual_diagnostics(frame, models=shown, season=season)
    acf = residual_acf(frame, models=shown, lags=min(_DEEPEST_LAG, max(24, 2 * season)))
    drawn = _drawn(plots.draw_residual_acf, acf) if len(acf) else None
    return {"residuals": tables.residual_table(diagnostics), "acf": drawn}


def _plots(frame: pd.DataFrame, found: Accuracy, reference: str, levels: Sequence[float], unit: str) -> dict[str, Any]:
    shown = without_beside(found.pooled["model"])
    best = found.pooled[found.pooled["model"].isin(shown)].sort_values("mae")["model"]
    pair = [reference, *(name for name in best if name != reference)]
    series = list(dict.fromkeys(frame["unique_id"]))[:_SHOWN_SERIES]
    covered = levels and found.pooled[[f"coverage-{level:g}" for level in levels]].notna().any(axis=None)
    return {
        "forecasts": [plot for name in series if (plot := _drawn(plots.draw_forecasts, frame, name, pair, unit))],
        "steps": _drawn(plots.draw_step_errors, frame, shown, unit) if frame["step"].max() > 1 else None,
        "coverage": _drawn(plots.draw_coverage, found.pooled, levels) if covered else None,
    }


def _seasons(learned: SeasonProfile | None) -> list[plots.Plot]:
    drawn = [_drawn(plots.draw_learned_season, learned, season) for season in (learned.seasons if learned else ())]
    return [plot for plot in drawn if plot is not None]


def _drawn(draw: Callable[..., plots.Plot], *arguments: object) -> plots.Plot | None:
    """Draw, or leave the plot out and say so: the numbers of the page are worth more than its plots."""
    try:
        return draw(*arguments)
    except Exception as error:  # noqa: BLE001  (whatever a drawing library raises for values it never saw)
        reason = f"{type(error).__name__}: {error}"
        logging.getLogger(__name__).warning("a plot of the report could not be drawn (%s) and is left out", reason)
        return None
