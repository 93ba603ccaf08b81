"""One page about forecasts that needs nothing else: no network, readable on a phone, on paper and without scripts."""

from __future__ import annotations

import base64
import hashlib
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
from qkan.forecasting.evaluation.model_tests import LOSSES, Loss, compare_models
from qkan.forecasting.evaluation.residuals import residual_acf, residual_diagnostics
from qkan.forecasting.io.files import check_new_file, make_folder, write_output
from qkan.forecasting.report import chart
from qkan.forecasting.report import page_plots as plots
from qkan.forecasting.report import page_tables as tables
from qkan.forecasting.report.page_tables import number
from qkan.forecasting.report.verdict import judge, lines_to_draw

if TYPE_CHECKING:
    import pandas as pd

    from qkan.forecasting.season.profile import SeasonProfile

_STANDING_SERIES = 3  # whose figures stand still, for paper and where no script runs
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
    trials: pd.DataFrame | None = None,
    notes: Sequence[str] = (),
    commands: Sequence[str] = (),
    unit: str = "",
    learned: SeasonProfile | None = None,
    coming: pd.DataFrame | None = None,
    history: pd.DataFrame | None = None,
    wall_times: Callable[[np.ndarray], np.ndarray] | None = None,
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
        trials: Learning rates that were tried: :attr:`qkan.forecasting.Run.tuning`.
        notes: Sentences to show at the top, such as limits of the computation.
        commands: Lines of a shell or of Python that make the report again.
        unit: Unit of y.
        learned: What the model believes of its seasons.
        coming: What comes next: columns unique_id, ds, the reference and the ends of its intervals; needs ``history``.
        history: Columns unique_id, ds, y: what is known up to there.
        wall_times: What the times of the frames, datetime64 or int64 (N,), are on the clocks of the readers.
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
    told, coming, history = (_told(one, wall_times) for one in (checked, coming, history))
    page = {
        "title": title,
        "notes": notes,
        "facts": [*(facts or {}).items(), *_facts(told)],
        "settings": list((settings or {}).items()),
        "commands": commands,
        "failures": tables.failure_table(failures) if failures is not None and len(failures) else None,
        "trials": None if trials is None else tables.trial_table(trials),
        **_results(checked, told, found, reference, scales, unit, season),
        **_coming(coming, history, reference, unit),
        **_intervals(found, wanted),
        "seasons": _seasons(learned),
    }
    make_folder(path.parent)
    content = _render(page).encode()
    write_output(path, lambda file: file.write(content))
    return found


def _told(frame: Any, wall_times: Callable[[np.ndarray], np.ndarray] | None) -> Any:
    """Return a frame with the times of the readers' clocks, of which one may come twice; they name no time zone."""
    if frame is None:
        return None
    if wall_times is not None:
        return frame.assign(ds=wall_times(frame["ds"].to_numpy()))
    zone = getattr(frame["ds"].dtype, "tz", None)
    return frame if zone is None else frame.assign(ds=frame["ds"].dt.tz_localize(None))


def _tests(
    frame: pd.DataFrame, reference: str, shown: Sequence[str], scales: Mapping[str, float] | None
) -> dict[Loss, pd.DataFrame]:
    """Return the tests by their loss, of errors in units of ``scales`` where any series has one."""
    if len(shown) < 2 or reference not in shown:
        return {}
    if not any(map(np.isfinite, (scales or {}).values())):
        scales = None
    return {loss: compare_models(frame, reference, models=shown, loss=loss, scales=scales) for loss in LOSSES}


