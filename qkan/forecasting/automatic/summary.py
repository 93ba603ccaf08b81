"""What a search found, in three lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkan.forecasting.automatic.budget import in_words
from qkan.forecasting.config import model_name

if TYPE_CHECKING:
    from qkan.forecasting.automatic.trials import Search


_SHOWN = 4  # members of a combination


def verdict(found: Search, unit: str) -> list[str]:
    """Say in three lines what won, by how much over naive and ridge, and what it cost."""
    if found.parts is None or found.error is None:
        return found.notes[:1]
    error, unit = found.error, f" {unit}" if unit else ""
    origins = _counted(len(found.parts.judged.test), "rolling origin")
    lines = [f"{_who(found)}: mean absolute error {error:.4g}{unit} over {origins}."]
    named = dict(zip((one.name for one in found.candidates), found.errors, strict=True))
    sides = [_side(error, named.get(name), name) for name in (model_name("naive"), model_name("ridge"))]
    lines.append(f"That is {' and '.join(sides)}.")
    skipped = f" {', '.join(found.skipped)} left out." if found.skipped else ""
    lines.append(f"It took {in_words(found.seconds)} to try {_counted(len(found.candidates), 'method')}.{skipped}")
    return lines


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _who(found: Search) -> str:
    """What won: a method, or the shares of a combination, the largest first."""
    members = found.members
    if len(members) == 1:
        return f"{members[0][0].name} wins"
    shares = [f"{100 * weight:.0f} % {one.name}" for one, weight in members[:_SHOWN]]
    rest = 100 * sum(weight for _, weight in members[_SHOWN:])
    listed = ", ".join([*shares, *([f"{rest:.0f} % others"] if rest else [])])
    return f"A combination wins ({listed})"


def _side(error: float, other: float | None, name: str) -> str:
    if other is None:
        return f"without a comparison to {name}, which was not tried"
    if error == other:
        return f"the same as {name}"
    if other == 0:
        return f"above {name}, which makes no error"
    change = 100 * (error / other - 1)
    return f"{abs(change):.1f} % {'below' if change < 0 else 'above'} {name} ({other:.4g})"
