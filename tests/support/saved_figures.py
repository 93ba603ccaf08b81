"""What a saved figure shows."""

from matplotlib.figure import Figure
from matplotlib.lines import Line2D


def lines(figure: Figure) -> dict[str, Line2D]:
    """The lines of the first axes by their labels."""
    return {str(line.get_label()): line for line in figure.axes[0].get_lines()}
