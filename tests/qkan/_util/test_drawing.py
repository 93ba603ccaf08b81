import warnings
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from qkan._util.drawing import take_texts_literally, write_figure

NAMES = ["$a^2^2$", "\\$5$ or 6$", "$\\frac$", "日本 $x$", "$$", "a_b^c$ $"]


def drawn(name: str) -> Figure:
    figure = Figure()
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot([1.0, 2.0], [1.0, 1000.0], label=name)
    axes.set(title=name, xlabel=name, ylabel=name, yscale="log")
    axes.set_xticks([1.0, 2.0], [name, name])
    axes.legend()
    figure.text(0.5, 0.5, name)
    return figure


@pytest.mark.parametrize("name", NAMES)
def test_names_with_dollar_signs_are_no_mathematics(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a letter that the font lacks is drawn as a box, silently
        write_figure(drawn(name), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_numbers_at_the_ticks_stay_mathematics() -> None:
    figure = take_texts_literally(drawn("$a^2^2$"))
    axes = figure.axes[0]
    assert axes.yaxis.get_ticklabels()[0].get_parse_math()
    assert not axes.xaxis.get_ticklabels()[0].get_parse_math()
    assert not axes.title.get_parse_math()