def _results(
    frame: pd.DataFrame,
    told: pd.DataFrame,
    found: Accuracy,
    reference: str,
    scales: Mapping[str, float] | None,
    unit: str,
    season: int,
) -> dict[str, Any]:
    """Return the verdict, the forecasts, the tables of errors and tests, and what the text around them says.

    Times of the readers' clocks are for the eye alone: they repeat where clocks are set back, and west of Greenwich
    they lie before the cutoff.
    """
    shown = without_beside(found.pooled["model"])
    pooled, median = (table[table["model"].isin(shown)] for table in (found.pooled, found.median))
    several, ahead = frame["unique_id"].nunique() > 1, int(frame["step"].max())
    tests = _tests(frame, reference, shown, scales if several else None)
    verdict = judge(pooled, tests.get("absolute"), reference, unit)
    lines = lines_to_draw(reference, pooled, verdict)
    return {
        "verdict": verdict,
        "unit_words": f" in {unit}" if unit else " in the unit of the series",
        "mase_words": _mase_words(frame, scales),
        "reference": reference,
        "overlaps": ahead > 1,
        "bandwidth": f"bandwidth {ahead - 1}, the horizon less one",
        "accuracy": tables.accuracy_table(pooled, "Over all forecasts"),
        "median": tables.accuracy_table(median, "Median over the series") if several else None,
        "per_series": tables.series_table(found.per_series, shown) if several else None,
        "steps": _drawn(plots.draw_step_errors, frame, shown, unit) if ahead > 1 else None,
        "comparison": tables.comparison_table(tests, reference) if tests else None,
        **_forecasts(told, found, lines, unit),
        **_residuals(frame, without_beside(model_columns(frame)), lines, season),
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

    folder = files("qkan.forecasting.report")
    template, style, script = (
        folder.joinpath(f"report.{kind}").read_text(encoding="utf-8") for kind in ("html.jinja", "css", "js")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Whatever a user calls a series or a model is text, never markup; a browser runs this script and no other.
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":")}
    return (
        environment.from_string(template).render(
            page, parts=_parts(page), style=style, script=script, script_hash=f"sha256-{digest}"
        )
        + "\n"
    )


def _parts(page: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The parts of a page that a reader may want to go to."""
    there = {"next": page["coming"], "seasons": page["seasons"]}
    headings = {
        "next": "What comes next", "forecasts": "Forecasts", "accuracy": "Accuracy", "chance": "Chance",
        "seasons": "Seasons", "intervals": "Intervals", "residuals": "Residuals", "data": "Data",
        "settings": "Settings",
    }  # fmt: skip
    return [(name, heading) for name, heading in headings.items() if there.get(name, True)]


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


def _residuals(frame: pd.DataFrame, shown: Sequence[str], lines: Sequence[str], season: int) -> dict[str, Any]:
    diagnostics = residual_diagnostics(frame, models=shown, season=season)
    acf = residual_acf(frame, models=lines, lags=min(_DEEPEST_LAG, max(24, 2 * season)))
    drawn = _drawn(plots.draw_residual_acf, acf) if len(acf) else None
    return {"residuals": tables.residual_table(diagnostics), "acf": drawn}


def _forecasts(frame: pd.DataFrame, found: Accuracy, lines: Sequence[str], unit: str) -> dict[str, Any]:
    """Return the forecasts that were judged, as numbers and, of some series, as figures."""
    series = chart.choose_series(found.per_series, lines[0])
    judged = chart.judged_chart(frame, series, lines, unit)
    count, longest = frame["unique_id"].nunique(), max(part["count"] for part in judged["series"])
    some = (
        "" if len(series) == count else f", of {len(series)} of the {count:,} series, from small errors to large ones"
    )
    ahead = int(frame["step"].max())
    whose = f" Intervals are those of {lines[0]}." if any(part["bands"] for part in judged["series"]) else ""
    how = f" Forecasts of {ahead} steps stand one behind the other." if ahead > 1 else ""
    return {
        "judged": judged,
        "judged_words": f"The last {longest:,} values{some}.{whose}{how}",
        "forecasts": _standing(judged),
    }


def _coming(coming: pd.DataFrame | None, history: pd.DataFrame | None, reference: str, unit: str) -> dict[str, Any]:
    """Return what comes next, as numbers and, of some series, as figures."""
    if coming is None or history is None:
        return {"coming": None, "coming_plots": []}
    series = [str(name) for name in dict.fromkeys(coming["unique_id"])][: chart.MOST_SERIES]
    made = chart.coming_chart(history, coming, series, reference, unit)
    return {"coming": made, "coming_plots": _standing(made)}


def _standing(made: Mapping[str, Any]) -> list[plots.Plot]:
    places = range(min(_STANDING_SERIES, len(made["series"])))
    return [plot for place in places if (plot := _drawn(plots.draw_forecasts, made, place))]


def _intervals(found: Accuracy, levels: Sequence[float]) -> dict[str, Any]:
    names = [f"coverage-{level:g}" for level in levels]
    if not names or not found.pooled[names].notna().any(axis=None):
        return {"intervals": None, "coverage": None}
    return {
        "intervals": tables.interval_table(found.pooled, "Over all forecasts"),
        "coverage": _drawn(plots.draw_coverage, found.pooled, levels),
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
