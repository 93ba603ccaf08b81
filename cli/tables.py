"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

WIDTH_WITHOUT_TERMINAL = 120


def print_facts(facts: Mapping[str, str], *, title: str | None = None) -> None:
    """Print names and what they stand for, one a line."""
    from rich.table import Table

    table = Table.grid(padding=(0, 3))
    _print(table, facts.items(), title)


def print_rows(head: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> None:
    """Print a table whose first column names the rows; the others hold numbers."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(head):
        table.add_column(name, justify="right" if index else "left")
    _print(table, rows, title)


def _print(table: Table, rows: Iterable[Sequence[str]], title: str | None) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH_WITHOUT_TERMINAL)
    if title is not None:
        console.print(Text(title, style="bold"))
    for row in rows:
        table.add_row(*(Text(cell, overflow="fold") for cell in row))
    console.print(table)


def number(value: float | None) -> str:
    """Format a metric with four significant digits, without an exponent where it stays short; ``None`` is a dash."""
    if value is None:
        return "-"
    return f"{value:.4g}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.2e}"
