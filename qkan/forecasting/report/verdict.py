"""What a page says first: whether the model is better than the methods that a reader knows, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from qkan.forecasting.config import METRIC_NAMES, model_name
from qkan.forecasting.report.page_tables import SIGNIFICANT, number, p_value

if TYPE_CHECKING:
    import pandas as pd

KNOWN = tuple(model_name(name) for name in ("naive", "ridge", "lstm"))
"""Methods that a page compares with by name, where they were tried."""
Kind = Literal["better", "worse", "level", "untested"]
_ROUNDS_TO_NOTHING = 0.05  # percent


@dataclass(frozen=True)
class Side:
    """How a model stands beside another one.

    Attributes:
        against: The other model.
        change: By how much its error is lower or higher, as ``12.3 % less error than Naive``.
        numbers: Both errors.
        test: What the test of Diebold and Mariano says of the difference.
        kind: Whether the model is better or worse by more than chance, level with the other, or untested.
    """

    against: str
    change: str
    numbers: str
    test: str
    kind: Kind


@dataclass(frozen=True)
class Verdict:
    """What a page says first.

    Attributes:
        headline: One sentence.
        sides: The model beside naive, ridge and LSTM, of those that were tried, and beside the best of all others.
        measure: What the errors are.
    """

    headline: str
    sides: tuple[Side, ...]
    measure: str


def judge(pooled: pd.DataFrame, tests: pd.DataFrame | None, reference: str, unit: str) -> Verdict:
    """Compare a model with the others of a page.

    Args:
        pooled: ``Accuracy.pooled``, of the models that are compared.
        tests: Of :func:`qkan.forecasting.evaluation.compare_models` for the absolute loss, of all models; ``None``
            where there is nothing to test.
        reference: The model.
        unit: Unit of the values.
    """
    whole = pooled[pooled["series"] == pooled["series"].max()]
    measure = _measure(whole)
    errors = dict(zip(whole["model"], whole[measure], strict=True))
    words = f"the {METRIC_NAMES[measure]}" if measure == "mase" else "the mean absolute error"
    unit = f" {unit}" if unit and measure == "mae" else ""
    if reference not in errors:
        return Verdict(f"{reference} lacks some series, so it cannot be judged beside the others.", (), words)
    if len(errors) == 1:
        return Verdict(f"The mean absolute error of {reference} is {number(errors[reference])}{unit}.", (), words)
    tested = {} if tests is None else {str(row.model): row for row in tests.itertuples(index=False)}
    others = sorted((name for name in errors if name != reference), key=errors.__getitem__)
    asked = [*(name for name in KNOWN if name in others), others[0]]
    sides = [_side(name, errors, reference, tested.get(name), unit) for name in dict.fromkeys(asked)]
    nearest = next(side for side in sides if side.against == others[0])
    return Verdict(_headline(reference, nearest, errors), tuple(sides), words)


def _measure(whole: pd.DataFrame) -> str:
    """Several series differ in size, so theirs is an error without a unit: what their test is about, too."""
    several = len(whole) > 0 and int(whole["series"].max()) > 1
    return "mase" if several and np.isfinite(whole["mase"]).all() else "mae"


def _side(name: str, errors: Mapping[str, float], reference: str, test: Any, unit: str) -> Side:
    own, other = errors[reference], errors[name]
    numbers = f"{number(own)}{unit} for both." if own == other else f"{number(own)} instead of {number(other)}{unit}."
    words, kind = _tested(own, other, test)
    return Side(name, _change(own, other, name), numbers, words, kind)


def _tested(own: float, other: float, test: Any) -> tuple[str, Kind]:
    """Say what a row of :func:`qkan.forecasting.evaluation.compare_models` means."""
    if test is None or not np.isfinite(test.p_holm):
        return ("The difference cannot be tested." if own != other else "There is no difference to test."), "untested"
    p = p_value(test.p_holm)
    said = f"p {p}" if p.startswith("<") else f"p = {p}"
    shown = "Diebold-Mariano, " + said.replace(" ", "\u00a0")  # no line ends within it
    if test.p_holm >= SIGNIFICANT:
        return f"No more than chance ({shown}).", "level"
    if (test.difference < 0) != (own < other):
        return f"Series weigh differently in the test, which says the contrary ({shown}).", "level"
    return f"More than chance ({shown}).", "better" if own < other else "worse"


def _change(own: float, other: float, name: str) -> str:
    if other == 0:
        return f"The same error as {name}: none" if own == 0 else f"More error than {name}, which makes none"
    percent = 100 * (own / other - 1)
    if abs(percent) < _ROUNDS_TO_NOTHING:
        return f"The same error as {name}"
    return f"{abs(percent):.1f} % {'less' if percent < 0 else 'more'} error than {name}"


def _headline(reference: str, nearest: Side, errors: Mapping[str, float]) -> str:
    """Say it in one sentence; ``nearest`` is the best of the others."""
    best, count = nearest.against, len(errors) - 1
    all_of_them = f"all {count} methods beside it" if count > 1 else best
    if nearest.kind == "better":
        return f"{reference} forecasts better than {all_of_them}."
    if nearest.kind == "worse":
        return f"{best} forecasts better than {reference}."
    own, other = errors[reference], errors[best]
    if own == other:
        return f"{reference} and {best} make the same error."
    first, second = (reference, best) if own < other else (best, reference)
    if nearest.kind == "untested":
        return f"{first} has a smaller error than {second}, but there are too few origins to tell it from chance."
    return f"{first} has the smallest error, but the difference to {second} is no more than chance."


def lines_to_draw(reference: str, pooled: pd.DataFrame, verdict: Verdict) -> tuple[str, ...]:
    """Return the models that forecasts are drawn of: the one that the page is about, then the best of the others."""
    if not verdict.sides:
        return tuple(str(name) for name in pooled.sort_values("mae", kind="stable")["model"])[:4]
    errors = dict(zip(pooled["model"], pooled["mae"], strict=True))
    return (reference, *sorted((side.against for side in verdict.sides), key=errors.__getitem__))
