"""The plots of a report, as SVG images inside the page: sharp at any size, light or dark with the reader's screen."""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qkan.forecasting.evaluation.frames import bounds, interval_levels
from qkan.forecasting.season.plot import draw_season

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from qkan.forecasting.season.profile import SeasonProfile

_INK = "#123456"  # stands for the colour of text, which the style below sets
_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#882255", "#999999")
_SHOWABLE = re.compile(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STYLE = "<style>:root{--ink:#222}@media(prefers-color-scheme:dark){:root{--ink:#ddd}}</style>"
_SHOWN_STEPS = 120  # of the end of a series
_MOST_MODELS = len(_COLOURS)
_LONGEST_NAME = 40


@dataclass(frozen=True)
class Plot:
    """An image for an ``<img>``.

    Attributes:
        source: A ``data:`` address with the whole image.
        alt: What it shows, in words, for those who do not see it.
        caption: The line below it.
    """

    source: str
    alt: str
    caption: str


def draw_forecasts(frame: pd.DataFrame, series: str, models: Sequence[str], unit: str) -> Plot:
    """Draw the end of one series: what was observed, forecasts of up to two models, the widest interval of the first.

    With several steps ahead, origins are taken so that their forecasts follow each other without overlap.

    Args:
        frame: A checked cross-validation frame.
        series: The series.
        models: The models to draw; those that lack the series are left out.
        unit: Unit of the values.
    """
    own = _without_overlap(frame[frame["unique_id"] == series])
    shown = [name for name in models if own[name].notna().all()][:2]
    with _axes(clean(unit or "value"), height=3.2) as (axes, finish):
        times = own["ds"].to_numpy()
        axes.plot(times, own["y"], color=_INK, lw=1.2, label="observed")
        for index, name in enumerate(shown):
            axes.plot(times, own[name], color=_COLOURS[index], lw=1.3, ls=("-", "--")[index], label=clean(name))
        levels = interval_levels(own, shown[0]) if shown else ()
        if levels:
            low, high = (own[name] for name in bounds(shown[0], levels[-1]))
            axes.fill_between(times, low, high, color=_COLOURS[0], alpha=0.2, lw=0, label=f"{levels[-1]:g} % interval")
        axes.set_title(clean(series), fontsize=10)
        if np.issubdtype(times.dtype, np.datetime64):
            axes.figure.autofmt_xdate(rotation=30)
        else:
            axes.set_xlabel("step")
        _legend_below(axes)
    what = f"{clean(series)}: the last {len(own)} values and their forecasts by {' and '.join(map(clean, shown))}"
    return finish(what, f"{what}.")


def draw_step_errors(frame: pd.DataFrame, models: Sequence[str], unit: str) -> Plot:
    """Draw the mean absolute error of every model against the steps ahead."""
    shown = models[:_MOST_MODELS]
    errors = {name: (frame["y"] - frame[name]).abs().groupby(frame["step"]).mean() for name in shown}
    with _axes(f"MAE [{clean(unit)}]" if unit else "MAE") as (axes, finish):
        for name, colour in zip(shown, _COLOURS, strict=False):
            axes.plot(errors[name].index, errors[name], color=colour, marker="o", ms=3, lw=1.2, label=clean(name))
        axes.set_xlabel("steps ahead")
        _legend_below(axes)
    what = f"Mean absolute error from 1 to {int(frame['step'].max())} steps ahead, by model"
    return finish(what, f"{what}.")


def draw_coverage(pooled: pd.DataFrame, levels: Sequence[float]) -> Plot:
    """Draw which share of the values lies in the intervals, with a line at each level asked for."""
    shown = pooled[pooled[[f"coverage-{level:g}" for level in levels]].notna().any(axis=1)]
    words = []
    with _axes("", height=1.2 + 0.35 * len(shown)) as (axes, finish):
        places = np.arange(len(shown))[::-1]
        for level, colour in zip(levels, _COLOURS, strict=False):
            measured = shown[f"coverage-{level:g}"].to_numpy()
            axes.axvline(level, color=colour, lw=1, ls="--")
            axes.plot(measured, places, color=colour, marker="o", ls="none", label=f"{level:g} %")
            words += [
                f"{clean(name)} {value:.1f} % at {level:g} %"
                for name, value in zip(shown["model"], measured, strict=True)
                if np.isfinite(value)
            ]
        axes.set_yticks(places, [clean(name) for name in shown["model"]])
        axes.set_ylim(-0.6, len(shown) - 0.4)
        axes.set_xlabel("values inside the interval, percent; dashed: the level")
        _legend_below(axes)
    caption = "Measured coverage of the prediction intervals. Left of its line a level promises too much."
    return finish("Measured coverage: " + ", ".join(words), caption)


def draw_residual_acf(acf: pd.DataFrame) -> Plot:
    """Draw the autocorrelation of one-step errors of every model, each in a row of its own, with the band of noise."""
    names = list(dict.fromkeys(acf["model"]))[:_MOST_MODELS]
    with _axes("", height=0.5 + 1.1 * len(names), rows=len(names)) as (panels, finish):
        for axes, name, colour in zip(panels, names, _COLOURS, strict=False):
            own = acf[acf["model"] == name]
            axes.vlines(own["lag"], 0, own["acf"], color=colour, lw=2)
            axes.axhspan(-own["band"].iloc[0], own["band"].iloc[0], color="#999999", alpha=0.25, lw=0)
            axes.axhline(0, color=_INK, lw=0.6)
            axes.set_title(clean(name), fontsize=9, loc="left")
        panels[-1].set_xlabel("lag [steps]")
    depth = int(acf["lag"].max())
    caption = "Autocorrelation of one-step errors, mean over series; noise stays in the grey band at 95 % of the lags."
    return finish(
        f"Autocorrelation of the one-step errors of {', '.join(map(clean, names))}, lags 1 to {depth}", caption
    )


def draw_learned_season(profile: SeasonProfile, season: int) -> Plot:
    """Draw what a model believes of a season over what the training part shows, and what the clock alone changes."""
    with _axes("", height=5.2, rows=2, share_y=False) as (panels, finish):
        draw_season(panels, profile, season, ink=_INK)
    what = f"The season of {season} steps that {clean(profile.model)} has learned, over the mean of the training part"
    caption = (
        f"{what}: what it repeats when it runs on by itself, its drift taken out. Below: how a forecast changes with "
        f"the clock alone. {' '.join(map(clean_line, profile.sentences(season)))}"
    )
    return finish(what, caption)


def clean_line(text: str) -> str:
    """Return a sentence without control characters."""
    return _SHOWABLE.sub("?", text)


def clean(text: object) -> str:
    """Return a name as a plot can show it: no control characters, which no XML may hold, and not too long."""
    shown = clean_line(str(text))
    return shown if len(shown) <= _LONGEST_NAME else shown[: _LONGEST_NAME - 1] + "…"


def _without_overlap(own: pd.DataFrame) -> pd.DataFrame:
    """Return the last rows of one series, in the order of time, one forecast for every time at most."""
    kept: list[pd.DataFrame] = []
    begin = None
    for _, rows in reversed(list(own.groupby("cutoff", sort=True))):
        if begin is None or rows["ds"].max() < begin:
            kept.insert(0, rows)
            begin = rows["ds"].min()
        if sum(map(len, kept)) >= _SHOWN_STEPS:
            break
    import pandas as pd

    return pd.concat(kept, ignore_index=True)


@contextmanager
def _axes(ylabel: str, *, height: float = 3.4, rows: int = 0, share_y: bool = True) -> Iterator[Any]:
    """Give axes (a list of them for ``rows``) and a function (alt, caption) that makes the plot of them."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings: Any = {
        "svg.fonttype": "none",  # text stays text: it can be found, and any script of the world shows
        "svg.hashsalt": "qkan",  # the same data gives the same bytes
        "text.parse_math": False,  # a dollar sign in a name is a dollar sign
        "font.family": "sans-serif",
        **{f"{name}.color": _INK for name in ("text", "xtick", "ytick")},
        **{f"axes.{name}": _INK for name in ("edgecolor", "labelcolor", "titlecolor")},
    }
    with mpl.rc_context(settings):
        figure = Figure(figsize=(5.8, height), layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_alpha(0)
        panels = list(figure.subplots(max(rows, 1), 1, sharex=True, sharey=share_y, squeeze=False)[:, 0])
        for axes in panels:
            axes.patch.set_alpha(0)
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
        panels[0].set_ylabel(ylabel)

        def finished(alt: str, caption: str) -> Plot:
            with mpl.rc_context(settings):
                return Plot(_as_source(figure), alt, caption)

        yield (panels if rows else panels[0]), finished


def _as_source(figure: Any) -> str:
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a letter that Matplotlib cannot measure: the reader's screen can
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = content.getvalue().decode()
    text = re.sub(r"<\?xml.*?(?=<svg)", "", text, flags=re.DOTALL)  # the document type names an address
    text = re.sub(r"(<svg[^>]*>)", rf"\1{_STYLE}", text, count=1).replace(_INK, "var(--ink)")
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode()


def _legend_below(axes: Axes) -> None:
    axes.figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
