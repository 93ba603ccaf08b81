"""The plots of a report that stand still, as SVG inside the page: light or dark as the page is, and on paper.

Text stays text, and every colour is a variable of the style of the page: this is where its contrasts are chosen.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from qkan.forecasting.season.plot import draw_season

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from qkan.forecasting.season.profile import SeasonProfile

_INK = "#123456"  # stands for the colour of text, as those below stand for those of lines: a browser never sees them
_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#882255", "#999999")
_VARIABLES = {_INK: "var(--ink)", **{colour: f"var(--c{place})" for place, colour in enumerate(_COLOURS)}}
_SHOWABLE = re.compile(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
_SHOWN_STEPS = 120  # of the end of a series
_MOST_MODELS = len(_COLOURS)
_LONGEST_NAME = 40
_DRAWN_MODELS = 2  # whose lines can be told apart at a glance
_COLOURED = ("style", "fill", "stroke")
_NAMED = ("id", "href", "clip-path", "style")
_WIDTH = 4.7  # inches of 72 units: as wide as a phone in units of its style, so that letters have their size there


@dataclass(frozen=True)
class Plot:
    """An image.

    Attributes:
        svg: An ``<svg>`` element that needs nothing else.
        alt: What it shows, in words, for those who do not see it.
        caption: The line below it.
    """

    svg: str
    alt: str
    caption: str


def draw_forecasts(chart: Mapping[str, Any], place: int) -> Plot:
    """Draw the end of one series of a chart: what was observed, forecasts of up to two models, the widest interval.

    Args:
        chart: Of :mod:`qkan.forecasting.report.chart`.
        place: Of the series.
    """
    part = chart["series"][place]
    known = [place for place, value in enumerate(part["y"]) if value is not None]  # some of these may be missing, too
    ahead = len(part["y"]) - 1 - known[-1] if known else 0  # what comes next is shown whole, and some of what is before
    end = slice(-(max(30, 4 * ahead) if ahead else _SHOWN_STEPS), None)
    times, observed = times_of(part)[end], _floats(part["y"])[end]
    lines = list(part["models"].items())[:_DRAWN_MODELS]
    with _axes(chart["unit"], height=2.9) as (axes, finish):
        axes.plot(times, observed, color=_INK, lw=1.2, label="observed")
        for index, (name, values) in enumerate(lines):
            axes.plot(times, _floats(values)[end], color=_COLOURS[index], lw=1.3, ls=("-", "--")[index], label=name)
        for band in part["bands"][:1]:
            low, high = _floats(band["low"])[end], _floats(band["high"])[end]
            axes.fill_between(times, low, high, color=_COLOURS[0], alpha=0.2, lw=0, label=f"{band['level']} % interval")
        axes.set_title(part["name"])
        if part["dated"]:
            _date_axis(axes)
        else:
            axes.set_xlabel("step")
        _legend_below(axes)
    methods = " and ".join(name for name, _ in lines) or "no method"
    what = f"{part['name']}: the last {len(times) - ahead} values"
    what += (
        f" and {ahead} {'steps' if ahead > 1 else 'step'} ahead by {methods}"
        if ahead
        else f" and their forecasts by {methods}"
    )
    return finish(what, f"{what}.")


def draw_step_errors(frame: pd.DataFrame, models: Sequence[str], unit: str) -> Plot:
    """Draw the mean absolute error of every model against the steps ahead."""
    shown = models[:_MOST_MODELS]
    errors = {name: (frame["y"] - frame[name]).abs().groupby(frame["step"]).mean() for name in shown}
    with _axes(f"MAE [{clean(unit)}]" if unit else "MAE") as (axes, finish):
        for name, colour in zip(shown, _COLOURS, strict=False):
            axes.plot(errors[name].index, errors[name], color=colour, marker="o", ms=3, lw=1.2, label=clean(name))
        axes.set_xlabel("steps ahead")
        axes.xaxis.get_major_locator().set_params(integer=True)
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
    with _axes("", height=0.6 + 0.95 * len(names), rows=len(names)) as (panels, finish):
        for axes, name, colour in zip(panels, names, _COLOURS, strict=False):
            own = acf[acf["model"] == name]
            axes.vlines(own["lag"], 0, own["acf"], color=colour, lw=2)
            axes.axhspan(-own["band"].iloc[0], own["band"].iloc[0], color=_COLOURS[-1], alpha=0.25, lw=0)
            axes.axhline(0, color=_INK, lw=0.6)
            axes.set_title(clean(name), fontsize=10, loc="left")
        panels[-1].set_xlabel("lag [steps]")
        panels[-1].xaxis.get_major_locator().set_params(integer=True)
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


def times_of(part: Mapping[str, Any]) -> np.ndarray:
    """Return the times of a series of a chart: datetime64[us], or steps in int64."""
    count = part["count"]
    whole = np.array(part["at"]) if "at" in part else part["begin"] + part.get("apart", 0) * np.arange(count)
    return (1e6 * whole).round().astype(np.int64).astype("datetime64[us]") if part["dated"] else whole


def _floats(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _date_axis(axes: Axes) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=5)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


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
        **{f"{name}size": 9 for name in ("font.", "axes.label", "xtick.label", "ytick.label", "legend.font")},
        "axes.titlesize": 10,
        **{f"{name}.color": _INK for name in ("text", "xtick", "ytick")},
        **{f"axes.{name}": _INK for name in ("edgecolor", "labelcolor", "titlecolor")},
    }
    with mpl.rc_context(settings):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
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
                return Plot(_inline(figure), alt, caption)

        yield (panels if rows else panels[0]), finished


def _inline(figure: Any) -> str:
    """Return a figure as an element of a page: nothing but shapes and texts, with names that no other figure has."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a letter that Matplotlib cannot measure: the reader's screen can
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ElementTree.fromstring(content.getvalue())
    for parent in root.iter():
        for child in [child for child in parent if child.tag in (f"{_SVG}metadata", f"{_SVG}style")]:
            parent.remove(child)
    own = hashlib.sha256(content.getvalue()).hexdigest()[:8]
    for element in root.iter():
        _adapt(element, own)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    return ElementTree.tostring(root, encoding="unicode")


def _adapt(element: ElementTree.Element, own: str) -> None:
    """Give an element the variables of the page for its colours, and names that begin with ``own``."""
    element.tag = element.tag.removeprefix(_SVG)
    if _LINK in element.attrib:
        element.set("href", element.attrib.pop(_LINK))
    if element.tag == "g":
        element.attrib.pop("id", None)
    for name in {*_COLOURED, *_NAMED} & set(element.attrib):
        value = element.attrib[name]
        if name in _COLOURED:
            for colour, variable in _VARIABLES.items():
                value = value.replace(colour, variable)
        if name in _NAMED:
            value = re.sub(r"url\(#|^#", rf"\g<0>{own}-", value) if name != "id" else f"{own}-{value}"
        element.set(name, value)


def _legend_below(axes: Axes) -> None:
    axes.figure.legend(loc="outside lower center", ncols=2, frameon=False)
