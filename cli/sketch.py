"""Small drawings of letters for a terminal: a line of bars, and a forecast over what was observed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

BARS = "▁▂▃▄▅▆▇█"
MOST_LETTERS = 60
"""Of a line of a drawing."""
_LEAST_LETTERS = 20  # below which nothing can be seen
_LABEL, _NUMBER, _LEAST_BARS = 12, 12, 8  # letters of a label and a number, and of a line of bars beside more words
_ROWS, _OTHER_LINES = 6, 8  # lines of a sketch, and of all else in a terminal
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # of a braille letter, by column and row
_EMPTY = 0x2800


class Trained(Protocol):
    """What there is to draw of a training."""

    losses: list[float]
    validation: list[float]
    naive: float
    curves: tuple[Sequence[float], Sequence[float]] | None


def training_lines(training: Trained, console: Console) -> Iterator[Text]:
    """Yield what stands below the bar of a training: as much of it as the terminal has room and letters for."""
    from rich.text import Text

    room = console.width - _LABEL
    if console.options.ascii_only or room < _LEAST_LETTERS:
        return
    for label, values, said in (
        ("loss", training.losses, ""),
        ("validation", training.validation, _beside_naive(training)),
    ):
        if values:
            width = room - _NUMBER
            words = said if width - len(said) >= _LEAST_BARS else ""
            bars = sparkline(values, min(MOST_LETTERS, width - len(words)))
            text = f"{label:<{_LABEL}}{bars} {values[-1]:.4g}{words}"
            yield Text(text, no_wrap=True, overflow="ellipsis")
    if training.curves is None or console.height < _ROWS + _OTHER_LINES:
        return
    coloured = console.color_system is not None and not console.no_color
    observed, forecasts = training.curves
    lines, owned = sketch(observed, forecasts, min(MOST_LETTERS, room), _ROWS)
    title = (
        f"{'forecast':<{_LABEL}}",
        ("in colour" if coloured else "of o", "bold cyan"),
        " over the newest validation values",
    )
    yield Text.assemble(*title, no_wrap=True, overflow="ellipsis")
    for line, forecast in zip(lines, owned, strict=True):
        drawn = Text(" " * _LABEL, no_wrap=True)
        for letter, own in zip(line, forecast, strict=True):
            drawn.append(letter if coloured or not own else "o", "bold cyan" if own else None)
        yield drawn


def _beside_naive(training: Trained) -> str:
    """Say how the last validation loss stands beside that of repeating the last value."""
    if not training.validation or not training.naive > 0 or not math.isfinite(training.validation[-1]):
        return ""
    return f", {100 * training.validation[-1] / training.naive:.3g} % of naive's {training.naive:.4g}"


def sparkline(values: Sequence[float], width: int) -> str:
    """Return bars whose heights are the values, of more than ``width`` the means of neighbours.

    Heights follow the logarithm where all values are above zero, as losses are. Values that are not finite are blanks.
    """
    means = [_mean(part) for part in _parts(values, width)]
    known = [value for value in means if math.isfinite(value)]
    if not known:
        return " " * len(means)
    logarithm = min(known) > 0
    heights = [math.log(value) if logarithm and math.isfinite(value) else value for value in means]
    low, high = (function(value for value in heights if math.isfinite(value)) for function in (min, max))
    span = high - low
    return "".join(
        BARS[round((value - low) / span * (len(BARS) - 1)) if span else 0] if math.isfinite(value) else " "
        for value in heights
    )


def sketch(
    observed: Sequence[float], forecast: Sequence[float], width: int, height: int
) -> tuple[list[str], list[list[bool]]]:
    """Draw two curves in one frame, in letters of 2 x 4 dots.

    Args:
        observed: Values, the newest last; of more than two a letter, the last ones. Fewer are drawn wider.
        forecast: Of the same values.
        width: Letters.
        height: Lines.

    Returns:
        ``height`` lines of at most ``width`` letters, and for every letter whether it belongs to the forecast.
    """
    most = 2 * width
    curves = [_stretched(list(values)[-most:], most) for values in (observed, forecast)]
    known = [value for values in curves for value in values if math.isfinite(value)]
    if not known:
        return [], []
    low, high = min(known), max(known)
    letters = math.ceil(len(curves[0]) / 2)
    cells = [[0] * letters for _ in range(height)]
    owned = [[False] * letters for _ in range(height)]
    for number, values in enumerate(curves):
        before = None
        for place, value in enumerate(values):
            if not math.isfinite(value):
                before = None
                continue
            dot = round((high - value) / (high - low) * (4 * height - 1)) if high > low else 2 * height
            for between in _from(before, dot):
                row, column = between // 4, place // 2
                if number and not owned[row][column]:  # a letter has one colour: the forecast's, where both are
                    cells[row][column], owned[row][column] = 0, True
                cells[row][column] |= _DOTS[place % 2][between % 4]
            before = dot
    return ["".join(chr(_EMPTY + cell) for cell in row) for row in cells], owned


def _stretched(values: list[float], count: int) -> list[float]:
    """Put values on a line between the given ones, ``count`` in all."""
    if len(values) < 2:
        return values
    places = [place * (len(values) - 1) / (count - 1) for place in range(count)]
    last = len(values) - 1
    return [
        values[int(place)] + (place % 1) * (values[min(int(place) + 1, last)] - values[int(place)]) for place in places
    ]


def _from(before: int | None, dot: int) -> range:
    """The dots that join one to that before it."""
    if before is None or abs(before - dot) <= 1:
        return range(dot, dot + 1)
    return range(before + 1, dot + 1) if before < dot else range(dot, before)


def _parts(values: Sequence[float], width: int) -> list[Sequence[float]]:
    count = len(values)
    if count <= width:
        return [values[place : place + 1] for place in range(count)]
    edges = [place * count // width for place in range(width + 1)]
    return [values[begin:end] for begin, end in itertools.pairwise(edges)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
