"""The Milan grid: download, import, sample."""

from qkan.datasets.milan.fetch import fetch_milan
from qkan.datasets.milan.grid import (
    MilanOptions,
    find_milan,
    is_import,
    names_milan,
    parse_days,
    parse_squares,
    read_facts,
    read_import,
    wall_clock,
)
from qkan.datasets.milan.importer import import_milan
from qkan.datasets.milan.sample import write_sample

__all__ = [
    "MilanOptions",
    "fetch_milan",
    "find_milan",
    "import_milan",
    "is_import",
    "names_milan",
    "parse_days",
    "parse_squares",
    "read_facts",
    "read_import",
    "wall_clock",
    "write_sample",
]
