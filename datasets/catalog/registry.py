"""The series that come with the package, by name, and the one entry point that accepts a name or a file."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd

from qkan.datasets.catalog import quantum
from qkan.datasets.catalog import synthetic as oscillators
from qkan.datasets.catalog.milan_24 import HOURS_A_DAY, HOURS_A_WEEK, milan_24
from qkan.datasets.catalog.telecom import SESSION, STEPS_A_DAY, STEPS_A_WEEK, telecom
from qkan.datasets.errors import DataError
from qkan.datasets.milan import find_milan, is_import, names_milan, read_import
from qkan.datasets.panel import is_panel, open_panel
from qkan.datasets.read import Columns, CsvForm, file_series, is_data_path, keep_series
from qkan.datasets.series import Series, Session
from qkan.datasets.steps import step_frame

_COMPUTED = "computed"
_FREE = "Apache-2.0 (computed by this package)"


@dataclass(frozen=True)
class SeriesSpec:
    """What is known of a series without loading it; ``build`` makes its frame. The other fields are those of Series.

    Examples:
        >>> from qkan.datasets import SPECS
        >>> spec = SPECS["telecom"]
        >>> spec.points, spec.season, spec.unit
        (27716, (169, 845), 'calls per 5 minutes')
    """

    name: str
    points: int
    summary: str
    build: Callable[[], pd.DataFrame]
    frequency: str | None = None
    season: tuple[int, ...] = ()
    unit: str = ""
    source: str = _COMPUTED
    licence: str = _FREE
    session: Session | None = None

    def load(self) -> Series:
        """Give the whole series. A process builds its frame once: a comparison and its report read the same one."""
        return Series(
            name=self.name,
            frame=_built(self.build).copy(),
            frequency=self.frequency,
            season=self.season,
            unit=self.unit,
            source=self.source,
            licence=self.licence,
            summary=self.summary,
            session=self.session,
        )


@cache
def _built(build: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    return build()


def _computed(
    name: str, points: int, values: Callable, summary: str, *, unit: str = "", season: tuple[int, ...] = ()
) -> SeriesSpec:
    def build() -> pd.DataFrame:
        return step_frame(values(), name)

    return SeriesSpec(name, points, summary, build, unit=unit, season=season)


_SPECS = (
    SeriesSpec(
        "telecom",
        27_716,
        "calls handled by a bank's call centre, 164 working days of 2003, 07:00 to 21:00",
        telecom,
        frequency="5min",
        season=(STEPS_A_DAY, STEPS_A_WEEK),
        unit="calls per 5 minutes",
        source="Weinberg, Brown and Stroud (2007), JASA 102; R package fpp3",
        licence="published with fpp3 (GPL-3); no separate licence of the values is known",
        session=SESSION,
    ),
    SeriesSpec(
        "milan-24",
        35_712,
        "mobile traffic of 24 squares of Milan, 62 days from 2013-11-01: a panel",
        milan_24,
        frequency="h",
        season=(HOURS_A_DAY, HOURS_A_WEEK),
        unit="records per hour",
        source="Telecom Italia, Open Big Data Challenge 2013, doi 10.7910/DVN/EGZHFV",
        licence="Open Database License (ODbL) 1.0",
    ),
    _computed("damped-shm", 240, oscillators.damped_shm, "angular velocity of a damped pendulum", unit="rad/s"),
    _computed("bessel-j2", 256, oscillators.bessel_j2, "Bessel function J2 on [2, 100]"),
    _computed(
        "delayed-quantum-control",
        2_200,
        oscillators.delayed_quantum_control,
        "decaying train of Gaussian pulses, one every 200 steps",
        season=(200,),
    ),
    _computed("narma-5", 300, partial(oscillators.narma, 5), "nonlinear autoregressive moving average of order 5"),
    _computed("narma-10", 300, partial(oscillators.narma, 10), "nonlinear autoregressive moving average of order 10"),
    _computed("duffing", 2_000, oscillators.duffing, "position of a driven Duffing oscillator, chaotic"),
    _computed("logistic-map", 1_500, oscillators.logistic_map, "every third iterate of a logistic map, chaotic"),
    _computed("henon-map", 1_100, oscillators.henon_map, "first coordinate of the Hénon map, chaotic"),
    _computed("mackey-glass", 1_000, oscillators.mackey_glass, "Mackey-Glass equation with a delay of 17, chaotic"),
    _computed("lorenz", 1_000, oscillators.lorenz_x, "first coordinate of the Lorenz system, chaotic"),
    _computed("driven-transmon", 3_000, quantum.driven_transmon, "population of a driven transmon's excited state"),
    _computed(
        "jaynes-cummings", 3_000, quantum.jaynes_cummings, "inversion of an atom in a cavity: collapses and revivals"
    ),
)
SPECS: dict[str, SeriesSpec] = {spec.name: spec for spec in _SPECS}
"""The built-in series by name.

