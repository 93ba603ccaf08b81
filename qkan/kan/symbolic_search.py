"""The functions of all edges chosen together, by what the whole formula is worth on data.

An edge that is fitted alone cannot tell x^2 from a wide cosine where the network itself is off by more than the two
differ. After all numbers are fitted to the data, the right one is exact and the other is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from qkan.kan.symbolic_functions import LIBRARY, score, simplest

if TYPE_CHECKING:
    import pandas as pd

    from qkan.kan.symbolic_fit import SymbolicKAN

CANDIDATES = 8  # functions of an edge that are tried
LEAST = 0.8  # R^2 of a function that is tried; what it is worth shows when the numbers of all are fitted
STEPS = 60  # of a trial's fit; the last one goes on from there
KEPT = "(kept)"  # the name of an edge that stays what it is
MAX_SEARCHED = 60  # edges; each costs a few fits of the whole formula


@dataclass(frozen=True)
class Suggestion:
    """c f(a x + b) + d in place of an edge.

    Attributes:
        function: the name of f.
        a, b, c, d: the fitted numbers.
        r2: 1 - (sum of squared errors) / (sum of squared deviations from the mean) on the samples.
        complexity: of f, and one more for every decimal digit beyond the first in which c f and d cancel.
        score: log10(1 - r2) + penalty * complexity; lower is better.

    Examples:
        >>> import torch
        >>> from qkan import QKAN
        >>> x = 2 * torch.rand(60, 2) - 1
        >>> net = QKAN([2, 1], reps=1)
        >>> best = net.suggest_symbolic(0, 0, 1, x, k=2, library=["x", "sin"])[0]
        >>> best.function in ("x", "sin"), best.r2 <= 1
        (True, True)
    """

    function: str
    a: float
    b: float
    c: float
    d: float
    r2: float
    complexity: float
    score: float


@dataclass(frozen=True)
class Suggestions(Sequence[Suggestion]):
    """The best functions for one edge, best first.

    Examples:
        >>> import torch
        >>> from qkan import QKAN
        >>> x = 2 * torch.rand(60, 2) - 1
        >>> net = QKAN([2, 1], reps=1)
        >>> found = net.suggest_symbolic(0, 0, 1, x, k=2, library=["x", "sin"])
        >>> len(found), found.to_frame().shape[0]
        (2, 2)
    """

    items: tuple[Suggestion, ...]

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def to_frame(self) -> pd.DataFrame:
        """One row per function, best first."""
        import pandas as pd

        return pd.DataFrame([vars(item) for item in self.items])

    def __str__(self) -> str:
        return self.to_frame().to_string(index=False)


NOTHING = Suggestion("0", 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)  #: an edge that goes; the others take over its mean
Choices = list[list[list[Suggestion | None]]]
Ranked = Sequence[Sequence[Sequence[Sequence[Suggestion]]]]  #: for every layer, output and input the fits, best first


def search(
    build: Callable[[Choices], SymbolicKAN], ranked: Ranked, data: tuple[Tensor, Tensor], penalty: float
) -> SymbolicKAN:
    """The formula of the lowest score: log10(1 - R^2) on the data, and penalty times the complexity of all its edges.

    Args:
        build: makes the formula of some choices.
        ranked: what an edge may become; an edge without anything stays what it is.
        data: x and y.
        penalty: of a unit of complexity.

    Returns:
        it, fitted to the data. From the functions that fit best alone, or the simplest ones if these do better, one
        edge at a time, outputs first, takes another one, or goes, where that lowers the score, until none does.
    """
    starts: list[Choices] = [
        [[[min(fits, key=order) if fits else None for fits in row] for row in layer] for layer in ranked]
        for order in (lambda fit: fit.score, lambda fit: (fit.complexity, fit.score))
    ]
    tried = [(*_tried(build, start, data, penalty), start) for start in starts]
    best, lowest, choices = min(tried, key=lambda trial: trial[1])
    edges = [
        (depth, o, i)
        for depth in reversed(range(len(ranked)))
        for o, row in enumerate(ranked[depth])
        for i, fits in enumerate(row)
        if fits
    ]
    changed = True
    while changed:
        changed = False
        for depth, o, i in edges:
            present = choices[depth][o][i]
            for other in (*ranked[depth][o][i][:CANDIDATES], NOTHING):
                if other is present:
                    continue
                trial = [[list(row) for row in layer] for layer in choices]
                trial[depth][o][i] = other
                formula, value = _tried(build, trial, data, penalty)
                if value < lowest - 1e-6:
                    best, lowest, choices, changed = formula, value, trial, True
    best.refit(*data)
    if {"sin", "cos"} <= {fit.function for layer in ranked for row in layer for fits in row for fit in fits}:
        smaller_phases(best)
    return best


def _tried(
    build: Callable[[Choices], SymbolicKAN], choices: Choices, data: tuple[Tensor, Tensor], penalty: float
) -> tuple[SymbolicKAN, float]:
    x, y = data
    formula = build(choices).refit(x, y, steps=STEPS)
    with torch.no_grad():
        error = (formula(x) - y.double()).reshape(-1, y.shape[-1]).square().mean()
        share = float(error / y.double().reshape(-1, y.shape[-1]).var(0, correction=0).mean().clamp_min(1e-300))
    complexity = sum(edge.complexity for layer in choices for row in layer for edge in row if edge is not None)
    return formula, score(1 - share, complexity, penalty) if math.isfinite(share) else math.inf


@torch.no_grad()
def share_scales(formula: SymbolicKAN) -> None:
    """Write a hidden node that only one function f reads so that this takes it as it is: f(h), not f(a h + b).

    a goes to the functions that make h, and b with all their constants to f's own b, from where ``simplest`` may take
    it further. The formula's values stay what they are.
    """
    for before, after in zip(formula.layers, formula.layers[1:], strict=False):
        for node, made_of in enumerate(before.names):
            readers = [o for o, row in enumerate(after.names) if row[node] != "0"]
            if len(readers) != 1 or KEPT in made_of:
                continue
            name = after.names[readers[0]][node]
            function = None if name == KEPT else after.function(name)
            a, b, c, d = after.affine[readers[0], node].unbind(-1)
            if function is None or a == 0 or (not function.searched and name != "x"):
                continue
            constant = before.affine[node, :, 3].sum()
            if name == "x":  # c h + d: all of c goes to the functions as well
                a = a * c
                moved = torch.stack([torch.ones_like(a), 0 * b, torch.ones_like(a), d + c * b + a * constant])
            else:
                moved = torch.stack([torch.ones_like(a), b + a * constant, c, d])
            before.affine[node, :, 2] *= a
            before.affine[node, :, 3] = 0
            after.affine[readers[0], node] = simplest(function, moved[None])[0] if _keeps_one(function) else moved


@torch.no_grad()
def smaller_phases(formula: SymbolicKAN) -> None:
    """Write cos(u + pi/2) as -sin(u), and sin(u + pi/2) as cos(u)."""
    for layer in formula.layers:
        for o, row in enumerate(layer.names):
            for i, name in enumerate(row):
                phase = float(layer.affine[o, i, 1])
                own = name in ("sin", "cos") and layer.function(name) is LIBRARY[name]
                if not own or abs(phase) <= math.pi / 4:
                    continue
                turn = math.copysign(1.0, phase)
                row[i] = "cos" if name == "sin" else "sin"
                layer.affine[o, i, 1] -= turn * math.pi / 2
                layer.affine[o, i, 2] *= turn if name == "sin" else -turn


def _keeps_one(function: object) -> bool:
    """Whether ``simplest`` leaves a = 1 alone, as it does for all functions but those with a rule of their own."""
    return function is LIBRARY["exp"] or getattr(function, "simplify", None) is None
