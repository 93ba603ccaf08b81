"""Figures whose texts are what users call things: names of series, columns and files."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def take_texts_literally(figure: Figure) -> Figure:
    """Keep Matplotlib from reading names as mathematics: ``$a^2^2$`` is a name, and no formula that fails.

    Only the numbers at the ticks of an axis stay as Matplotlib writes them.
    """
    from matplotlib.text import Text
    from matplotlib.ticker import LogFormatter, ScalarFormatter

    number_axes = [
        axis
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        if isinstance(axis.get_major_formatter(), LogFormatter | ScalarFormatter)
    ]
    numbers = {id(label) for axis in number_axes for label in axis.get_ticklabels(which="both")}
    for text in figure.findobj(Text):
        if isinstance(text, Text) and id(text) not in numbers:
            text.set_parse_math(False)
    return figure


def write_figure(figure: Figure, target: Path | IO[bytes], **options: Any) -> None:
    """Write a figure with literal texts; a letter that the font lacks is drawn as a box, without a word about it.

    Args:
        figure: What to write.
        target: A path or a binary file object.
        options: Of ``Figure.savefig``.
    """
    take_texts_literally(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support .* natively")
        figure.savefig(target, **options)