Examples:
    >>> from qkan.datasets import SPECS
    >>> "milan-24" in SPECS
    True
"""


def available_series() -> dict[str, str]:
    """Name and one-line summary of every series that comes with the package; loads no data.

    Examples:
        >>> from qkan.datasets import available_series
        >>> print(available_series()["logistic-map"])
        every third iterate of a logistic map, chaotic
    """
    return {name: spec.summary for name, spec in SPECS.items()}


def load_series(name: str) -> Series:
    """One of the series that come with the package.

    Args:
        name: a key of `available_series`.

    Raises:
        DataError: no series has that name; the message lists the known ones and the closest match.

    Examples:
        >>> from qkan.datasets import load_series
        >>> series = load_series("damped-shm")
        >>> len(series.frame), list(series.frame.columns)
        (240, ['unique_id', 'ds', 'y'])
    """
    if name not in SPECS:
        close = difflib.get_close_matches(name, [*SPECS, "milan"], n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise DataError(
            f"unknown data {name!r}{hint}; choose one of {', '.join(SPECS)}, "
            "or give the path of a .csv, .csv.gz, .parquet or .xlsx file"
        )
    return SPECS[name].load()


def names_file(name_or_path: str | Path) -> bool:
    """Whether `resolve_series` would read a file, there or not, rather than take a series of the package.

    Examples:
        >>> from qkan.datasets import names_file
        >>> names_file("traffic.csv"), names_file("telecom")
        (True, False)
    """
    return str(name_or_path) not in SPECS and not names_milan(name_or_path) and is_data_path(name_or_path)


def resolve_series(
    name_or_path: str | Path,
    *,
    missing: str = "refuse",
    series: Sequence[str] = (),
    expected: str | None = None,
    frequency: int | str | None = None,
    sep: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    **columns: Any,
) -> Series:
    """The series called ``name_or_path``, or the one in the file or panel at that path.

    A name of `available_series` always wins; write ``./telecom`` for a file of that name. ``milan`` and
    ``milan-SIGNAL-FREQ`` mean what `qkan data import milan` wrote, see `find_milan`. ``columns``, ``expected`` and
    ``frequency`` are those of :func:`qkan.datasets.read.table.series_from_frame`, ``sep``, ``decimal`` and ``encoding``
    those of :func:`qkan.datasets.read.file.read_series`; they make sense for files only. ``series`` names those to
    keep of many, all if it is empty. A built-in series has no missing values; ``missing`` treats those of files and
    imports.

    Raises:
        DataError: neither a known name nor a readable file, columns were named for a built-in series, or a series to
            keep does not exist.

    Examples:
        >>> from qkan.datasets import resolve_series
        >>> resolve_series("telecom").name, resolve_series("traffic.csv").name
        ('telecom', 'traffic')
    """
    text = str(name_or_path)
    chosen, form = Columns.named(**columns), CsvForm(sep, decimal, encoding)
    if names_file(name_or_path) and is_panel(Path(name_or_path)):
        panel = open_panel(Path(name_or_path), missing=missing, frequency=frequency, given=columns)
        return keep_series(panel, series)
    if names_file(name_or_path):
        if chosen == Columns() and frequency is None and is_import(name_or_path):
            return read_import(Path(name_or_path), series, missing=missing)
        steps = (frequency, expected)
        return keep_series(file_series(Path(name_or_path), chosen, missing, steps=steps, form=form), series)
    asked = (*columns.items(), ("freq", frequency), *vars(form).items())
    given = [f"{name}={value!r}" for name, value in asked if value]
    if given and (text in SPECS or names_milan(text)):
        raise DataError(
            f"{given[0]} was given, but {text!r} is a built-in series; columns, steps and the form of a table can "
            "be chosen in files only"
        )
    if names_milan(text):
        return read_import(find_milan(text), series, missing=missing)
    return replace(keep_series(load_series(text), series), missing=missing)
