"""What a search can be asked for, and the words for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from qkan.forecasting.config import BASELINE_NAMES, CELL_NAMES, TrainConfig
from qkan.forecasting.config.idle import asked_for

RULES = ("naive", "drift", "seasonal-naive")
"""What estimates nothing."""
FREE = (*RULES, "seasonal-mean")
"""What takes no time worth counting."""
REGRESSIONS = ("ridge", "lightgbm")
"""What learns from windows, its settings chosen on the validation part."""
STATISTICAL = ("theta", "ets", "double-sarima", "sarima")
"""What is fitted to every series by itself. Until a week shows, both SARIMAs forecast the same, and the first counts:
it may see the week when it is fitted again, to more values."""
NETWORKS: Mapping[str, Mapping[str, Any]] = {"hqkan": {"reps": 2}, "lstm": {}, "qkan": {}}
"""Cells that are tried, with what makes each of them what it is."""
CANDIDATES = (*FREE, "ridge", *STATISTICAL, "lightgbm", *NETWORKS)
"""All of them, in the order in which they are tried: what takes the least time first."""
DEFAULT_CANDIDATES = tuple(name for name in CANDIDATES if name != "lightgbm" or find_spec("lightgbm"))
"""What is tried unless others are asked for: trees where their package is installed."""

_OF_NETWORKS = ("past_cols", "epochs", "seed", "device")
"""Options that only networks have a use for."""
DEFAULT_BUDGET = 120.0
_UNITS = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)")


def parse_budget(text: str) -> float | None:
    """Return the seconds that a text such as ``2min`` means; ``None`` for ``none``.

    Raises:
        ValueError: it is no duration.
    """
    word = text.strip().lower()
    if word == "none":
        return None
    found = _DURATION.fullmatch(word)
    seconds = 0.0 if found is None else float(found[1]) * _UNITS.get(found[2] or "s", 0.0)
    if not seconds > 0:
        raise ValueError(f"budget {text!r} is no duration above 0; write it as 30s, 2min or 1h, or none for no limit")
    return seconds


@dataclass(frozen=True, kw_only=True)
class AutoConfig:
    """Every option of a search.

    Args:
        train: How the data are read, and the options of networks; its cell does not count.
        budget: Seconds that the search should take, above 0; ``None`` for no limit.
        candidates: Some of :data:`CANDIDATES`; the naive rule is always tried.
        future: File that the covariates known in advance came from, for the record.
        nonnegative: Whether no forecast is below 0; ``None`` decides for every series: where all known values are
            counts (whole numbers, none below 0).

    Raises:
        NotInstalled: a candidate needs a package that is not there.
        ValueError: a value is out of its range.
    """

    train: TrainConfig
    budget: float | None = DEFAULT_BUDGET
    candidates: tuple[str, ...] = DEFAULT_CANDIDATES
    future: str | None = None
    nonnegative: bool | None = None

    def __post_init__(self) -> None:
        from qkan.forecasting.baselines.registry import check_installed

        if self.budget is not None and (isinstance(self.budget, bool) or not 0 < self.budget < float("inf")):
            raise ValueError(f"budget must be above 0 seconds, got {self.budget!r}; 120 is two minutes, None no limit")
        if isinstance(self.candidates, str) or not self.candidates:
            raise ValueError(f"candidates must be a list, got {self.candidates!r}; choose from {', '.join(CANDIDATES)}")
        for name in self.candidates:
            if name not in CANDIDATES:
                raise ValueError(f"unknown candidate {name!r}; choose from {', '.join(CANDIDATES)}")
        check_installed(self.candidates)
        if self.nonnegative not in (None, True, False):
            raise ValueError(
                f"nonnegative must be True, False or None for what the values say, got {self.nonnegative!r}"
            )
        object.__setattr__(self, "candidates", tuple(dict.fromkeys(self.candidates)))
        idle = [] if set(NETWORKS) & set(self.candidates) else asked_for(self.train, _OF_NETWORKS)
        for name in idle:
            raise ValueError(
                f"{name}={getattr(self.train, name)!r} has no effect: of the candidates "
                f"{', '.join(self.candidates)} none reads it; leave it out, or add one of {', '.join(NETWORKS)}"
            )

    @property
    def tried(self) -> tuple[str, ...]:
        """The candidates in the order in which they are tried; the naive rule is the measure of all."""
        return tuple(name for name in CANDIDATES if name == "naive" or name in self.candidates)

    def network(self, cell: str, config: TrainConfig) -> TrainConfig:
        """Return the options of a network on data that were cut by ``config``.

        It has no finish that nobody asked for: the last fit, on everything, has no validation part to stop one by.
        """
        own = {"cell": cell, "lbfgs_steps": config.lbfgs_steps or 0}
        return TrainConfig.from_dict({**config.to_dict(), **NETWORKS[cell], **own})

    def to_dict(self) -> dict[str, Any]:
        """Return the options as JSON-able values."""
        return {
            "train": self.train.to_dict(),
            "budget": self.budget,
            "candidates": list(self.candidates),
            "future": self.future,
            "nonnegative": self.nonnegative,
        }


def shown_name(asked: str) -> str:
    """Return what a candidate is called before it is fitted, for progress and notes."""
    return CELL_NAMES[asked] if asked in CELL_NAMES else BASELINE_NAMES[asked]
